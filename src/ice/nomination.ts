/**
 * Which valid pair is to carry data, and when the controlling side says so (RFC 8445 8.1.1, draft-thatcher-ice-renomination).
 * Pure decisions over the pairs; the agent carries them out.
 */
import { comparePairPriority } from '../candidates/index.ts'
import { CHANGE_WAIT, DOUBTFUL_NOMINATIONS, DOUBTFUL_QUESTIONS, NOMINATION_WAIT, RENOMINATION_INTERVAL, RTT_MARGIN } from './constants.ts'
import type { Pair } from './pair.ts'

/** Direct before relayed, then by priority. */
export function byWorth(a: Pair, b: Pair): number {
  if (a.kind !== b.kind) return a.kind === 'direct' ? -1 : 1
  return comparePairPriority(a.priority, b.priority)
}

/**
 * @param current what carries data now. Once that is doubtful, what has answered since the question counts for more than what has not: they may
 * all have gone over the same dead relay.
 */
export function bestValid(pairs: readonly Pair[], current?: Pair): Pair | undefined {
  const strict = current !== undefined && isDoubtful(current)
  let best: Pair | undefined
  for (const pair of pairs) {
    if (!pair.valid) continue
    if (best !== undefined && strict && isSilent(best) !== isSilent(pair)) best = isSilent(best) ? pair : best
    else if (best === undefined || isBetter(pair, best)) best = pair
  }
  // Where none answers it is the peer that is gone, and one is as good as the other.
  return strict && current.valid && best !== undefined && isSilent(best) ? current : best
}

/** It was asked whether it works, with the others, and has not answered. The second question comes when the answer to the first is late. */
function isSilent({ questioned, unanswered }: Pair): boolean {
  return questioned && unanswered > 1
}

/** A better kind, a clearly shorter round trip, or about the same round trip and a higher priority. */
export function isBetter(candidate: Pair, current: Pair): boolean {
  if (isDoubtful(candidate) !== isDoubtful(current)) return isDoubtful(current)
  // Of two that will be gone, the one that will be here longer.
  if (candidate.leavingSince !== current.leavingSince) return candidate.leavingSince > current.leavingSince
  if (candidate.kind !== current.kind) return candidate.kind === 'direct'
  const gain = (current.rtt ?? 0) - (candidate.rtt ?? 0)
  if (Math.abs(gain) > RTT_MARGIN) return gain > 0
  return comparePairPriority(candidate.priority, current.priority) < 0
}

/** Several questions in a row without an answer, or withdrawn: consent lasts longer, but a pair that answers is to be preferred. */
export function isDoubtful({ leavingSince, hurried, suspect, unanswered }: Pair): boolean {
  return leavingSince < Number.POSITIVE_INFINITY || suspect || unanswered >= (hurried ? DOUBTFUL_NOMINATIONS : DOUBTFUL_QUESTIONS)
}

/**
 * What the controlled side follows: the highest nomination value. Without values, as with aggressive nomination, the highest priority. One value
 * on two pairs is one nomination, seen from a new address since the peer's NAT changed, or a check that somebody sent again: the last one said counts,
 * and the peer goes on saying its own.
 */
export function followed(pairs: readonly Pair[]): Pair | undefined {
  let chosen: Pair | undefined
  for (const pair of pairs) {
    if (!pair.valid || pair.nominated === undefined) continue
    const ahead = pair.nominated - (chosen?.nominated ?? -1)
    if (chosen === undefined || ahead > 0 || (ahead === 0 && isAhead(pair, chosen))) chosen = pair
  }
  return chosen
}

function isAhead(pair: Pair, other: Pair): boolean {
  const later = pair.nominated === 0 ? 0 : pair.nominatedAt - other.nominatedAt
  return later === 0 ? comparePairPriority(pair.priority, other.priority) < 0 : later > 0
}

/**
 * Toward a peer that takes renomination: the pair to nominate now, if that is news; or the time at which it may be nominated at the latest,
 * while the peer is not known to take data there.
 */
export function toRenominate(pairs: readonly Pair[], current: Pair | undefined, changedAt: number, now: number): Pair | number | undefined {
  const best = bestValid(pairs, current)
  if (best === undefined || best === current) return undefined
  if (current === undefined || !current.valid || isDoubtful(current)) return best
  const next = changeTo(best, current, changedAt, now)
  const until = (best.validSince ?? now) + CHANGE_WAIT
  return next === undefined || next.heard || now >= until ? next : until
}

function changeTo(best: Pair, current: Pair, changedAt: number, now: number): Pair | undefined {
  if (current.kind !== best.kind) return best
  // Between pairs of one kind there is no hurry after the first moments, and measured times wander.
  const settled = now - (current.validSince ?? now) > NOMINATION_WAIT
  return isBetter(best, current) && (!settled || now - changedAt >= RENOMINATION_INTERVAL) ? best : undefined
}

/**
 * Toward any other agent: nominate once, after a wait for better pairs that ends early when none is still in flight.
 * Returns the pair to nominate, or the time at which to ask again, or undefined when there is nothing valid.
 */
export function toNominate(pairs: readonly Pair[], firstValidAt: number, now: number): Pair | number | undefined {
  const best = bestValid(pairs)
  if (best === undefined) return undefined
  const until = firstValidAt + NOMINATION_WAIT
  const better = pairs.some((pair) => mayStillCome(pair) && byWorth(pair, best) < 0)
  return better && now < until ? until : best
}

function mayStillCome(pair: Pair): boolean {
  return pair.state === 'waiting' || (pair.state === 'in-progress' && pair.unanswered <= 2 && pair.likelihood < 3)
}
