/**
 * A lite agent (RFC 8445 2.5, 7.3.2, 8.2) of one session and one generation: it answers checks and sends none, so it has to be on an address
 * that anybody can reach. Always controlled; a pair counts once the peer has nominated it. Sans-I/O like `agent.ts`.
 */
import type { Base, Candidate, LocalCandidate } from '../candidates/index.ts'
import { type Address, isPassing, type SendFailure } from '../net/index.ts'
import { IntegrityKey, type Message } from '../stun/index.ts'
import { CandidateSet } from './candidate-set.ts'
import { CheckList } from './check-list.ts'
import { type CheckContent, writeError, writeSuccess } from './check-message.ts'
import { consentExpiresAt, forgiveSleep } from './consent.ts'
import { CONSENT_EXPIRY } from './constants.ts'
import type { Credentials } from './credentials.ts'
import { EarlyChecks } from './early-checks.ts'
import { judgeCheck } from './inbound-check.ts'
import { followed } from './nomination.ts'
import type { Agent, AgentEvent, AgentOutlet, RemoteDescription, Verdict } from './outlet.ts'
import type { Pair } from './pair.ts'
import { Patience } from './patience.ts'

export class LiteAgent implements Agent {
  readonly local: Credentials
  readonly controlling = false
  /** Nothing of ours can come too early. */
  readonly allTried = true
  readonly #localKey: IntegrityKey
  readonly #outlet: AgentOutlet
  readonly #list = new CheckList((pair) => this.#drop(pair, 'too many pairs'))
  readonly #candidates = new CandidateSet()
  readonly #early = new EarlyChecks()
  readonly #patience = new Patience()
  #remote: RemoteDescription | undefined
  #selected: Pair | undefined
  #closed = false
  #deadline = Number.POSITIVE_INFINITY
  #events: AgentEvent[] = []

  constructor(local: Credentials, outlet: AgentOutlet) {
    this.local = local
    this.#localKey = IntegrityKey.shortTerm(local.pwd)
    this.#outlet = outlet
  }

  get remote(): RemoteDescription | undefined {
    return this.#remote
  }

  get pairs(): readonly Pair[] {
    return this.#list.pairs
  }

  get selected(): Pair | undefined {
    return this.#selected
  }

  get remoteCandidates(): readonly Candidate[] {
    return this.#candidates.remotes
  }

  get deadline(): number {
    return this.#deadline
  }

