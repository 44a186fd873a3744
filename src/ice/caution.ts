/**
 * Punching without poisoning. A check that reaches the peer's NAT before the peer has sent to us leaves an entry there, on many systems,
 * that pushes the peer's own packets to another port, and the two never meet: on Linux, 0 of 10 meetings against 10 of 10. So until there
 * is reason to believe that the peer has sent, checks to a server-reflexive address are openers: few hops, enough to open our own NAT.
 */
import { CHECK_INTERVALS, OPENING_TIME } from './constants.ts'
import type { Pair } from './pair.ts'

export class Caution {
  #over = Number.POSITIVE_INFINITY

  /** When the peer will have sent to us, as far as we know; infinity while nothing says so. */
  get over(): number {
    return this.#over
  }

  /** Takes the earliest that it is told. */
  end(at: number): void {
    this.#over = Math.min(this.#over, at)
  }

  /** The next check of this pair is an opener. IPv6 has no ports to push about. */
  appliesTo(pair: Pair, now: number): boolean {
    if (now >= this.#over || pair.heard || pair.valid || pair.base.kind !== 'host') return false
    if (pair.remote.type !== 'srflx' || pair.to.family !== 4) return false
    // Without any word the peer may be as cautious as we are, so one run of checks has to risk it. What then only keeps our NAT open for
    // a peer that comes much later is careful again.
    return now - (pair.firstOpenerAt ?? now) < OPENING_TIME || pair.unanswered > CHECK_INTERVALS.length
  }
}
