/**
 * A virtual host: a Network like the operating system's, that also can be moved, put to sleep and looked into. How it finds its way
 * out is in routing.ts; TCP is in stream.ts.
 */
import {
  Address,
  type BindOptions,
  type Clock,
  type DatagramSocket,
  type DefaultRoute,
  type Dns,
  type Family,
  type Gateway,
  type InterfaceAddress,
  type Interfaces,
  type ListenOptions,
  type Network,
  type SendFailure,
  type Stream,
  type StreamDialer,
  type StreamListener,
} from '../net/index.ts'
import { Bindings } from './bindings.ts'
import { awake, Callback, HostClock } from './clock.ts'
import { HostDns } from './dns.ts'
import { Firewall, type FirewallOptions } from './firewall.ts'
import type { Link, LinkOptions } from './link.ts'
import { type Membership, membershipOn, refusal } from './membership.ts'
import type { DropReason, Packet } from './packet.ts'
import type { SeededRandom } from './random.ts'
import { Router } from './router.ts'
import { LOOPBACK, type Route, Routing } from './routing.ts'
import { Nic, type Segment } from './segment.ts'
import { LabSocket, type SendQueueOptions, type SocketOwner } from './socket.ts'
import { TcpStack } from './stream.ts'
import { type Device, LAN_DELAY, LOOPBACK_DELAY, type World } from './world.ts'

export type Attachment = Router | Segment

export interface AddressOptions {
  readonly ip: string
  /** RFC 8981 temporary address; default false. */
  readonly temporary?: boolean
  /** Past its preferred lifetime; default false. */
  readonly deprecated?: boolean
}

export interface InterfaceOptions {
  /** Default: `eth0`, `eth1` … */
  readonly name?: string
  /** What it is attached to; the public internet by default. */
  readonly behind?: Attachment
  /** Default: one free address of each family of the network. */
  readonly addresses?: readonly (string | AddressOptions)[]
  /** Default: those of the network. */
  readonly families?: readonly Family[]
  /** On the public internet the lab's default, on a LAN an eighth of a millisecond. */
  readonly link?: LinkOptions
}

export interface HostOptions extends InterfaceOptions {
  /** Several interfaces, the preferred one first; instead of the single one that the other options describe. */
  readonly interfaces?: readonly InterfaceOptions[]
  /** A stateful packet filter on the host itself. Default: none. */
  readonly firewall?: FirewallOptions
  /** Makes the sockets' queues fill up. Default: they never do. */
  readonly sendQueue?: SendQueueOptions
}

/** @internal what the lab lends to a host */
export interface HostPlan {
  readonly internet: Segment
  readonly accessLink: LinkOptions
}

export class LabHost implements Network {
  readonly name: string
  readonly clock: Clock
  readonly random: SeededRandom
  readonly interfaces: Interfaces
  readonly gateway: Gateway
  readonly dns: Dns
  readonly streams: StreamDialer
  /** What the networks, the clock and the sockets see of the host. */
  readonly #device: Device
  readonly #sleeper = { asleepUntil: 0 }
  readonly #owner: SocketOwner
  readonly #world: World
  readonly #plan: HostPlan
  readonly #routing = new Routing()
  readonly #sockets = new Bindings()
  readonly #watchers = new Set<() => void>()
  readonly #firewall: Firewall | undefined
  readonly #ports: SeededRandom
  readonly #tcp: TcpStack
  #named = 0