  setRemote(remote: RemoteDescription, _controlling: boolean | undefined, now: number): void {
    this.#remote = remote
    for (const { base, from, content } of this.#early.take(remote.ufrag)) {
      // Another session may have come to use it meanwhile.
      if (!this.#outlet.mayUse(base, from)) continue
      const pair = this.#list.pairFrom(this.#candidates, base, from, content.priority, false)
      if (pair !== undefined) this.#heard(pair, content, now)
    }
    if (remote.lite) {
      // RFC 8445 8.2 has two lite agents send to each other unchecked; here nothing is sent to an address that has not proved itself.
      this.#patience.stop()
      this.#events.push({ kind: 'failed', reason: 'both sides are lite and neither checks; one of them has to be a full agent' })
    }
    this.#settle(now)
  }

  peerKnows(now: number): void {
    if (this.#remote === undefined) return
    this.#patience.meet(now)
    this.#settle(now)
  }

  peerSends(): void {}

  expectRoundTrip(): void {}

  addLocal(candidate: LocalCandidate): void {
    this.#candidates.addLocal(candidate)
  }

  removeBase(base: Base, reason: string, now: number): void {
    this.#candidates.removeBase(base)
    for (const pair of this.pairs) {
      if (pair.base !== base) continue
      const heard = pair.heard && !pair.valid
      this.#drop(pair, reason)
      this.#list.delete(pair)
      if (heard) this.#events.push({ kind: 'lost', pair, reason })
    }
    this.#settle(now)
  }

  /** Known so that the peer's checks are recognised as coming from them; none is checked. */
  addRemotes(candidates: readonly Candidate[], _now: number, named = false): readonly string[] {
    const refused: string[] = []
    for (const candidate of candidates) {
      const refusal = this.#candidates.addRemote(candidate, named)
      if (refusal !== undefined && refusal !== 'known') refused.push(`${candidate.address}: ${refusal}`)
    }
    return refused
  }

  /** What works goes on for as long as the peer checks it. */
  withdrawRemotes(offered: readonly Candidate[]): void {
    this.#candidates.withdraw(offered)
  }

  endRemotes(): void {
    this.#candidates.end()
  }

  /** It asks nothing, ever: the peer does. */
  question(): void {}

  basesChanged(): void {}

  handleRequest(message: Message, base: Base, from: Address, now: number): Verdict {
    if (this.#closed) return 'stranger'
    const self = { key: this.#localKey, controlling: false, tieBreaker: undefined, peer: this.#remote?.ufrag }
    const judgement = judgeCheck(message, self)
    if (judgement.kind === 'stranger') return 'stranger'
    if (judgement.kind === 'ignore' || !this.#outlet.mayUse(base, from)) return 'taken'
    if (judgement.kind === 'refuse') {
      this.#outlet.send(base, from, writeError(message, judgement.error, this.#localKey), false)
      return 'taken'
    }
    const { sender, content } = judgement
    const pair = this.#remote === undefined ? undefined : this.#list.pairFrom(this.#candidates, base, from, content.priority, false)
    // No success without a place to remember it: the peer would send data that nobody takes.
    if (this.#remote === undefined ? !this.#early.keep({ base, from, sender, content }) : pair === undefined) return 'taken'
    this.#outlet.send(base, from, writeSuccess(message, from, this.#localKey), false)
    if (pair === undefined) this.#events.push({ kind: 'early', base, to: from })
    else {
      this.#heard(pair, content, now)
      this.#patience.meet(now)
    }
    this.#settle(now)
    return 'taken'
  }

  /** Nothing is ever asked. */
  recognises(): boolean {
    return false
  }

  handleResponse(): Verdict {
    return 'stranger'
  }

  sendFailed(base: Base, to: Address, failure: SendFailure, now: number): void {
    const pair = this.#list.find(base, to)
    if (pair === undefined || isPassing(failure)) return
    this.#drop(pair, failure)
    this.#settle(now)
  }

  paced(): boolean {
    return false
  }

  advance(now: number): void {
    if (this.#closed) return
    const slept = now - this.#deadline
    if (slept > 2_000) {
      if (slept < CONSENT_EXPIRY) for (const pair of this.pairs) forgiveSleep(pair, slept)
      this.#patience.forgiveSleep(slept)
    }
    for (const pair of this.pairs) if (pair.valid && now >= consentExpiresAt(pair)) this.#drop(pair, 'the peer checks it no longer')
    this.#settle(now)
  }

  close(): void {
    this.#closed = true
    this.#deadline = Number.POSITIVE_INFINITY
    this.#events = []
  }

  /** RFC 8445 7.3.2: the answer is all that a check gets, and a nomination makes the pair valid. */
  #heard(pair: Pair, content: CheckContent, now: number): void {
    if (!pair.heard) this.#events.push({ kind: 'heard', pair })
    pair.heard = true
    pair.received++
    // RFC 7675 5.1 leaves consent to the full side; a peer that keeps asking wants our data.
    pair.lastResponseAt = now
    if (!content.useCandidate || !content.senderControlling) return
    pair.nominated = Math.max(pair.nominated ?? 0, content.nomination ?? 0)
    pair.nominatedAt = now
    if (pair.valid) return
    pair.state = 'succeeded'
    pair.reason = undefined
    pair.mapped = pair.local
    pair.validSince = now
    this.#patience.stop()
    this.#events.push({ kind: 'valid', pair })
  }

  #drop(pair: Pair, reason: string): void {
    const wasValid = pair.valid
    pair.fail(reason)
    pair.heard = false
    if (wasValid) this.#events.push({ kind: 'lost', pair, reason })
  }

  /** Ends every call, as in `agent.ts`. */
  #settle(now: number): void {
    if (this.#closed) return
    const selected = followed(this.pairs)
    if (selected !== this.#selected) {
      this.#selected = selected
      this.#events.push({ kind: 'selected', pair: selected })
    }
    if (now >= this.#patience.endsAt()) {
      this.#patience.stop()
      this.#events.push({ kind: 'failed', reason: 'the peer nominated none of our addresses, and a lite agent does not check' })
    }
    let next = this.#patience.endsAt()
    for (const pair of this.pairs) if (pair.valid) next = Math.min(next, consentExpiresAt(pair))
    this.#deadline = next
    const events = this.#events
    this.#events = []
    for (const event of events) if (!this.#closed) this.#outlet.event(event)
  }
}
