/** Whose mistake it was: what the library refuses to be given was asked wrongly, everything else could not be done. */
import { UsageError } from '../usage.ts'

export function asUsage(error: unknown): unknown {
  const wrong =
    error instanceof RangeError || error instanceof TypeError || (error as { code?: unknown } | undefined)?.code === 'ERR_ADDRESS'
  return wrong ? new UsageError(`serve: ${(error as Error).message}`) : error
}
