/** Consent freshness (RFC 7675 5.1): when to ask on a valid pair, and when the right to send on it has run out. */
import { type Random, randomFraction } from '../net/index.ts'
import { CONSENT_EXPIRY, CONSENT_INTERVAL, SPARE_INTERVAL } from './constants.ts'
import type { Pair } from './pair.ts'

/**
 * Milliseconds to the next question; each 0.8 to 1.2 of the interval, so that sessions do not march in step (RFC 7675 5.1).
 * @param often where the pair carries data, or its last question has no answer yet
 */
export function consentDelay(often: boolean, random: Random): number {
  return (often ? CONSENT_INTERVAL : SPARE_INTERVAL) * (0.8 + 0.4 * randomFraction(random))
}

/** Only valid answers count: neither the peer's own checks nor its data say that it wants ours. */
export function consentExpiresAt(pair: Pair): number {
  return (pair.lastResponseAt ?? Number.NEGATIVE_INFINITY) + CONSENT_EXPIRY
}

/**
 * A process that slept finds every deadline in the past. The pair gets back what the sleep took, so that one question decides,
 * not the clock: nothing was sent meanwhile, so no consent was used up.
 */
export function forgiveSleep(pair: Pair, slept: number): void {
  if (pair.lastResponseAt !== undefined) pair.lastResponseAt += slept
}
