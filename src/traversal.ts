/**
 * The traversal: sockets, servers and what is known of the network, shared by all sessions. Gathering belongs here and is never over:
 * candidates come, change and go, and every session hears of it.
 */
import { Bases, type HostBase } from './bases.ts'
import {
  type Base,
  formatCandidate,
  type LocalCandidate,
  type MappedAddress,
  PortMappedGatherer,
  type ReflexiveBinding,
  ReflexiveGatherer,
  RelayGatherer,
} from './candidates/index.ts'
import { Demultiplexer, type DropCounters } from './demultiplexer.ts'
import { diagnose } from './diagnostics.ts'
import { SallyportError } from './errors.ts'
import { Address, type Network, type Pacer, pacerOf, type SendFailure, type Timer, Timers } from './net/index.ts'
import { adoptSocket, nodeNetwork, onTermination } from './net/node/index.ts'
import { Offer } from './offer.ts'
import { type CheckedOptions, type CheckedServer, checkOptions, isDgram, type TraversalOptions } from './options.ts'
import { openClients } from './pmp/index.ts'
import { Session, type SessionHost } from './session.ts'
import { candidateLines } from './signal/index.ts'
import { Transactions } from './stun/index.ts'
import {
  describeMapping,
  describeNats,
  describeRelay,
  describeServer,
  natStatus,
  serverStatus,
  type TraversalStatus,
} from './traversal-status.ts'

/** Milliseconds before a name without an answer is looked up again, doubling. */
const LOOKUP_FIRST = 5_000
const LOOKUP_MOST = 300_000
const NO_DISTANCES: SessionHost['distances'] = []

export interface ConnectOptions {
  /** A name for the peer, of your choosing: one session for each. */
  readonly peer: string
  /** Ends the attempt, and closes the session, unless there is a path by then. */
  readonly signal?: AbortSignal
}

/**
 * Opens sockets and starts gathering. Waits for local work only, never for a server.
 * @throws TypeError for options that make no sense; rejects with SallyportError `ERR_BIND` when the port asked for is taken
 */
export async function createTraversal(options: TraversalOptions = {}): Promise<Traversal> {
  const traversal = new Traversal(checkOptions(options))
  await traversal.open()
  return traversal
}

