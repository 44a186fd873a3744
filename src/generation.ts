/**
 * One generation of a session: an ICE agent wired to the sockets, the clock, the pace and the demultiplexer.
 * Addresses of the peer are claimed here, so that data reaches this session and no other.
 */
import type { Base, LocalCandidate } from './candidates/index.ts'
import type { CheckReceiver, DataReceiver, Demultiplexer } from './demultiplexer.ts'
import { type AgentEvent, type AgentOutlet, type Credentials, createCredentials, IceAgent, type Pair, type Verdict } from './ice/index.ts'
import type { Address, Paced, Pacer, Random, SendFailure, Timer, Timers } from './net/index.ts'
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

/** The right to what comes from one address to one base: nothing in a datagram would tell two sessions apart there. */
class Claim implements DataReceiver {
  readonly generation: Generation
  readonly pair: Pair

  constructor(generation: Generation, pair: Pair) {
    this.generation = generation
    this.pair = pair
  }

  handleData(data: Uint8Array): void {
    this.generation.receive(data, this.pair)
  }

  recognises(message: Message): boolean {
    return this.generation.agent.recognises(message)
  }

  sendFailed(failure: SendFailure): void {
    const { base, to } = this.pair
    this.generation.tell((agent, now) => agent.sendFailed(base, to, failure, now))
  }

  /** Gives way to another session: when its own is dead, or, with neither alive yet, by an order that both ends see alike. */
  yieldsTo(other: Generation, now: number): boolean {
    const { state, valid, lastResponseAt = Number.NEGATIVE_INFINITY } = this.pair
    if (state === 'failed' || valid) return now - lastResponseAt >= FRESH
    return other.order < this.generation.order
  }
}

export class Generation implements AgentOutlet, CheckReceiver, Paced {
  readonly number: number
  readonly agent: IceAgent
  readonly #ground: Ground
  readonly #owner: GenerationOwner
  readonly #held: { readonly pair: Pair; readonly data: Uint8Array }[] = []
  readonly #claims = new Map<Pair, Claim>()
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
    for (const pair of this.#claims.keys()) this.#release(pair)
    this.#held.length = 0
  }

  // ── from the network ──

  handleRequest(message: Message, base: Base, from: Address): Verdict {
    return this.#run((now) => this.agent.handleRequest(message, base, from, now))
  }

  handleResponse(message: Message, base: Base, from: Address): Verdict {
    return this.#run((now) => this.agent.handleResponse(message, base, from, now))
  }

  /** Data from the far end of a pair that this generation has claimed. */
  receive(data: Uint8Array, pair: Pair): void {
    if (pair.valid) this.#owner.receive(data)
    else if (pair.state !== 'failed' && this.#held.length < MAX_HELD) this.#held.push({ pair, data })
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

  mayUse(base: Base, from: Address): boolean {
    const claim = this.#claimOn(base, from)
    return claim === undefined || claim.generation.#owner === this.#owner || claim.yieldsTo(this, this.#ground.timers.now())
  }

  event(event: AgentEvent): void {
    if (event.kind === 'heard') this.#claim(event.pair, false)
    else if (event.kind === 'valid') this.#claim(event.pair, true)
    else if (event.kind === 'lost') this.#release(event.pair)
    this.#owner.agentEvent(this, event)
    if (event.kind === 'valid') this.#deliverHeld(event.pair)
  }

  /** The same for both ends of a session, and different for every session: how two of them agree on who gives way. */
  get order(): string {
    const { local, remote } = this.agent
    // Without the peer's half there is no common order yet: last.
    return remote === undefined ? '~' : [local.ufrag, remote.ufrag].sort().join(' ')
  }

  /** @param over takes it over from the last generation, which may be using it */
  #claim(pair: Pair, over: boolean): void {
    const present = this.#claimOn(pair.base, pair.to)
    if (present !== undefined && present.generation.#owner === this.#owner && !over) return
    const claim = new Claim(this, pair)
    this.#claims.set(pair, claim)
    this.#ground.demultiplexer.claim(pair.base, pair.to, claim)
  }

  #claimOn(base: Base, from: Address): Claim | undefined {
    const owner = this.#ground.demultiplexer.ownerOf(base, from)
    return owner instanceof Claim ? owner : undefined
  }

  #release(pair: Pair): void {
    const claim = this.#claims.get(pair)
    if (claim === undefined) return
    this.#claims.delete(pair)
    this.#ground.demultiplexer.release(pair.base, pair.to, claim)
  }

  /** Hands over what waited for this pair to become valid, in the order it came. */
  #deliverHeld(pair: Pair): void {
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
