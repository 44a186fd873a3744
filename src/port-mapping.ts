/**
 * `sallyport/pmp`: a port of this machine opened on its router, for programs that want only that. The protocols are in `pmp/`; this is their
 * public face, on the operating system unless told otherwise.
 */
import { SallyportError } from './errors.ts'
import { Address, type Family, type Network, Prefix, type Timer, Timers } from './net/index.ts'
import { nodeNetwork, onTermination } from './net/node/index.ts'
import {
  checkMappingTerms,
  type Lease,
  MAPPING_DEFAULTS,
  type MappingProtocol,
  type MappingTerms,
  type MappingTransport,
  openClients,
  PortMapper,
  type Proof,
  type RouterSurvey,
  surveyRouters as survey,
} from './pmp/index.ts'
import { SafeEmitter } from './safe-emitter.ts'

export type {
  MappingProtocol,
  MappingTransport,
  ProtocolAnswer,
  ProtocolFailure,
  ProtocolSurvey,
  Reach,
  RouterSurvey,
} from './pmp/index.ts'

/** Milliseconds that `verify` may take. */
const VERIFY_MOST = 30_000

export interface MapPortOptions {
  /** `udp` by default. */
  readonly protocol?: MappingTransport
  /** The port that a socket of this machine is bound to, 1 to 65535. */
  readonly internalPort: number
  /** One of our addresses; by default that of the best default route. An IPv6 address asks for a pinhole in the router's firewall. */
  readonly internalAddress?: string
  /** Of the default address: 4 by default, 6 for a pinhole. */
  readonly family?: Family
  /** The external port wanted, 1 to 65535; the internal one by default, plus 20,000 where that is below 1024, which routers refuse. The router may give another, see `externalPort` of the mapping. */
  readonly externalPort?: number
  /** Another external port than the one wanted is useless. False by default. */
  readonly exact?: boolean
  /** Who alone may send in: addresses or ranges. Only PCP can do that (RFC 6887 13.3), and not every router does what it promises. */
  readonly allow?: readonly string[]
  /** Milliseconds to ask for: 120,000 to 86,400,000; two hours by default. Renewed in time, whatever the router grants. */
  readonly lifetime?: number
  /** What is tried; all by default, preferred in the order PCP, NAT-PMP, UPnP. */
  readonly via?: readonly MappingProtocol[]
  /** What routers list a UPnP mapping under: up to 60 ASCII letters, digits, spaces and `.` `_` `-`; `sallyport` by default. */
  readonly description?: string
  /**
   * Has a packet sent from outside to the external address come in? A mapping that has not is deleted and made again, or by another protocol; asked
   * again every minute. Nobody else can tell whether a router does what it says. What throws, or takes longer than 30 s, says nothing.
   */
  readonly verify?: (external: ExternalAddress) => boolean | Promise<boolean>
  /** Deletes the mapping on SIGINT and SIGTERM, too, before the process ends. False by default: then it ends with its lifetime. */
  readonly releaseOnExit?: boolean
  /** Ends the attempt. */
  readonly signal?: AbortSignal
  /** The operating system by default, or a host of `sallyport/lab`. */
  readonly network?: Network
}

export interface ExternalAddress {
  /** Undefined where the router does not tell it. */
  readonly address: string | undefined
  readonly port: number
}

export interface PortMappingEvents {
  /** The external address or port is another one. */
  change: [external: ExternalAddress]
  /** There is no mapping for now; it is tried again, and `change` tells when it is back. */
  lost: [error: SallyportError]
}

/**
 * Opens a port on the router: asks by PCP, NAT-PMP and UPnP at once and takes the best that answers. Keeps it open until `close`: renewed in
 * time, made again when the router was restarted or the network is another one.
 * Rejects with TypeError for options that make no sense, SallyportError `ERR_MAPPING_…` when no router opens it (`report` has what each protocol
 * came to), the signal's reason.
 */
export async function mapPort(options: MapPortOptions): Promise<PortMapping> {
  const checked = check(options)
  const { signal } = options
  signal?.throwIfAborted()
  const mapping = new PortMapping(checked)
  const aborted = (): void => mapping.abandon(signal?.reason)
  signal?.addEventListener('abort', aborted, { once: true })
  try {
    await mapping.open()
  } catch (error) {
    await mapping.close()
    throw error
  } finally {
    signal?.removeEventListener('abort', aborted)
  }
  return mapping
}

