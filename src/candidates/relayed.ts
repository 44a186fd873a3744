/**
 * Relayed addresses (RFC 8445 5.1.1.2, RFC 8656): every server that is listed is measured, the nearest get an allocation each, which serves
 * all sessions, and one that dies is replaced by the next at once. How an allocation is had and kept is in relay/client/.
 */
import type { Address, Network, Pacer, Prefix, SendFailure, Timer, Timers } from '../net/index.ts'
import { type Allocation, RelayClient } from '../relay/index.ts'
import { formatServerUri, type ServerUri } from '../stun/index.ts'
import type { Base } from './candidate.ts'

/** Milliseconds between the word that an allocation is given up and its end: what is on its way arrives, and both ends have left it. */
const FAREWELL = 10_000
/** Milliseconds that a way over another relay has to be shorter. */
const WORTHWHILE = 10
/** Milliseconds between looks at whether an allocation too many is out of use. */
const TRIM_INTERVAL = 30_000
/** What a signal may say of distances: so many servers, with names of so many characters. */
const MOST_DISTANCES = 32
const LONGEST_NAME = 256

/** A user name and a password for a relay. */
export interface RelayCredentials {
  readonly username: string
  readonly password: string
  /** Milliseconds since 1970: asked for anew before that. Never, where it is missing. */
  readonly expiresAt?: number
}

/** A relay, by its URI without what is default in it, and the milliseconds there and back. */
export type RelayDistance = readonly [server: string, rtt: number]

export interface RelayServer {
  /** As configured; for reports. */
  readonly text: string
  readonly uri: ServerUri
  /** Resolved, at least one. */
  readonly addresses: readonly Address[]
  readonly credentials: () => Promise<RelayCredentials>
}

/** What one server gave. */
export interface RelayServerStatus {
  /** As configured. */
  readonly server: string
  /** `down`: it gives nothing now, `failure` says why. `reserve`: it answers, nearer ones are in use. */
  readonly state: 'asked' | 'reserve' | 'allocated' | 'down'
  /** Which of them got through. */
  readonly transport: 'udp' | 'tcp' | 'tls' | undefined
  /** Milliseconds to the server and back. */
  readonly rtt: number | undefined
  /** Our addresses there, one for each family. */
  readonly relayed: readonly string[]
  /** Our address as the server sees it. */
  readonly mapped: string | undefined
  readonly failure: string | undefined
}

/** A base at an allocation: what is sent from it leaves from a relay. */
export class RelayBase implements Base {
  readonly kind = 'relay'
  readonly id: number
  readonly address: Address
  readonly links: readonly Prefix[] = []
  readonly rank: number
  readonly hidden = false
  readonly passive = false
  retiringSince: number = Number.POSITIVE_INFINITY
  /** As configured. */
  readonly server: string
  readonly allocation: Allocation

  constructor(id: number, address: Address, rank: number, server: string, allocation: Allocation) {
    this.id = id
    this.address = address
    this.rank = rank
    this.server = server
    this.allocation = allocation
  }

  /** Checks ask to be told of refusals; what does not is the application's, and worth a channel. */
  send(data: Uint8Array, to: Address, report = false): boolean {
    return this.allocation.send(data, to, !report)
  }

  get retiring(): boolean {
    return this.retiringSince < Number.POSITIVE_INFINITY
  }

  expect(to: Address): void {
    this.allocation.expect(to)
  }

  verify(): void {
    this.allocation.verify()
  }
}

export interface RelayOutlet {
  added(base: RelayBase): void
  /** Not to be offered any more: it ends in `FAREWELL`, and until then works. */
  retiring(base: RelayBase): void
  removed(base: RelayBase, reason: string): void
  /** Something carries data over it. */
  inUse(base: RelayBase): boolean
  /** `distances` says more than before. */
  measured(): void
  /** What `status` says of a server is new. */
  changed(server: RelayServerStatus): void
  datagram(base: RelayBase, data: Uint8Array, from: Address): void
  sendFailed(base: RelayBase, to: Address, failure: SendFailure): void
  drained(base: RelayBase): void
}

