/** When to give up (RFC 8863): not before a whole transaction's time has passed in which the peer could have answered. */
import { PATIENCE } from './constants.ts'

export class Patience {
  #metAt: number | undefined
  #over = false

  /** The peer is known to have our credentials; until then no answer means nothing. */
  get met(): boolean {
    return this.#metAt !== undefined
  }

  meet(now: number): void {
    this.#metAt ??= now
  }

  /** The process slept so many milliseconds: time in which nobody could have answered does not count. */
  forgiveSleep(slept: number): void {
    if (this.#metAt !== undefined) this.#metAt += slept
  }

  /** No failure any more: there was a path, and losing it is no failure of the attempt, or there was a failure already. */
  stop(): void {
    this.#over = true
  }

  /** Infinity when there is nothing to wait for. */
  endsAt(): number {
    return this.#over || this.#metAt === undefined ? Number.POSITIVE_INFINITY : this.#metAt + PATIENCE
  }
}