export interface SurveyRoutersOptions {
  /** Ends it. */
  readonly signal?: AbortSignal
  /** The operating system by default, or a host of `sallyport/lab`. */
  readonly network?: Network
}

/**
 * What the routers here offer: the one on each default route, IPv4 and IPv6 (without an IPv4 route: whoever has the first address of a LAN), is asked in every protocol, all at once, and nothing is mapped. Takes
 * about 4 s where one of them does not answer. That a router answers does not mean that what it maps lets packets in: see `verify` of `mapPort`.
 * Rejects with TypeError for options that make no sense, and with the signal's reason.
 */
export async function surveyRouters(options: SurveyRoutersOptions = {}): Promise<readonly RouterSurvey[]> {
  if (typeof options !== 'object' || options === null) throw new TypeError('surveyRouters takes an object of options')
  const { signal, network = nodeNetwork(), ...others } = options
  for (const name of Object.keys(others)) throw new TypeError(`option ${name} is not known; there are signal, network`)
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw new TypeError('option signal is not an AbortSignal')
  return survey(network, signal === undefined ? {} : { signal })
}

/** A port that is open on the router. */
export class PortMapping extends SafeEmitter<PortMappingEvents> implements AsyncDisposable {
  readonly protocol: MappingTransport
  readonly internalPort: number
  readonly #options: Checked
  readonly #timers: Timers
  readonly #mapper: PortMapper
  #lease: Lease | undefined
  #told: string | undefined
  #opened: { readonly resolve: () => void; readonly reject: (reason: unknown) => void } | undefined
  #stopHeeding: (() => void) | undefined
  #closing: Promise<void> | undefined

  /** @internal use `mapPort` */
  constructor(options: Checked) {
    super()
    this.#options = options
    this.protocol = options.protocol
    this.internalPort = options.internal.port
    const { network, terms, verify } = options
    this.#timers = new Timers(network.clock)
    this.#mapper = new PortMapper({
      network,
      timers: this.#timers,
      openClients,
      terms,
      ...(verify === undefined ? {} : { prove: ({ external }) => prove(verify, external, this.#timers) }),
      changed: () => this.#changed(),
    })
  }

  /** As the router says; undefined where it does not tell, or while there is no mapping. */
  get externalAddress(): string | undefined {
    const external = this.#lease?.grant?.external
    return external === undefined || external.scope === 'unspecified' ? undefined : external.ip
  }

  /** Undefined while there is no mapping. */
  get externalPort(): number | undefined {
    return this.#lease?.grant?.external.port
  }

  /** Which protocol it was made by. */
  get via(): MappingProtocol | undefined {
    return this.#lease?.grant?.protocol
  }

  get router(): string | undefined {
    return this.#lease?.router?.uplink.router.host
  }

  /** Milliseconds until it ends, if it were not renewed; `Infinity` where it stands until it is deleted. Undefined while there is none. */
  get expiresIn(): number | undefined {
    return this.#lease?.grant === undefined ? undefined : Math.max(0, this.#lease.expiresAt - this.#timers.now())
  }

  /** `verify` has seen a packet come in. */
  get verified(): boolean {
    return this.#lease?.external !== undefined
  }

  /** Deletes the mapping, within a second. Never rejects. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#opened?.reject(new SallyportError('ERR_CLOSED', 'the mapping was closed'))
    await this.#mapper.close()
    // Not before: a signal that comes meanwhile has to wait for the deletion, too.
    this.#stopHeeding?.()
    this.#timers.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal */
  async open(): Promise<void> {
    const { protocol, internal, externalPort, exact, allow, releaseOnExit } = this.#options
    this.#mapper.follow()
    if (releaseOnExit) this.#stopHeeding = onTermination(() => this.close())
    await new Promise<void>((resolve, reject) => {
      this.#opened = { resolve, reject }
      this.#lease = this.#mapper.add({
        transport: protocol,
        internal,
        exact,
        ...(externalPort === undefined ? {} : { externalPort }),
        ...(allow === undefined ? {} : { allow }),
      })
    })
  }

  /** @internal */
  abandon(reason: unknown): void {
    this.#opened?.reject(reason)
  }

  #changed(): void {
    const lease = this.#lease
    if (lease === undefined || this.#closing !== undefined || !lease.settled) return
    const { grant, failure } = lease
    if (this.#opened !== undefined) {
      const { resolve, reject } = this.#opened
      this.#opened = undefined
      if (failure !== undefined) reject(failure)
      else {
        this.#told = grant?.external.key
        resolve()
      }
    } else if (grant !== undefined && lease.judged && grant.external.key !== this.#told) {
      this.#told = grant.external.key
      this.safeEmit('change', { address: this.externalAddress, port: grant.external.port })
    } else if (failure !== undefined && this.#told !== undefined) {
      this.#told = undefined
      this.safeEmit('lost', failure)
    }
  }
}