export interface RelayGathererOptions {
  readonly network: Network
  readonly timers: Timers
  readonly pacer: Pacer
  /** Allocations at once, each at another server. */
  readonly keep: number
  /** PEM, for `turns:`. */
  readonly ca: string | undefined
  /** Unique among all bases of the traversal. */
  readonly nextId: () => number
  readonly outlet: RelayOutlet
}

interface Entry {
  readonly text: string
  /** What both ends of a session call it. */
  readonly name: string
  readonly uri: ServerUri
  readonly client: RelayClient
  /** An allocation is wanted there. */
  wanted: boolean
  /** Since the last allocation failed or was lost, until there is one again or another is asked for. */
  down: boolean
  retirement: Timer | undefined
}

export class RelayGatherer {
  readonly #options: RelayGathererOptions
  readonly #entries: Entry[] = []
  /** Where sessions want to meet their peers. */
  readonly #meetings = new Map<object, Entry>()
  #distances: readonly RelayDistance[] = []
  /** Of all servers: where one may send us without TLS (RFC 8489 10). */
  readonly #named: Address[] = []
  readonly #starting = new Set<Entry>()
  readonly #bases = new Map<Allocation, { readonly entry: Entry; readonly bases: readonly RelayBase[] }>()
  /** What was told of each server last. */
  readonly #told = new Map<Entry, string>()
  #trimming: Timer | undefined

  constructor(options: RelayGathererOptions) {
    this.#options = options
  }

