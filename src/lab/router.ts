/**
 * A router: joins a LAN to the network behind which it stands, translating (IPv4, unless told otherwise) or only routing, with a
 * stateful firewall for what is not translated. Routers behind routers make chains.
 */
import { type Address, type Family, Prefix } from '../net/index.ts'
import { awake, Callback } from './clock.ts'
import { Firewall, type FirewallOptions } from './firewall.ts'
import type { LabHost } from './host.ts'
import type { LinkOptions } from './link.ts'
import { type ForwardLimits, type MappingInfo, NatTable } from './nat.ts'
import { type NatOptions, type NatPreset, natOptions, type Pooling } from './nat-options.ts'
import type { Packet, Protocol } from './packet.ts'
import { PortMapping, type PortMappingOptions } from './port-mapping/index.ts'
import { PublicPool } from './ports.ts'
import { Nic, nth, Segment } from './segment.ts'
import type { Counters } from './trace.ts'
import type { World } from './world.ts'

export interface RouterOptions {
  /** What it is attached to; the public internet by default. */
  readonly behind?: Router | Segment
  /** How it translates IPv4. Default `portRestricted`; false routes. IPv6 is always routed. */
  readonly nat?: NatOptions | NatPreset | false
  /** For what is routed, not translated. Default: stateful, `APDF`; false lets everything through. */
  readonly firewall?: FirewallOptions | false
  /** Default: the lab's, as far as the network outside has them. */
  readonly families?: readonly Family[]
  /** IPv4 range inside. Default: a 192.168.x.0/24 of its own; public addresses where nothing is translated. */
  readonly lan?: string
  /** IPv6 range inside; by default a /64 of its own. */
  readonly lan6?: string
  /** How many external IPv4 addresses the NAT has. Default 1. */
  readonly publicAddresses?: number
  /** RFC 4787 REQ-2; the same as in `nat`. */
  readonly pooling?: Pooling
  /** RFC 4787 REQ-9; the same as in `nat`. */
  readonly hairpin?: boolean
  /** The link to the outside; on the public internet the lab's default. */
  readonly link?: LinkOptions
  /** Drops all UDP that would cross it, both ways. */
  readonly blockUdp?: boolean
  /** Speaks NAT-PMP, PCP and UPnP IGD on its LAN. Default false. */
  readonly portMapping?: boolean | PortMappingOptions
}

export interface ForwardOptions {
  /** Milliseconds; endless by default. */
  readonly lifetime?: number
  /** Who may send in, as ranges such as `203.0.113.0/24`; everybody by default. */
  readonly allow?: readonly string[]
}

/** @internal what the lab works out for a router */
export interface RouterPlan {
  readonly outside: Segment
  readonly families: readonly Family[]
  readonly lan: Prefix | undefined
  readonly lan6: Prefix | undefined
  readonly link: LinkOptions | undefined
  /** Makes the host that answers on the router's own LAN addresses. */
  readonly local: (router: Router) => LabHost
  /** Makes another host on the LAN, without a way of its own to be slow. */
  readonly neighbour: (router: Router) => LabHost
}

/** A `Device`, which is not said here: `stripInternal` takes what that needs out of the declarations. */
export class Router {
  readonly name: string
  /** The router outside, or undefined on the public internet. */
  readonly behind: Router | undefined
  /** What it does to IPv4; false when it only routes. */
  readonly nat: NatOptions | false
  readonly firewall: FirewallOptions | false
  readonly lan: Segment
  /** Its port mapping service, if it has one. */
  readonly portMapping: PortMapping | undefined
  /** Drops all UDP that would cross it; settable while running. */
  blockUdp: boolean
  /** @internal */
  readonly counters: Counters
  readonly #world: World
  readonly #plan: RouterPlan
  readonly #inner: Nic
  readonly #outer: Nic
  readonly #publicAddresses: number
  #filter: Firewall | undefined
  #tables: Record<Protocol, NatTable> | undefined
  #external = new Set<string>()
  #addresses: Address[] = []
  #down = false
  #boots = 0
  #local: LabHost | undefined

