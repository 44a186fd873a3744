/** Priorities of candidates and pairs, exact in 64 bits (RFC 8445 5.1.2 and 6.1.2.3). */
import type { CandidateType } from './candidate.ts'

/** RFC 8445 5.1.2.2 recommends 126, 110, 100 and 0. */
export const TYPE_PREFERENCE: Readonly<Record<CandidateType, number>> = { host: 126, prflx: 110, srflx: 100, relay: 0 }

/** Candidates of one type on one base, at most: leaves each its own local preference. */
const PER_RANK = 16

/**
 * Local preference, unique among candidates of one type as RFC 8445 5.1.2.1 wants it for more than one address: better ranks first,
 * and within a rank the first one found.
 * @param rank of the base, 0 best; @param index of the candidate among those of its type on that base
 */
export function localPreference(rank: number, index = 0): number {
  return Math.max(0, 65_535 - rank * PER_RANK - Math.min(index, PER_RANK - 1))
}

/** RFC 8445 5.1.2.1. Always below 2^31. */
export function candidatePriority(type: CandidateType, localPref: number, component = 1): number {
  return TYPE_PREFERENCE[type] * 0x100_0000 + localPref * 0x100 + (256 - component)
}

/**
 * The priority a peer-reflexive candidate would have if it came from this local one: what PRIORITY in a check carries (RFC 8445 7.1.1).
 */
export function asPeerReflexive(priority: number): number {
  return TYPE_PREFERENCE.prflx * 0x100_0000 + (priority % 0x100_0000)
}

/** The three terms of the 64-bit pair priority, most significant first; a product would not fit a number exactly. */
export interface PairPriority {
  readonly low: number
  readonly high: number
  readonly controllingHigher: 0 | 1
}

/** RFC 8445 6.1.2.3: 2^32 * min(G, D) + 2 * max(G, D) + (G > D ? 1 : 0). */
export function pairPriority(controlling: number, controlled: number): PairPriority {
  return {
    low: Math.min(controlling, controlled),
    high: Math.max(controlling, controlled),
    controllingHigher: controlling > controlled ? 1 : 0,
  }
}

/** Negative when `a` comes first, that is, has the higher priority. */
export function comparePairPriority(a: PairPriority, b: PairPriority): number {
  // 2 * max carries into the upper half when max >= 2^31; a remote priority may be anything up to 2^32 - 1.
  const highA = a.low + Math.floor(a.high / 0x8000_0000)
  const highB = b.low + Math.floor(b.high / 0x8000_0000)
  return highB - highA || (b.high % 0x8000_0000) - (a.high % 0x8000_0000) || b.controllingHigher - a.controllingHigher
}

/** The 64-bit number itself, for reports and for other implementations. */
export function pairPriorityValue(priority: PairPriority): bigint {
  return (BigInt(priority.low) << 32n) + 2n * BigInt(priority.high) + BigInt(priority.controllingHigher)
}
