/** A clock that stands still until a test moves it, and chance that counts. */
import type { Clock, Random, Timer } from '../../src/net/index.ts'

export class ManualClock implements Clock {
  #now = 0
  #wakes: { at: number; callback: () => void }[] = []

  now(): number {
    return this.#now
  }

  wallTime(): number {
    return 1_700_000_000_000 + this.#now
  }

  wake(at: number, callback: () => void): Timer {
    const entry = { at, callback }
    this.#wakes.push(entry)
    return {
      cancel: () => {
        this.#wakes = this.#wakes.filter((other) => other !== entry)
      },
    }
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#wakes.length
  }

  /** Lives through all that is due until then, in order. */
  advance(milliseconds: number): void {
    const until = this.#now + milliseconds
    for (;;) {
      const next = this.#wakes.filter((entry) => entry.at <= until).sort((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.#wakes = this.#wakes.filter((entry) => entry !== next)
      this.#now = Math.max(this.#now, next.at)
      next.callback()
    }
    this.#now = until
  }

  /** The machine slept: time is later, and what was due meanwhile runs only now. */
  sleep(milliseconds: number): void {
    this.#now += milliseconds
    this.advance(0)
  }
}

/** mulberry32. Different bytes every time, the same in every run. */
export class SeededRandom implements Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return (t ^ (t >>> 14)) >>> 0
  }

  below(limit: number): number {
    return this.next() % limit
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.next() & 0xff)
  }
}
