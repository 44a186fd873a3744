/** The lab: one virtual internet with its time, its chance, its hosts and routers. */
import { Address, type Clock, type Family, Prefix } from '../net/index.ts'
import { type ChannelEnd, type ChannelOptions, createChannel } from './channel.ts'
import { awake, Callback, HostClock, Scheduler } from './clock.ts'
import { LabDns } from './dns.ts'
import { drive, driveUntil } from './drive.ts'
import { type HostOptions, LabHost } from './host.ts'
import type { LinkOptions } from './link.ts'
import type { Packet, PacketView } from './packet.ts'
import { SeededRandom } from './random.ts'
import { Router, type RouterOptions } from './router.ts'
import { nth, Segment, type SegmentOptions } from './segment.ts'
import { Trace } from './trace.ts'
import { LAN_DELAY, type Verdict, type World } from './world.ts'

export interface LabOptions extends Omit<LinkOptions, 'delay'> {
  /** All chance comes from it: the same seed, the same run. Default 1. */
  readonly seed?: number
  /** Milliseconds one way between any two attachments of the public internet; each access link carries half. Default 20. */
  readonly delay?: number
  /** Address families of the public internet, and with it of everything that does not say otherwise. Default IPv4 alone. */
  readonly families?: readonly Family[]
  /** Routers that a packet passes when it crosses the public internet: what a low TTL dies of. Default 8. */
  readonly hops?: number
}

/** Sees every packet as its sender sends it, before any translation. */
export type FaultFilter = (packet: PacketView) => Verdict

/** The public IPv4 pool: a documentation range to be read by people, then the range of RFC 2544 for crowds. */
const PUBLIC_V4 = [Prefix.parse('203.0.113.0/24'), Prefix.parse('198.18.0.0/15')]
const PUBLIC_V6 = Prefix.parse('2001:db8::/64')

export class Lab {
  /** The one virtual clock. Hosts have views of it. */
  readonly clock: Clock
  readonly trace: Trace
  readonly dns: LabDns
  /** The public internet, as something to attach to. */
  readonly internet: Segment
  readonly #scheduler = new Scheduler()
  readonly #options: LabOptions
  readonly #delay: number
  readonly #world: World
  readonly #accessLink: LinkOptions
  readonly #filters = new Set<FaultFilter>()
  readonly #public = new Map<Family, number>()
  readonly #held = new Set<Promise<unknown>>()
  #routers = 0
  #channels = 0
  #linkLocal = 0

