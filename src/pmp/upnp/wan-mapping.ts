/**
 * One mapping asked of one connection: which port, which lease, by which action, until the router says yes and, read back, means it. Most of
 * it is about routers that do less than they say.
 */
import { Address, type Network, randomUint32 } from '../../net/index.ts'
import type { Grant, MappingRequest } from '../protocol.ts'
import { isUnknownAction, portTaken } from './refusal.ts'
import { UpnpFault } from './soap.ts'
import type { WanConnection } from './wan-connection.ts'

/** Lower ports are not for clients: routers refuse them, or have services there. */
const LOWEST_PORT = 1024
const LOWEST_RANDOM_PORT = 10_000
/** Other ports tried after conflicts. */
const MOST_CONFLICTS = 5
/** Requests to add, whatever the router answers. */
const MOST_TRIES = 16
/** WANIPConnection:2 2.3.14, seconds. */
const LONGEST_LEASE = 604_800
/** Where a lease is refused; 0 stands until it is deleted. Some routers take only that, some anything but that. */
const OTHER_LEASES = [7200, LONGEST_LEASE, 0]
/** A renewed lease below this share of the first one was not renewed. */
const RENEWED = 0.9

/** What a grant remembers of a mapping. */
export interface WanMemory {
  readonly kind: 'wan'
  readonly type: string
  readonly control: string
  /** Seconds as first granted; Infinity for one that stands. */
  readonly lease: number
}

export interface WanMappingOptions {
  readonly connection: WanConnection
  readonly network: Network
  readonly request: MappingRequest
  /** Of the request's previous grant. */
  readonly memory: WanMemory | undefined
  /** Of the clock: no further try after it. */
  readonly deadline: number
}

export class WanMapping {
  readonly #options: WanMappingOptions
  #port: number
  #any: boolean
  /** Those that are left to try, the next one first; never empty. */
  #leases: readonly number[]
  #refusedLease = false
  /** The router takes the internal port alone for the external one. */
  #same = false
  #conflicts = 0
  #looked = false
  #remade = false

  constructor(options: WanMappingOptions) {
    const { connection, request } = options
    this.#options = options
    this.#any = connection.hasAny && request.exact !== true && request.previous === undefined
    this.#leases = leasesOf(options)
    this.#port = request.previous?.external.port ?? request.externalPort
  }

