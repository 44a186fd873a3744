/** The options of `sallyport serve`: what is asked for, checked as far as it can be without opening anything. */
import { Address, Prefix, type TlsIdentity } from '../../net/index.ts'
import type { RelayOptions } from '../../relay/index.ts'
import { readFileOption, readSecrets, readUsers } from '../secrets.ts'
import { countOption, numberOption, portOption, readOptions, UsageError } from '../usage.ts'

/** What a relay is made with, as far as it can be sent to another process. */
export type RelaySetup = Omit<RelayOptions, 'network' | 'authenticate' | 'ledger' | 'log' | 'quotas'> & {
  readonly quotas: Quotas
}

export type Quotas = NonNullable<RelayOptions['quotas']> & { readonly allocations: number; readonly allocationsPerUser: number }

export interface TlsFiles {
  readonly cert: string
  readonly key: string
}

export interface ServeSetup {
  readonly port: number
  readonly addresses: readonly string[] | undefined
  readonly alternatePort: number | undefined
  /** Undefined for a STUN server that is no relay. */
  readonly relay: RelaySetup | undefined
  readonly tlsFiles: TlsFiles | undefined
  readonly json: boolean
  readonly metrics: Address | undefined
  /** Processes; undefined for none but this one. */
  readonly workers: number | undefined
  /** Milliseconds. */
  readonly drainTimeout: number
}

const MOST_WORKERS = 256
const LONGEST_DRAIN = 7 * 86_400
const MOST = Number.MAX_SAFE_INTEGER
const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, M: 1e6, G: 1e9 }

/** Means nothing to a STUN server. */
const RELAY_ONLY = [
  'realm',
  'tls-cert',
  'tls-key',
  'tls-port',
  'no-tcp',
  'relay-address',
  'external-address',
  'relay-ports',
  'allow-peers',
  'deny-peers',
  'allow-private-peers',
  'max-allocations',
  'max-user-allocations',
  'max-permissions',
  'max-rate',
  'max-user-rate',
  'workers',
  'drain-timeout',
] as const

/** @throws UsageError */
export function readSetup(args: readonly string[]): ServeSetup {
  const values = readOptions('serve', args, {
    port: { type: 'string', default: '3478' },
    address: { type: 'string', multiple: true },
    'alternate-port': { type: 'string' },
    json: { type: 'boolean', default: false },
    metrics: { type: 'string' },
    user: { type: 'string', multiple: true, default: [] },
    'user-file': { type: 'string', multiple: true, default: [] },
    secret: { type: 'string', multiple: true, default: [] },
    'secret-file': { type: 'string', multiple: true, default: [] },
    realm: { type: 'string' },
    'tls-cert': { type: 'string' },
    'tls-key': { type: 'string' },
    'tls-port': { type: 'string' },
    'no-tcp': { type: 'boolean' },
    'relay-address': { type: 'string', multiple: true },
    'external-address': { type: 'string', multiple: true },
    'relay-ports': { type: 'string' },
    'allow-peers': { type: 'string', multiple: true },
    'deny-peers': { type: 'string', multiple: true },
    'allow-private-peers': { type: 'boolean' },
    'max-allocations': { type: 'string' },
    'max-user-allocations': { type: 'string' },
    'max-permissions': { type: 'string' },
    'max-rate': { type: 'string' },
    'max-user-rate': { type: 'string' },
    workers: { type: 'string' },
    'drain-timeout': { type: 'string' },
  })
  const port = portOption('port', values.port)
  const alternatePort = values['alternate-port'] === undefined ? undefined : portOption('alternate-port', values['alternate-port'])
  const users = readUsers(values.user, values['user-file'])
  const secrets = readSecrets(values.secret, values['secret-file'])
  const isRelay = Object.keys(users).length > 0 || secrets.length > 0
  const lost = isRelay ? undefined : RELAY_ONLY.find((name) => values[name] !== undefined)
  if (lost !== undefined) throw new UsageError(`serve: --${lost} is for a relay: give it --user, --user-file, --secret or --secret-file`)

  const workers = values.workers === undefined ? undefined : countOption('workers', values.workers, 1, MOST_WORKERS)
  const { tlsFiles, tls } = readTls(values['tls-cert'], values['tls-key'])
  if (tls === undefined && values['tls-port'] !== undefined) throw new UsageError('serve: --tls-port goes with --tls-cert and --tls-key')
  const common = { port, ...given({ addresses: values.address, alternatePort }) }
  const relay: RelaySetup = {
    ...common,
    tlsPort: portOption('tls-port', values['tls-port'] ?? '5349'),
    tcp: values['no-tcp'] !== true,
    users,
    secrets,
    quotas: {
      allocations: countOption('max-allocations', values['max-allocations'] ?? '10000', 1, MOST),
      allocationsPerUser: countOption('max-user-allocations', values['max-user-allocations'] ?? '100', 1, MOST),
      ...given({
        permissionsPerAllocation: optional(values['max-permissions'], (text) => countOption('max-permissions', text, 1, MOST)),
        bytesPerSecond: optional(values['max-rate'], (text) => rateOption('max-rate', text)),
        bytesPerSecondPerUser: optional(values['max-user-rate'], (text) => rateOption('max-user-rate', text)),
      }),
    },
    peers: {
      private: values['allow-private-peers'] === true,
      allow: ranges('allow-peers', values['allow-peers']),
      deny: ranges('deny-peers', values['deny-peers']),
    },
    ...given({
      tls,
      realm: values.realm,
      relayAddresses: values['relay-address'],
      externalAddresses: values['external-address'],
      ports: optional(values['relay-ports'], (text) => portRange('relay-ports', text)),
    }),
  }
  return {
    ...common,
    addresses: values.address,
    alternatePort,
    relay: isRelay ? relay : undefined,
    tlsFiles,
    json: values.json,
    metrics: optional(values.metrics, metricsAddress),
    workers,
    drainTimeout: numberOption('drain-timeout', values['drain-timeout'] ?? '3600', 0, LONGEST_DRAIN) * 1_000,
  }
}

