/**
 * The ICE agent (RFC 8445) of one session and one generation: between one pair of credentials and another, over candidates as they come
 * (RFC 8838). Sans-I/O: calls bring bytes, candidates and the time; what is to happen goes to the outlet. A restart is a new agent
 * beside the old one, which keeps its valid pair going meanwhile. Which of several agents' pairs carries data is not decided here.
 */
import type { Base, Candidate, LocalCandidate } from '../candidates/index.ts'
import { type Address, isPassing, type Random, type SendFailure } from '../net/index.ts'
import { Attribute, IntegrityKey, type Message } from '../stun/index.ts'
import type { CheckBudget } from './budget.ts'
import { CandidateSet } from './candidate-set.ts'
import { Caution } from './caution.ts'
import { CheckList, shows } from './check-list.ts'
import { type CheckContent, KNOWN_IN_CHECKS, writeError, writeSuccess } from './check-message.ts'
import { consentDelay, consentExpiresAt, forgiveSleep } from './consent.ts'
import { CHECK_LIFETIME, CONSENT_EXPIRY, DOUBTFUL_QUESTIONS, MAX_ROLE_CONFLICTS, RECONSIDERED_PAIRS, SUSPECT_CHECKS } from './constants.ts'
import type { Credentials } from './credentials.ts'
import { EarlyChecks } from './early-checks.ts'
import { judgeCheck } from './inbound-check.ts'
import { Nominator } from './nominator.ts'
import { OutgoingChecks } from './outgoing-checks.ts'
import type { Agent, AgentEvent, AgentOptions, AgentOutlet, RemoteDescription, Verdict } from './outlet.ts'
import type { Check, Pair } from './pair.ts'
import { Patience } from './patience.ts'
import { Upgrade } from './upgrade.ts'

const TAKEN = 'another session uses this address'

export class IceAgent implements Agent {
  readonly local: Credentials
  readonly #localKey: IntegrityKey
  readonly #random: Random
  readonly #budget: CheckBudget
  readonly #outlet: AgentOutlet
  readonly #list = new CheckList((pair) => this.#drop(pair, 'too many pairs'))
  readonly #outgoing: OutgoingChecks
  readonly #candidates = new CandidateSet()
  readonly #nominator: Nominator
  readonly #patience = new Patience()
  readonly #upgrade = new Upgrade()
  #caution = new Caution()
  readonly #early = new EarlyChecks()
  #remote: RemoteDescription | undefined
  #remoteKey: IntegrityKey | undefined
  #tieBreaker: bigint
  #controlling: boolean
  #selected: Pair | undefined
  /** Roles left because of a 487. */
  #conflicts = 0
  #closed = false
  #expected = Number.POSITIVE_INFINITY
  #events: AgentEvent[] = []

  constructor(options: AgentOptions) {
    this.local = options.local
    this.#localKey = IntegrityKey.shortTerm(options.local.pwd)
    this.#tieBreaker = options.tieBreaker
    this.#controlling = options.controlling
    this.#random = options.random
    this.#budget = options.budget
    this.#nominator = new Nominator(options.nominations)
    this.#outlet = options.outlet
    this.#outgoing = new OutgoingChecks(options.outlet, options.random)
  }

  get remote(): RemoteDescription | undefined {
    return this.#remote
  }

  get controlling(): boolean {
    return this.#controlling
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
    return this.#expected
  }

