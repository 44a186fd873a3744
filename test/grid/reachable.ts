/**
 * The rule of the grid: whether perfect plain ICE gets a direct path between two hosts of the virtual internet. It is worked out from what
 * stands between them, by a model that has no time, no ports and no loss: every host tries all it knows from all it has, again and again,
 * until nothing new comes of it. What a router does to that is in crossing.ts.
 * Not in the rule, because not in plain ICE: prediction of ports, port mapping, relays. Not in the model: lifetimes, limits, poisoning,
 * hosts with several interfaces or a filter of their own.
 */
import type { LabHost, Router, Segment } from '../../src/lab/index.ts'
import { Crossing, type Endpoint, isV6, keyOf, translates } from './crossing.ts'

/** A Binding request of `side`; its response goes by the same name. */
interface Transaction {
  readonly side: Side
  readonly socket: Endpoint
  readonly asked: Endpoint
}

interface Packet {
  readonly from: Endpoint
  readonly to: Endpoint
  readonly transaction: Transaction
  /** In a response: the source of the request as its receiver saw it. */
  readonly mapped: Endpoint | undefined
}

/** A LAN, or the public internet. */
type Place = Router | Segment | 'internet'

/** Who has an address. */
type Owner = Router | Side | 'server'

interface Side {
  readonly host: LabHost
  readonly place: Place
  readonly sockets: readonly Endpoint[]
  /** Candidates: what the peer is told. */
  readonly offered: Map<string, Endpoint>
  /** Where the peer may be: as told, or as seen (peer-reflexive). */
  readonly known: Map<string, Endpoint>
  /** A check of this side was answered from where it went to (RFC 8445 7.2.5.2.1). */
  valid: boolean
}

/** NATs with a mapping for each peer and an open filter can show new addresses for ever; everything else comes to rest long before. */
const ROUNDS = 12

/** `servers`: IP addresses of STUN servers on the public internet. */
export function canMeet(a: LabHost, b: LabHost, servers: readonly string[]): boolean {
  return new Model([sideOf(a), sideOf(b)], servers).run()
}

class Model {
  readonly #sides: readonly [Side, Side]
  readonly #servers: readonly Endpoint[]
  readonly #owners = new Map<Place, Map<string, Owner>>()
  readonly #crossings = new Map<Router, Crossing>()
  /** Packets on their way out go before packets on their way in: all hosts try at once, and the way between networks is the longest. */
  readonly #rising: { readonly packet: Packet; readonly at: Place }[] = []
  readonly #falling: { readonly packet: Packet; readonly at: Place }[] = []
  #changes = 0

  constructor(sides: readonly [Side, Side], servers: readonly string[]) {
    this.#sides = sides
    this.#servers = servers.map((ip) => ({ ip, port: 'stun' }))
    for (const { ip } of this.#servers) this.#own('internet', ip, 'server')
    for (const side of sides) this.#put(side)
  }

  run(): boolean {
    const [a, b] = this.#sides
    for (const side of this.#sides) this.#try(side, this.#servers)
    this.#carry()
    for (const [key, endpoint] of a.offered) b.known.set(key, endpoint)
    for (const [key, endpoint] of b.offered) a.known.set(key, endpoint)
    for (let round = 0; round < ROUNDS; round++) {
      const before = this.#changes
      for (const side of this.#sides) this.#try(side, [...side.known.values()])
      this.#carry()
      if (a.valid && b.valid) return true
      if (this.#changes === before) return false
    }
    return false
  }

  /** Notes who is where: the host on its LAN, and on the far side of routers that only route; the routers by their outer addresses. */
  #put(side: Side): void {
    for (const { ip } of side.sockets) {
      this.#own(side.place, ip, side)
      for (const router of side.host.routers) {
        if (translates(router, ip)) break
        this.#own(router.behind ?? 'internet', ip, router)
      }
    }
    for (const router of side.host.routers) {
      for (const { ip } of router.addresses) this.#own(router.behind ?? 'internet', ip, router)
      if (!this.#crossings.has(router)) this.#crossings.set(router, new Crossing(router, () => this.#changes++))
    }
  }

  #own(at: Place, ip: string, owner: Owner): void {
    const owners = this.#owners.get(at) ?? new Map<string, Owner>()
    this.#owners.set(at, owners.set(ip, owner))
  }

  #try(side: Side, remotes: readonly Endpoint[]): void {
    for (const socket of side.sockets) {
      for (const to of remotes) {
        if (isV6(socket.ip) === isV6(to.ip))
          this.#send(side, { from: socket, to, transaction: { side, socket, asked: to }, mapped: undefined })
      }
    }
  }

  #send(side: Side, packet: Packet): void {
    // What goes to an address of one's own does not leave: homes are often numbered alike.
    if (!side.sockets.some(({ ip }) => ip === packet.to.ip)) this.#rising.push({ packet, at: side.place })
  }

  #carry(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) this.#step(next.packet, next.at)
  }

  #next(): { readonly packet: Packet; readonly at: Place } | undefined {
    return this.#rising.shift() ?? this.#falling.shift()
  }

  #step(packet: Packet, at: Place): void {
    const owner = this.#owners.get(at)?.get(packet.to.ip)
    if (owner === 'server') this.#falling.push({ packet: responseTo(packet), at })
    else if (owner !== undefined && 'sockets' in owner) this.#arrive(packet, owner)
    else if (owner !== undefined) this.#enter(packet, owner)
    else if (at !== 'internet' && 'nat' in at) this.#leave(packet, at)
  }

  #leave(packet: Packet, router: Router): void {
    const crossing = this.#crossings.get(router) as Crossing
    const from = crossing.outward(packet.from, packet.to)
    if (from === undefined) return
    if (crossing.isOwn(packet.to)) this.#enter({ ...packet, from }, router)
    else this.#rising.push({ packet: { ...packet, from }, at: router.behind ?? 'internet' })
  }

  #enter(packet: Packet, router: Router): void {
    const to = this.#crossings.get(router)?.inward(packet.to, packet.from)
    if (to !== undefined) this.#falling.push({ packet: { ...packet, to }, at: router })
  }

  #arrive(packet: Packet, side: Side): void {
    const { from, to, transaction, mapped } = packet
    const socket = side.sockets.find((one) => keyOf(one) === keyOf(to))
    if (socket === undefined) return
    if (mapped === undefined) {
      // Of the peer, or of ourselves by a way round: only the former proves itself.
      if (transaction.side === side) return
      this.#learn(side.known, from)
      this.#send(side, responseTo(packet))
    } else if (transaction.side === side && socket === transaction.socket && keyOf(from) === keyOf(transaction.asked)) {
      if (this.#servers.includes(transaction.asked)) this.#learn(side.offered, mapped)
      else side.valid = true
    }
  }

  #learn(endpoints: Map<string, Endpoint>, endpoint: Endpoint): void {
    if (endpoints.has(keyOf(endpoint))) return
    endpoints.set(keyOf(endpoint), endpoint)
    this.#changes++
  }
}

function sideOf(host: LabHost): Side {
  const { behind } = host
  const sockets = host.addresses.map(({ ip }) => ({ ip, port: host.name }))
  const place = behind === undefined || ('public' in behind && behind.public) ? 'internet' : behind
  return { host, place, sockets, offered: new Map(sockets.map((socket) => [keyOf(socket), socket])), known: new Map(), valid: false }
}

function responseTo({ from, to, transaction }: Packet): Packet {
  return { from: to, to: from, transaction, mapped: from }
}