/** What the files say now. @throws UsageError when they cannot be read */
export function readTlsFiles({ cert, key }: TlsFiles): TlsIdentity {
  return { cert: readFileOption('tls-cert', cert), key: readFileOption('tls-key', key) }
}

function readTls(
  cert: string | undefined,
  key: string | undefined,
): { readonly tlsFiles: TlsFiles | undefined; readonly tls: TlsIdentity | undefined } {
  if (cert === undefined && key === undefined) return { tlsFiles: undefined, tls: undefined }
  if (cert === undefined || key === undefined) throw new UsageError('serve: --tls-cert and --tls-key go together')
  const tlsFiles = { cert, key }
  return { tlsFiles, tls: readTlsFiles(tlsFiles) }
}

/** Without the members that are undefined. */
function given<T extends object>(members: T): { readonly [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as {
    readonly [K in keyof T]?: Exclude<T[K], undefined>
  }
}

function optional<T>(text: string | undefined, read: (text: string) => T): T | undefined {
  return text === undefined ? undefined : read(text)
}

function ranges(option: string, texts: readonly string[] = []): readonly string[] {
  for (const text of texts) {
    try {
      Prefix.parse(text)
    } catch (error) {
      throw new UsageError(`serve: --${option}: ${(error as Error).message}`)
    }
  }
  return texts
}

function rateOption(name: string, text: string): number {
  const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?)([kMG]?)$/.exec(text) ?? []
  const rate = Math.floor(Number(digits) * (UNITS[unit] ?? 0))
  if (digits === '' || rate < 1 || !Number.isSafeInteger(rate)) {
    throw new UsageError(`--${name} must be bytes a second, such as 500k, 20M or 1G, not ${text}`)
  }
  return rate
}

function portRange(name: string, text: string): { readonly min: number; readonly max: number } {
  const [, from = '', to = ''] = /^(\d{1,5})-(\d{1,5})$/.exec(text) ?? []
  const [min, max] = [Number(from), Number(to)]
  if (from === '' || min < 1 || max > 0xffff || min > max)
    throw new UsageError(`--${name} must be two ports such as 49152-65535, not ${text}`)
  return { min, max }
}

/** `9100`, `0.0.0.0:9100` or `[::]:9100`. */
function metricsAddress(text: string): Address {
  const [, bracketed, plain, port = ''] = /^(?:(?:\[([^\]]+)\]|([^:]+)):)?(\d+)$/.exec(text) ?? []
  const ip = bracketed ?? plain ?? '127.0.0.1'
  const address = port === '' ? undefined : Address.tryOf(ip, 0)
  if (address === undefined || (bracketed === undefined) !== (address.family === 4)) {
    throw new UsageError(`--metrics must be a port, or an address and a port such as 192.0.2.1:9100, not ${text}`)
  }
  return address.withPort(portOption('metrics', port))
}
