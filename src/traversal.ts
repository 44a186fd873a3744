/**
 * The traversal: sockets, servers and what is known of the network, shared by all sessions. Gathering belongs here and is never over:
 * candidates come, change and go, and every session hears of it.
 */
import { Bases, type HostBase } from './bases.ts'
import {
  type Base,
  candidatePriority,
  Foundations,
  formatCandidate,
  isRedundant,
  type LocalCandidate,
  localPreference,
  type ReflexiveBinding,
  ReflexiveGatherer,
} from './candidates/index.ts'
import { Demultiplexer, type DropCounters } from './demultiplexer.ts'
import { diagnose } from './diagnostics.ts'
import { SallyportError } from './errors.ts'
import { Address, type Network, pacerOf, type SendFailure, Timers } from './net/index.ts'
import { adoptSocket, nodeNetwork } from './net/node/index.ts'
import { type CheckedOptions, checkOptions, isDgram, type TraversalOptions } from './options.ts'
import { Session, type SessionHost } from './session.ts'
import { type ServerUri, Transactions } from './stun/index.ts'
import { describeNats, describeServer, natStatus, serverStatus, type TraversalStatus } from './traversal-status.ts'

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
  readonly #foundations = new Foundations()
  readonly #sessions = new Map<string, Session>()
  readonly #host: SessionHost
  /** Closed ones, for as long as their user keeps them: asked for again, it is the same object. */
  readonly #closedSessions = new Map<string, WeakRef<Session>>()
  readonly #collected = new FinalizationRegistry((peer: string) => {
    if (this.#closedSessions.get(peer)?.deref() === undefined) this.#closedSessions.delete(peer)
  })
  readonly #blocked = new Map<Base, Set<() => void>>()
  readonly #unresolved = new Map<string, string>()
  readonly #closing = new AbortController()
  #candidates: readonly LocalCandidate[] = []
  #opened = false
  #resolving = 0
  #gathered = false
  #whenGathered: (() => void)[] = []
  #closed = false

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
      socket: adopted ?? (socket as Exclude<typeof socket, import('node:dgram').Socket>),
      outlet: {
        added: (base) => this.#baseAdded(base),
        removed: (base, reason) => this.#baseRemoved(base, reason),
        datagram: (base, data, from) => this.#demultiplexer.receive(base, data, from),
        sendFailed: (base, to, failure) => this.#sendFailed(base, to, failure),
        drained: (base) => this.#drained(base),
        // Another network may lie behind the same addresses.
        updated: () => this.#gatherer.refresh(),
      },
    })
    this.#host = this.#makeHost(pacer)
  }

  /** @internal */
  async open(): Promise<void> {
    try {
      // Names and sockets at the same time: neither needs the other yet.
      this.#resolving = this.#options.servers.length
      for (const { text, uri } of this.#options.servers) this.#resolve(text, uri)
      await this.#bases.open()
    } catch (error) {
      await this.close()
      throw error
    }
    this.#opened = true
    this.#checkGathered()
  }

  /** Resolves when every server has answered or been given up on, the first time: what is known then is all there is for now. */
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
    session.open(signal)
    this.#sessions.set(peer, session)
    this.#closedSessions.delete(peer)
    return session
  }

  /** Reads memory only. */
  status(): TraversalStatus {
    const { all, refused } = this.#bases
    return {
      sockets: all.map(({ address }) => address.key),
      candidates: this.#candidates.map(formatCandidate),
      refused,
      servers: serverStatus(this.#unresolved, this.#gatherer.bindings),
      nats: natStatus(all, this.#gatherer.bindings),
      sessions: this.#sessions.size,
      dropped: this.#dropped(),
    }
  }

  /** Closes every session, then the sockets; a caller's own socket stays open. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#closing.abort()
    const error = new SallyportError('ERR_CLOSED', 'the traversal was closed')
    for (const session of [...this.#sessions.values()]) session.abandon(error)
    this.#gatherer.close()
    this.#transactions.clear()
    this.#bases.close()
    this.#timers.clear()
    this.#blocked.clear()
    this.#closedSessions.clear()
    for (const resolve of this.#whenGathered.splice(0)) resolve()
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
        return self.#candidates
      },
      get servers() {
        const { servers, nats } = self.status()
        return [...servers.map(describeServer), ...describeNats(nats)]
      },
      get notOffered() {
        return self.#bases.refused
      },
      get serverRtt() {
        return self.#gatherer.shortestRtt
      },
      get gathering() {
        return !self.#gathered || self.#gatherer.pending
      },
      get gathered() {
        return self.#gathered
      },
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

  /** Never rejects. */
  async #resolve(text: string, uri: ServerUri): Promise<void> {
    this.#unresolved.set(text, '')
    try {
      const ips = await this.#network.dns.lookup(uri.host, { signal: this.#closing.signal })
      if (this.#closed) return
      this.#unresolved.delete(text)
      for (const address of oneOfEachFamily(ips, uri.port)) this.#gatherer.addServer({ uri: text, address })
    } catch (error) {
      if (this.#closed) return
      this.#unresolved.set(text, (error as Error).message)
      diagnose('gather', () => ({ event: 'unresolved', server: text, reason: (error as Error).message }))
    }
    this.#resolving--
    this.#checkGathered()
  }

  #baseAdded(base: HostBase): void {
    diagnose('gather', () => ({ event: 'socket', address: base.address.key }))
    if (!base.hidden) this.#offerHost(base)
    this.#gatherer.addBase(base)
  }

  #offerHost(base: HostBase): void {
    base.addresses.forEach((address, index) => {
      this.#offer({
        type: 'host',
        address,
        base,
        foundation: this.#foundations.of('host', base, address.ip),
        priority: candidatePriority('host', localPreference(base.rank, index)),
        component: 1,
        related: undefined,
        server: undefined,
      })
    })
  }

  #baseRemoved(base: HostBase, reason: string): void {
    diagnose('gather', () => ({ event: 'socket-gone', address: base.address.key, reason }))
    this.#gatherer.removeBase(base)
    this.#candidates = this.#candidates.filter((candidate) => candidate.base !== base)
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
    if (mapped !== undefined && failure === undefined) {
      // What this server showed before is no longer so.
      const isOld = (other: LocalCandidate): boolean =>
        other.type === 'srflx' && other.base === base && other.server === server.uri && other.address.key !== mapped.key
      const shown = this.#gatherer.bindings.filter((other) => other.base === base).map((other) => other.mapped?.key)
      this.#candidates = this.#candidates.filter((other) => !isOld(other) || shown.includes(other.address.key))
      this.#offer({
        type: 'srflx',
        address: mapped,
        base,
        foundation: this.#foundations.of('srflx', base, server.address.ip),
        priority: this.#srflxPriority(base),
        component: 1,
        // RFC 8839 5.1 has this for who does not want to tell.
        related: base.hidden ? Address.any(base.address.family, 9) : base.address,
        server: server.uri,
      })
    }
    this.#checkGathered()
  }

  /** The first that no other candidate of this base has: each its own (RFC 8445 5.1.2.1). */
  #srflxPriority(base: Base): number {
    const taken = new Set(this.#candidates.filter((other) => other.type === 'srflx' && other.base === base).map(({ priority }) => priority))
    let index = 0
    while (index < taken.size && taken.has(candidatePriority('srflx', localPreference(base.rank, index)))) index++
    return candidatePriority('srflx', localPreference(base.rank, index))
  }

  /** Adds a candidate to what all sessions offer, unless it says nothing new (RFC 8445 5.1.3): no NAT, or the same mapping again. */
  #offer(candidate: LocalCandidate): void {
    if (this.#candidates.some((other) => isRedundant(other, candidate))) return
    this.#candidates = [...this.#candidates, candidate]
    diagnose('gather', () => ({ event: 'candidate', candidate: formatCandidate(candidate) }))
    for (const session of this.#sessions.values()) {
      session.addLocal(candidate)
      session.candidatesChanged()
    }
  }

  #checkGathered(): void {
    if (this.#gathered || this.#closed || !this.#opened || this.#resolving > 0 || this.#gatherer.pending) return
    this.#gathered = true
    for (const resolve of this.#whenGathered.splice(0)) resolve()
    for (const session of this.#sessions.values()) session.candidatesChanged()
  }

  // ── the sockets ──

  #sendFailed(base: HostBase, to: Address, failure: SendFailure): void {
    this.#gatherer.sendFailed(base, to, failure)
    this.#demultiplexer.sendFailed(base, to, failure)
  }

  #drained(base: HostBase): void {
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
