/**
 * Networks and the interfaces that stand on them. A segment is one LAN, or the whole public internet, which is one segment on which
 * everybody reaches everybody. It knows who has which address; what it does not know goes to its router, if it has one.
 */
import { Address, type Family, type Prefix } from '../net/index.ts'
import { Link, type LinkOptions } from './link.ts'
import type { Packet } from './packet.ts'
import type { SeededRandom } from './random.ts'
import type { Device, World } from './world.ts'

/** One interface of a host or a router. */
export class Nic {
  readonly name: string
  readonly device: Device
  readonly segment: Segment
  readonly link: Link | undefined
  readonly addresses: AddressOnLink[] = []
  readonly #world: World
  #attached = true

  constructor(world: World, device: Device, name: string, segment: Segment, link: LinkOptions | undefined) {
    this.#world = world
    this.device = device
    this.name = name
    this.segment = segment
    const random = (lane: string): SeededRandom => world.randomFor(`link/${device.name}/${name}/${lane}`)
    this.link = link === undefined ? undefined : new Link(link, random('up'), random('down'))
    segment.nics.add(this)
  }

  get attached(): boolean {
    return this.#attached
  }

  detach(): void {
    this.#attached = false
    this.segment.nics.delete(this)
    for (const { address } of this.addresses) this.segment.release(address, this)
  }

  /** Puts a packet on the network. */
  send(packet: Packet): void {
    const { link } = this
    if (link === undefined) {
      this.segment.route(packet, this, this.#world.scheduler.now)
      return
    }
    if (link.up.doubles()) this.#climb(packet.clone(), link)
    this.#climb(packet, link)
  }

  #climb(packet: Packet, link: Link): void {
    const out = link.up.pass(this.#world.scheduler.now, packet.size)
    if (typeof out === 'string') this.#world.trace.drop(this.device, packet, out)
    else this.segment.route(packet, this, out)
  }

  /** The network hands over a packet that reaches this interface's link at `at`. */
  accept(packet: Packet, at: number): void {
    packet.nic = this
    // What a link with jitter or a rate does depends on the order in which packets reach it, so that is decided when they do.
    packet.descending = this.link?.down.ordered === true
    if (packet.descending || this.link === undefined) this.#world.scheduler.schedule(packet, at)
    else this.#fall(packet, this.link, at)
  }

  descend(packet: Packet): void {
    packet.descending = false
    if (this.link !== undefined) this.#fall(packet, this.link, this.#world.scheduler.now)
  }

  #fall(packet: Packet, link: Link, at: number): void {
    if (link.down.doubles()) {
      const twin = packet.clone()
      twin.nic = this
      this.#fallOnce(twin, link, at)
    }
    this.#fallOnce(packet, link, at)
  }

  #fallOnce(packet: Packet, link: Link, at: number): void {
    const out = link.down.pass(at, packet.size)
    if (typeof out === 'string') this.#world.trace.drop(this.device, packet, out)
    else this.#world.scheduler.schedule(packet, out)
  }

  arrive(packet: Packet): void {
    if (this.#attached) this.device.arrive(packet, this)
    else this.#world.trace.drop(this.device, packet, 'gone')
  }
}

/** An address of an interface. */
export interface AddressOnLink {
  readonly address: Address
  readonly prefixLength: number
  readonly temporary: boolean
  readonly deprecated: boolean
}

/** The router of a LAN, as the LAN sees it. */
export interface Gateway {
  /** Its interface on the LAN. */
  readonly inner: Nic
  /** Makes an address of the LAN reachable from the outside, where it is routed and not translated. */
  announce(address: Address): void
  withdraw(address: Address): void
}

export interface SegmentOptions {
  /** IPv4 range of the LAN. */
  readonly lan?: string
  /** IPv6 range of the LAN, a /64. */
  readonly lan6?: string
  readonly families?: readonly Family[]
}

export class Segment {
  readonly name: string
  readonly families: readonly Family[]
  /** Hops that crossing this network costs: more than none only on the public internet. */
  readonly hops: number
  readonly public: boolean
  /** @internal */
  readonly nics: Set<Nic> = new Set()
  readonly #world: World
  readonly #owners = new Map<string, Nic>()
  readonly #next = new Map<Family, number>()
  readonly #ranges: ReadonlyMap<Family, Prefix>
  #gateway: Gateway | undefined