  /** At allocations that can be counted on. */
  get bases(): readonly RelayBase[] {
    return [...this.#bases.values()].flatMap(({ bases }) => bases.filter(({ retiring, allocation }) => !retiring && !allocation.doubtful))
  }

  get status(): readonly RelayServerStatus[] {
    return this.#entries.map(statusOf)
  }

  /** Servers and the milliseconds there and back; another list when there is news worth telling. */
  get distances(): readonly RelayDistance[] {
    return this.#distances
  }

  /**
   * A peer told how far the relays are from it. The one with the shortest way over it gets an allocation, too, until `part`: unless one that
   * there is already is about as good. The peer has the same thought; either end's allocation would do.
   */
  meet(whose: object, theirs: readonly RelayDistance[]): void {
    const distances = new Map(theirs)
    const present = this.#meetings.get(whose)
    let best: Entry | undefined
    let shortest = Number.POSITIVE_INFINITY
    let had = Number.POSITIVE_INFINITY
    let met = Number.POSITIVE_INFINITY
    for (const entry of this.#entries) {
      const [ours, their] = [entry.client.rtt, distances.get(entry.name)]
      if (ours === undefined || their === undefined) continue
      const way = ours + their
      // What is there because of this meeting is no reason to end it.
      if (entry === present) met = way
      else if (entry.wanted) had = Math.min(had, way)
      if (way < shortest) {
        best = entry
        shortest = way
      }
    }
    if (best === undefined || shortest + WORTHWHILE >= had) this.#meetings.delete(whose)
    // Measured times wander: what was agreed on stays until something is clearly better.
    else if (!best.down && shortest + WORTHWHILE < met) this.#meetings.set(whose, best)
    this.#fill()
  }

  /** The session is over. */
  part(whose: object): void {
    if (this.#meetings.delete(whose)) this.#trim()
  }

  /** An answer is awaited that may bring an address. */
  get pending(): boolean {
    return this.#entries.some((entry) => statusOf(entry).state === 'asked')
  }

  addServer({ text, uri, addresses, credentials }: RelayServer): void {
    const { network, timers, ca, outlet } = this.#options
    const { clock } = network
    this.#named.push(...addresses)
    const client = new RelayClient({
      network,
      timers,
      uri,
      text,
      addresses,
      named: this.#named,
      families: [4, 6],
      ...(ca === undefined ? {} : { ca }),
      credentials: async () => {
        const { username, password, expiresAt } = await credentials()
        return { username, password, ...(expiresAt === undefined ? {} : { expiresAt: expiresAt - clock.wallTime() + clock.now() }) }
      },
      outlet: {
        measured: () => this.#fill(),
        allocated: (_client, allocation) => this.#allocated(entry, allocation),
        lost: (_client, allocation, error) => this.#lost(entry, allocation, error.message),
        doubted: () => this.#doubted(),
        ended: (_client, allocation) => this.#removeAll(allocation, 'its credentials expire'),
        failed: () => this.#failed(entry),
        datagram: (allocation, data, from) => {
          const base = this.#baseOf(allocation, from)
          if (base !== undefined) outlet.datagram(base, data, from)
        },
        sendFailed: (allocation, to, failure) => {
          const base = this.#baseOf(allocation, to)
          if (base !== undefined) outlet.sendFailed(base, to, failure)
        },
        drained: (allocation) => {
          for (const base of this.#bases.get(allocation)?.bases ?? []) outlet.drained(base)
        },
      },
    })
    const entry: Entry = { text, name: formatServerUri(uri), uri, client, wanted: false, down: false, retirement: undefined }
    this.#entries.push(entry)
    this.#starting.add(entry)
    this.#options.pacer.request(this, true)
  }

  /** @internal for the pacer: the first request to a server is a transaction like any other (RFC 8445 14.2). */
  paced(): boolean {
    for (const entry of this.#starting) {
      this.#starting.delete(entry)
      entry.client.start()
      if (this.#starting.size > 0) this.#options.pacer.request(this, true)
      return true
    }
    return false
  }

  /** The allocations may hang on an address that we have no more. */
  networkChanged(): void {
    for (const { client } of this.#entries) client.networkChanged()
  }

  close(): void {
    this.#options.pacer.withdraw(this)
    this.#trimming?.cancel()
    for (const { client, retirement } of this.#entries) {
      retirement?.cancel()
      client.close()
    }
    this.#entries.length = 0
    this.#bases.clear()
    this.#meetings.clear()
  }

  // ── which servers ──

  /** Is it still there? Asked when something is about to depend on it. */
  verify(): void {
    for (const { client } of this.#entries) client.allocation?.verify()
  }

  /**
   * As many allocations as wanted, at the nearest servers that are not down. One for each machine: what is listed under several URIs dies as one.
   */
  #fill(): void {
    const standing = this.#standing()
    let lacking = this.#options.keep - standing.length
    const taken = [...standing]
    const reserve = this.#entries.filter(({ wanted, client }) => !wanted && client.rtt !== undefined && client.failure === undefined)
    reserve.sort((a, b) => (a.client.rtt ?? 0) - (b.client.rtt ?? 0))
    const met = new Set(this.#meetings.values())
    for (const entry of reserve) {
      if (!met.has(entry) && (lacking <= 0 || taken.some((other) => isSameMachine(entry, other)))) continue
      lacking--
      taken.push(entry)
      entry.wanted = true
      entry.down = false
      entry.client.allocate()
    }
    this.#measure()
    this.#tell()
  }

  /** What can be counted on, or will be soon. */
  #standing(): readonly Entry[] {
    return this.#entries.filter(
      ({ wanted, down, retirement, client }) => wanted && !down && retirement === undefined && client.allocation?.doubtful !== true,
    )
  }

  /** The next one need not wait until it is certain that this one is dead. */
  #doubted(): void {
    this.#fill()
    this.#trimming ??= this.#options.timers.after(TRIM_INTERVAL, () => this.#trim())
  }

  /** One that was down is back, and was replaced meanwhile. */
  #trim(): void {
    this.#trimming?.cancel()
    this.#trimming = undefined
    const standing = this.#standing()
    let surplus = standing.length - this.#options.keep
    const met = new Set(this.#meetings.values())
    const idle = standing
      .filter((entry) => !met.has(entry))
      .filter((entry) => !this.#basesAt(entry).some((base) => this.#options.outlet.inUse(base)))
    idle.sort((a, b) => (b.client.rtt ?? 0) - (a.client.rtt ?? 0))
    for (const entry of idle.slice(0, Math.max(0, surplus))) {
      surplus--
      this.#retire(entry)
    }
    if (surplus > 0) this.#trimming = this.#options.timers.after(TRIM_INTERVAL, () => this.#trim())
  }

  /** Told once each of them has answered or failed, so that not every answer is news. */
  #measure(): void {
    const complete = this.#entries.every(({ client }) => client.rtt !== undefined || client.failure !== undefined)
    const measured = this.#entries.flatMap(({ name, client: { rtt } }) => (rtt === undefined ? [] : [[name, Math.round(rtt)] as const]))
    measured.sort(([, a], [, b]) => a - b)
    const known = measured.filter(([name]) => name.length <= LONGEST_NAME).slice(0, MOST_DISTANCES)
    if (!complete || known.length <= this.#distances.length) return
    this.#distances = Object.freeze(known)
    this.#options.outlet.measured()
  }

  #retire(entry: Entry): void {
    for (const base of this.#basesAt(entry)) this.#announceEnd(base)
    entry.retirement = this.#options.timers.after(FAREWELL, () => {
      entry.retirement = undefined
      entry.wanted = false
      for (const { allocation } of this.#basesAt(entry)) this.#removeAll(allocation, 'nearer relays are in use')
      entry.client.release()
      // Those may have died meanwhile.
      this.#fill()
    })
  }

  // ── from the clients ──

  #allocated(entry: Entry, allocation: Allocation): void {
    entry.down = false
    // A new one beside the old: its user name cannot change (RFC 8656 7.2), so new credentials bring a new allocation.
    for (const base of this.#basesAt(entry)) this.#announceEnd(base)
    const { nextId, outlet } = this.#options
    const rank = this.#freeRank()
    const bases = allocation.relayed.map((address) => new RelayBase(nextId(), address, rank, entry.text, allocation))
    this.#bases.set(allocation, { entry, bases })
    for (const base of bases) outlet.added(base)
    this.#trim()
    this.#tell()
  }

  #lost(entry: Entry, allocation: Allocation, reason: string): void {
    const bases = this.#bases.get(allocation)?.bases ?? []
    if (!bases.some((base) => base.retiring)) entry.down = true
    this.#removeAll(allocation, reason)
    this.#fill()
  }

  #failed(entry: Entry): void {
    entry.down = true
    this.#fill()
  }

  #announceEnd(base: RelayBase): void {
    if (base.retiring) return
    base.retiringSince = this.#options.timers.now()
    this.#options.outlet.retiring(base)
  }