  /** @internal use `lab.router` */
  constructor(world: World, name: string, options: RouterOptions, plan: RouterPlan) {
    this.#world = world
    this.#plan = plan
    this.name = name
    this.counters = world.trace.register(name)
    this.behind = options.behind instanceof Router ? options.behind : undefined
    this.nat = options.nat === false ? false : withShortcuts(natOptions(options.nat ?? 'portRestricted'), options)
    this.firewall = options.firewall ?? {}
    this.blockUdp = options.blockUdp ?? false
    this.#publicAddresses = options.publicAddresses ?? 1
    const ranges = new Map<Family, Prefix>()
    if (plan.lan !== undefined) ranges.set(4, plan.lan)
    if (plan.lan6 !== undefined) ranges.set(6, plan.lan6)
    this.lan = new Segment(world, `${name}/lan`, plan.families, ranges, 0)
    this.#outer = new Nic(world, this, 'wan', plan.outside, plan.link)
    this.#inner = new Nic(world, this, 'lan', this.lan, undefined)
    this.lan.gateway = {
      inner: this.#inner,
      announce: (address) => this.#routed(address) && plan.outside.claim(address, this.#outer),
      withdraw: (address) => plan.outside.release(address, this.#outer),
    }
    this.#boot(true)
    const { portMapping = false } = options
    if (portMapping === false) return
    this.portMapping = new PortMapping(this, this.local, portMapping === true ? {} : portMapping, () => plan.neighbour(this))
    this.portMapping.start()
  }

  /** External addresses, port 0. */
  get addresses(): readonly Address[] {
    return this.#addresses
  }

  /** The link to the outside. */
  get link(): Nic['link'] {
    return this.#outer.link
  }

  /** The router's own address inside, port 0. */
  gatewayAddress(family: Family = 4): Address | undefined {
    const range = this.lan.range(family)
    return range === undefined ? undefined : nth(range, 1)
  }

  /** The router itself as a host on its LAN: for services that routers have, such as port mapping. */
  get local(): LabHost {
    this.#local ??= this.#plan.local(this)
    return this.#local
  }

  /** What the NAT remembers now. */
  mappings(): readonly MappingInfo[] {
    const now = this.#world.scheduler.now
    return this.#tables === undefined ? [] : [...this.#tables.udp.mappings(now), ...this.#tables.tcp.mappings(now)]
  }

  /**
   * Forwards an external port to a host inside, for everybody unless told otherwise, until its lifetime is over, `unforward` or a reboot. For a
   * host that has the port already it starts a new lifetime. False when something else has the port.
   * @throws RangeError on a router that does not translate
   */
  forward(protocol: Protocol, externalPort: number, internal: Address, options: ForwardOptions = {}): boolean {
    if (this.#tables === undefined) throw new RangeError(`${this.name} does not translate: there is nothing to forward`)
    const external = this.#addresses.find((address) => address.family === 4) as Address
    return this.#tables[protocol].forward(internal, external.withPort(externalPort), this.#world.scheduler.now, this.#limits(options))
  }

  unforward(protocol: Protocol, externalPort: number): void {
    const external = this.#addresses.find((address) => address.family === 4)
    if (external !== undefined) this.#tables?.[protocol].unforward(external.withPort(externalPort))
  }

  /**
   * Opens an address and port inside, which are not translated, to what comes from outside: RFC 6092 calls it a pinhole. As `forward`, but nobody
   * else can have it. Nothing to do where there is no firewall.
   */
  openPinhole(protocol: Protocol, internal: Address, options: ForwardOptions = {}): void {
    this.#filter?.open(protocol, internal, this.#limits(options))
  }

  closePinhole(protocol: Protocol, internal: Address): void {
    this.#filter?.close(protocol, internal)
  }

  /**
   * Forgets all mappings, forwards, pinholes and open flows; its port mapping service starts anew. `renumber`: comes back with other
   * external addresses. `downFor`: milliseconds in which nothing passes; default 0.
   */
  reboot(options: { readonly renumber?: boolean; readonly downFor?: number } = {}): void {
    const { renumber = false, downFor = 0 } = options
    if (downFor > 0) {
      this.#down = true
      const up = new Callback(this.#world.scheduler, awake, () => {
        this.#down = false
      })
      this.#world.scheduler.schedule(up, this.#world.scheduler.now + downFor)
    }
    this.#boot(renumber)
    this.portMapping?.rebooted(downFor)
  }

  /** @internal */
  arrive(packet: Packet, nic: Nic): void {
    if (this.#down) {
      this.#drop(packet, 'down')
      return
    }
    if (packet.hops <= 1) {
      this.#drop(packet, 'hop-limit')
      return
    }
    packet.hops--
    if (this.blockUdp && packet.protocol === 'udp') {
      this.#drop(packet, 'udp-blocked')
      return
    }
    if (nic === this.#inner) this.#leave(packet)
    else this.#enter(packet)
  }

  #leave(packet: Packet): void {
    const { from, to } = packet
    const now = this.#world.scheduler.now
    if (from.scope === 'link-local' || to.scope === 'link-local' || this.lan.range(to.family)?.contains(to) === true) {
      this.#drop(packet, 'no-route')
      return
    }
    if (this.#tables === undefined || to.family === 6) {
      this.#filter?.outbound(packet, now)
      this.#pass(packet, this.#outer)
      return
    }
    const inside = this.#external.has(to.ip)
    if (inside && (this.nat === false || this.nat.hairpin !== true)) {
      this.#drop(packet, 'hairpin')
      return
    }
    const external = this.#tables[packet.protocol].outbound(from, to, now)
    if (typeof external === 'string') {
      this.#drop(packet, external)
      return
    }
    packet.from = external
    if (!inside) {
      this.#pass(packet, this.#outer)
      return
    }
    // RFC 4787 REQ-9a: a hairpinned packet carries the sender's external address.
    this.#enter(packet)
  }

  #enter(packet: Packet): void {
    const now = this.#world.scheduler.now
    if (this.#tables !== undefined && this.#external.has(packet.to.ip)) {
      const internal = this.#tables[packet.protocol].inbound(packet.to, packet.from, now)
      if (typeof internal === 'string') {
        this.#drop(packet, internal)
        return
      }
      packet.to = internal
    } else if (packet.to.scope === 'multicast') {
      // RFC 4291 2.7, RFC 5771 4: what is meant for a link stays on it.
      this.#drop(packet, 'no-route')
      return
    } else if (this.#filter?.inbound(packet, now) === false) {
      this.#drop(packet, 'firewall')
      return
    }
    this.#pass(packet, this.#inner)
  }

