/**
 * Refusals cost their cause nothing and us a line each: so many of them are told of, and how many there were beside. What changes something
 * is always told of.
 */
import { performance } from 'node:perf_hooks'
import type { RelayEvent } from '../../relay/index.ts'
import type { ServeEvent } from './service.ts'

const PER_SECOND = 20
const BURST = 100

export function limited(tell: (event: ServeEvent) => void, now: () => number = () => performance.now()): (event: RelayEvent) => void {
  const buckets = { refused: new Bucket(now), 'authentication-failed': new Bucket(now) }
  return (event) => {
    if (event.event !== 'refused' && event.event !== 'authentication-failed') return tell(event)
    const bucket = buckets[event.event]
    if (!bucket.take()) return
    const count = bucket.suppressed
    if (count > 0) {
      bucket.suppressed = 0
      tell({ event: 'suppressed', of: event.event, count })
    }
    tell(event)
  }
}

class Bucket {
  readonly #now: () => number
  #left = BURST
  #at: number
  /** Since the last one that was told of. */
  suppressed = 0

  constructor(now: () => number) {
    this.#now = now
    this.#at = now()
  }

  take(): boolean {
    const now = this.#now()
    this.#left = Math.min(BURST, this.#left + ((now - this.#at) * PER_SECOND) / 1_000)
    this.#at = now
    if (this.#left < 1) {
      this.suppressed++
      return false
    }
    this.#left--
    return true
  }
}
