/**
 * One generation of a session: an ICE agent wired to the sockets, the clock, the pace and the demultiplexer.
 * Addresses of the peer are claimed here, so that data reaches this session and no other.
 */
import type { Base, LocalCandidate } from './candidates/index.ts'
import type { CheckReceiver, DataReceiver, Demultiplexer } from './demultiplexer.ts'
import { type AgentEvent, type AgentOutlet, type Credentials, createCredentials, IceAgent, type Pair, type Verdict } from './ice/index.ts'
import type { Address, Paced, Pacer, Random, Timer, Timers } from './net/index.ts'
import type { Message } from './stun/index.ts'

/** What sessions share: the traversal's sockets and what it knows of the network. */
export interface Ground {
  readonly timers: Timers
  readonly random: Random
  readonly pacer: Pacer
  readonly demultiplexer: Demultiplexer
  readonly localCandidates: readonly LocalCandidate[]
  /** No answer is outstanding that could bring another local candidate. */
  readonly gathered: boolean
}

/** What a generation tells its session. */
export interface GenerationOwner {
  agentEvent(generation: Generation, event: AgentEvent): void
  receive(data: Uint8Array): void
}

/** Datagrams that overtook the answer which makes their pair valid: kept this many, dropped and counted beyond. */
const MAX_HELD = 32
/** Another session's pair that was answered this recently, in milliseconds, keeps its address. */
const FRESH = 10_000

export class Generation implements AgentOutlet, CheckReceiver, DataReceiver, Paced {
  readonly number: number
  readonly agent: IceAgent
  readonly #ground: Ground
  readonly #owner: GenerationOwner
  readonly #held: { readonly pair: Pair; readonly data: Uint8Array }[] = []
  readonly #claimed = new Set<Pair>()
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #closed = false
  /** Datagrams dropped because their pair was not valid in time. */
  droppedEarly = 0

  constructor(number: number, ground: Ground, owner: GenerationOwner, tieBreaker: bigint, local?: Credentials) {
    this.number = number
    this.#ground = ground
    this.#owner = owner
    const { random } = ground
    // Controlling until the peer's word or check settles it.
    this.agent = new IceAgent({ tieBreaker, controlling: true, local: local ?? createCredentials(random), random, outlet: this })
  }

  open(): void {
    this.#ground.demultiplexer.addUfrag(this.agent.local.ufrag, this)
    for (const candidate of this.#ground.localCandidates) this.addLocal(candidate)
  }

  addLocal(candidate: LocalCandidate): void {
    this.#run((now) => this.agent.addLocal(candidate, now))
  }

  removeBase(base: Base, reason: string): void {
    this.#run((now) => this.agent.removeBase(base, reason, now))
  }

  /** Runs a call of the agent at one reading of the clock, and keeps its deadline. */
  #run<T>(call: (now: number) => T): T {
    const result = call(this.#ground.timers.now())
    this.#arm()
    return result
  }

  /** As `#run`, for the session's own calls. */
  tell<T>(call: (agent: IceAgent, now: number) => T): T {
    return this.#run((now) => call(this.agent, now))
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.agent.close()
    this.#timer?.cancel()
    this.#timer = undefined
    this.#ground.pacer.withdraw(this)
    this.#ground.demultiplexer.deleteUfrag(this.agent.local.ufrag, this)
    for (const pair of this.#claimed) this.#ground.demultiplexer.release(pair.base, pair.to, this)
    this.#claimed.clear()
    this.#held.length = 0
  }

  // ── from the network ──

  handleRequest(message: Message, base: Base, from: Address): Verdict {
    return this.#run((now) => this.agent.handleRequest(message, base, from, now))
  }

  handleResponse(message: Message, base: Base, from: Address): Verdict {
    return this.#run((now) => this.agent.handleResponse(message, base, from, now))
  }

  recognises(message: Message): boolean {
    return this.agent.recognises(message)
  }

  handleData(data: Uint8Array, base: Base, from: Address): void {
    const pair = this.agent.findPair(base, from)
    if (pair?.valid === true) this.#owner.receive(data)
    else if (pair !== undefined && pair.state !== 'failed' && this.#held.length < MAX_HELD) this.#held.push({ pair, data })
    else this.droppedEarly++
  }

  // ── the agent's outlet ──

  send(base: Base, to: Address, data: Uint8Array): void {
    base.send(data, to, true)
  }

  expect(key: string): void {
    this.#ground.demultiplexer.expect(key, this)
  }

  forget(key: string): void {
    this.#ground.demultiplexer.forget(key)
  }

  requestSlot(urgent: boolean): void {
    this.#ground.pacer.request(this, urgent)
  }

  paced(): boolean {
    return this.#run((now) => this.agent.paced(now))
  }

  event(event: AgentEvent): void {
    if (event.kind === 'heard' || event.kind === 'valid') {
      if (!this.#claim(event.pair)) return
    } else if (event.kind === 'lost') this.#unclaim(event.pair)
    this.#owner.agentEvent(this, event)
    if (event.kind === 'valid') this.#release(event.pair)
  }

  /** The peer's address is ours now, unless another session is alive there: without it no datagram could be told apart. */
  #claim(pair: Pair): boolean {
    const { demultiplexer, timers } = this.#ground
    const other = demultiplexer.ownerOf(pair.base, pair.to)
    if (other instanceof Generation && other !== this && other.#owner !== this.#owner && other.#isAlive(pair, timers.now())) {
      this.#run((now) => this.agent.refuse(pair, 'another session uses this address', now))
      return false
    }
    demultiplexer.claim(pair.base, pair.to, this)
    this.#claimed.add(pair)
    return true
  }

  #isAlive(pair: Pair, now: number): boolean {
    const own = this.agent.findPair(pair.base, pair.to)
    return own?.valid === true && now - (own.lastResponseAt ?? 0) < FRESH
  }

  #unclaim(pair: Pair): void {
    this.#claimed.delete(pair)
    this.#ground.demultiplexer.release(pair.base, pair.to, this)
  }

  /** Hands over what waited for this pair to become valid, in the order it came. */
  #release(pair: Pair): void {
    const ready = this.#held.filter((held) => held.pair === pair)
    if (ready.length === 0) return
    this.#held.splice(0, this.#held.length, ...this.#held.filter((held) => held.pair !== pair))
    for (const { data } of ready) if (!this.#closed) this.#owner.receive(data)
  }

  #arm(): void {
    if (this.#closed) return
    const at = this.agent.deadline
    if (at === this.#timerAt) return
    this.#timer?.cancel()
    this.#timerAt = at
    this.#timer =
      at === Number.POSITIVE_INFINITY
        ? undefined
        : this.#ground.timers.at(at, () => {
            this.#timerAt = Number.POSITIVE_INFINITY
            this.#run((now) => this.agent.advance(now))
          })
  }
}
