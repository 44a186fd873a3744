/** Time, as everything in the library sees it. Milliseconds throughout; fractions are allowed. */

export interface Timer {
  /** Idempotent; the callback does not run after it. */
  cancel(): void
}

export interface Clock {
  /** Monotonic, from an origin of the clock's own. Jumps forward when the machine was suspended. */
  now(): number
  /** Milliseconds since 1970, for what leaves the process (captures, credentials that expire). Never for intervals. */
  wallTime(): number
  /**
   * Runs `callback` once, not before `at` on this clock; late is possible, early is not. A pending timer does not keep a process alive.
   */
  wake(at: number, callback: () => void): Timer
}
