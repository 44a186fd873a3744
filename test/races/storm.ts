/**
 * One schedule, done to whole sessions on the virtual internet, and what has to hold meanwhile and afterwards. Nothing here knows how the
 * library comes to its results; what it knows is when two peers can reach each other, and what they owe their users.
 */
import { Demultiplexer } from '../../src/demultiplexer.ts'
import { createTraversal, type Path, type Session, type Signal, type Traversal } from '../../src/index.ts'
import { createLab, type Lab, type LabHost, nat, type Router, type Segment } from '../../src/lab/index.ts'
import { Address, type DatagramSocket } from '../../src/net/index.ts'
import { createStunServer } from '../../src/stun/index.ts'
import { NOTHING_LEFT } from '../traversal/counting-network.ts'
import { Ledger } from './ledger.ts'
import { credentialsOf, isBinding, RelayStation } from './relay-station.ts'
import { type Action, leadsOut, type Place, type RelayAction, type Relays, type Schedule, type SignalFate, type World } from './schedule.ts'
import { WatchedNetwork } from './watched-network.ts'

/** A rule that did not hold. */
export class Broken extends Error {
  override readonly name = 'Broken'
}

/** A host with its traversal. */
interface Station {
  readonly name: string
  readonly host: LabHost
  readonly network: WatchedNetwork
  readonly traversal: Traversal
  /** Where it may go, so that the two can always reach each other. */
  readonly places: readonly Place[]
  /** Where it is, by interface. */
  readonly homes: Home[]
  /** It knows of the relays. */
  readonly relayed: boolean
}

interface Home {
  readonly place: Place
  readonly network: Router | Segment
}

/** One end of a session. */
interface End {
  readonly link: number
  readonly side: number
  readonly station: Station
  readonly peer: string
  /** Undefined until it is connected for the first time. */
  session: Session | undefined
  /** The last signal: its credentials, and those that it takes the peer to have. */
  said: Signal | undefined
  error: Error | undefined
  /** Nothing has told of a path since the last one was lost. */
  pathless: boolean
  /** It has been connected since it was opened, so it goes on trying without an end. */
  persistent: boolean
}

type Link = readonly [End, End]

/** Milliseconds: consent 30 s, then 1 s, then patience of 39.5 s for the one and once more for the other; twice. */
const CALM_MOST = 300_000
/** The same with relays: a client of theirs waits for up to 60 s between attempts, or 300 s after refusals. */
const CALM_MOST_RELAYED = 900_000
const POLL = 500
/** A NAT that forgot everything is noticed when consent has run out, or by the next question to the STUN server. */
const UNNOTICED = 35_000
const MISSING = 'did not arrive, though all agree'
/** The last generation is kept for 5 s after the new one has a path. */
const SETTLED = 6_000
/** For an end that a late goodbye sent idle, or whose patience ran out over the storm, while another session has the addresses. */
const GRACE = 10_000
/** Timers or datagrams of one station, more than any schedule comes to. */
const SPINNING = 20_000
/** Datagrams of one station within `SETTLED`, when all is well: two consents, some spares, a few last checks. */
const BUSY = 400
/** And so many more for each allocation that is made: eight new pairs get ten checks each, in each of two sessions. */
const BUSY_WITH_ALLOCATION = 160
/** Milliseconds after the storm within which an allocation may be made that was asked for in it, by an address that is gone. */
const ASKED = 2_000
/** Milliseconds after which an allocation is gone of which its client knows nothing any more (RFC 8656 3.2), and some. */
const FORGOTTEN = 601_000

const USUAL: SignalFate = { delay: 40, copies: 1, doubled: false }
const ANYWHERE: readonly Place[] = ['public', 'port-restricted', 'restricted', 'cone']
const ANYWHERE_RELAYED: readonly Place[] = ['symmetric', 'port-restricted', 'public', 'cone']
const ANYWHERE_STREAMED: readonly Place[] = ['symmetric', 'walled', 'public', 'port-restricted']

