/**
 * The check list (RFC 8445 6.1.2): which pairs there are, in which order they are checked, and when one may be checked again.
 * Nothing is sent here.
 */
import { type Base, type Candidate, comparePairPriority, type LocalCandidate } from '../candidates/index.ts'
import { Address } from '../net/index.ts'
import type { CandidateSet } from './candidate-set.ts'
import {
  CHECK_INTERVALS,
  CONFIRM_INTERVALS,
  HEARD_INTERVAL_MOST,
  HEARD_INTERVALS,
  MAX_PAIRS,
  WAITING_CHECKS,
  WAITING_INTERVAL,
  WAITING_PAIRS,
} from './constants.ts'
import { byLikelihood, Pair } from './pair.ts'

export class CheckList {
  /** The likely first. Made anew at each change, so that whoever goes through it may change the list meanwhile. */
  #pairs: readonly Pair[] = []
  /** First in, first out (RFC 8445 6.1.4.1). */
  #triggered: readonly Pair[] = []
  readonly #evicted: (pair: Pair) => void
  /** Milliseconds to the peer and back, as far as something else lets us guess; 0 when nothing does. */
  roundTrip = 0

  /** @param evicted hears of a pair that had to make room for another, while it is still in the list */
  constructor(evicted: (pair: Pair) => void) {
    this.#evicted = evicted
  }

  get size(): number {
    return this.#pairs.length
  }

  /** The likely first. */
  get pairs(): readonly Pair[] {
    return this.#pairs
  }

  find(base: Base, to: Address): Pair | undefined {
    return this.#pairs.find((pair) => pair.base === base && pair.to.key === to.key)
  }