  /** @internal use `lab.host` */
  constructor(world: World, name: string, options: HostOptions, plan: HostPlan) {
    this.#world = world
    this.#plan = plan
    this.name = name
    this.#device = { name, counters: world.trace.register(name), arrive: (packet, nic) => this.#arrive(packet, nic) }
    this.clock = new HostClock(world.scheduler, this.#sleeper)
    this.random = world.randomFor(`host/${name}`)
    this.#ports = world.randomFor(`ports/${name}`)
    this.dns = new HostDns(world.dns, this.clock, (from, ip) => this.#routing.neighbours(from, ip))
    this.#owner = {
      sendQueue: options.sendQueue,
      transmit: (packet, membership) => this.#transmit(packet, membership),
      later: (milliseconds, callback) => this.#later(milliseconds, callback),
      forget: (socket) => this.#sockets.remove(socket),
    }
    this.#firewall = options.firewall === undefined ? undefined : new Firewall(options.firewall)
    this.interfaces = { list: () => this.#list(), watch: (changed) => this.#watch(changed) }
    this.gateway = { defaultRoutes: () => Promise.resolve(this.#defaultRoutes()) }
    this.#tcp = new TcpStack({
      clock: this.clock,
      random: this.#ports,
      send: (packet) => this.#send(packet, this.#routing.route(packet.from, packet.to)),
      source: (to, from) => this.#routing.source(to, from),
    })
    this.streams = { dial: (dial) => this.#tcp.dial(dial) }
    for (const one of options.interfaces ?? [options]) this.#attach(one)
  }

  /** Addresses of all interfaces, loopback and link-local ones left out; port 0. */
  get addresses(): readonly Address[] {
    return this.#list()
      .filter((entry) => !entry.internal && entry.address.scope !== 'link-local')
      .map((entry) => entry.address)
  }

  /** What the first interface is attached to. */
  get behind(): Attachment | undefined {
    const segment = this.#routing.nics[0]?.segment
    const inner = segment?.gateway?.inner.device
    return inner instanceof Router ? inner : segment
  }

  /** The routers between the first interface and the public internet, the nearest first. */
  get routers(): readonly Router[] {
    const result: Router[] = []
    for (let at = this.behind; at instanceof Router; at = at.behind) result.push(at)
    return result
  }

  /** The link of the first interface. @throws RangeError when the host has no interface */
  get link(): Link {
    return this.linkOf()
  }

  /** The link of an interface by name. @throws RangeError when there is none */
  linkOf(name?: string): Link {
    const nic = this.#nic(name)
    return nic.link as Link
  }

  /**
   * Roams: an interface (the first by default) leaves its network and joins another. It gets new addresses; sockets bound to the old
   * ones are lost, sockets bound to the wildcard live on.
   */
  moveTo(attachment: Attachment, options: Omit<InterfaceOptions, 'behind'> = {}): void {
    const nic = this.#nic(options.name)
    const index = this.#routing.nics.indexOf(nic)
    this.#detach(nic)
    this.#attach({ ...options, name: nic.name, behind: attachment }, index)
    this.#changed()
  }

  /** Another interface, after those that are there. Returns its name. */
  addInterface(options: InterfaceOptions = {}): string {
    const name = this.#attach(options)
    this.#changed()
    return name
  }

  /** Takes an interface away, the first by default. */
  removeInterface(name?: string): void {
    this.#detach(this.#nic(name))
    this.#changed()
  }

  /** The host sleeps: timers wait, packets to it are lost, and when it wakes its clock has jumped. */
  suspend(milliseconds: number): void {
    if (!(milliseconds >= 0)) throw new RangeError(`suspend: not a duration: ${milliseconds}`)
    this.#sleeper.asleepUntil = Math.max(this.#sleeper.asleepUntil, this.#world.scheduler.now + milliseconds)
  }

  async bind(options: BindOptions): Promise<DatagramSocket> {
    return this.bindNow(options)
  }

  async listen(options: ListenOptions, accept: (stream: Stream) => void): Promise<StreamListener> {
    return this.listenNow(options, accept)
  }

  /** @internal `bind` for services that have to be there before anybody can ask */
  bindNow(options: BindOptions): DatagramSocket {
    const membership = options.multicast === undefined ? undefined : membershipOn(this.#list(), options.family, options.multicast)
    const local = this.#local(options, (candidate) => this.#sockets.free(candidate, membership !== undefined && options.port !== 0))
    const socket = new LabSocket(this.#owner, local, membership)
    this.#sockets.add(socket)
    return socket
  }

  /** @internal */
  listenNow(options: ListenOptions, accept: (stream: Stream) => void): StreamListener {
    const local = this.#local(options, (candidate) => this.#tcp.free(candidate))
    return this.#tcp.listen(local, accept)
  }

  #later(milliseconds: number, callback: () => void): void {
    this.clock.wake(this.#world.scheduler.now + milliseconds, callback)
  }

  /** `nic` is undefined for what the host sends to itself. */
  #arrive(packet: Packet, nic: Nic | undefined): void {
    // A zone is the receiver's name for its own interface, RFC 4007 6.
    if (packet.from.zone !== '' && nic !== undefined) packet.from = Address.of(`${packet.from.ip}%${nic.name}`, packet.from.port)
    if (packet.to.scope === 'multicast') {
      this.#arriveAtGroup(packet, nic)
      return
    }
    const socket = packet.protocol === 'udp' ? this.#sockets.find(packet.to) : undefined
    const reason = this.#refuses(packet, nic, socket)
    const { scheduler, trace } = this.#world
    if (reason !== undefined) {
      trace.drop(this.#device, packet, reason)
      return
    }
    trace.note(this.#device, packet, 'receive')
    scheduler.touched = true
    if (socket === undefined) this.#tcp.arrive(packet)
    else socket.deliver(packet)
  }

  #arriveAtGroup(packet: Packet, nic: Nic | undefined): void {
    const { scheduler, trace } = this.#world
    const sockets = packet.protocol === 'udp' ? this.#sockets.hearing(packet.to, nic?.name ?? LOOPBACK).filter((one) => one.listening) : []
    const reason = this.#refuses(packet, nic, sockets[0])
    if (reason !== undefined) {
      trace.drop(this.#device, packet, reason)
      return
    }
    trace.note(this.#device, packet, 'receive')
    scheduler.touched = true
    // What a socket is given is its own.
    for (const [index, socket] of sockets.entries()) socket.deliver(index === 0 ? packet : packet.clone())
  }

  #refuses(packet: Packet, nic: Nic | undefined, socket: LabSocket | undefined): DropReason | undefined {
    const { now } = this.#world.scheduler
    if (this.#sleeper.asleepUntil > now) return 'suspended'
    if (packet.to.scope !== 'multicast' && !this.#routing.has(packet.to.ip)) return 'gone'
    if (nic !== undefined && this.#firewall?.inbound(packet, now) === false) return 'firewall'
    return packet.protocol === 'udp' && socket?.listening !== true ? 'no-socket' : undefined
  }

  #transmit(packet: Packet, membership: Membership | undefined): SendFailure | undefined {
    const { from, to } = packet
    if (to.port === 0) return 'EINVAL'
    if (packet.data.length > (to.family === 4 ? 65_507 : 65_527)) return 'EMSGSIZE'
    if (membership === undefined || to.scope !== 'multicast') return this.#send(packet, this.#routing.route(from, to))
    const route = this.#routing.groupRoute(from, to, membership.link)
    // Members on the sending host hear it, too (IP_MULTICAST_LOOP, RFC 1112 6.1).
    if (typeof route === 'object' && route.nic !== undefined) this.#echo(packet, route.from, route.nic)
    return this.#send(packet, route)
  }

  #echo(packet: Packet, from: Address, nic: Nic): void {
    const { scheduler } = this.#world
    if (this.#sleeper.asleepUntil > scheduler.now) return
    if (!this.#sockets.hearing(packet.to, nic.name).some((socket) => socket.membership !== undefined)) return
    const own = packet.clone()
    own.from = from
    scheduler.schedule(new Callback(scheduler, this.#sleeper, () => this.#arriveAtGroup(own, nic)), scheduler.now + LOOPBACK_DELAY)
  }

  #send(packet: Packet, route: Route | SendFailure): SendFailure | undefined {
    const { scheduler, trace } = this.#world
    if (this.#sleeper.asleepUntil > scheduler.now) return undefined
    if (typeof route === 'string') return route
    packet.from = route.from
    const verdict = this.#world.judge(this.name, packet)
    if (typeof verdict === 'object' && 'fail' in verdict) return verdict.fail
    trace.note(this.#device, packet, 'send')
    if (verdict === 'drop') {
      trace.drop(this.#device, packet, 'fault')
      return undefined
    }
    if (route.nic === undefined) {
      scheduler.schedule(new Callback(scheduler, this.#sleeper, () => this.#arrive(packet, undefined)), scheduler.now + LOOPBACK_DELAY)
      return undefined
    }
    const { nic } = route
    this.#firewall?.outbound(packet, scheduler.now)
    if (typeof verdict === 'object' && 'delay' in verdict) {
      scheduler.schedule(new Callback(scheduler, awake, () => nic.send(packet)), scheduler.now + verdict.delay)
      return undefined
    }
    if (typeof verdict === 'object') for (let i = 0; i < verdict.duplicate; i++) nic.send(packet.clone())
    nic.send(packet)
    return undefined
  }

  #local({ family, ip, port = 0, buffer = 1 }: BindOptions, free: (candidate: Address) => boolean): Address {
    if (family !== 4 && family !== 6) throw new TypeError(`family: must be 4 or 6, not ${String(family)}`)
    if (!Number.isInteger(port) || port < 0 || port > 0xffff) throw new RangeError(`port: must be an integer from 0 to 65535, not ${port}`)
    if (!Number.isSafeInteger(buffer) || buffer < 1) throw new RangeError(`buffer: must be a positive number of bytes, not ${buffer}`)
    const address = ip === undefined ? Address.any(family) : Address.tryOf(ip, 0)
    if (address === undefined || address.family !== family) throw refusal('EINVAL', `${ip} is not an IPv${family} address`)
    if (address.scope !== 'unspecified' && !this.#routing.hasExactly(address)) {
      throw refusal('EADDRNOTAVAIL', `${address.ip} is not an address of ${this.name}`)
    }
    if (port !== 0) {
      const wanted = address.withPort(port)
      if (free(wanted)) return wanted
      throw refusal('EADDRINUSE', `${wanted} is taken on ${this.name}`)
    }
    // The range that Linux draws from by default.
    const start = this.#ports.below(28_232)
    for (let i = 0; i < 28_232; i++) {
      const candidate = address.withPort(32_768 + ((start + i) % 28_232))
      if (free(candidate)) return candidate
    }
    throw refusal('EADDRINUSE', `no port is free on ${this.name}`)
  }

  #nic(name: string | undefined): Nic {
    const { nics } = this.#routing
    const nic = name === undefined ? nics[0] : nics.find((one) => one.name === name)
    if (nic === undefined) throw new RangeError(`${this.name} has no interface ${name ?? 'at all'}`)
    return nic
  }

  #attach(options: InterfaceOptions, index: number = this.#routing.nics.length): string {
    const { behind = this.#plan.internet } = options
    const segment = behind instanceof Router ? behind.lan : behind
    const name = options.name ?? `eth${this.#named++}`
    if (name === LOOPBACK || this.#routing.nics.some((nic) => nic.name === name))
      throw new RangeError(`${this.name}: the interface name ${name} is taken`)
    const base = segment.public ? this.#plan.accessLink : { delay: LAN_DELAY }
    const nic = new Nic(this.#world, this.#device, name, segment, { ...base, ...options.link })
    const families = options.families ?? segment.families
    const given =
      options.addresses?.map((entry) => (typeof entry === 'string' ? { ip: entry } : entry)) ??
      families.map((family) => ({ ip: segment.allocate(family).ip }))
    for (const { ip, temporary = false, deprecated = false } of given as readonly AddressOptions[]) {
      const address = Address.of(ip, 0)
      segment.claim(address, nic)
      const range = segment.range(address.family)
      const prefixLength = range?.contains(address) === true ? range.length : address.family === 4 ? 32 : 64
      nic.addresses.push({ address, prefixLength, temporary, deprecated })
    }
    if (families.includes(6) && !segment.public && given.every(({ ip }) => Address.of(ip, 0).scope !== 'link-local')) {
      const address = this.#world.linkLocalAddress(name)
      segment.claim(address, nic)
      nic.addresses.push({ address, prefixLength: 64, temporary: false, deprecated: false })
    }
    this.#routing.add(nic, index)
    return name
  }

  #detach(nic: Nic): void {
    nic.detach()
    this.#routing.remove(nic)
    const gone = new Set(nic.addresses.map(({ address }) => address.ip))
    for (const socket of this.#sockets.on(gone)) socket.lose(new Error(`${socket.local.ip} left ${this.name}`))
    this.#tcp.lose(gone)
  }

  #list(): InterfaceAddress[] {
    const loopback = this.#routing.loopback.map((address) => {
      return { name: LOOPBACK, address, prefixLength: address.family === 4 ? 8 : 128, internal: true, temporary: false, deprecated: false }
    })
    const others = this.#routing.nics.flatMap((nic) => nic.addresses.map((entry) => ({ name: nic.name, ...entry, internal: false })))
    return [...loopback, ...others]
  }

  #watch(changed: () => void): () => void {
    // One object per call: the same function may watch twice.
    const watcher = (): void => changed()
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  #changed(): void {
    for (const watcher of this.#watchers) this.#later(0, () => this.#watchers.has(watcher) && watcher())
  }

  #defaultRoutes(): DefaultRoute[] {
    const routes: DefaultRoute[] = []
    for (const { name, segment, addresses } of this.#routing.nics) {
      for (const family of [4, 6] as const) {
        if (!addresses.some(({ address }) => address.family === family && address.scope !== 'link-local')) continue
        const router = segment.gateway?.inner.device
        if (router instanceof Router) routes.push({ family, name, gateway: router.gatewayAddress(family) })
        else if (segment.public) routes.push({ family, name, gateway: undefined })
      }
    }
    return routes
  }
}
