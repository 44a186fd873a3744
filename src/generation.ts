/**
 * One generation of a session: an ICE agent wired to the sockets, the clock, the pace and the demultiplexer.
 * Addresses of the peer are claimed here, so that data reaches this session and no other.
 */
import type { Base, Candidate, LocalCandidate } from './candidates/index.ts'
import { Claim, type Claimant, type Claimed, Promised } from './claim.ts'
import type { CheckReceiver, Demultiplexer } from './demultiplexer.ts'
import {
  type Agent,
  type AgentEvent,
  type AgentOutlet,
  type CheckBudget,
  type Credentials,
  createCredentials,
  IceAgent,
  LiteAgent,
  type Nominations,
  type Pair,
  type Verdict,
} from './ice/index.ts'
import type { Address, Dns, Paced, Pacer, Random, SendFailure, Timer, Timers } from './net/index.ts'
import type { ReadSignal, Signal } from './signal/index.ts'
import type { Message } from './stun/index.ts'

/** What sessions share: the traversal's sockets and what it knows of the network. */
export interface Ground {
  readonly timers: Timers
  readonly random: Random
  readonly pacer: Pacer
  readonly dns: Dns
  readonly demultiplexer: Demultiplexer
  /** Our agents are lite ones. */
  readonly lite: boolean
  readonly localCandidates: readonly LocalCandidate[]
  /** Milliseconds to the nearest server and back; undefined while none has answered. */
  readonly serverRtt: number | undefined
  /** No answer is outstanding that could bring another local candidate. Once so, it stays so. */
  readonly gathered: boolean
  /** An answer is outstanding now: at the start, and after a change of network. */
  readonly gathering: boolean
  /** A peer's check to this address of ours, which is on trial, has come in. `asked`: we had sent to where it came from. */
  reached(base: Base, address: Address, asked: boolean): void
}

/** What a generation tells its session. */
export interface GenerationOwner {
  agentEvent(generation: Generation, event: AgentEvent): void
  receive(data: Uint8Array): void
  /** For the checks of all its generations. */
  readonly budget: CheckBudget
  readonly nominations: Nominations
  /** A check went out. */
  checked(generation: Generation): void
}

interface Held {
  readonly pair: Pair
  readonly data: Uint8Array
}

/** Datagrams that overtook the answer which makes their pair valid: kept this many, dropped and counted beyond. */
const MAX_HELD = 32
export class Generation implements AgentOutlet, CheckReceiver, Claimant, Paced {
  readonly number: number
  readonly agent: Agent
  readonly #ground: Ground
  readonly #owner: GenerationOwner
  readonly #tieBreaker: bigint
  readonly #held: Held[] = []
  #claims: readonly { readonly pair: Claimed; readonly claim: Claim }[] = []
  /** Valid since the call of the agent that is running. */
  #proven: readonly Pair[] = []
  /** Calls of the agent within each other. */
  #depth = 0
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #closed = false
  #username: string | undefined
  /** Datagrams dropped because their pair was not valid in time. */
  droppedEarly = 0

  constructor(number: number, ground: Ground, owner: GenerationOwner, tieBreaker: bigint, local?: Credentials) {
    this.number = number
    this.#ground = ground
    this.#owner = owner
    this.#tieBreaker = tieBreaker
    const { random, lite } = ground
    const credentials = local ?? createCredentials(random)
    // Controlling until the peer's word or check settles it.
    this.agent = lite
      ? new LiteAgent(credentials, this)
      : new IceAgent({
          tieBreaker,
          controlling: true,
          local: credentials,
          random,
          budget: owner.budget,
          nominations: owner.nominations,
          outlet: this,
        })
  }

