/** When, while a relay carries the data, the direct pairs that failed are worth another look. */
import { RECONSIDER } from './constants.ts'
import type { Pair } from './pair.ts'

export class Upgrade {
  #rounds = 0
  /** When the next round is due; infinity while data goes directly, or not at all. */
  at: number = Number.POSITIVE_INFINITY

  /** What carries the data now. */
  see(selected: Pair | undefined, now: number): void {
    if (selected?.kind !== 'relay') {
      this.at = Number.POSITIVE_INFINITY
      this.#rounds = 0
    } else if (this.at === Number.POSITIVE_INFINITY) this.at = now + RECONSIDER.first
  }

  /** True once for each round. */
  due(now: number): boolean {
    if (now < this.at) return false
    this.#rounds++
    this.at = now + (this.#rounds < RECONSIDER.rounds ? RECONSIDER.first : RECONSIDER.later)
    return true
  }
}
