/**
 * A session with one peer: its state, its signals, its path, and the datagrams that go over it.
 * Both ends do the same; who controls (RFC 8445 6.1.1) is worked out between them and is nobody's concern.
 */
import type { EventEmitter } from 'node:events'
import { Attempts } from './attempts.ts'
import type { Base, LocalCandidate, RelayDistance } from './candidates/index.ts'
import { diagnose } from './diagnostics.ts'
import { SallyportError } from './errors.ts'
import { Generation, type Ground } from './generation.ts'
import { Generations } from './generations.ts'
import { type AgentEvent, CheckBudget, type Credentials, type Nominations, newTieBreaker, type Pair } from './ice/index.ts'
import type { Timer } from './net/index.ts'
import { Outflow, type OutflowHost } from './outflow.ts'
import {
  type AttemptReport,
  describePath,
  type Explanation,
  explain,
  obstacle,
  type Path,
  pathOf,
  reportAttempt,
  SessionLog,
} from './path/index.ts'
import { PeerNames } from './peer-names.ts'
import { Readiness } from './readiness.ts'
import { SafeEmitter } from './safe-emitter.ts'
import type { SessionEvents, SessionState, SessionStatus } from './session-events.ts'
import { candidateLines, type ReadSignal, readSignal, type Signal, type SignalContent, Signaller, tieText } from './signal/index.ts'

/** What a session asks of its traversal beyond the common ground. */
export interface SessionHost extends Ground, OutflowHost {
  /** For reports: what became of the servers and port mappings, and of the addresses that are not offered. */
  readonly servers: readonly string[]
  readonly mappings: readonly string[]
  readonly missing: readonly string[]
  readonly notOffered: readonly string[]
  /** How far the relays are. */
  readonly distances: readonly RelayDistance[]
  /** The peer told how far they are from it; until `part`. */
  meet(session: Session, distances: readonly RelayDistance[]): void
  part(session: Session): void
  forget(session: Session): void
}

/** What UDP over IPv4 can carry. */
const MAX_DATAGRAM = 65_507
/** The last generation lives on this long after the new one has a path: the peer may still send there. */
const OVERLAP = 5_000
const NO_ATTEMPT: AttemptReport = reportAttempt([])

export class Session extends SafeEmitter<SessionEvents> {
  /** The name given to `connect`. */
  readonly peer: string
  readonly #host: SessionHost
  readonly #log: SessionLog
  readonly #signaller: Signaller
  readonly #outflow: Outflow
  readonly #tieBreaker: bigint
  /** @internal What may be sent to addresses that never answer, by all generations. */
  readonly budget: CheckBudget = new CheckBudget()
  /** @internal */
  readonly nominations: Nominations = { count: 0 }
  #state: SessionState = 'idle'
  readonly #generations = new Generations()
  readonly #attempts: Attempts
  /** Only for peers that may have names: most sessions are with our own. */
  #names: PeerNames | undefined
  #active: Pair | undefined
  /** What the last `path` said of it. */
  #kind: Path['kind'] | undefined
  readonly #ready = new Readiness<Path>()
  #overlap: Timer | undefined
  #received = 0
  #badSignals = 0
  /** Of the present attempt, or the last one. */
  #signalsSent = 0
  #signalsReceived = 0
  /** The version of the peer's list that we know, and the one that we have sent checks to. */
  #theirList = 0
  #tried = 0
  #lastAttempt = NO_ATTEMPT

  /** @internal Sessions come from `traversal.connect`. */
  constructor(peer: string, host: SessionHost) {
    super()
    this.peer = peer
    this.#host = host
    this.#log = new SessionLog(peer)
    this.#tieBreaker = newTieBreaker(host.random)
    // The session itself, rather than closures of its own, hears of everything: there may be ten thousand.
    this.#signaller = new Signaller(host.timers, host.random, this)
    this.#attempts = new Attempts(host.timers, this)
    this.#outflow = new Outflow(host, this)
    ;(this as EventEmitter).on('newListener', heedListener)
  }

  get state(): SessionState {
    return this.#state
  }