  #limits({ lifetime = Number.POSITIVE_INFINITY, allow }: ForwardOptions): ForwardLimits {
    return { expiresAt: this.#world.scheduler.now + lifetime, allow: allow?.map((range) => Prefix.parse(range)) }
  }

  #pass(packet: Packet, nic: Nic): void {
    this.#world.trace.note(this, packet, 'forward')
    nic.send(packet)
  }

  #drop(packet: Packet, reason: Parameters<World['trace']['drop']>[2]): void {
    this.#world.trace.drop(this, packet, reason)
  }

  /** Whether an address inside is reachable from outside under its own name. */
  #routed(address: Address): boolean {
    return address.family === 6 || this.nat === false
  }

  #boot(renumber: boolean): void {
    const { outside, families } = this.#plan
    if (renumber) {
      const old = this.#addresses
      this.#addresses = []
      for (const family of families) {
        const count = family === 4 && this.nat !== false ? this.#publicAddresses : 1
        for (let i = 0; i < count; i++) {
          const address = outside.allocate(family)
          outside.claim(address, this.#outer)
          this.#addresses.push(address)
        }
      }
      for (const address of old) outside.release(address, this.#outer)
    }
    this.#filter = this.firewall === false ? undefined : new Firewall(this.firewall)
    const external = this.#addresses.filter((address) => address.family === 4)
    if (this.nat === false || external.length === 0) return
    this.#external = new Set(external.map((address) => address.ip))
    const random = this.#world.randomFor(`nat/${this.name}/${this.#boots++}`)
    const pool = new PublicPool(external, this.nat.pooling ?? 'paired', random)
    this.#tables = {
      udp: new NatTable('udp', this.nat, pool, random),
      tcp: new NatTable('tcp', this.nat, pool, random),
    }
  }
}

function withShortcuts(nat: NatOptions, { pooling, hairpin }: RouterOptions): NatOptions {
  return { ...nat, ...(pooling === undefined ? {} : { pooling }), ...(hairpin === undefined ? {} : { hairpin }) }
}
