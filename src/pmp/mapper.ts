/**
 * Port mappings of one program: leases for its ports, at the routers behind its addresses, kept in step with the interfaces and default
 * routes. One lease for each port and transport, whoever asks for it.
 */
import type { Address, Network, Timer, Timers } from '../net/index.ts'
import { Lease } from './lease.ts'
import { nobodyProves, type Prove } from './proof.ts'
import type { MappingClient, MappingTransport } from './protocol.ts'
import { type OpenClients, Router } from './router.ts'
import type { MappingTerms } from './terms.ts'
import { findUplinks, uplinkKey } from './uplinks.ts'

/** Milliseconds: a default route may change where no address does. */
const ROUTE_INTERVAL = 60_000
/** Uplinks whose nonces are remembered. */
const MOST_UPLINKS = 64
/** Milliseconds that deleting may take when somebody waits for it. */
const FAREWELL = 1_000

/** Where low ports are asked for. */
const LOW_PORTS = 20_000

export interface PortMapperOptions {
  readonly network: Network
  readonly timers: Timers
  readonly openClients: OpenClients
  readonly terms: MappingTerms
  /** Nobody does by default. */
  readonly prove?: Prove
  readonly changed: (lease: Lease) => void
}

export interface LeaseWish {
  readonly transport: MappingTransport
  /** Ours. With an unspecified IP the address of the best default route is meant. */
  readonly internal: Address
  /** The internal one by default, plus 20,000 where that is below 1024: only then what the socket sends itself leaves from the mapped port, too. */
  readonly externalPort?: number
  readonly exact?: boolean
  readonly allow?: readonly string[]
}

export class PortMapper {
  readonly #options: PortMapperOptions
  /** In the order of the default routes. */
  #routers: ReadonlyMap<string, Router> = new Map()
  /** Those that are not the way out any more, until what they granted is deleted. */
  readonly #left = new Map<string, Router>()
  /** By uplink, the one that was left last at the end: who comes back finds what could not be deleted. */
  readonly #nonces = new Map<string, Map<string, Uint8Array>>()
  readonly #leases = new Map<string, Lease>()
  #updating: Promise<void> = Promise.resolve()
  #routeTimer: Timer | undefined
  #unwatch: (() => void) | undefined
  #closing: Promise<void> | undefined

  constructor(options: PortMapperOptions) {
    this.#options = options
  }