  /** To be called once. Rejects with `UpnpFault` or SallyportError. */
  async run(): Promise<Grant> {
    const { connection, network, request, deadline } = this.#options
    if (this.#port < LOWEST_PORT) this.#avoidLowPort()
    for (let tries = 0; tries < MOST_TRIES && network.clock.now() <= deadline; tries++) {
      if (await this.#wouldTake()) {
        this.#anotherPort()
        continue
      }
      const lease = this.#leases[0] ?? 0
      let port: number
      try {
        port = await connection.add(this.#any, this.#port, lease, request)
      } catch (error) {
        if (!(error instanceof UpnpFault)) throw error
        await this.#refused(error, lease)
        continue
      }
      const grant = await this.#verify(port, lease)
      if (grant !== undefined) return grant
    }
    throw portTaken(this.#port)
  }

  /**
   * Routers let a client have its own mappings replaced (WANIPConnection:2 2.5.16), so another program's on this machine would silently be
   * lost. Not with the internal port for the external one: that port is ours on this machine.
   */
  async #wouldTake(): Promise<boolean> {
    const { connection, request } = this.#options
    if (this.#port === request.internal.port || request.previous !== undefined) return false
    return (await connection.look(this.#port, request)).owner === 'another'
  }

  #avoidLowPort(): void {
    const { internal, exact } = this.#options.request
    if (exact === true) throw portTaken(this.#port)
    this.#port = internal.port >= LOWEST_PORT ? internal.port : this.#randomPort()
  }

  /** Chooses what to ask for next. @throws when there is nothing else */
  async #refused(fault: UpnpFault, lease: number): Promise<void> {
    const { request } = this.#options
    switch (fault.code) {
      case 402:
      case 725:
        return this.#takeLease(fault, lease)
      case 401:
      case 501:
      case 602:
        return this.#withoutAny(fault)
      case 718:
      case 729:
        if (!(await this.#removeOurs())) this.#anotherPort()
        return
      case 724:
        // SamePortValuesRequired.
        if (this.#same || request.exact === true || this.#port === request.internal.port || request.internal.port < LOWEST_PORT) {
          throw portTaken(this.#port)
        }
        this.#same = true
        this.#any = false
        this.#port = request.internal.port
        return
      default:
        throw fault
    }
  }

  /** 725 says that only permanent ones will do, 402 that some argument will not: of those only the lease is in question. */
  #takeLease(fault: UpnpFault, lease: number): void {
    const rest = this.#leases.slice(1)
    if (fault.code === 725 && lease > 0) this.#leases = [0, ...rest.filter((other) => other > 0)]
    else if (rest.length > 0) this.#leases = rest
    else {
      this.#withoutAny(fault)
      return
    }
    this.#refusedLease = true
  }

  #withoutAny(fault: UpnpFault): void {
    if (!this.#any) throw fault
    this.#any = false
    this.#leases = leasesOf(this.#options)
    if (isUnknownAction(fault)) this.#options.connection.hasAny = false
  }

  /** A conflict with ourselves: some routers take a renewal for one, and an earlier run may have left its mapping behind. */
  async #removeOurs(): Promise<boolean> {
    const { connection, request } = this.#options
    if (this.#looked) return false
    this.#looked = true
    const { owner } = await connection.look(this.#port, request)
    return owner === 'us' && (await this.#remove(this.#port))
  }

  async #remove(port: number): Promise<boolean> {
    const { connection, request } = this.#options
    try {
      await connection.remove(port, request.transport)
      return true
    } catch (error) {
      if (error instanceof UpnpFault) return false
      throw error
    }
  }

  #anotherPort(): void {
    if (this.#same || this.#options.request.exact === true || ++this.#conflicts > MOST_CONFLICTS) throw portTaken(this.#port)
    this.#port = this.#randomPort()
  }

  #randomPort(): number {
    return LOWEST_RANDOM_PORT + (randomUint32(this.#options.network.random) % (0x1_0000 - LOWEST_RANDOM_PORT))
  }

  /** Reads back what the router has made. Undefined when it is not what was asked for; then the next try is decided. */
  async #verify(port: number, lease: number): Promise<Grant | undefined> {
    const { connection, request, memory } = this.#options
    const [entry, external] = await Promise.all([connection.look(port, request), connection.externalAddress()])
    if (entry.owner === 'another' || entry.owner === 'nobody') {
      this.#port = port
      this.#anotherPort()
      return undefined
    }
    if (memory !== undefined && !this.#remade && entry.lease !== undefined && entry.lease < RENEWED * Math.min(memory.lease, lease)) {
      // Taken for a repetition and not prolonged (miniupnp issue 199).
      this.#remade = true
      this.#port = port
      if (await this.#remove(port)) return undefined
    }
    if (this.#refusedLease) connection.lease = lease
    const seconds = entry.lease ?? (lease === 0 ? Number.POSITIVE_INFINITY : lease)
    const { type, control } = connection.service
    const kept: WanMemory = { kind: 'wan', type, control: `${control.address.key}${control.path}`, lease: seconds }
    const { transport, internal } = request
    const at = (external ?? Address.any(4)).withPort(port)
    return { protocol: 'upnp', transport, internal, external: at, lifetime: seconds * 1000, memory: kept }
  }
}

/** The one that is wanted, or that was taken before, then the others. */
function leasesOf({ connection, request }: WanMappingOptions): readonly number[] {
  const wanted = Math.min(LONGEST_LEASE, Math.max(1, Math.ceil(request.lifetime / 1000)))
  return [...new Set([connection.lease ?? wanted, ...OTHER_LEASES])]
}