  #removeAll(allocation: Allocation, reason: string): void {
    const bases = this.#bases.get(allocation)?.bases ?? []
    this.#bases.delete(allocation)
    for (const base of bases) this.#options.outlet.removed(base, reason)
  }

  #basesAt(at: Entry): readonly RelayBase[] {
    return [...this.#bases.values()].flatMap(({ entry, bases }) => (entry === at ? bases : []))
  }

  #baseOf(allocation: Allocation, peer: Address): RelayBase | undefined {
    const bases = this.#bases.get(allocation)?.bases
    const first = bases?.[0]
    return first?.address.family === peer.family ? first : bases?.[1]
  }

  #freeRank(): number {
    const taken = new Set([...this.#bases.values()].flatMap(({ bases }) => bases.map(({ rank }) => rank)))
    let rank = 0
    while (taken.has(rank)) rank++
    return rank
  }

  #tell(): void {
    for (const entry of this.#entries) {
      const status = statusOf(entry)
      const text = JSON.stringify([status.state, status.relayed, status.failure])
      if (this.#told.get(entry) === text) continue
      this.#told.set(entry, text)
      this.#options.outlet.changed(status)
    }
  }
}

/** As far as URIs tell: another port for the same scheme is another server, another scheme or transport is another door. */
function isSameMachine({ uri: a }: Entry, { uri: b }: Entry): boolean {
  return a.host === b.host && (a.port === b.port || a.scheme !== b.scheme || a.transport !== b.transport)
}

function statusOf({ text, client, wanted, down }: Entry): RelayServerStatus {
  const { allocation, failure, rtt, transport } = client
  const state =
    allocation !== undefined ? 'allocated' : down || failure !== undefined ? 'down' : rtt !== undefined && !wanted ? 'reserve' : 'asked'
  return {
    server: text,
    state,
    transport,
    rtt,
    relayed: allocation?.relayed.map(({ key }) => key) ?? [],
    mapped: allocation?.mapped.key,
    failure: state === 'allocated' ? undefined : failure?.message,
  }
}