export class Traversal {
  readonly #options: CheckedOptions
  readonly #network: Network
  readonly #timers: Timers
  readonly #transactions: Transactions
  readonly #gatherer: ReflexiveGatherer
  readonly #demultiplexer: Demultiplexer
  readonly #bases: Bases
  readonly #relays: RelayGatherer
  readonly #mapped: PortMappedGatherer<HostBase> | undefined
  #stopHeeding: (() => void) | undefined
  readonly #offer = new Offer((candidate) => this.#candidateAdded(candidate))
  readonly #sessions = new Map<string, Session>()
  readonly #host: SessionHost
  /** Closed ones, for as long as their user keeps them: asked for again, it is the same object. */
  readonly #closedSessions = new Map<string, WeakRef<Session>>()
  readonly #collected = new FinalizationRegistry((peer: string) => {
    if (this.#closedSessions.get(peer)?.deref() === undefined) this.#closedSessions.delete(peer)
  })
  readonly #nextId = (): number => ++this.#lastId
  readonly #blocked = new Map<Base, Set<() => void>>()
  readonly #unresolved = new Map<string, string>()
  /** The next try. */
  readonly #lookups = new Map<CheckedServer, Timer>()
  readonly #closing = new AbortController()
  #lastId = 0
  #opened = false
  #resolving = 0
  #gathered = false
  #whenGathered: (() => void)[] = []
  #closed = false
  #ended: Promise<void> | undefined

  /** @internal use `createTraversal` */
  constructor(options: CheckedOptions) {
    this.#options = options
    this.#network = options.network ?? nodeNetwork()
    const { clock, random } = this.#network
    this.#timers = new Timers(clock)
    this.#transactions = new Transactions(this.#timers, random)
    const pacer = pacerOf(clock)
    const { socket } = options
    const adopted = socket !== undefined && isDgram(socket) ? adoptSocket(socket) : undefined
    this.#demultiplexer = new Demultiplexer(this.#transactions, (_base, data, from) => {
      adopted?.passOn(data, from)
      return adopted !== undefined
    })
    this.#gatherer = new ReflexiveGatherer({
      timers: this.#timers,
      random,
      transactions: this.#transactions,
      pacer,
      outlet: { send: (base, to, data) => void base.send(data, to, true), changed: (binding) => this.#bindingChanged(binding) },
    })
    this.#bases = new Bases({
      network: this.#network,
      policy: options.hosts,
      port: options.port,
      nextId: this.#nextId,
      unused: options.relay.only ? 'all data goes over relays (relay.only)' : undefined,
      socket: adopted ?? (socket as Exclude<typeof socket, import('node:dgram').Socket>),
      outlet: {
        added: (base) => this.#baseAdded(base),
        removed: (base, reason) => this.#baseRemoved(base, reason),
        datagram: (base, data, from) => this.#demultiplexer.receive(base, data, from),
        sendFailed: (base, to, failure) => this.#sendFailed(base, to, failure),
        drained: (base) => this.#drained(base),
        doubted: (base) => {
          this.#gatherer.verify(base)
          this.#mapped?.doubt(base)
        },
        // Another network may lie behind the same addresses.
        updated: () => {
          this.#gatherer.refresh()
          this.#relays.networkChanged()
          // The first time it is the network that the mappings were just asked for in.
          if (this.#opened) this.#mapped?.networkChanged()
          for (const [server, timer] of this.#lookups) {
            timer.cancel()
            this.#resolve(server, LOOKUP_FIRST)
          }
        },
      },
    })
    this.#relays = this.#makeRelays(pacer)
    this.#mapped = options.portMapping === undefined ? undefined : this.#makeMapped(options.portMapping)
    this.#host = this.#makeHost(pacer)
  }

  /** @internal */
  async open(): Promise<void> {
    try {
      // Names and sockets at the same time: neither needs the other yet.
      this.#resolving = this.#options.servers.length
      for (const server of this.#options.servers) void this.#resolve(server, LOOKUP_FIRST).then(() => this.#resolved())
      await this.#bases.open()
    } catch (error) {
      await this.close()
      throw error
    }
    this.#opened = true
    if (this.#options.portMapping?.releaseOnExit === true) this.#stopHeeding = onTermination(() => this.close())
    this.#checkGathered()
  }

  /**
   * Resolves when every server has answered or been given up on, the first time: what is known then is all there is for now. Routers that are asked
   * for a mapping have a second.
   */
  get gathered(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#gathered || this.#closed) resolve()
      else this.#whenGathered.push(resolve)
    })
  }

  /**
   * The session with a peer; the same one if asked again, opened again if it was closed or idle. Both ends call this, at any time.
   * @throws TypeError when `peer` is no name; SallyportError `ERR_CLOSED` after `close`; the signal's reason when it is aborted already
   */
  connect(options: ConnectOptions): Session {
    if (typeof options !== 'object' || options === null) throw new TypeError('connect takes an object of options')
    const { peer, signal, ...others } = options
    for (const name of Object.keys(others)) throw new TypeError(`option ${name} is not known; there are peer, signal`)
    if (typeof peer !== 'string' || peer === '') throw new TypeError('option peer is not a name')
    if (signal !== undefined && !(signal instanceof AbortSignal)) throw new TypeError('option signal is not an AbortSignal')
    if (this.#closed) throw new SallyportError('ERR_CLOSED', 'the traversal is closed; create another one')
    const session = this.#sessions.get(peer) ?? this.#closedSessions.get(peer)?.deref() ?? new Session(peer, this.#host)
    if (session.state !== 'connected') this.#relays.verify()
    session.open(signal)
    this.#sessions.set(peer, session)
    this.#closedSessions.delete(peer)
    return session
  }

  /** Reads memory only. */
  status(): TraversalStatus {
    const { all, addresses, refused } = this.#bases
    return {
      sockets: addresses.map(({ key }) => key),
      candidates: candidateLines(this.#offer.candidates).candidates,
      refused,
      servers: serverStatus(this.#unresolved, this.#gatherer.bindings),
      relays: this.#relays.status,
      mappings: this.#mapped?.status ?? [],
      nats: natStatus(all, this.#gatherer.bindings),
      sessions: this.#sessions.size,
      dropped: this.#dropped(),
    }
  }

  /** Closes every session, then the sockets; a caller's own socket stays open. What routers mapped is deleted, within a second. Idempotent. */
  close(): Promise<void> {
    this.#ended ??= this.#end()
    return this.#ended
  }

  async #end(): Promise<void> {
    this.#closed = true
    this.#closing.abort()
    const error = new SallyportError('ERR_CLOSED', 'the traversal was closed')
    for (const session of [...this.#sessions.values()]) session.abandon(error)
    this.#gatherer.close()
    this.#relays.close()
    const unmapped = this.#mapped?.close()
    this.#transactions.clear()
    this.#bases.close()
    this.#blocked.clear()
    this.#closedSessions.clear()
    for (const resolve of this.#whenGathered.splice(0)) resolve()
    if (unmapped !== undefined) {
      await unmapped
      // A signal that comes meanwhile waits for the deletions, too.
      this.#stopHeeding?.()
    }
    this.#timers.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #dropped(): DropCounters {
    const { dropped } = this.#demultiplexer
    return { ...dropped, unexpected: dropped.unexpected + this.#transactions.refused }
  }

  #makeHost(pacer: SessionHost['pacer']): SessionHost {
    const self = this
    return {
      timers: this.#timers,
      random: this.#network.random,
      dns: this.#network.dns,
      pacer,
      demultiplexer: this.#demultiplexer,
      lite: this.#options.lite,
      get localCandidates() {
        return self.#offer.candidates
      },
      get servers() {
        const { servers, relays, nats } = self.status()
        return [...servers.map(describeServer), ...relays.map(describeRelay), ...describeNats(nats)]
      },
      get mappings() {
        return (self.#mapped?.status ?? []).map(describeMapping)
      },
      get missing() {
        const { servers, relays } = self.status()
        const down = relays.flatMap(({ state, failure }) => (state === 'down' && failure !== undefined ? [failure] : []))
        return [
          ...servers.flatMap((server) => (server.address === undefined && server.failure !== undefined ? [describeServer(server)] : [])),
          ...down,
        ]
      },
      get notOffered() {
        return self.#bases.refused
      },
      get serverRtt() {
        return self.#gatherer.shortestRtt
      },
      get gathering() {
        return !self.#gathered || self.#gatherer.pending || self.#relays.pending
      },
      get gathered() {
        return self.#gathered
      },
      get distances() {
        // From how far several relays are it can be worked out where somebody is.
        return self.#options.relay.only ? NO_DISTANCES : self.#relays.distances
      },
      reached: (base, address, asked) => this.#mapped?.reached(base, address, asked),
      meet: (session, distances) => this.#relays.meet(session, distances),
      part: (session) => this.#relays.part(session),
      whenDrained: (base, callback) => {
        const waiting = this.#blocked.get(base)
        if (waiting === undefined) this.#blocked.set(base, new Set([callback]))
        else waiting.add(callback)
      },
      forget: (session) => {
        this.#sessions.delete(session.peer)
        this.#closedSessions.set(session.peer, new WeakRef(session))
        this.#collected.register(session, session.peer)
      },
    }
  }

  // ── gathering ──

  /**
   * Never rejects. A machine that has just been switched on has no resolver yet, so what failed is tried again.
   * @param wait milliseconds until then
   */
  async #resolve(server: CheckedServer, wait: number): Promise<void> {
    const { text, uri, credentials } = server
    this.#lookups.delete(server)
    if (!this.#unresolved.has(text)) this.#unresolved.set(text, '')
    try {
      // A signal for each: of more than ten listeners on one the system warns.
      const ips = await this.#network.dns.lookup(uri.host, { signal: AbortSignal.any([this.#closing.signal]) })
      if (this.#closed) return
      const addresses = [...oneOfEachFamily(ips, uri.port)]
      if (addresses.length === 0) throw new Error(`no usable address for ${uri.host}`)
      this.#unresolved.delete(text)
      // Relays answer as STUN servers, too, where they can be asked over UDP (RFC 8656 5).
      if (uri.scheme !== 'turns' && uri.transport !== 'tcp' && !this.#options.relay.only)
        for (const address of addresses) this.#gatherer.addServer({ uri: text, address })
      if (credentials !== undefined) this.#relays.addServer({ text, uri, addresses, credentials })
    } catch (error) {
      if (this.#closed) return
      this.#unresolved.set(text, (error as Error).message)
      diagnose('gather', () => ({ event: 'unresolved', server: text, reason: (error as Error).message }))
      this.#lookups.set(
        server,
        this.#timers.after(wait, () => this.#resolve(server, Math.min(2 * wait, LOOKUP_MOST))),
      )
    }
  }

  /** Or not, for the first time. */
  #resolved(): void {
    this.#resolving--
    this.#checkGathered()
  }

  #baseAdded(base: HostBase): void {
    diagnose('gather', () => ({ event: 'socket', address: base.address.key }))
    if (!base.hidden) this.#offer.addHost(base)
    this.#gatherer.addBase(base)
    this.#mapped?.addBase(base)
  }

  #baseRemoved(base: Base, reason: string): void {
    diagnose('gather', () => ({ event: 'socket-gone', address: base.address.key, reason }))
    this.#gatherer.removeBase(base)
    this.#mapped?.removeBase(base)
    this.#offer.removeBase(base)
    this.#demultiplexer.removeBase(base)
    this.#blocked.delete(base)
    for (const session of this.#sessions.values()) {
      session.removeBase(base, reason)
      session.candidatesChanged()
    }
  }

  #bindingChanged(binding: ReflexiveBinding): void {
    const { base, server, mapped, failure } = binding
    diagnose('gather', () => ({ event: 'reflexive', server: server.uri, from: base.address.key, mapped: mapped?.key, failure }))
    if (failure === undefined) this.#offer.addReflexive(binding, this.#gatherer.bindings)
    this.#mapped?.proversChanged()
    this.#checkGathered()
  }

  #candidateAdded(candidate: LocalCandidate): void {
    diagnose('gather', () => ({ event: 'candidate', candidate: formatCandidate(candidate) }))
    for (const session of this.#sessions.values()) {
      session.addLocal(candidate)
      session.candidatesChanged()
    }
  }

  #makeRelays(pacer: Pacer): RelayGatherer {
    const { relay, hosts } = this.#options
    return new RelayGatherer({
      network: this.#network,
      timers: this.#timers,
      pacer,
      keep: relay.keep,
      ca: relay.ca,
      nextId: this.#nextId,
      outlet: {
        added: (base) => {
          this.#offer.addRelayed(base, relay.only || hosts?.offer === false)
          this.#mapped?.proversChanged()
          this.#checkGathered()
        },
        retiring: (base) => {
          this.#offer.removeBase(base)
          for (const session of this.#sessions.values()) {
            session.basesChanged()
            session.candidatesChanged()
          }
        },
        removed: (base, reason) => this.#baseRemoved(base, reason),
        inUse: (base) => [...this.#sessions.values()].some((session) => session.uses(base)),
        measured: () => {
          for (const session of this.#sessions.values()) session.candidatesChanged()
        },
        changed: (server) => {
          diagnose('gather', () => ({ event: 'relay', ...server }))
          this.#checkGathered()
        },
        datagram: (base, data, from) => this.#demultiplexer.receive(base, data, from),
        sendFailed: (base, to, failure) => {
          this.#mapped?.sendFailed(base, to)
          this.#demultiplexer.sendFailed(base, to, failure)
        },
        drained: (base) => this.#drained(base),
      },
    })
  }

  #makeMapped(portMapping: NonNullable<CheckedOptions['portMapping']>): PortMappedGatherer<HostBase> {
    return new PortMappedGatherer({
      network: this.#network,
      timers: this.#timers,
      transactions: this.#transactions,
      openClients,
      terms: portMapping,
      bindings: () => this.#gatherer.bindings,
      relays: () => this.#relays.bases,
      openPassive: (base) => this.#bases.openPassive(base),
      closePassive: (base) => this.#bases.closePassive(base, 'its mapping was gone for a while'),
      changed: (base, mapped) => this.#mappedChanged(base, mapped),
      settled: () => this.#checkGathered(),
    })
  }

  #mappedChanged(base: HostBase, mapped: readonly MappedAddress[]): void {
    diagnose('gather', () => ({
      event: 'mapped',
      from: base.address.key,
      addresses: mapped.map(({ address, by, mapping }) => `${address} by ${by}, ${mapping}`),
    }))
    const before = this.#offer.candidates
    this.#offer.setMapped(base, mapped)
    // What was one candidate with a mapping that is gone.
    for (const binding of this.#gatherer.bindings) {
      if (binding.base === base && binding.failure === undefined) this.#offer.addReflexive(binding, this.#gatherer.bindings)
    }
    if (this.#offer.candidates !== before) for (const session of this.#sessions.values()) session.candidatesChanged()
  }

  #checkGathered(): void {
    if (this.#gathered || this.#closed || !this.#opened || this.#resolving > 0) return
    if (this.#gatherer.pending || this.#relays.pending || this.#mapped?.pending === true) return
    this.#gathered = true
    for (const resolve of this.#whenGathered.splice(0)) resolve()
    for (const session of this.#sessions.values()) session.candidatesChanged()
  }

  // ── the sockets ──

  #sendFailed(base: HostBase, to: Address, failure: SendFailure): void {
    this.#gatherer.sendFailed(base, to, failure)
    this.#demultiplexer.sendFailed(base, to, failure)
  }

  #drained(base: Base): void {
    const waiting = this.#blocked.get(base)
    this.#blocked.delete(base)
    for (const callback of waiting ?? []) callback()
  }
}

/** The first address of each family: another one of the same server would say the same. */
function* oneOfEachFamily(ips: readonly string[], port: number): Generator<Address> {
  const seen = new Set<number>()
  for (const ip of ips) {
    const address = Address.tryOf(ip, port)
    if (address === undefined || seen.has(address.family)) continue
    seen.add(address.family)
    yield address
  }
}