const NATS = {
  cone: nat.fullCone,
  restricted: nat.addressRestricted,
  'port-restricted': nat.portRestricted,
  symmetric: nat.symmetricRandom,
  walled: nat.portRestricted,
} as const

/** Those that were given anything in the schedule that runs; a traversal does not show its own. */
const demultiplexers = new Set<Demultiplexer>()
const { addUfrag } = Demultiplexer.prototype
Demultiplexer.prototype.addUfrag = function (...given): void {
  demultiplexers.add(this)
  addUfrag.apply(this, given)
}

/** Resolves when everything held. @throws Broken, or whatever was thrown inside */
export async function storm({ world, steps }: Schedule): Promise<void> {
  demultiplexers.clear()
  const run = await Storm.of(world)
  try {
    for (const { after, action } of steps) {
      await run.pass(after)
      if ('relay' in action) run.actOnRelay(action)
      else run.act(action)
    }
    await run.calm()
    await run.settle()
    if (world.ending === 'restarts') await run.restartUnderTraffic()
    await run.close()
    await run.closeRelays()
  } catch (error) {
    await run.abandon()
    throw error
  }
}

class Storm {
  readonly #world: World
  readonly #lab: Lab
  readonly #ledger = new Ledger()
  readonly #stun: string
  readonly #stations: readonly Station[]
  readonly #links: readonly Link[]
  readonly #relays: RelayStation[] = []
  #stranger: DatagramSocket | undefined
  #routers = 0
  #signals = 0
  #packets = 0
  /** A NAT forgot its mappings, or a relay its allocations, which nobody is told. */
  #forgotten = false
  /** The storm is over. */
  #calm = false
  /** When all that it had put off was over, too. */
  #calmAt = 0
  /** When everything that was put off is over. */
  #quietAt = 0
  #broken: string | undefined

  static async of(world: World): Promise<Storm> {
    const lab = createLab({ seed: world.seed })
    const server = lab.host('stun')
    // A relay serves STUN, too.
    if (world.relays?.beside !== true) await createStunServer({ network: server })
    const run = new Storm(world, lab, server.addresses[0]?.ip ?? '')
    await run.#openRelays(server)
    await run.#open()
    return run
  }

  private constructor(world: World, lab: Lab, stun: string) {
    this.#world = world
    this.#lab = lab
    this.#stun = stun
    this.#stations = []
    this.#links = []
  }

