/** When a mapping is renewed (RFC 6887 11.2.1), and whether a failure to do so means anything. */
import { SallyportError } from '../errors.ts'
import { type Random, randomFraction } from '../net/index.ts'
import type { Grant, MappingProtocol } from './protocol.ts'

/** Milliseconds between two requests that renew, or that restarts bring about, at least (RFC 6887 11.2.1). */
export const RENEWAL_LEAST = 4_000
/** Milliseconds, at most: a router that speaks UPnP may lose its mappings and say nothing. */
const RENEWAL_MOST: Readonly<Record<MappingProtocol, number>> = { pcp: 86_400_000, 'nat-pmp': 86_400_000, upnp: 600_000 }

/**
 * Milliseconds to wait.
 * @param part of the lifetime that has passed when it is due; a little later by chance
 * @param elapsed milliseconds since it was granted
 */
export function untilRenewal({ lifetime, protocol }: Grant, part: number, elapsed: number, random: Random): number {
  const due = lifetime === Number.POSITIVE_INFINITY ? lifetime : lifetime * (part + ((1 - part) / 4) * randomFraction(random))
  return Math.max(RENEWAL_LEAST, Math.min(due - elapsed, RENEWAL_MOST[protocol]))
}

/** The router did not say no: it may answer the next time. */
export function isPassing(error: unknown): boolean {
  return error instanceof SallyportError && (error.code === 'ERR_MAPPING_UNAVAILABLE' || error.code === 'ERR_MAPPING_CAPACITY')
}