  open(): void {
    this.#ground.demultiplexer.addUfrag(this.agent.local.ufrag, this)
    for (const candidate of this.#ground.localCandidates) this.addLocal(candidate)
  }

  /** Binds it to the peer's credentials, once. */
  bind(said: ReadSignal): void {
    const { ufrag, pwd, id, lite = false, renomination = id !== undefined } = said.signal
    // Several generations may go by one user fragment of ours; with the peer's they are told apart.
    this.#username = `${this.agent.local.ufrag}:${ufrag}`
    this.#ground.demultiplexer.addUfrag(this.#username, this)
    this.tell((agent, now) => agent.setRemote({ ufrag, pwd, lite, renomination }, this.#roleToward(said), now))
    // What was promised is a pair's by now, or was somebody else's promise.
    for (const { pair } of this.#claims) if (pair instanceof Promised) this.#unclaim(pair)
    // Another agent's signals tell nothing of when it starts.
    if (id === undefined) this.tell((agent, now) => agent.peerSends(now, now))
  }

  /** Takes what a signal of the peer it is bound to says of candidates. Returns why any of them is not used. */
  follow({ id, end, for: ours }: Signal, candidates: readonly Candidate[]): readonly string[] {
    const refused = this.tell((agent, now) => agent.addRemotes(candidates, now))
    // Ours may roam, and says everything anew; another agent means it (RFC 8838 14).
    if (id === undefined && end === true) this.tell((agent) => agent.endRemotes())
    // Another agent's signalling does not tell; taken as read, as RFC 8863 does.
    if (id === undefined || ours === this.agent.local.ufrag) this.tell((agent, now) => agent.peerKnows(now))
    // Ours say everything anew; another agent's description may be one candidate of many.
    if (id !== undefined) this.tell((agent, now) => agent.withdrawRemotes(candidates, now))
    return refused
  }

  /** Whether we control, as both ends work it out alike; undefined leaves it to role conflicts. */
  #roleToward({ signal, tieBreaker }: ReadSignal): boolean | undefined {
    // A lite agent is controlled (RFC 8445 6.1.1).
    if (signal.lite === true) return true
    // Both ends compare the same two numbers, so there will be no conflict.
    if (tieBreaker !== undefined && tieBreaker !== this.#tieBreaker) return this.#tieBreaker > tieBreaker
    return signal.controlling === undefined ? undefined : !signal.controlling
  }

  addLocal(candidate: LocalCandidate): void {
    this.tell((agent, now) => agent.addLocal(candidate, now))
  }

  removeBase(base: Base, reason: string): void {
    this.tell((agent, now) => agent.removeBase(base, reason, now))
  }

  question(pair: Pair): void {
    this.tell((agent, now) => agent.question(pair, now))
  }

  /** Runs a call of the agent at one reading of the clock, and keeps its deadline. */
  tell<T>(call: (agent: Agent, now: number) => T): T {
    this.#depth++
    let result: T
    try {
      result = call(this.agent, this.#ground.timers.now())
    } finally {
      this.#depth--
    }
    // Only now has the session heard all of it: a path, where there is one, before the first message on it.
    if (this.#depth === 0 && this.#proven.length > 0) {
      const proven = this.#proven
      this.#proven = []
      for (const pair of proven) this.#deliverHeld(pair)
    }
    this.#arm()
    return result
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.agent.close()
    this.#timer?.cancel()
    this.#timer = undefined
    this.#ground.pacer.withdraw(this)
    this.#ground.demultiplexer.deleteUfrag(this.agent.local.ufrag, this)
    if (this.#username !== undefined) this.#ground.demultiplexer.deleteUfrag(this.#username, this)
    for (const { pair } of this.#claims) this.#unclaim(pair)
    this.#drop(() => true)
  }

  // ── from the network ──

  handleRequest(message: Message, base: Base, from: Address): Verdict {
    return this.tell((agent, now) => agent.handleRequest(message, base, from, now))
  }

  handleResponse(message: Message, base: Base, from: Address): Verdict {
    return this.tell((agent, now) => agent.handleResponse(message, base, from, now))
  }

  sendFailed(base: Base, to: Address, failure: SendFailure): void {
    this.tell((agent, now) => agent.sendFailed(base, to, failure, now))
  }

  // ── for the claims ──

  get order(): string {
    const { local, remote } = this.agent
    // Without the peer's half there is no common order yet: last.
    return remote === undefined ? '~' : [local.ufrag, remote.ufrag].sort().join(' ')
  }

  deliver(data: Uint8Array): void {
    this.#owner.receive(data)
  }

  hold(data: Uint8Array, pair: Claimed): void {
    // What waits for a pair that failed gives its place to what may still be delivered.
    if (this.#held.length >= MAX_HELD) this.#drop((held) => held.pair.state === 'failed')
    if (!(pair instanceof Promised) && pair.state !== 'failed' && this.#held.length < MAX_HELD) this.#held.push({ pair, data })
    else this.droppedEarly++
  }

  refuse(): void {
    this.droppedEarly++
  }

  recognises(message: Message): boolean {
    return this.agent.recognises(message)
  }

  // ── the agent's outlet ──

  send(base: Base, to: Address, data: Uint8Array, opener: boolean): void {
    base.send(data, to, true, opener)
  }

  expect(key: string, { base, to }: Pair): void {
    this.#ground.demultiplexer.expect(key, this, base, to)
  }

  reached(base: Base, address: Address, asked: boolean): void {
    this.#ground.reached(base, address, asked)
  }

  forget(key: string): void {
    this.#ground.demultiplexer.forget(key)
  }

  requestSlot(urgent: boolean): void {
    this.#ground.pacer.request(this, urgent)
  }

  paced(): boolean {
    const used = this.tell((agent, now) => agent.paced(now))
    if (used && !this.#closed) this.#owner.checked(this)
    return used
  }

  mayUse(base: Base, from: Address): boolean {
    const claim = this.#claimOn(base, from)
    return claim === undefined || claim.owner === this.#owner || claim.yieldsTo(this, this.#ground.timers.now())
  }

  proves(base: Base, from: Address, sentAt: number): boolean {
    const claim = this.#claimOn(base, from)
    return claim === undefined || (claim.owner === this.#owner && claim.isProvenBy(sentAt))
  }

  mayAsk(base: Base, to: Address): boolean {
    const claim = this.#claimOn(base, to)
    return claim === undefined || claim.owner === this.#owner || !claim.inUse(this.#ground.timers.now())
  }

  event(event: AgentEvent): void {
    if (event.kind === 'early') this.#promise(event.base, event.to)
    if (event.kind === 'heard' || event.kind === 'valid') this.#claim(event.pair)
    else if (event.kind === 'lost') this.#unclaim(event.pair)
    this.#owner.agentEvent(this, event)
    if (event.kind === 'valid') this.#proven = [...this.#proven, event.pair]
  }

  #promise(base: Base, to: Address): void {
    const now = this.#ground.timers.now()
    for (const { pair } of this.#claims) {
      if (!(pair instanceof Promised) || pair.base !== base || pair.to.key !== to.key) continue
      pair.renew(now)
      return
    }
    this.#claim(new Promised(base, to, now))
  }

  #claim(pair: Claimed): void {
    const { demultiplexer, timers } = this.#ground
    const present = this.#claimOn(pair.base, pair.to)
    const taken = present !== undefined || demultiplexer.wasAnothers(pair.base, pair.to, this.#owner)
    const claim = present?.owner === this.#owner ? present : new Claim(this.#owner, taken ? timers.now() : undefined)
    claim.share(this, pair)
    this.#claims = [...this.#claims.filter((held) => held.pair !== pair), { pair, claim }]
    if (claim !== present) demultiplexer.claim(pair.base, pair.to, claim)
  }

  #claimOn(base: Base, from: Address): Claim | undefined {
    const owner = this.#ground.demultiplexer.ownerOf(base, from)
    return owner instanceof Claim ? owner : undefined
  }

  #unclaim(pair: Claimed): void {
    const held = this.#claims.find((one) => one.pair === pair)
    this.#claims = this.#claims.filter((one) => one !== held)
    if (held?.claim.leave(pair) === true) this.#ground.demultiplexer.release(pair.base, pair.to, held.claim)
  }

  #drop(which: (held: Held) => boolean): void {
    const kept = this.#held.filter((held) => !which(held))
    this.droppedEarly += this.#held.length - kept.length
    this.#held.splice(0, this.#held.length, ...kept)
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
            this.tell((agent, now) => agent.advance(now))
          })
  }
}
