/** The options of `createRelay`, checked, with defaults in the place of what is not said. Nothing is opened here. */
import { Address, type Family, type InterfaceAddress, Prefix, type Scope } from '../../net/index.ts'
import { portOption, readListening } from '../../stun/index.ts'
import type { RelayOptions } from './options.ts'
import type { RelayIp } from './relayed-sockets.ts'
import type { StreamLimits } from './stream-listener.ts'

export interface Settings {
  readonly port: number
  readonly tlsPort: number
  readonly alternatePort: number
  /** Addresses to listen on, of each family none, one or two. */
  readonly groups: readonly (readonly Address[])[]
  readonly wildcard: boolean
  readonly relayIps: readonly RelayIp[]
  readonly realm: string
  readonly users: ReadonlyMap<string, string>
  readonly secrets: readonly string[]
  readonly nonceSecret: Uint8Array
  readonly quotas: Required<NonNullable<RelayOptions['quotas']>>
  readonly ports: { readonly min: number; readonly max: number }
  readonly standardLifetime: number
  readonly longestLifetime: number
  readonly allow: readonly Prefix[]
  readonly deny: readonly Prefix[]
  readonly strangers: { readonly perSecond: number; readonly burst: number }
  readonly connections: StreamLimits
}

/** RFC 8489 14.9: fewer than 128 characters. */
const LONGEST_REALM = 127
/** Seconds that LIFETIME can say (RFC 8656 18.2), in milliseconds; a day is more than enough. */
const LONGEST_LIFETIME = 86_400_000
/** What an address reaches, the furthest first. */
const REACH: readonly Scope[] = ['global', 'shared', 'private', 'link-local', 'loopback']

/** @throws TypeError, RangeError, or SallyportError `ERR_ADDRESS` */
export function readSettings(options: RelayOptions): Settings {
  const { network, udp = true, tcp = true, tls, authenticate, realm = 'sallyport', nonceSecret } = options
  const { port, alternatePort, wildcard, groups } = readListening(options)
  const tlsPort = portOption('tlsPort', options.tlsPort ?? 5349)
  if (!udp && !tcp && tls === undefined) throw new RangeError('udp, tcp and tls: at least one is needed')
  if (tls !== undefined && (typeof tls.cert !== 'string' || typeof tls.key !== 'string')) throw new TypeError('tls must be { cert, key }')
  if (tcp && tls !== undefined && port === tlsPort && port !== 0) throw new RangeError('tlsPort must differ from port')
  if (typeof realm !== 'string' || realm === '' || realm.length > LONGEST_REALM) {
    throw new RangeError(`realm must have 1 to ${LONGEST_REALM} characters`)
  }
  const users = new Map(Object.entries(options.users ?? {}))
  for (const [name, password] of users) {
    if (name === '' || typeof password !== 'string' || password === '') throw new TypeError(`users: ${name} has no password`)
  }
  const { secrets: one = [] } = options
  const secrets = typeof one === 'string' ? [one] : [...one]
  if (secrets.some((secret) => typeof secret !== 'string' || secret === '')) throw new TypeError('secrets must be texts that are not empty')
  if (authenticate !== undefined && typeof authenticate !== 'function') throw new TypeError('authenticate must be a function')
  if (users.size === 0 && secrets.length === 0 && authenticate === undefined) {
    throw new TypeError('users, secrets or authenticate: one is needed, there is no open relay')
  }
  const standardLifetime = numberOption('lifetimes.standard', options.lifetimes?.standard ?? 600_000, 1000, LONGEST_LIFETIME)
  const { min = 49_152, max = 65_535 } = options.ports ?? {}
  if (portOption('ports.min', min) < 1 || portOption('ports.max', max) < min) throw new RangeError(`ports: ${min} to ${max} is no range`)
  const { quotas = {}, strangers = {}, connections = {}, peers = {} } = options
  return {
    port,
    tlsPort,
    alternatePort,
    groups,
    wildcard,
    relayIps: relayIpsOf(options, groups.flat(), network.interfaces.list()),
    realm,
    users,
    secrets,
    nonceSecret: nonceSecret ?? network.random.bytes(32),
    quotas: {
      allocations: numberOption('quotas.allocations', quotas.allocations ?? 10_000),
      allocationsPerUser: numberOption('quotas.allocationsPerUser', quotas.allocationsPerUser ?? 100),
      permissionsPerAllocation: numberOption('quotas.permissionsPerAllocation', quotas.permissionsPerAllocation ?? 1024),
      bytesPerSecond: numberOption('quotas.bytesPerSecond', quotas.bytesPerSecond ?? Number.POSITIVE_INFINITY),
      bytesPerSecondPerUser: numberOption('quotas.bytesPerSecondPerUser', quotas.bytesPerSecondPerUser ?? Number.POSITIVE_INFINITY),
    },
    ports: { min, max },
    standardLifetime,
    longestLifetime: numberOption(
      'lifetimes.longest',
      options.lifetimes?.longest ?? Math.max(3_600_000, standardLifetime),
      standardLifetime,
      LONGEST_LIFETIME,
    ),
    allow: (peers.allow ?? []).map((text) => Prefix.parse(text)),
    deny: (peers.deny ?? []).map((text) => Prefix.parse(text)),
    strangers: {
      perSecond: numberOption('strangers.perSecond', strangers.perSecond ?? 20, Number.MIN_VALUE),
      burst: numberOption('strangers.burst', strangers.burst ?? 50, 1),
    },
    connections: {
      strangers: numberOption('connections.strangers', connections.strangers ?? 1000, 1),
      strangersPerSource: numberOption('connections.strangersPerSource', connections.strangersPerSource ?? 50, 1),
      patience: numberOption('connections.patience', connections.patience ?? 10_000, 1),
    },
  }
}