async function prove(verify: NonNullable<MapPortOptions['verify']>, external: Address, timers: Timers): Promise<Proof> {
  let late: Timer | undefined
  try {
    const { ip, port, scope } = external
    const arrived = await Promise.race([
      verify({ address: scope === 'unspecified' ? undefined : ip, port }),
      new Promise<undefined>((resolve) => {
        late = timers.after(VERIFY_MOST, () => resolve(undefined))
      }),
    ])
    if (arrived === undefined) return { kind: 'unknown' }
    return arrived ? { kind: 'proven', external } : { kind: 'failed' }
  } catch {
    return { kind: 'unknown' } // it could not be tried
  } finally {
    late?.cancel()
  }
}

interface Checked {
  readonly protocol: MappingTransport
  readonly internal: Address
  readonly externalPort: number | undefined
  readonly exact: boolean
  readonly allow: readonly string[] | undefined
  readonly terms: MappingTerms
  readonly verify: MapPortOptions['verify']
  readonly releaseOnExit: boolean
  readonly network: Network
}

const NAMES: ReadonlySet<string> = new Set<keyof MapPortOptions>([
  'protocol',
  'internalPort',
  'internalAddress',
  'family',
  'externalPort',
  'exact',
  'allow',
  'lifetime',
  'via',
  'description',
  'verify',
  'releaseOnExit',
  'signal',
  'network',
])

/** @throws TypeError naming the option */
function check(options: MapPortOptions): Checked {
  if (typeof options !== 'object' || options === null) throw new TypeError('mapPort takes an object of options')
  for (const name of Object.keys(options)) {
    if (!NAMES.has(name)) throw new TypeError(`option ${name} is not known; there are ${[...NAMES].join(', ')}`)
  }
  const { protocol = 'udp', internalPort, internalAddress, family = 4, externalPort } = options
  const { exact = false, allow, verify, releaseOnExit = false, network = nodeNetwork(), signal } = options
  if (protocol !== 'udp' && protocol !== 'tcp') throw new TypeError(`option protocol is neither udp nor tcp: ${String(protocol)}`)
  for (const [name, port] of [
    ['internalPort', internalPort],
    ['externalPort', externalPort ?? internalPort],
  ] as const) {
    if (!Number.isInteger(port) || port < 1 || port > 0xffff)
      throw new TypeError(`option ${name} is not within 1 to 65535: ${String(port)}`)
  }
  if (family !== 4 && family !== 6) throw new TypeError(`option family is neither 4 nor 6: ${String(family)}`)
  const internal = internalAddress === undefined ? Address.any(family, internalPort) : Address.tryOf(String(internalAddress), internalPort)
  if (internal === undefined) throw new TypeError(`option internalAddress is not an IP address: ${String(internalAddress)}`)
  if (internalAddress !== undefined && options.family !== undefined && family !== internal.family)
    throw new TypeError(`option internalAddress is not of family ${family}: ${internalAddress}`)
  if (typeof exact !== 'boolean') throw new TypeError('option exact is not true or false')
  if (typeof releaseOnExit !== 'boolean') throw new TypeError('option releaseOnExit is not true or false')
  if (verify !== undefined && typeof verify !== 'function') throw new TypeError('option verify is not a function')
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw new TypeError('option signal is not an AbortSignal')
  if (allow !== undefined) checkAllowed(allow)
  const { via = MAPPING_DEFAULTS.protocols, lifetime = MAPPING_DEFAULTS.lifetime, description = MAPPING_DEFAULTS.description } = options
  const terms = checkMappingTerms({ protocols: via, lifetime, description }, 'option ', 'via')
  return { protocol, internal, externalPort, exact, allow, terms, verify, releaseOnExit, network }
}

function checkAllowed(allow: unknown): void {
  if (!Array.isArray(allow) || allow.length === 0) throw new TypeError('option allow is not a list of addresses or ranges')
  for (const range of allow) {
    try {
      Prefix.parse(String(range))
    } catch {
      throw new TypeError(`option allow: not an address or range: ${String(range)}`)
    }
  }
}