  setRemote(remote: RemoteDescription, controlling: boolean | undefined, now: number): void {
    this.#remote = remote
    this.#remoteKey = IntegrityKey.shortTerm(remote.pwd)
    if (controlling !== undefined) this.#takeRole(controlling)
    for (const { base, from, content } of this.#early.take(remote.ufrag)) {
      // Another session may have come to use it meanwhile.
      if (!this.#outlet.mayUse(base, from)) continue
      const pair = this.#list.pairFrom(this.#candidates, base, from, content.priority, this.#controlling)
      if (pair !== undefined) this.#heard(pair, content, now)
    }
    this.#settle(now)
  }

  /** Pairs that got no answer so far get their full run of checks: the first one may have come before the peer's own opened its NAT. */
  peerKnows(now: number): void {
    if (this.#patience.met || this.#remote === undefined) return
    this.#patience.meet(now)
    this.#list.encourage(now)
    this.#settle(now)
  }

  get allTried(): boolean {
    return this.pairs.every(({ remote, sent, state }) => remote.type !== 'srflx' || sent > 0 || state === 'failed')
  }

  /** From then on the peer's NAT takes our checks for answers. */
  peerSends(from: number, now: number): void {
    if (from >= this.#caution.over) return
    this.#caution.end(from)
    for (const pair of this.pairs) {
      if (pair.state !== 'in-progress' || !pair.opener) continue
      pair.unanswered = 1
      pair.nextCheckAt = Math.max(now, from)
    }
    this.#settle(now)
  }

  expectRoundTrip(rtt: number): void {
    this.#list.roundTrip = rtt
  }

  addLocal(candidate: LocalCandidate, now: number): void {
    const { type, base, mapping } = candidate
    // Of what the router maps for us nothing leaves but answers: the peer's NAT has nothing to be opened for.
    const seen = type === 'srflx' && mapping === undefined
    // What the peer sent to our other addresses has not opened its NAT for this one.
    const another = seen || (type === 'host' && this.#candidates.ofBase(base) === undefined)
    if (another) this.#caution = new Caution()
    // The peer will check this one too, and with that open its filter for checks of ours that failed so far.
    if (seen) this.#list.encourage(now)
    if (this.#candidates.addLocal(candidate) && !base.passive) {
      for (const remote of this.#candidates.remotes) this.#pair(candidate, remote)
    }
    this.#settle(now)
  }

  #pair(local: LocalCandidate, remote: Candidate): void {
    const pair = this.#list.add(local, remote, this.#controlling)
    pair?.base.expect(pair.to)
  }

  removeBase(base: Base, reason: string, now: number): void {
    this.#candidates.removeBase(base)
    for (const pair of this.pairs) if (pair.base === base) this.#remove(pair, reason)
    this.#settle(now)
  }

  endRemotes(): void {
    this.#candidates.end()
  }

  addRemotes(candidates: readonly Candidate[], now: number, named = false): readonly string[] {
    const refused: string[] = []
    for (const candidate of candidates) {
      const refusal = this.#candidates.addRemote(candidate, named)
      if (refusal === undefined) {
        for (const local of this.#candidates.bases) if (!local.base.passive) this.#pair(local, candidate)
      } else if (refusal !== 'known') refused.push(`${candidate.address}: ${refusal}`)
    }
    this.#settle(now)
    return refused
  }

  /**
   * Pairs that never worked end now; one that does has to show at once that it still
   * does: a changed mapping toward a server says little about the mapping toward us.
   */
  withdrawRemotes(offered: readonly Candidate[], now: number): void {
    const gone = this.#candidates.withdraw(offered)
    for (const pair of this.pairs) {
      if (!gone.includes(pair.remote)) continue
      if (pair.valid) {
        if (pair.remote.type === 'relay') pair.abandonedSince = Math.min(pair.abandonedSince, now)
        pair.suspect = true
        pair.nextCheckAt = now
      } else this.#remove(pair, 'the peer withdrew this address')
    }
    this.#settle(now)
  }

  /** Answers have to show that it still works. Nothing when it is being asked already. */
  question(pair: Pair, now: number): void {
    this.#question(pair, now)
    this.#settle(now)
  }

  #question(pair: Pair, now: number): void {
    if (!pair.valid || pair.hurried) return
    pair.questioned = true
    pair.unanswered = 0
    pair.nextCheckAt = now
  }

  #questionOthers(pair: Pair, now: number): void {
    for (const other of this.pairs) if (other !== pair) this.#question(other, now)
  }

  /** A base is about to go: whatever else works takes over now, so that nothing is lost when it does. */
  basesChanged(now: number): void {
    this.#settle(now)
  }

  handleRequest(message: Message, base: Base, from: Address, now: number): Verdict {
    if (this.#closed) return 'stranger'
    const judgement = judgeCheck(message, {
      key: this.#localKey,
      controlling: this.#controlling,
      tieBreaker: this.#tieBreaker,
      peer: this.#remote?.ufrag,
    })
    if (judgement.kind === 'stranger') return 'stranger'
    if (judgement.kind === 'ignore' || !this.#outlet.mayUse(base, from) || this.#isHiddenFrom(base, from)) return 'taken'
    if (judgement.kind === 'refuse') {
      this.#outlet.send(base, from, writeError(message, judgement.error, this.#localKey), false)
      return 'taken'
    }
    const { sender, content, switchRole } = judgement
    if (content.destination !== undefined) this.#outlet.reached(base, content.destination, (this.#list.find(base, from)?.sent ?? 0) > 0)
    if (switchRole) this.#takeRole(!this.#controlling)
    let pair: Pair | undefined
    if (this.#remote === undefined) {
      if (!this.#early.keep({ base, from, sender, content })) return 'taken'
      this.#events.push({ kind: 'early', base, to: from })
    } else {
      // No success without a pair: a peer that takes the path for valid would send data that nobody takes.
      pair = this.#list.pairFrom(this.#candidates, base, from, content.priority, this.#controlling)
      if (pair === undefined) return 'taken'
    }
    this.#outlet.send(base, from, writeSuccess(message, from, this.#localKey), false)
    if (pair !== undefined) {
      this.#heard(pair, content, now)
      this.peerKnows(now)
    }
    this.#settle(now)
    return 'taken'
  }

  recognises(message: Message): boolean {
    return this.#remoteKey !== undefined && message.integrity(this.#remoteKey) === 'valid'
  }

  handleResponse(message: Message, base: Base, from: Address, now: number): Verdict {
    const sent = this.#outgoing.find(message, this.pairs)
    if (sent === undefined || this.#remoteKey === undefined) return 'stranger'
    const { pair, check } = sent
    // Success or error, it counts for nothing before it is authentic (RFC 8489 9.1.4).
    if (message.integrity(this.#remoteKey) !== 'valid') return 'stranger'
    this.#outgoing.forget(pair, check)
    // From elsewhere, or to another socket, than was asked: the two directions differ (RFC 8445 7.2.5.2.1).
    if (pair.base !== base || pair.to.key !== from.key) {
      if (!pair.valid && pair.outstanding.length === 0) pair.fail(`answered from ${from}`)
    } else if (message.unknownRequired(KNOWN_IN_CHECKS).length > 0) {
      // RFC 8489 6.3.3 and 6.3.4: the transaction has failed.
      if (!pair.valid) this.#drop(pair, 'answered with an attribute that has to be understood and is not')
    } else if (!this.#outlet.mayUse(base, from)) this.#drop(pair, TAKEN)
    else if (message.class === 'error') this.#refused(pair, check, message, now)
    else if (!pair.valid && !this.#outlet.proves(base, from, check.sentAt)) this.#askAgain(pair, now)
    else this.#succeeded(pair, check, message, now)
    this.#settle(now)
    return 'taken'
  }

  sendFailed(base: Base, to: Address, failure: SendFailure, now: number): void {
    const pair = this.#list.find(base, to)
    if (pair === undefined || pair.state === 'failed' || isPassing(failure)) return
    this.#drop(pair, failure)
    this.#settle(now)
  }

  paced(now: number): boolean {
    if (this.#closed || this.#remote === undefined) return false
    let checked = false
    while (!checked) {
      const pair = this.#list.take(now)
      if (pair === undefined) break
      if (pair.suspect && pair.unanswered >= SUSPECT_CHECKS) this.#drop(pair, 'the peer withdrew this address')
      else if (!pair.valid && !this.#outlet.mayAsk(pair.base, pair.to)) this.#drop(pair, TAKEN)
      else checked = this.#check(pair, now)
    }
    // Without one, too: what asked for the slot is over, and the next deadline is another.
    this.#settle(now)
    return checked
  }

  advance(now: number): void {
    if (this.#closed) return
    const slept = now - this.#expected
    if (slept > 2_000) {
      // After a longer sleep the NATs have forgotten us: a pair that went on as if nothing had been would do harm there.
      if (slept < CONSENT_EXPIRY) for (const pair of this.pairs) forgiveSleep(pair, slept)
      this.#patience.forgiveSleep(slept)
    }
    if (this.#upgrade.due(now)) this.#list.reconsider(now, RECONSIDERED_PAIRS)
    for (const pair of this.pairs) {
      this.#outgoing.expire(pair, now)
      if (pair.valid && now >= consentExpiresAt(pair)) this.#drop(pair, 'consent expired')
      else if (pair.valid && now >= pair.consentAt) {
        // One question may get lost: whether it was more than that is to be known soon, and not by the next one alone.
        if (pair.unanswered > 0) {
          pair.base.verify()
          this.#question(pair, now)
        }
        this.#check(pair, now)
      } else if (this.#patience.met && isExhausted(pair)) pair.fail('no answer')
    }
    this.#settle(now)
  }

  close(): void {
    this.#closed = true
    this.#expected = Number.POSITIVE_INFINITY
    for (const pair of this.pairs) this.#outgoing.forgetAll(pair)
    this.#events = []
  }

  #takeRole(controlling: boolean): void {
    if (controlling === this.#controlling) return
    this.#controlling = controlling
    this.#nominator.reset()
    // What either side nominated in the other role does not count in this one.
    for (const pair of this.pairs) pair.nominated = pair.nominationPending = undefined
    this.#list.reprioritise(controlling)
    this.#events.push({ kind: 'role', controlling })
  }

  /** An authenticated check came from there (RFC 8445 7.3.1.3 to 7.3.1.5). */
  #heard(pair: Pair, content: CheckContent, now: number): void {
    if (!pair.heard && !pair.valid) this.#events.push({ kind: 'heard', pair })
    pair.heard = true
    this.#caution.end(now)
    if (content.useCandidate && !this.#controlling) {
      pair.nominationPending = Math.max(pair.nominationPending ?? 0, content.nomination ?? 0)
      pair.nominatedAt = now
    }
    if (pair.valid) {
      this.#confirm(pair)
      return
    }
    if (pair.state === 'failed') pair.reason = undefined
    // RFC 8445 7.3.1.4 for every state but succeeded: check now, before anything else. It gets its full run of checks again.
    pair.state = 'waiting'
    pair.unanswered = 0
    pair.nextCheckAt = now
    this.#list.trigger(pair)
  }

  /** Also an answer would carry the address that is to stay hidden. */
  #isHiddenFrom(base: Base, from: Address): boolean {
    const local = this.#candidates.ofBase(base)
    return base.hidden && (local === undefined || shows(local, from))
  }

  /** False when enough was sent to this address in vain: the pair has failed then. */
  #check(pair: Pair, now: number): boolean {
    const { ufrag, renomination } = this.#remote as RemoteDescription
    const opener = this.#caution.appliesTo(pair, now)
    if (!pair.valid && !this.#budget.take(pair.to, opener ? 'opener' : pair.heard ? 'heard' : 'ordinary', now)) {
      this.#drop(pair, 'enough was sent to this address without an answer')
      return false
    }
    this.#outgoing.send(
      pair,
      {
        username: `${ufrag}:${this.local.ufrag}`,
        key: this.#remoteKey as IntegrityKey,
        controlling: this.#controlling,
        tieBreaker: this.#tieBreaker,
        renomination,
      },
      opener,
      now,
    )
    if (pair.valid) {
      // Should this one stay without an answer; an answer sets the time anew.
      pair.consentAt = now + consentDelay(true, this.#random)
      pair.nextCheckAt = pair.hurried ? now + this.#list.nextInterval(pair) : Number.POSITIVE_INFINITY
      // A relay is worth asking at once, a NAT only where silence lasts: its servers are not ours to ask for every flow that goes one way.
      const relayed = pair.base.kind === 'relay' && pair.questioned && pair === this.#selected
      if (relayed || pair.unanswered >= DOUBTFUL_QUESTIONS) pair.base.verify()
      // Is there another that does, before this one is given up?
      if (pair.questioned && pair === this.#selected && pair.unanswered === DOUBTFUL_QUESTIONS) this.#questionOthers(pair, now)
    } else {
      pair.state = 'in-progress'
      pair.nextCheckAt = now + (this.#patience.met ? this.#list.nextInterval(pair) : this.#list.waitingInterval(pair))
      if (pair.opener) pair.nextCheckAt = Math.min(pair.nextCheckAt, Math.max(now, this.#caution.over))
    }
    return true
  }

  #succeeded(pair: Pair, check: Check, message: Message, now: number): void {
    const mapped = message.address(Attribute.XorMappedAddress)
    if (mapped === undefined) {
      if (!pair.valid) this.#drop(pair, 'answered without an address')
      return
    }
    const first = !pair.valid
    this.#budget.proven(pair.to)
    pair.answered(now, now - check.sentAt)
    pair.state = 'succeeded'
    pair.mapped = this.#candidates.localAt(pair.local, mapped, check.priority)
    if (check.useCandidate && this.#controlling) {
      pair.nominated = Math.max(pair.nominated ?? 0, check.nomination ?? 0)
      if (pair.nominating === check.nomination || check.nomination === undefined) pair.nominating = undefined
    }
    if (pair.nominating === undefined) pair.nextCheckAt = Number.POSITIVE_INFINITY
    pair.consentAt = now + consentDelay(pair === this.#selected || first, this.#random)
    if (!first) return
    pair.validSince = now
    pair.reason = undefined
    this.#nominator.validated(now)
    this.#confirm(pair)
    this.#events.push({ kind: 'valid', pair })
  }

  /** The address becomes ours only now. */
  #askAgain(pair: Pair, now: number): void {
    this.#events.push({ kind: 'heard', pair })
    pair.state = 'waiting'
    pair.unanswered = 0
    pair.nextCheckAt = now
    this.#list.trigger(pair)
  }

  #refused(pair: Pair, check: Check, message: Message, now: number): void {
    const code = message.errorCode()?.code
    if (code === 487) {
      // Ignored when the role of that request is not ours any more (RFC 8445 7.2.5.1).
      if (check.controlling === this.#controlling) {
        // A peer that answers nothing but this must not keep us checking at the pace of its answers.
        if (++this.#conflicts > MAX_ROLE_CONFLICTS) {
          if (!pair.valid) this.#drop(pair, 'the role conflict does not end')
          return
        }
        this.#takeRole(!this.#controlling)
        this.#tieBreaker = newTieBreaker(this.#random)
      }
      pair.nextCheckAt = now
      if (!pair.valid) pair.state = 'waiting'
      this.#list.trigger(pair)
    } else if (code === 403 || !pair.valid) this.#drop(pair, `refused with ${code ?? 'an unreadable error'}`)
  }

  /** As the controlled side: the peer's nomination takes effect when both directions work. */
  #confirm(pair: Pair): void {
    if (this.#controlling || pair.nominationPending === undefined) return
    pair.nominated = Math.max(pair.nominated ?? 0, pair.nominationPending)
    pair.nominationPending = undefined
  }

  #drop(pair: Pair, reason: string): void {
    const wasValid = pair.valid
    this.#outgoing.forgetAll(pair)
    this.#nominator.dropped(pair)
    pair.fail(reason)
    // Who is heard there after this is heard for the first time again.
    if (wasValid) pair.heard = false
    if (wasValid) this.#events.push({ kind: 'lost', pair, reason })
  }

  /** Out of the list; who was heard there has no pair any more that its data could wait for. */
  #remove(pair: Pair, reason: string): void {
    const heard = pair.heard && !pair.valid
    this.#drop(pair, reason)
    this.#list.delete(pair)
    if (heard) this.#events.push({ kind: 'lost', pair, reason })
  }

  #nominate(now: number): void {
    if (!this.#controlling || this.#remote === undefined) return
    const pair = this.#nominator.nominate(this.pairs, this.#remote.renomination, now)
    if (pair !== undefined) this.#list.trigger(pair)
  }

  #select(now: number): void {
    const selected = this.#nominator.select(this.pairs, this.#controlling)
    if (selected === this.#selected) return
    this.#selected = selected
    this.#patience.stop()
    // A spare is asked more rarely than RFC 7675 5.1 wants for what carries data.
    if (selected !== undefined) selected.consentAt = Math.min(selected.consentAt, now + consentDelay(true, this.#random))
    this.#events.push({ kind: 'selected', pair: selected })
  }

  #giveUp(now: number): void {
    if (now < this.#patience.endsAt() || this.#list.active) return
    this.#patience.stop()
    const count = this.#list.size
    this.#events.push({ kind: 'failed', reason: count === 0 ? 'no pair of candidates fits together' : `none of ${count} pairs answered` })
  }

  /** Ends every call: decide, then ask for slots and time, then tell. */
  #settle(now: number): void {
    if (this.#closed) return
    this.#nominate(now)
    this.#select(now)
    this.#giveUp(now)
    // Toward a peer that takes one nomination nothing could come of it.
    const final = this.#controlling && this.#remote?.renomination !== true
    this.#upgrade.see(final ? undefined : this.#selected, now)
    const next = this.#remote === undefined ? Number.POSITIVE_INFINITY : this.#list.nextCheckAt(now)
    this.#expected = this.#nextDeadline(now, next)
    const events = this.#events
    this.#events = []
    for (const event of events) if (!this.#closed) this.#outlet.event(event)
    if (!this.#closed && next <= now) this.#outlet.requestSlot(this.#list.hasTriggered)
  }

  #nextDeadline(now: number, nextCheck: number): number {
    let next = nextCheck <= now ? Number.POSITIVE_INFINITY : nextCheck
    next = Math.min(next, this.#nominator.decideAt, this.#upgrade.at)
    for (const pair of this.pairs) {
      if (pair.valid) next = Math.min(next, pair.consentAt, consentExpiresAt(pair))
      const [oldest] = pair.outstanding
      if (oldest !== undefined) next = Math.min(next, oldest.sentAt + CHECK_LIFETIME)
    }
    const patience = this.#patience.endsAt()
    return patience > now ? Math.min(next, patience) : next
  }
}

/** It had all its checks, and the last of them can bring no answer any more. */
function isExhausted(pair: Pair): boolean {
  return pair.state === 'in-progress' && pair.outstanding.length === 0 && pair.nextCheckAt === Number.POSITIVE_INFINITY
}

/** 64 random bits (RFC 8445 16.1). */
export function newTieBreaker(random: Random): bigint {
  let value = 0n
  for (const byte of random.bytes(8)) value = (value << 8n) | BigInt(byte)
  return value
}