  get leases(): readonly Lease[] {
    return [...this.#leases.values()]
  }

  /** The same lease if asked again. */
  add(wish: LeaseWish): Lease {
    const { timers, network, prove = nobodyProves, terms, changed } = this.#options
    const key = `${wish.transport} ${wish.internal.key}`
    const known = this.#leases.get(key)
    if (known !== undefined) return known
    const { transport, internal, exact, allow, externalPort = portOutside(internal) } = wish
    const lease = new Lease({
      timers,
      random: network.random,
      prove,
      changed,
      request: {
        transport,
        internal,
        externalPort,
        lifetime: terms.lifetime,
        ...(exact === undefined ? {} : { exact }),
        ...(allow === undefined ? {} : { allow }),
      },
    })
    this.#leases.set(key, lease)
    // An update that was waiting may have moved it by then: to ask again would only be a renewal right after the grant.
    this.#update(() => false)
    return lease
  }

  /** Deletes the mapping. Never rejects. */
  async remove(lease: Lease): Promise<void> {
    for (const [key, other] of this.#leases) if (other === lease) this.#leases.delete(key)
    await lease.release()
  }

  /** Notices by itself when addresses change. */
  follow(): void {
    this.#unwatch ??= this.#options.network.interfaces.watch(() => this.networkChanged())
  }

  /** Addresses or routes changed, or another network lies behind the same ones. */
  networkChanged(): void {
    this.#update(() => true)
  }

  /** Nothing seems to come in at this address. */
  doubt(internal: Address): void {
    for (const lease of this.leases) if (lease.request.internal.key === internal.key) lease.doubt()
  }

  /** Deletes what was mapped, within a second. Never rejects. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#unwatch?.()
    this.#routeTimer?.cancel()
    for (const lease of this.leases) void lease.release()
    this.#leases.clear()
    const routers = [...this.#routers.values(), ...this.#left.values()]
    this.#routers = new Map()
    this.#left.clear()
    // Also what was given up before.
    await this.#within(Promise.all(routers.map((router) => router.idle())))
    for (const router of routers) router.close()
  }

  /** One at a time; the last one sees the routes as they are then. @param which leases are to ask even if their router is the same */
  #update(which: (lease: Lease) => boolean): void {
    this.#updating = this.#updating.then(() => this.#fit(which))
  }

  async #fit(which: (lease: Lease) => boolean): Promise<void> {
    const { network, timers } = this.#options
    if (this.#closing !== undefined) return
    const uplinks = await findUplinks(network)
    if (this.#closing !== undefined) return
    this.#routeTimer?.cancel()
    this.#routeTimer = timers.after(ROUTE_INTERVAL, () => this.#update(() => false))
    const before = this.#routers
    const routers = new Map(
      uplinks.map((uplink) => {
        const key = uplinkKey(uplink)
        return [key, before.get(key) ?? this.#left.get(key) ?? this.#router(uplink)]
      }),
    )
    this.#routers = routers
    for (const key of routers.keys()) this.#left.delete(key)
    const moving = this.leases.filter((lease) => !lease.asked || lease.router !== this.#routerFor(lease))
    this.#release(moving)
    for (const lease of this.leases) {
      if (moving.includes(lease)) lease.moveTo(this.#routerFor(lease))
      else if (which(lease)) lease.recheck()
    }
    for (const [key, router] of before) if (!routers.has(key)) void this.#leave(key, router)
  }

  /**
   * Deletes what was granted by routers that are not the way out any more, where they may still be on the link. Where our address is gone, too,
   * the mapping ends with its time: whoever has the router's address now need not be who granted it.
   */
  #release(leases: readonly Lease[]): void {
    const own = new Set(this.#options.network.interfaces.list().map(({ address }) => address.key))
    for (const lease of leases) {
      if (lease.router !== undefined && own.has(lease.router.uplink.local.address.key)) void lease.release()
    }
  }

  async #leave(key: string, router: Router): Promise<void> {
    this.#left.set(key, router)
    await this.#within(router.idle())
    if (this.#left.get(key) !== router) return
    this.#left.delete(key)
    router.close()
  }

  /** What is slower than a farewell may take is left alone. */
  async #within(work: Promise<unknown>): Promise<void> {
    let late: Timer | undefined
    await Promise.race([
      work,
      new Promise<void>((resolve) => {
        late = this.#options.timers.after(FAREWELL, resolve)
      }),
    ])
    late?.cancel()
  }

  #router(uplink: Router['uplink']): Router {
    const { network, timers, openClients, terms } = this.#options
    return new Router({
      network,
      timers,
      uplink,
      terms,
      openClients,
      nonces: this.#noncesFor(uplinkKey(uplink)),
      restarted: (client: MappingClient) => {
        for (const lease of this.leases) lease.restarted(client)
      },
    })
  }

  #noncesFor(key: string): Map<string, Uint8Array> {
    const nonces = this.#nonces.get(key) ?? new Map<string, Uint8Array>()
    this.#nonces.delete(key)
    this.#nonces.set(key, nonces)
    for (const oldest of this.#nonces.keys()) if (this.#nonces.size > MOST_UPLINKS) this.#nonces.delete(oldest)
    return nonces
  }

  #routerFor({ request: { internal } }: Lease): Router | undefined {
    for (const router of this.#routers.values()) {
      const { local } = router.uplink
      const meant = internal.scope === 'unspecified' ? local.address.family === internal.family : local.address.sameIp(internal)
      if (meant) return router
    }
    return undefined
  }
}

/**
 * The same, so that what the socket sends itself leaves by the mapped port, too. Below 1024 routers give none as a rule, and miniupnpd 2.3.1 answers
 * nobody for a minute while it tries them all.
 */
function portOutside({ family, port }: Address): number {
  // A pinhole in a firewall changes no port.
  return family === 4 && port < 1_024 ? port + LOW_PORTS : port
}