  /** The path that carries data now, if there is one. */
  get path(): Path | undefined {
    return this.#active === undefined ? undefined : pathOf(this.#active)
  }

  /**
   * Resolves with the first path of the present attempt. Rejects with SallyportError `ERR_NO_PATH` when the attempt failed, `ERR_CLOSED` or
   * `ERR_PEER_CLOSED` when the session was closed, or with the reason of the AbortSignal given to `connect`. Need not be awaited.
   */
  get ready(): Promise<Path> {
    return this.#ready.promise
  }

  /** Reads memory only. */
  get status(): SessionStatus {
    const { state, path } = this
    return {
      state,
      path,
      sent: this.#outflow.sent,
      received: this.#received,
      queued: this.#outflow.queued,
      unsent: this.#outflow.lost,
      unproven: this.#generations.droppedEarly,
      badSignals: this.#badSignals,
    }
  }

  /**
   * Sends one datagram on the path of the moment. It may be lost, as datagrams are; do not write to the memory in the same turn of the
   * event loop. Returns false when there is no path yet (the first 64 datagrams wait for it, later ones are dropped and counted) or the
   * socket's queue is full (this one was still taken, more may be dropped): stop then, and go on at `drain`. What is larger than about 1,200 bytes may not get
   * through everywhere.
   * @throws SallyportError `ERR_CLOSED`; TypeError when it is not a Uint8Array; RangeError above 65,507 bytes, which UDP cannot carry
   */
  send(data: Uint8Array): boolean {
    if (!(data instanceof Uint8Array)) throw new TypeError('send takes a Uint8Array (a Buffer is one)')
    if (data.length > MAX_DATAGRAM) throw new RangeError(`a datagram has at most ${MAX_DATAGRAM} bytes, not ${data.length}`)
    if (this.#state === 'closed') throw new SallyportError('ERR_CLOSED', 'the session is closed; call connect to open it again')
    return this.#outflow.send(data)
  }

  /**
   * Takes a signal of the peer, in any order, any number of times. Returns false when it is none that can be used: then it is counted,
   * and nothing else changed. Never throws for what a peer may send.
   */
  signal(signal: Signal): boolean {
    const read = readSignal(signal)
    if (typeof read === 'string') {
      this.#badSignals++
      this.#log.refuse(`signal: ${read}`)
      return false
    }
    if (this.#signaller.isOwn(read.signal)) {
      this.#log.refuse('signal: our own, come back; a channel has to carry it to the peer alone')
      return false
    }
    if (this.#state === 'closed') return false
    this.#hear(read)
    return true
  }

  /**
   * What was tried, what became of it, and why the path is what it is; after an attempt has ended, of that attempt.
   * `String(explanation)` reads as text.
   */
  explain(): Explanation {
    const { localCandidates, servers, mappings, missing, notOffered } = this.#host
    return explain({
      ...(this.#generations.current === undefined ? this.#lastAttempt : this.#reportAttempt()),
      peer: this.peer,
      state: this.#state,
      path: this.path,
      localCandidates: candidateLines(localCandidates).candidates,
      signals: { sent: this.#signalsSent, received: this.#signalsReceived },
      servers,
      mappings,
      missing,
      notOffered,
      refused: this.#log.refused,
      log: this.#log.entries,
    })
  }

  #reportAttempt(): AttemptReport {
    return reportAttempt(this.#generations.alive)
  }

  /** Starts over with new credentials (RFC 8445 9). The path stays in use until the new attempt has one. */
  restart(): void {
    if (this.#state === 'closed' || this.#state === 'idle') return
    this.#begin('restart asked for')
  }

  /** Tells the peer by a last signal, and frees everything. Idempotent. */
  async close(): Promise<void> {
    this.#end(new SallyportError('ERR_CLOSED', 'the session was closed; call connect to open it again'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // ── for the traversal ──

  /** @internal Starts an attempt unless one is on; opens a closed or idle session again. */
  open(signal: AbortSignal | undefined): void {
    signal?.throwIfAborted()
    if (signal !== undefined && this.#state !== 'connected') this.#ready.heed(signal, (reason) => this.#aborted(reason as Error))
    if (this.#state === 'connecting' || this.#state === 'connected') return
    this.#log.restart(this.#host.timers.now())
    this.#signalsSent = this.#signalsReceived = 0
    this.#ready.renew()
    this.#setState('connecting')
    this.#begin('start')
  }

  /** @internal */
  addLocal(candidate: LocalCandidate): void {
    for (const generation of this.#generations.alive) generation.addLocal(candidate)
  }

  /** @internal */
  removeBase(base: Base, reason: string): void {
    for (const generation of this.#generations.alive) generation.removeBase(base, reason)
  }

  /** @internal One of the bases is about to go. */
  basesChanged(): void {
    for (const generation of this.#generations.alive) generation.tell((agent, now) => agent.basesChanged(now))
  }

  /** @internal What is sent goes over this base, or may soon do so. */
  uses(base: Base): boolean {
    return this.#active?.base === base
  }

  /** @internal The shared candidates changed: say so if it is news. */
  candidatesChanged(): void {
    if (this.#generations.current !== undefined) this.#signaller.announce()
  }

  /** @internal For the traversal's own end. */
  abandon(error: Error): void {
    this.#end(error)
  }

  // ── for the watch over what carries data ──

  /** @internal */
  get activePair(): Pair | undefined {
    return this.#active
  }

  /** @internal */
  question(pair: Pair): void {
    for (const generation of this.#generations.alive) if (generation.agent.pairs.includes(pair)) generation.question(pair)
  }

  /** @internal */
  roomAgain(): void {
    this.safeEmit('drain')
  }

  // ── from the generations ──

  /** @internal */
  receive(data: Uint8Array): void {
    this.#received++
    this.safeEmitOne('message', data)
  }

  /** @internal A check went out. */
  checked(generation: Generation): void {
    if (generation === this.#generations.current) this.#assessTried()
  }

  /** @internal */
  agentEvent(generation: Generation, event: AgentEvent): void {
    switch (event.kind) {
      case 'role':
        this.#note(`now ${event.controlling ? 'controlling' : 'controlled'}`)
        return
      case 'valid':
        this.#note(`valid: ${describePath(pathOf(event.pair))}`)
        return
      case 'lost':
        this.#note(`lost: ${event.pair.remote.type} ${event.pair.to}, ${event.reason}`)
        return
      case 'selected':
        this.#choose()
        return
      case 'failed':
        if (generation === this.#generations.current) this.#fail(event.reason)
        return
      case 'heard':
        this.#note(`the peer gets through from ${event.pair.to}`)
    }
  }

  /** @internal */
  startOver(why: string): void {
    this.#begin(why)
  }

  #begin(why: string, local?: Credentials): Generation {
    this.#attempts.begun()
    this.#overlap?.cancel()
    this.#overlap = undefined
    // Nothing of the new one has gone anywhere yet.
    this.#tried = 0
    const make = (number: number): Generation => new Generation(number, this.#host, this, this.#tieBreaker, local)
    const current = this.#generations.begin(make, this.#active)
    this.#note(`generation ${current.number}: ${why}`)
    current.open()
    this.#signaller.hurry()
    return current
  }

  /** A late signal of an earlier start of the peer's had taken over, until this one. */
  #resume(earlier: Generation): Generation {
    this.#attempts.resumed()
    this.#tried = 0
    this.#generations.resume(earlier, this.#active)
    this.#note(`generation ${earlier.number}: the peer is back at it`)
    earlier.open()
    this.#signaller.hurry()
    this.#choose()
    this.#retireLater()
    return earlier
  }

  // ── signals ──

  #hear(read: ReadSignal): void {
    const { signal } = read
    this.#signalsReceived++
    const reception = this.#signaller.receive(signal)
    diagnose('signal', () => ({ event: 'received', peer: this.peer, seq: signal.seq, ...reception }))
    for (const reason of read.refused) this.#log.refuse(reason)
    if (reception.news) {
      if (signal.bye === true) {
        if (!reception.incarnation) this.#peerLeft()
      } else this.#follow(read)
    } else if (signal.id === undefined) this.#log.refuse('signal: of a generation of the peer that is over')
    this.#assessCaution()
    this.#assessTried()
  }

  /** Tells the peer when our checks are on their way to all that it offers. */
  #assessTried(): void {
    if (this.#tried === this.#theirList || this.#generations.current?.agent.allTried !== true) return
    this.#tried = this.#theirList
    this.#signaller.announce()
  }

  /** Passes on what the signals tell of when the peer will have sent to us; checks are careful until then. */
  #assessCaution(): void {
    const current = this.#generations.current
    const { gathering, localCandidates, serverRtt = 0 } = this.#host
    // Before we know our own address outside, the peer cannot send to it.
    if (current === undefined || (gathering && !localCandidates.some(({ type }) => type === 'srflx'))) return
    const from = this.#signaller.sendsFrom(serverRtt / 2)
    current.agent.expectRoundTrip(serverRtt)
    current.tell((agent, now) => agent.peerSends(from, now))
  }

  #follow(said: ReadSignal): void {
    const { signal } = said
    // The user asked for this peer once; after a failure its signal is reason enough to try again.
    if (this.#state === 'idle') {
      if (this.#generations.count === 0) return
      this.open(undefined)
      this.#signalsReceived = 1
    }
    let generation = this.#generations.current as Generation
    // The pair of both sides' latest credentials is where both arrive, whatever crossed on the way: ours stay when only the peer's are
    // new. Another agent expects new ones of ours, too (RFC 8445 9).
    const { local, remote } = generation.agent
    if (remote !== undefined && remote.ufrag !== signal.ufrag) {
      const earlier = this.#generations.earlier(local.ufrag, signal.ufrag)
      generation =
        earlier === undefined ? this.#begin('the peer started anew', signal.id === undefined ? undefined : local) : this.#resume(earlier)
    }
    if (generation.agent.remote === undefined) {
      generation.bind(said)
      if (signal.id !== undefined) this.#signaller.announce()
    }
    if (said.named.length > 0 || signal.id === undefined)
      this.#names ??= new PeerNames(this.#host, this.#log, () => this.#generations.current)
    const candidates = [...said.candidates, ...(this.#names?.follow(said) ?? [])]
    for (const reason of generation.follow(said.signal, candidates)) this.#log.refuse(reason)
    this.#theirList = signal.list ?? 0
    this.#relabel()
    if (signal.relays !== undefined) this.#host.meet(this, signal.relays)
  }

  /** @internal Somebody new listens for signals. */
  heeded(): void {
    this.#signaller.listened()
  }

  // ── from the signaller ──

  /** @internal What there is to say now. */
  describe(): SignalContent | undefined {
    const agent = this.#generations.current?.agent
    if (agent === undefined) return undefined
    const { candidates, trials } = candidateLines(this.#host.localCandidates)
    return {
      ufrag: agent.local.ufrag,
      pwd: agent.local.pwd,
      ...(agent.remote === undefined ? {} : { for: agent.remote.ufrag }),
      tie: tieText(this.#tieBreaker),
      ...(this.#host.lite ? { lite: true } : {}),
      candidates,
      ...(trials === undefined ? {} : { trials }),
      ...(this.#tried === 0 ? {} : { tried: this.#tried }),
      ...(this.#host.distances.length === 0 ? {} : { relays: this.#host.distances }),
      ...(this.#host.gathered ? { end: true } : {}),
    }
  }

  /** @internal Gives a signal to whoever listens; false when nobody does. */
  giveSignal(signal: Signal): boolean {
    const heard = this.listenerCount('signal') > 0
    if (heard) this.#signalsSent++
    this.#assessCaution()
    diagnose('signal', () => ({ event: 'sent', peer: this.peer, seq: signal.seq, candidates: signal.candidates.length }))
    this.safeEmit('signal', signal)
    return heard
  }

  /** @internal There is a path: what is unheard is not urgent any more. */
  settled(): boolean {
    return this.#generations.current?.agent.selected !== undefined
  }

  #peerLeft(): void {
    // An attempt that is over does not end once more.
    if (this.#state === 'idle') return
    if (!this.#attempts.hadPath) {
      this.#stop(this.#noPath('the peer stopped trying before there was one'))
      return
    }
    this.#note('the peer closed the session')
    this.#stop(new SallyportError('ERR_PEER_CLOSED', 'the peer closed the session; it opens again when the peer connects again'))
  }

  // ── path ──

  #choose(): void {
    const next = this.#generations.selected
    const last = this.#active
    if (next === last) return
    this.#active = next
    if (next === undefined) {
      this.#lost()
      return
    }
    const path = this.#report(next)
    this.#attempts.found(this.settled())
    this.#ready.heedNone()
    this.#setState('connected')
    this.#ready.resolve(path)
    // A listener may have closed the session, or a better pair come in the meantime.
    if (this.#active === next) this.safeEmit('path', path)
    if (this.#active === next) this.#outflow.flush()
    if (this.#active === next && next.base !== last?.base) this.#outflow.moved()
    this.#retireLater()
  }

  #report(pair: Pair): Path {
    const path = pathOf(pair)
    this.#kind = path.kind
    this.#note(`path ${describePath(path)}`)
    diagnose('path', () => ({ event: 'path', peer: this.peer, ...path }))
    return path
  }

  /** An address that a check showed before the peer told of it turns out to be a relay's. */
  #relabel(): void {
    if (this.#active === undefined || this.#active.kind === this.#kind) return
    this.safeEmit('path', this.#report(this.#active))
  }

  /** From the path of the present generation on, and only while that lasts: an earlier one may have to stand in again. */
  #retireLater(): void {
    this.#overlap?.cancel()
    this.#overlap = this.#generations.superseded ? this.#host.timers.after(OVERLAP, () => this.#generations.retirePrevious()) : undefined
  }

  #lost(): void {
    this.#note('no path any more')
    diagnose('path', () => ({ event: 'lost', peer: this.peer }))
    this.#ready.renew()
    this.#setState('connecting')
    this.#attempts.lost()
  }

  #fail(reason: string): void {
    if (this.#attempts.hadPath) {
      this.#note(reason)
      this.#attempts.failed()
      return
    }
    this.#stop(this.#noPath(reason))
  }

  #noPath(reason: string): SallyportError {
    const report = this.explain()
    const inTheWay = obstacle(report)
    return new SallyportError('ERR_NO_PATH', `no path to ${this.peer}: ${reason}${inTheWay === undefined ? '' : `. ${inTheWay}`}`, {
      report,
    })
  }

  /** Ends the attempt but not the session: it starts again with `connect`, or when the peer is heard of again. */
  #stop(error: Error): void {
    this.#note(error.message)
    this.#notReady(error)
    this.#release()
    this.#setState('idle')
    if (this.listenerCount('error') > 0) this.safeEmit('error', error)
  }

  #end(error: Error): void {
    if (this.#state === 'closed') return
    this.#signaller.farewell()
    this.#notReady(error)
    this.#release()
    this.#setState('closed')
    this.#host.forget(this)
  }

  /** Whoever waits now, or asks later, learns why there is no path. */
  #notReady(error: Error): void {
    if (this.#active !== undefined) this.#ready.renew()
    this.#ready.reject(error)
  }

  #release(): void {
    // What was tried is asked for most when it has failed.
    if (this.#generations.current !== undefined) this.#lastAttempt = this.#reportAttempt()
    this.#signaller.stop()
    this.#host.part(this)
    this.#names?.stop()
    this.#attempts.stop()
    this.#overlap?.cancel()
    this.#overlap = undefined
    this.#generations.clear()
    this.#active = undefined
    this.#outflow.stop()
    this.#ready.heedNone()
  }

  #aborted(reason: Error): void {
    if (this.#state === 'connecting') this.#end(reason)
  }

  #setState(state: SessionState): void {
    if (state === this.#state) return
    this.#state = state
    this.safeEmit('state', state)
  }

  #note(text: string): void {
    this.#log.note(this.#host.timers.now(), text)
  }
}

/** One for all sessions; `this` is the one that is listened to. */
function heedListener(this: Session, event: string): void {
  if (event === 'signal') this.heeded()
}