function relayIpsOf(options: RelayOptions, listening: readonly Address[], interfaces: readonly InterfaceAddress[]): readonly RelayIp[] {
  const given = options.relayAddresses?.map((ip) => Address.of(ip, 0))
  if (given?.some(({ scope }) => scope === 'unspecified')) throw new RangeError('relayAddresses: a wildcard is no address to be told')
  const external = (options.externalAddresses ?? []).map((ip) => Address.of(ip, 0))
  const ips: RelayIp[] = []
  for (const family of [4, 6] as const) {
    const bound = (given ?? defaultRelayIps(family, listening, interfaces)).filter((ip) => ip.family === family)
    const told = external.filter((ip) => ip.family === family)
    if (told.length > 0 && told.length !== bound.length) {
      throw new RangeError(`externalAddresses: ${told.length} of IPv${family} for ${bound.length} relay addresses`)
    }
    ips.push(...bound.map((ip, i) => ({ bound: ip, told: told[i] ?? ip })))
  }
  if (ips.length === 0) throw new RangeError('relayAddresses: there is no address to make relayed addresses on')
  return ips
}

/** Those listened on; instead of a wildcard, the interface address that reaches furthest and will be there longest. */
function defaultRelayIps(family: Family, listening: readonly Address[], interfaces: readonly InterfaceAddress[]): readonly Address[] {
  const own = listening.filter((ip) => ip.family === family)
  if (own.every(({ scope }) => scope !== 'unspecified')) return own
  const rank = ({ address, temporary, deprecated }: InterfaceAddress): number =>
    2 * REACH.indexOf(address.scope) + (temporary || deprecated ? 1 : 0)
  const usable = interfaces.filter(({ address }) => address.scope !== 'link-local')
  // Loopback is an address to be told only on a machine that has no other.
  const outside = usable.filter(({ internal }) => !internal)
  const [best] = (outside.length > 0 ? outside : usable)
    .filter(({ address }) => address.family === family)
    .sort((a, b) => rank(a) - rank(b))
  return best === undefined ? [] : [best.address]
}

function numberOption(name: string, value: number, least = 0, most = Number.POSITIVE_INFINITY): number {
  if (!(value >= least && value <= most)) throw new RangeError(`${name} must be a number from ${least} to ${most}, not ${value}`)
  return value
}