  /** @internal use `lab.segment` */
  constructor(world: World, name: string, families: readonly Family[], ranges: ReadonlyMap<Family, Prefix>, hops: number) {
    this.#world = world
    this.name = name
    this.families = families
    this.#ranges = ranges
    this.hops = hops
    this.public = hops > 0
  }

  /** @internal */
  get gateway(): Gateway | undefined {
    return this.#gateway
  }

  /** @internal */
  set gateway(gateway: Gateway | undefined) {
    this.#gateway = gateway
  }

  /** The address range of a family, where the network has one of its own. */
  range(family: Family): Prefix | undefined {
    return this.#ranges.get(family)
  }

  /** Whether an address can be reached without the router. */
  onLink(address: Address): boolean {
    return (
      this.public ||
      address.scope === 'link-local' ||
      address.scope === 'multicast' ||
      this.#owners.has(address.ip) ||
      this.#ranges.get(address.family)?.contains(address) === true
    )
  }

  /** @internal Somebody on it has this address. */
  has(ip: string): boolean {
    return this.#owners.has(ip)
  }

  /** @internal A free address of the family, not yet claimed. */
  allocate(family: Family): Address {
    const range = this.#ranges.get(family)
    for (;;) {
      if (range === undefined) {
        const address = this.#world.publicAddress(family)
        if (!this.#owners.has(address.ip)) return address
        continue
      }
      // The first address is the router's.
      const index = this.#next.get(family) ?? 2
      this.#next.set(family, index + 1)
      const address = nth(range, index)
      if (!this.#owners.has(address.ip)) return address
    }
  }

  /** @internal */
  claim(address: Address, nic: Nic): void {
    if (this.#owners.has(address.ip)) throw new RangeError(`${this.name}: ${address.ip} is taken`)
    if (address.scope !== 'link-local') this.#gateway?.announce(address)
    this.#owners.set(address.ip, nic)
  }

  /** @internal */
  release(address: Address, nic: Nic): void {
    if (this.#owners.get(address.ip) !== nic) return
    this.#owners.delete(address.ip)
    if (address.scope !== 'link-local') this.#gateway?.withdraw(address)
  }

  /** @internal Takes a packet from one interface to the one that has its destination; it comes from the sender's link at `at`. */
  route(packet: Packet, from: Nic, at: number): void {
    if (this.hops > 0) {
      if (packet.hops <= this.hops) {
        this.#world.trace.drop(from.device, packet, 'hop-limit')
        return
      }
      packet.hops -= this.hops
    }
    const { to } = packet
    if (to.scope === 'multicast') {
      this.#spread(packet, from, at)
      return
    }
    let target = this.#owners.get(to.ip)
    if (target === undefined && to.scope !== 'link-local') target = this.#gateway?.inner
    if (target === undefined || target === from) {
      this.#world.trace.drop(from.device, packet, 'no-route')
      return
    }
    target.accept(packet, at)
  }

  /** Multicast goes to everybody on a LAN; who has no socket for it drops it. */
  #spread(packet: Packet, from: Nic, at: number): void {
    if (this.public) {
      this.#world.trace.drop(from.device, packet, 'no-route')
      return
    }
    for (const nic of this.nics) if (nic !== from && nic !== this.#gateway?.inner) nic.accept(packet.clone(), at)
  }
}

/** The address at an index of a range. @throws RangeError when the range has no such address */
export function nth(range: Prefix, index: number): Address {
  const text = range.toString().split('/')[0] as string
  const bytes = Address.of(text, 0).bytes.slice()
  const bits = bytes.length * 8 - range.length
  if (bits < 31 && index >= 2 ** bits - (bits > 1 && bytes.length === 4 ? 1 : 0)) {
    throw new RangeError(`no address left in ${range.toString()}`)
  }
  let carry = index
  for (let i = bytes.length - 1; i >= 0 && carry > 0; i--) {
    carry += bytes[i] as number
    bytes[i] = carry & 0xff
    carry = Math.floor(carry / 256)
  }
  return Address.fromBytes(bytes, 0)
}
