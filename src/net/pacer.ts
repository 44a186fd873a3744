/**
 * One pace for every STUN and TURN transaction that a process starts (RFC 8445 14.2): whoever has something to send asks for a slot, and
 * slots come at least `INTERVAL` apart, urgent askers first, the others in turn. Answers, consent and data are not paced.
 */
import type { Clock, Timer } from './clock.ts'

/** Milliseconds; the least that RFC 8445 14.2 allows. */
export const INTERVAL = 5
/** So many urgent slots in a row while others wait, then one of theirs: one peer's checks must not stop everybody else. */
const URGENT_IN_A_ROW = 3

export interface Paced {
  /**
   * A slot: send one request. Returns false when there is nothing to send after all; the slot then goes to the next one.
   * Called from within `request` when a slot is free: ask last.
   */
  paced(now: number): boolean
}

export class Pacer {
  readonly #clock: Clock
  // Sets keep the order of asking, and asking twice is asking once.
  readonly #urgent = new Set<Paced>()
  readonly #waiting = new Set<Paced>()
  #freeAt = Number.NEGATIVE_INFINITY
  #timer: Timer | undefined
  #granting = false
  #urgentInARow = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  request(asker: Paced, urgent = false): void {
    const lane = urgent ? this.#urgent : this.#waiting
    lane.add(asker)
    this.#grant()
  }

  withdraw(asker: Paced): void {
    this.#urgent.delete(asker)
    this.#waiting.delete(asker)
    if (this.#urgent.size + this.#waiting.size > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #grant(): void {
    if (this.#granting || this.#timer !== undefined) return
    this.#granting = true
    try {
      for (let asker = this.#next(); asker !== undefined; asker = this.#next()) {
        const now = this.#clock.now()
        if (now < this.#freeAt) return
        const urgent = this.#urgent.delete(asker)
        this.#waiting.delete(asker)
        if (!asker.paced(now)) continue
        this.#freeAt = now + INTERVAL
        this.#urgentInARow = urgent ? this.#urgentInARow + 1 : 0
      }
    } finally {
      this.#granting = false
      // Also when an asker threw: its error is not the others' end.
      if (this.#next() !== undefined) this.#wait()
    }
  }

  #wait(): void {
    this.#timer = this.#clock.wake(this.#freeAt, () => {
      this.#timer = undefined
      this.#grant()
    })
  }

  #next(): Paced | undefined {
    const [urgent] = this.#urgent
    const [waiting] = this.#waiting
    return this.#urgentInARow < URGENT_IN_A_ROW ? (urgent ?? waiting) : (waiting ?? urgent)
  }
}

const pacers = new WeakMap<Clock, Pacer>()

/** The pacer of a process, which is to say of its clock. */
export function pacerOf(clock: Clock): Pacer {
  let pacer = pacers.get(clock)
  if (pacer === undefined) {
    pacer = new Pacer(clock)
    pacers.set(clock, pacer)
  }
  return pacer
}