  /** @internal use `createLab` */
  constructor(options: LabOptions) {
    this.#options = options
    this.#delay = options.delay ?? 20
    if (!(this.#delay >= 0)) throw new RangeError(`createLab: delay must not be negative: ${options.delay}`)
    this.clock = new HostClock(this.#scheduler)
    this.trace = new Trace(this.#scheduler)
    this.dns = new LabDns(2 * this.#delay)
    const { seed: _seed, families = [4], hops = 8, ...link } = options
    this.#accessLink = { ...link, delay: this.#delay / 2 }
    this.#world = {
      scheduler: this.#scheduler,
      trace: this.trace,
      dns: this.dns,
      randomFor: (name) => new SeededRandom(this.#options.seed ?? 1, name),
      publicAddress: (family) => this.#publicAddress(family),
      linkLocalAddress: (zone) => Address.of(`fe80::${(++this.#linkLocal).toString(16)}%${zone}`, 0),
      judge: (host, packet) => this.#judge(host, packet),
    }
    this.internet = new Segment(this.#world, 'internet', families, new Map(), Math.max(1, hops))
  }

  /** A host, on the public internet unless `behind` says otherwise. @throws RangeError for a taken name or address */
  host(name: string, options: HostOptions = {}): LabHost {
    return new LabHost(this.#world, name, options, { internet: this.internet, accessLink: this.#accessLink })
  }

  /** A router with a LAN of its own, a port-restricted NAT unless `nat` says otherwise. @throws RangeError */
  router(name: string, options: RouterOptions = {}): Router {
    const outside = options.behind instanceof Router ? options.behind.lan : (options.behind ?? this.internet)
    const families = (options.families ?? outside.families).filter((family) => outside.families.includes(family))
    const number = ++this.#routers
    const lan = options.lan ?? (options.nat === false ? undefined : defaultLan(number))
    const base = outside.public ? this.#accessLink : { delay: LAN_DELAY }
    return new Router(this.#world, name, options, {
      outside,
      families,
      lan: lan !== undefined && families.includes(4) ? Prefix.parse(lan) : undefined,
      lan6: families.includes(6) ? Prefix.parse(options.lan6 ?? `2001:db8:${number.toString(16)}::/64`) : undefined,
      link: { ...base, ...options.link },
      local: (router) => this.host(`${name}/local`, { behind: router, addresses: gatewayAddresses(router), link: { delay: 0 } }),
      neighbour: (router) => this.host(`${name}/neighbour`, { behind: router, link: { delay: 0 } }),
    })
  }

  /** A LAN without a router. */
  segment(name: string, options: SegmentOptions = {}): Segment {
    const number = ++this.#routers
    const { families = this.internet.families } = options
    const ranges = new Map<Family, Prefix>()
    if (families.includes(4)) ranges.set(4, Prefix.parse(options.lan ?? defaultLan(number)))
    if (families.includes(6)) ranges.set(6, Prefix.parse(options.lan6 ?? `fd00:${number.toString(16)}::/64`))
    return new Segment(this.#world, name, families, ranges, 0)
  }

  /** Two ends of a message channel, for signalling. */
  channel<T = unknown>(options: ChannelOptions = {}): [ChannelEnd<T>, ChannelEnd<T>] {
    const random = this.#world.randomFor(`channel/${this.#channels++}`)
    return createChannel<T>(this.#scheduler, random, options, 2 * this.#delay)
  }

  /** Adds a fault filter; the first that does not pass a packet decides. Returns how to take it out. */
  filter(filter: FaultFilter): () => void {
    this.#filters.add(filter)
    return () => void this.#filters.delete(filter)
  }

  /** Calls back after so many milliseconds. Returns how to cancel. */
  after(milliseconds: number, callback: () => void): () => void {
    const event = new Callback(this.#scheduler, awake, callback)
    this.#scheduler.schedule(event, this.#scheduler.now + milliseconds)
    return () => event.cancel()
  }

  /** Lets time pass. Promises settle wherever code outside the lab was called, so asynchronous code keeps its place in time. */
  run(milliseconds: number): Promise<void> {
    return drive(this.#scheduler, this.#scheduler.now + duration('run', milliseconds), this.#held)
  }

  /**
   * Lets time pass until a promise settles, and gives its result. Rejects when nothing is scheduled any more, or when `within`
   * (default 600,000) virtual milliseconds have passed.
   */
  until<T>(promise: PromiseLike<T>, options: { readonly within?: number } = {}): Promise<T> {
    return driveUntil(this.#scheduler, promise, duration('until', options.within ?? 600_000), this.#held)
  }

  /** Lets time pass in one go, for code without promises: much faster than `run`. */
  advance(milliseconds: number): void {
    this.#scheduler.runTo(this.#scheduler.now + duration('advance', milliseconds))
  }

  /**
   * Stops time, in `run` and `until`, while real work is under way that the lab cannot see: an `import()`, WebCrypto, a file.
   * Gives the promise back.
   */
  hold<T>(promise: Promise<T>): Promise<T> {
    const done = (): void => void this.#held.delete(promise)
    this.#held.add(promise)
    promise.then(done, done)
    return promise
  }

  #judge(host: string, packet: Packet): Verdict {
    if (this.#filters.size === 0) return undefined
    const { protocol, from, to, data, hops } = packet
    const view: PacketView = { host, protocol, from, to, data, hops }
    for (const filter of this.#filters) {
      const verdict = filter(view)
      if (verdict !== undefined && verdict !== 'pass') return verdict
    }
    return undefined
  }

  #publicAddress(family: Family): Address {
    const index = (this.#public.get(family) ?? 0) + 1
    this.#public.set(family, index)
    if (family === 6) return nth(PUBLIC_V6, index)
    const [first, second] = PUBLIC_V4 as [Prefix, Prefix]
    return index < 255 ? nth(first, index) : nth(second, index - 254)
  }
}

/** A new virtual internet with nothing on it. */
export function createLab(options: LabOptions = {}): Lab {
  return new Lab(options)
}

function defaultLan(number: number): string {
  return number < 255 ? `192.168.${number}.0/24` : `10.${(number >> 8) & 0xff}.${number & 0xff}.0/24`
}

function gatewayAddresses(router: Router): string[] {
  return ([4, 6] as const).flatMap((family) => router.gatewayAddress(family)?.ip ?? [])
}

function duration(name: string, milliseconds: number): number {
  if (milliseconds >= 0) return milliseconds
  throw new RangeError(`${name}: not a duration: ${milliseconds}`)
}