  /**
   * Pairs a local base candidate with a remote one, unless they cannot work together (RFC 8445 6.1.2.2) or the pair is there already,
   * which then only takes the better label (RFC 8838 11 for peer-reflexive candidates that are signalled later).
   * @param to the address as it came, where an authentic check has shown that the two do work together
   */
  add(
    local: LocalCandidate,
    remote: Candidate,
    controlling: boolean,
    to: Address | undefined = reachableFrom(local.base, remote.address),
  ): Pair | undefined {
    if (to === undefined || shows(local, to)) return undefined
    const known = this.find(local.base, to)
    if (known !== undefined) {
      known.abandonedSince = Number.POSITIVE_INFINITY
      const isLearnt = known.remote.type === 'prflx'
      // Withdrawn while it worked, and offered again: what it came to meanwhile says nothing any more.
      const isBack = !isLearnt && known.remote !== remote && known.remote.address.equals(remote.address)
      if (isBack) known.offeredAgain()
      if (remote.type !== 'prflx' && (isLearnt || isBack)) {
        known.remote = remote
        known.reprioritise(controlling)
        this.#order(this.#pairs)
      }
      return undefined
    }
    const pair = new Pair(local, to, remote, controlling)
    if (this.#pairs.length >= MAX_PAIRS && !this.#makeRoom(pair)) return undefined
    this.#order([...this.#pairs, pair])
    return pair
  }

  /** The pair that a check came over, made now if it has to be (RFC 8445 7.3.1.3); undefined when there are too many. */
  pairFrom(candidates: CandidateSet, base: Base, from: Address, priority: number, controlling: boolean): Pair | undefined {
    const known = this.find(base, from)
    const local = candidates.ofBase(base)
    if (known !== undefined || local === undefined) return known
    const remote = candidates.remoteAt(from, priority)
    return remote === undefined ? undefined : this.add(local, remote, controlling, from)
  }

  delete(pair: Pair): void {
    this.#pairs = this.#pairs.filter((other) => other !== pair)
    if (pair.triggered) this.#triggered = this.#triggered.filter((other) => other !== pair)
  }

  /** After a role change (RFC 8445 6.1.2.3). */
  reprioritise(controlling: boolean): void {
    for (const pair of this.#pairs) pair.reprioritise(controlling)
    this.#order(this.#pairs)
  }

  /**
   * RFC 8445 6.1.2.6: of the pairs that share a foundation the first is waiting and the others frozen. With trickled candidates the
   * same rule holds at any time (RFC 8838 12). A sibling whose first check had its chance is no reason to stay frozen any longer:
   * an unanswered check is on its way for seconds here, and RFC 8445 would hold the others back for all of them.
   */
  thaw(now: number): void {
    if (!this.#pairs.some(({ state }) => state === 'frozen')) return
    const busy = new Set<string>()
    for (const pair of this.pairs) {
      const young = pair.state === 'waiting' || (pair.state === 'in-progress' && pair.unanswered <= 1 && pair.nextCheckAt > now)
      if (young) busy.add(pair.foundation)
    }
    for (const pair of this.pairs) {
      if (pair.state !== 'frozen' || busy.has(pair.foundation)) continue
      busy.add(pair.foundation)
      pair.state = 'waiting'
      pair.nextCheckAt = now
    }
  }

  trigger(pair: Pair): void {
    if (pair.triggered) return
    pair.triggered = true
    this.#triggered = [...this.#triggered, pair]
  }

  get hasTriggered(): boolean {
    return this.#triggered.length > 0
  }

  /** There is new reason to believe that checks get through: pairs without an answer start their run of checks again. */
  encourage(now: number): void {
    for (const pair of this.#pairs) {
      if (pair.state !== 'in-progress') continue
      pair.unanswered = 1
      pair.nextCheckAt = Math.min(pair.nextCheckAt, now + this.nextInterval(pair))
    }
  }

  /**
   * Direct pairs that never answered get one more check each, as many as `most`: something between the two ends may have changed. Those that
   * had the fewest go first, so that all get their turn, also where the budget ends before the list does; those that are worth the least never do.
   */
  reconsider(now: number, most: number): void {
    const silent = this.#pairs.filter(
      ({ valid, kind, likelihood, state, nextCheckAt }) =>
        !valid &&
        kind === 'direct' &&
        likelihood <= 1 &&
        nextCheckAt === Number.POSITIVE_INFINITY &&
        (state === 'failed' || state === 'in-progress'),
    )
    silent.sort((a, b) => a.sent - b.sent)
    for (const pair of silent.slice(0, most)) {
      pair.state = 'in-progress'
      pair.unanswered = Math.max(pair.unanswered, CHECK_INTERVALS.length)
      pair.nextCheckAt = now
    }
  }

  /** Milliseconds until the next check of a pair that has not answered; infinity when it had all it gets. */
  nextInterval({ heard, valid, rtt, unanswered }: Pair): number {
    const intervals = valid ? CONFIRM_INTERVALS : heard ? HEARD_INTERVALS : CHECK_INTERVALS
    const interval = intervals[Math.max(unanswered - 1, 0)] ?? Number.POSITIVE_INFINITY
    // Once a round trip is known, asking again before the answer can be there is waste.
    if (rtt !== undefined) return Math.max(interval, rtt * 1.25)
    // Where both sides check at once, the answer comes half a round trip after the peer's check did; what is asked before that is waste, too.
    return heard ? Math.max(interval, Math.min(this.roundTrip * 0.6, HEARD_INTERVAL_MOST)) : interval
  }

  /** Until the next check while the peer may not have our signal: it cannot answer, but the likely NATs are kept open for it. */
  waitingInterval(pair: Pair): number {
    const interval = this.nextInterval(pair)
    if (interval !== Number.POSITIVE_INFINITY) return interval
    const worthwhile = pair.likelihood <= 1 && pair.sent < WAITING_CHECKS && this.pairs.indexOf(pair) < WAITING_PAIRS
    return worthwhile ? WAITING_INTERVAL : interval
  }

  /** The next pair to check, triggered ones first, taken out of the queue. */
  take(now: number): Pair | undefined {
    for (const pair of this.#triggered) {
      this.#triggered = this.#triggered.slice(1)
      pair.triggered = false
      // What made it urgent may be over by now: an earlier check was answered, or the system refused.
      if (pair.state !== 'failed' && (!pair.valid || pair.nominating !== undefined)) return pair
    }
    this.thaw(now)
    return this.pairs.find((pair) => pair.state === 'waiting') ?? this.#mostOverdue(now)
  }

  /** Whoever has waited longest, so that where slots are scarce the pairs that ask often leave some to the others. */
  #mostOverdue(now: number): Pair | undefined {
    let most: Pair | undefined
    for (const pair of this.pairs)
      if (pair.nextCheckAt <= now && pair.nextCheckAt < (most?.nextCheckAt ?? Number.POSITIVE_INFINITY)) most = pair
    return most
  }

  /** When the next ordinary check is due: now for a waiting pair, infinity when there is none. */
  nextCheckAt(now: number): number {
    if (this.#triggered.length > 0) return now
    this.thaw(now)
    let next = Number.POSITIVE_INFINITY
    for (const pair of this.#pairs) next = Math.min(next, pair.state === 'waiting' ? now : pair.nextCheckAt)
    return next
  }

  /** Something may still come of the list: RFC 8445 6.1.3's "running". */
  get active(): boolean {
    for (const { state } of this.#pairs) if (state !== 'failed') return true
    return false
  }

  #order(pairs: readonly Pair[]): void {
    this.#pairs = [...pairs].sort(byLikelihood)
  }

  /** Drops the lowest failed pair, or else the lowest one, but never a valid one or one that the peer checks (RFC 8445 6.1.2.5). */
  #makeRoom(for_: Pair): boolean {
    const idle = this.pairs.filter((pair) => !pair.valid && !pair.heard).sort((a, b) => comparePairPriority(a.priority, b.priority))
    const failed = idle.findLast((pair) => pair.state === 'failed')
    const lowest = failed ?? idle.at(-1)
    if (lowest === undefined || (failed === undefined && comparePairPriority(lowest.priority, for_.priority) < 0)) return false
    this.#evicted(lowest)
    this.delete(lowest)
    return true
  }
}

/** A packet to there would carry the base's own address, which is to stay hidden; unless servers see that very address. */
export function shows({ base, address }: LocalCandidate, to: Address): boolean {
  return base.hidden && !address.sameIp(base.address) && (to.scope !== 'global' || base.links.some((link) => link.contains(to)))
}

/** The address to send to from this base, with our zone where it is link-local; undefined when the two do not go together. */
function reachableFrom(base: Base, remote: Address): Address | undefined {
  const { address } = base
  if (address.family !== remote.family) return undefined
  // Seen from a relay on the Internet these are other people's, and the relay refuses them.
  if (base.kind === 'relay' && address.scope === 'global' && remote.scope !== 'global') return undefined
  if (address.scope === 'unspecified')
    return remote.scope === 'link-local' && remote.family === 6 && remote.zone === '' ? undefined : remote
  if ((address.scope === 'loopback') !== (remote.scope === 'loopback')) return undefined
  if (remote.family === 6 && (address.scope === 'link-local') !== (remote.scope === 'link-local')) return undefined
  return remote.scope === 'link-local' && remote.zone === '' ? Address.of(`${remote.ip}%${address.zone}`, remote.port) : remote
}
