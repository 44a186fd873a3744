/** How long to wait before a relay is asked again: longer each time, and longer where it answered that it will not. */
import type { ErrorCode } from '../../errors.ts'
import { type Random, randomFraction } from '../../net/index.ts'

/** Milliseconds, doubled with each failure in a row. */
const UNREACHABLE = { first: 500, most: 60_000 } as const
const REFUSED = { first: 5_000, most: 300_000 } as const
/** It may be back the next moment: nobody said no. */
const SILENT: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['ERR_RELAY_UNREACHABLE', 'ERR_RELAY_LOST', 'ERR_RELAY_MISMATCH', 'ERR_BIND'])

/** @param failures in a row, this one among them */
export function retryDelay(code: ErrorCode, failures: number, random: Random): number {
  const { first, most } = SILENT.has(code) ? UNREACHABLE : REFUSED
  const delay = Math.min(most, first * 2 ** Math.max(0, failures - 1))
  // Spread by a fifth both ways: those that were refused together do not come back together.
  return delay * (0.8 + 0.4 * randomFraction(random))
}