  async #openRelays(server: LabHost): Promise<void> {
    const { relays } = this.#world
    for (let n = 0; n < (relays?.count ?? 0); n++) {
      const host = relays?.beside === true && n === 0 ? server : this.#lab.host(`relay${n}`)
      const network = new WatchedNetwork(host, (data, from) => this.#ledger.arrive(data, from.key))
      network.mostWakes = SPINNING
      const broken = (what: string): void => void (this.#broken ??= what)
      const relay = new RelayStation({ lab: this.#lab, host, relays: relays as Relays, network, broken })
      await relay.open()
      this.#relays.push(relay)
    }
  }

  /** Where the second side may go, given where the first one may: without relays they have to reach each other from everywhere. */
  #placesOf(side: 0 | 1): readonly Place[] {
    const { relays, places } = this.#world
    if (relays !== undefined) return leadsOut(relays) ? ANYWHERE_STREAMED : ANYWHERE_RELAYED
    if (places[0] !== 'symmetric') return ANYWHERE
    return side === 0 ? ['symmetric'] : ['public', 'cone']
  }

  async #open(): Promise<void> {
    const { places, homes, together, other, late } = this.#world
    const [placeA, placeB] = places
    const a = await this.#station('a', placeA, homes[0], this.#placesOf(0))
    const besideA = together && placeA !== 'symmetric' && placeA !== 'walled' ? a.homes[0] : undefined
    const b = await this.#station('b', placeB, homes[1], this.#placesOf(1), besideA)
    this.#join(a, b)
    if (other === 'twin') this.#join(a, b)
    if (other === 'third') this.#join(a, await this.#station('c', 'public', 1, ['public']))
    this.#lab.filter((packet) => {
      const { host, data, protocol } = packet
      const binding = isBinding(packet, { name: 'stun', ip: this.#stun })
      if (this.#relays.some((relay) => relay.swallows(packet, binding))) return 'drop'
      if (host === 'stun' && binding) return this.#world.stun > 0 ? { delay: this.#world.stun } : undefined
      if (this.#calm) return this.#world.ending === 'parted' && !binding ? 'drop' : undefined
      const fates = this.#world.packets
      const fate = fates[this.#packets++ % fates.length] ?? 'pass'
      if (fate === 'twice') this.#ledger.double(data)
      // What a stream lost comes again later.
      if ((typeof fate === 'number' || protocol === 'tcp') && this.#world.other === 'twin') this.#ledger.holdBack(data)
      return typeof fate === 'number' ? { delay: fate } : fate === 'twice' ? { duplicate: 1 } : fate
    })
    for (const [first, second] of this.#links) {
      this.#connect(first)
      if (late === 0) this.#connect(second)
      else this.#later(late, () => this.#connect(second))
    }
  }

  async #station(name: string, place: Place, count: number, places: readonly Place[], beside?: Home): Promise<Station> {
    const homes = [beside ?? this.#home(place)]
    const host = this.#lab.host(name, { behind: (homes[0] as Home).network })
    for (let n = 1; n < count; n++) {
      const home = this.#home(place)
      homes.push(home)
      host.addInterface({ behind: home.network })
    }
    const network = new WatchedNetwork(host, (data, from) => this.#ledger.arrive(data, from.key))
    network.mostWakes = SPINNING
    const { relays } = this.#world
    const relayed = relays !== undefined && !(relays.oneSided && name !== 'a')
    const servers = [`stun:${this.#stun}`, ...(relayed ? this.#relays.map(({ uri }) => uri) : [])]
    const credentials = relayed ? { credentials: credentialsOf(name, relays, this.#lab, () => this.#calm) } : {}
    const traversal = await createTraversal({ network, servers, ...credentials })
    const station = { name, host, network, traversal, places, homes, relayed }
    ;(this.#stations as Station[]).push(station)
    return station
  }

  #home(place: Place): Home {
    if (place === 'public') return { place, network: this.#lab.internet }
    const blockUdp = place === 'walled'
    return { place, network: this.#lab.router(`router${++this.#routers}`, { nat: NATS[place], blockUdp }) }
  }

  #addHome({ host, homes }: Station, place: Place): void {
    const home = this.#home(place)
    homes.push(home)
    host.addInterface({ behind: home.network })
  }

  #join(a: Station, b: Station): void {
    const link = this.#links.length
    const end = (station: Station, side: number, other: Station): End => {
      return {
        link,
        side,
        station,
        peer: `${other.name}${link}`,
        session: undefined,
        said: undefined,
        error: undefined,
        pathless: true,
        persistent: false,
      }
    }
    ;(this.#links as Link[]).push([end(a, 0, b), end(b, 1, a)])
  }

  // ── the storm ──

  async pass(milliseconds: number): Promise<void> {
    await this.#lab.run(milliseconds)
    this.#check()
  }

  actOnRelay(action: RelayAction): void {
    const relay = pickOf(this.#relays, action.relay)
    this.#quietFrom(relay.act(action))
    if (action.do === 'die' || action.do === 'renew') this.#forgotten = true
  }

  act(action: Exclude<Action, RelayAction>): void {
    const link = this.#links[action.link % this.#links.length] as Link
    const end = link[action.side] as End
    const { station, session } = end
    const { host, network } = station
    switch (action.do) {
      case 'connect':
        this.#connect(end)
        return
      case 'restart':
        session?.restart()
        return
      case 'close':
        void session?.close()
        return
      case 'send':
        for (let n = 0; n < action.count; n++) this.#send(end)
        return
      case 'raw':
        for (let n = 0; n < action.count; n++) this.#sendRaw(end, action.pick)
        return
      case 'replay': {
        const again = network.sent.at(-1 - 3 * action.pick)
        if (again === undefined) return
        this.#ledger.replay(again.data)
        pickOf([...network.sockets], action.pick)?.send(again.data, again.to)
        return
      }
      case 'stray':
        void this.#stray(end, link[1 - action.side] as End, action.pick)
        return
      case 'move':
        if (host.addresses.length === 0) this.#addHome(station, pickOf(station.places, action.place))
        else {
          const home = this.#home(pickOf(station.places, action.place))
          station.homes[0] = home
          host.moveTo(home.network)
        }
        return
      case 'add':
        if (host.addresses.length < 2) this.#addHome(station, pickOf(station.places, action.place))
        return
      case 'remove':
        if (host.addresses.length === 0) return
        station.homes.shift()
        host.removeInterface()
        return
      case 'reboot':
        host.routers[0]?.reboot({ renumber: action.renumber, downFor: action.downFor })
        this.#quietFrom(action.downFor)
        this.#forgotten = true
        return
      case 'sleep':
        host.suspend(action.for)
        this.#quietFrom(action.for)
        return
      case 'outage':
        if (host.addresses.length === 0) return
        host.link.set({ loss: 1 })
        this.#later(action.for, () => host.addresses.length > 0 && host.link.set({ loss: 0 }))
    }
  }

  #later(milliseconds: number, callback: () => void): void {
    this.#quietFrom(milliseconds)
    this.#lab.after(milliseconds, callback)
  }

  #quietFrom(milliseconds: number): void {
    this.#quietAt = Math.max(this.#quietAt, this.#lab.clock.now() + milliseconds)
  }

  #connect(end: End): void {
    const session = end.station.traversal.connect({ peer: end.peer })
    if (end.session === session) return
    if (end.session !== undefined) this.#fail(end, 'another session than before for the same peer')
    end.session = session
    session.on('signal', (signal) => this.#carry(end, signal))
    session.on('error', (error) => {
      end.error = error
      if (!('code' in error)) this.#fail(end, `an error of the library's own: ${error.stack}`)
    })
    session.on('state', (state) => {
      if (state === 'idle' || state === 'closed') end.persistent = false
      if (state !== 'connected') end.pathless = true
      else if (!end.pathless) this.#fail(end, 'connected while it was connected')
    })
    session.on('path', (path) => this.#pathOf(end, session, path))
    session.on('message', (data) => this.#receive(end, session, data))
  }

  #carry(end: End, signal: Signal): void {
    end.said = signal
    const fates = this.#calm ? [] : this.#world.signals
    const { delay, copies, doubled } = fates[this.#signals++ % fates.length] ?? USUAL
    const to = (this.#links[end.link] as Link)[1 - end.side] as End
    const text = JSON.stringify(asCarried(signal, this.#world.roles, doubled))
    for (let n = 1; n <= copies; n++) {
      this.#quietFrom(n * delay)
      // By the receiver's clock: who sleeps hears it on waking.
      to.station.host.clock.wake(this.#lab.clock.now() + n * delay, () => {
        if (to.session === undefined) return
        const { state } = to.session
        if (!to.session.signal(JSON.parse(text) as Signal) && state !== 'closed') this.#fail(to, 'a signal was refused')
      })
    }
  }

  #send(end: End): void {
    if (end.session === undefined || end.session.state === 'closed') return
    end.session.send(this.#ledger.write(end.link, end.side, this.#lab.clock.now()))
  }

  /** On any valid pair that is not over a relay of ours, whatever the session would choose. */
  #sendRaw(end: End, pick: number): void {
    // Of an attempt that is over, it would be the last report.
    if (end.session?.state !== 'connected') return
    const pair = pickOf(
      end.session.explain().pairs.filter(({ valid }) => valid),
      pick,
    )
    if (pair === undefined || pair.local.type === 'relay') return
    const sockets = [...end.station.network.sockets]
    // A pair shows what the peer sees; our candidates tell which socket is behind that.
    const line = end.said?.candidates.find((candidate) => candidate.includes(` ${pair.local.address.replace(':', ' ')} `))
    const base =
      / raddr (\S+) rport (\d+)/
        .exec(line ?? '')
        ?.slice(1)
        .join(':') ?? pair.local.address
    const socket = sockets.length === 1 ? sockets[0] : sockets.find(({ local }) => local.key === base)
    if (socket === undefined) return
    const [ip = '', port = ''] = pair.remote.address.split(':')
    socket.send(this.#ledger.write(end.link, end.side, this.#lab.clock.now()), Address.of(ip, Number(port)))
  }

  /** Somebody else sends to it: data, and what its peer once sent to somebody. */
  async #stray(end: End, peer: End, pick: number): Promise<void> {
    if (this.#stranger === undefined) {
      this.#stranger = await this.#lab.host('stranger').bind({ family: 4 })
      this.#stranger.handle({ datagram() {}, sendFailed() {}, drained() {}, lost() {} })
    }
    const again = peer.station.network.sent.at(-1 - 3 * pick)
    for (const line of end.said?.candidates ?? []) {
      const [, , , , ip = '', port = ''] = line.split(' ')
      const to = Address.of(ip, Number(port))
      this.#stranger.send(this.#ledger.stray(), to)
      if (again !== undefined) this.#stranger.send(again.data, to)
    }
  }

  // ── what has to hold at any time ──

  #fail({ link, side }: Pick<End, 'link' | 'side'>, what: string): void {
    this.#broken ??= `${link === 0 ? '' : 'second session, '}${'ab'[side]} at ${this.#lab.clock.now().toFixed(1)} ms: ${what}`
  }

  #check(): void {
    for (const end of this.#links.flat()) {
      if (end.session?.state === 'connected' && end.pathless) this.#fail(end, 'connected, and no path was told')
      if (end.session?.state !== 'connected' && end.session?.path !== undefined) this.#fail(end, 'a path, and not connected')
    }
    for (const { name, network } of [...this.#stations, ...this.#relays]) {
      if (network.sends > SPINNING) this.#broken ??= `${name} sends without end`
    }
    if (this.#broken !== undefined) throw new Broken(this.#broken)
  }

  #pathOf(end: End, session: Session, path: Path): void {
    end.pathless = false
    end.persistent = true
    if (session.state !== 'connected') this.#fail(end, `a path in state ${session.state}`)
    for (const other of this.#links.flat()) {
      if (other.link === end.link || other.station !== end.station || other.session?.path === undefined) continue
      if (pathText(other.session.path) === pathText(path)) this.#fail(end, `two sessions on one pair of addresses: ${pathText(path)}`)
    }
  }

  #receive(end: End, session: Session, data: Uint8Array): void {
    const outcome = this.#ledger.receive(data, end.link, end.side)
    if ('wrong' in outcome) this.#fail(end, outcome.wrong)
    else if (end.pathless) this.#fail(end, 'data before a path')
    else if (!this.#calm && !session.explain().pairs.some(({ valid, remote }) => valid && this.#mayBeFrom(remote.address, outcome.from))) {
      this.#fail(end, `data from ${[...outcome.from].join(' or ')}, which is no valid pair`)
    }
  }

  /** What goes between two allocations of one relay never leaves it, so nobody sees where it comes from. */
  #mayBeFrom(address: string, from: ReadonlySet<string>): boolean {
    return from.has(address) || (from.size === 0 && this.#relays.some(({ ip }) => address.startsWith(`${ip}:`)))
  }

  // ── what has to come in the end ──

  /** Nothing more goes wrong, and both sides want the session. */
  async calm(): Promise<void> {
    this.#calm = true
    for (const station of this.#stations) {
      const { host, places } = station
      if (host.addresses.length === 0) this.#addHome(station, pickOf(places, 0))
      host.link.set({ loss: 0 })
    }
    await this.pass(Math.max(0, this.#quietAt - this.#lab.clock.now()))
    this.#calmAt = this.#lab.clock.now()
    for (const end of this.#links.flat()) {
      end.error = undefined
      this.#connect(end)
    }
  }

  /** All sessions end as they should, and stay so. */
  async settle(): Promise<void> {
    const began = this.#lab.clock.now()
    const unsettled = (): string | undefined => this.#links.map((link) => this.#unsettled(link)).find((text) => text !== undefined)
    for (;;) {
      await this.pass(POLL)
      let why = unsettled()
      if (why === undefined) {
        const before = this.#stations.map(({ network }) => network.sends)
        // Their pairs get most of their checks within three seconds.
        const since = this.#lab.clock.now() - 3_000
        await this.pass(SETTLED)
        const made = this.#relays.reduce((sum, relay) => sum + relay.madeSince(since), 0)
        this.#stations.forEach(({ name, network }, i) => {
          if (network.sends - (before[i] ?? 0) > BUSY + made * BUSY_WITH_ALLOCATION)
            throw new Broken(`${name} sends and sends, with nothing to do`)
        })
        why = unsettled()
        why ??= await this.#missingData()
        if (why === undefined) break
        if (why.startsWith(MISSING) && !(this.#forgotten && this.#lab.clock.now() - began < UNNOTICED)) throw new Broken(why)
      }
      const passed = this.#lab.clock.now() - began
      const most = this.#world.relays === undefined ? CALM_MOST : CALM_MOST_RELAYED
      if (passed > most) throw new Broken(`${why}, ${most / 1_000} s after the storm`)
      if (this.#world.ending !== 'parted') this.#askAgain(passed)
    }
    await this.#expectPromises()
  }

  /** A user that still wants a session asks for it again. Where two of them compete for one pair of addresses, one has to lose. */
  #askAgain(passed: number): void {
    for (const link of this.#links) {
      if (!this.#isReachable(link)) continue
      const rivals = this.#links.filter((other) => other !== link).flat()
      const lost = this.#world.other === 'twin' && passed > GRACE && rivals.some(({ session }) => session?.state === 'connected')
      if (!lost) for (const end of link) if (end.session?.state === 'idle') this.#connect(end)
    }
  }

  /** Why a session has not come to its end yet; undefined when it has. */
  #unsettled(link: Link): string | undefined {
    if (this.#world.ending === 'parted') return isFailed(link) ? undefined : `not failed on both sides: ${states(link)}`
    const twin = this.#world.other === 'twin'
    const others = this.#links.filter((other) => other !== link)
    if (twin && isFailed(link) && others.some((other) => disagreement(other) === undefined)) return undefined
    if (isFailed(link) && !this.#isReachable(link)) return undefined
    // Of two sessions between the same two hosts, one may have the only addresses that allow it.
    return disagreement(link) ?? (twin ? undefined : this.#detour(link))
  }

  /** Why a path over a relay is not what it should come to; undefined when it is. */
  #detour(link: Link): string | undefined {
    const [{ session, station }, { station: other }] = link
    if (session?.path?.kind !== 'relay' || !isDirect(station, other)) return undefined
    return `over a relay, though the places allow a direct path: ${pathText(session.path)}`
  }

  /** Whether the two have to find each other: directly, or over a relay that gives allocations to one of them. */
  #isReachable([{ station: a }, { station: b }]: Link): boolean {
    if (isDirect(a, b)) return true
    const { relays } = this.#world
    if (relays === undefined || !this.#relays.some(({ reliable }) => reliable)) return false
    // Out of a walled place only the own allocation leads.
    return [a, b].every(({ homes, relayed }) => relayed || homes.some(({ place }) => place !== 'walled')) && (a.relayed || b.relayed)
  }

  async #expectPromises(): Promise<void> {
    const pending = new Set<End>()
    for (const end of this.#links.flat()) {
      pending.add(end)
      // Who goes on trying has nothing to tell yet.
      if (isFailedEnd(end) && end.session?.state === 'connecting') pending.delete(end)
      const settled = (resolved: boolean): void => {
        // As of now: who goes on trying may have found a path at this very moment.
        const connected = end.session?.state === 'connected'
        pending.delete(end)
        if (resolved !== connected) this.#fail(end, `ready ${resolved ? 'resolved' : 'rejected'} in state ${end.session?.state}`)
      }
      end.session?.ready.then(
        () => settled(true),
        () => settled(false),
      )
    }
    await this.pass(0)
    for (const end of pending) this.#fail(end, 'ready does not settle')
    this.#check()
  }

  /** Why not every datagram arrives, though nothing is lost on this network now. */
  async #missingData(): Promise<string | undefined> {
    const first = this.#ledger.size
    for (const end of this.#links.flat()) if (end.session?.state === 'connected') for (let n = 0; n < 2; n++) this.#send(end)
    await this.pass(400)
    const missing = this.#ledger.missing(first)
    this.#check()
    return missing.length > 0 ? `${MISSING}: ${missing.join('; ')}` : undefined
  }

  /** C60, C61: restarts of one side, of both, twice, in the middle of data, of which none may be lost. */
  async restartUnderTraffic(): Promise<void> {
    const first = this.#ledger.size
    const connected = this.#links.flat().filter(({ session }) => session?.state === 'connected')
    for (let n = 0; n < 30; n++) {
      for (const end of connected) {
        if (n < 20 && (this.#world.seed >> (n % 8)) % 8 === end.side) end.session?.restart()
        this.#send(end)
      }
      await this.pass(20)
    }
    await this.pass(400)
    const missing = this.#ledger.missing(first)
    // Where two sessions contested an address, what overtakes its validation is kept for neither.
    if (missing.length > 0 && this.#world.other !== 'twin') throw new Broken(`did not survive restarts: ${missing.join('; ')}`)
    await this.settle()
  }

  // ── what must not be left ──

  async close(): Promise<void> {
    if (this.#world.closing === 'sessions') {
      for (const { session } of this.#links.flat()) await session?.close()
      for (const { size } of demultiplexers) if (size > 0) throw new Broken(`${size} entries are left after all sessions were closed`)
      for (const { name, network, traversal } of this.#stations) {
        // Allocations and servers go on, and what they ask may wait for its slot of the pace at any one moment.
        for (let n = 0; n < 10 && network.timers.size > 1; n++) await this.pass(7)
        const { size } = network.timers
        if (size > 1) throw new Broken(`${name} has ${size} timers left after its sessions were closed`)
        if (traversal.status().sessions > 0) throw new Broken(`${name} has sessions left`)
      }
    }
    await this.abandon()
    for (const { size } of demultiplexers) if (size > 0) throw new Broken(`${size} entries are left after close`)
    const before = this.#stations.map(({ network: { wakes, sends } }) => wakes + sends)
    await this.pass(5_000)
    this.#stations.forEach(({ name, network }, i) => {
      for (const [what, left] of Object.entries(network.left)) {
        if (left !== NOTHING_LEFT[what as keyof typeof NOTHING_LEFT]) throw new Broken(`${name} has ${left} ${what} left after close`)
      }
      if (network.wakes + network.sends !== before[i]) throw new Broken(`${name} does something after close`)
    })
  }

  /** What is left at the relays of clients that have closed, and of the relays themselves. */
  async closeRelays(): Promise<void> {
    for (const relay of this.#relays) {
      // Nothing was lost since then, so each of them was given back.
      const left = this.#world.ending === 'parted' ? undefined : relay.since(this.#calmAt + ASKED)
      if (left !== undefined) throw new Broken(left)
    }
    // What was made in the storm may have been forgotten by who wanted it.
    if (this.#relays.some(({ allocations, connections }) => allocations + connections > 0)) await this.pass(FORGOTTEN)
    for (const { name, allocations } of this.#relays) {
      if (allocations > 0) throw new Broken(`${allocations} allocations are left at ${name} after their time`)
    }
    for (const relay of this.#relays) await relay.close()
    await this.pass(0)
    for (const { name, network } of this.#relays) {
      for (const [what, left] of Object.entries(network.left)) {
        if (left !== NOTHING_LEFT[what as keyof typeof NOTHING_LEFT]) throw new Broken(`${name} has ${left} ${what} left after close`)
      }
    }
  }

  async abandon(): Promise<void> {
    for (const { traversal } of this.#stations) await traversal.close()
  }
}

/** Whether the places allow a direct path, between any of their interfaces. */
function isDirect(a: Station, b: Station): boolean {
  return a.homes.some((one) => b.homes.some((other) => one.network === other.network || doMeet(one.place, other.place)))
}

function doMeet(a: Place, b: Place): boolean {
  if (a === 'walled' || b === 'walled') return false
  if (a !== 'symmetric' && b !== 'symmetric') return true
  return [a, b].some((place) => place === 'public' || place === 'cone')
}

function pickOf<T>(from: readonly T[], pick: number): T {
  return from[pick % from.length] as T
}

/** What becomes of a signal on its way when the two are to start in the same role, or its lines come twice. */
function asCarried(signal: Signal, roles: World['roles'], doubled: boolean): Signal {
  const candidates = doubled ? [...signal.candidates, ...[...signal.candidates].reverse()] : signal.candidates
  if (roles === 'settled') return { ...signal, candidates }
  const { tie: _tie, ...rest } = signal
  return { ...rest, candidates, controlling: roles === 'both controlled' }
}

function isFailed(link: Link): boolean {
  return link.every(isFailedEnd)
}

/** Told its user, or, where there was a path before, tries again and says why the last attempt came to nothing. */
function isFailedEnd({ session, error, persistent }: End): boolean {
  // Told already, and at it once more only because the other one is.
  if (error !== undefined && (session?.state === 'idle' || session?.state === 'connecting')) return true
  return session?.state === 'connecting' && persistent && session.explain().log.some(({ text }) => /^(none of|no pair)/.test(text))
}

function states(link: Link): string {
  return link.map(({ session, error }) => `${session?.state}${error === undefined ? '' : ` (${error.message})`}`).join(' and ')
}

function pathText({ local, remote }: Path): string {
  return `${local.ip}:${local.port} ${remote.ip}:${remote.port}`
}

/** Why the two ends do not have one path in common; undefined when they do. */
function disagreement(link: Link): string | undefined {
  const [a, b] = link
  const [pathA, pathB] = [a.session?.path, b.session?.path]
  if (pathA === undefined || pathB === undefined) return `not connected: ${states(link)}`
  const { local, remote } = pathB
  if (pathText(pathA) !== `${remote.ip}:${remote.port} ${local.ip}:${local.port}`)
    return `${pathText(pathA)} here and ${pathText(pathB)} there`
  if (a.said?.ufrag !== b.said?.for || b.said?.ufrag !== a.said?.for) return 'different generations'
  const explained = link.map(({ session }) => session?.explain())
  if (explained[0]?.role === explained[1]?.role) return `both ${explained[0]?.role}`
  const generations = explained.map((one) => new Set(one?.pairs.map(({ generation }) => generation)).size)
  return generations.every((count) => count === 1) ? undefined : 'generations of the past'
}
