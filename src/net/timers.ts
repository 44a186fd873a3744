/**
 * All deadlines of one owner in one binary heap over one clock timer, so that ten thousand sessions cost one `setTimeout`.
 */
import type { Clock, Timer } from './clock.ts'

class Entry implements Timer {
  at: number
  /** Keeps equal deadlines in the order they were set: the same seed must give the same trace. */
  readonly order: number
  index = -1
  callback: () => void
  readonly #owner: Timers

  constructor(owner: Timers, at: number, order: number, callback: () => void) {
    this.#owner = owner
    this.at = at
    this.order = order
    this.callback = callback
  }

  cancel(): void {
    this.#owner.remove(this)
  }
}

export class Timers {
  readonly #clock: Clock
  readonly #heap: Entry[] = []
  #order = 0
  #armed: Timer | undefined
  #armedFor = Number.POSITIVE_INFINITY
  #running = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  now(): number {
    return this.#clock.now()
  }

  /** Deadlines pending. */
  get size(): number {
    return this.#heap.length
  }

  at(time: number, callback: () => void): Timer {
    const entry = new Entry(this, time, this.#order++, callback)
    this.#heap.push(entry)
    entry.index = this.#heap.length - 1
    this.#rise(entry)
    this.#arm()
    return entry
  }

  after(delay: number, callback: () => void): Timer {
    return this.at(this.#clock.now() + delay, callback)
  }

  /** Drops every deadline. */
  clear(): void {
    for (const entry of this.#heap) entry.index = -1
    this.#heap.length = 0
    this.#arm()
  }

  /** @internal */
  remove(entry: Entry): void {
    const index = entry.index
    if (index < 0) return
    entry.index = -1
    const last = this.#heap.pop() as Entry
    if (last !== entry) {
      this.#heap[index] = last
      last.index = index
      this.#rise(last)
      this.#sink(last)
    }
    this.#arm()
  }

  #run(): void {
    this.#armed = undefined
    this.#armedFor = Number.POSITIVE_INFINITY
    this.#running = true
    // One reading for the whole round, and what a callback adds waits for the next one: it cannot starve the event loop.
    const now = this.#clock.now()
    const added = this.#order
    try {
      for (let first = this.#heap[0]; first !== undefined && first.at <= now && first.order < added; first = this.#heap[0]) {
        this.remove(first)
        first.callback()
      }
    } finally {
      this.#running = false
      this.#arm()
    }
  }

  #arm(): void {
    if (this.#running) return
    const next = this.#heap[0]?.at ?? Number.POSITIVE_INFINITY
    if (next === this.#armedFor) return
    // A later deadline than the armed one keeps the timer: waking once for nothing is cheaper than re-arming at every change.
    if (this.#armed !== undefined && next > this.#armedFor && next !== Number.POSITIVE_INFINITY) return
    this.#armed?.cancel()
    this.#armed = undefined
    this.#armedFor = next
    if (next !== Number.POSITIVE_INFINITY) this.#armed = this.#clock.wake(next, () => this.#run())
  }

  #rise(entry: Entry): void {
    const heap = this.#heap
    while (entry.index > 0) {
      const parent = heap[(entry.index - 1) >> 1] as Entry
      if (!before(entry, parent)) return
      swap(heap, entry, parent)
    }
  }

  #sink(entry: Entry): void {
    const heap = this.#heap
    for (;;) {
      const left = heap[2 * entry.index + 1]
      const right = heap[2 * entry.index + 2]
      const child = right !== undefined && left !== undefined && before(right, left) ? right : left
      if (child === undefined || !before(child, entry)) return
      swap(heap, child, entry)
    }
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

function swap(heap: Entry[], a: Entry, b: Entry): void {
  const index = a.index
  heap[b.index] = a
  a.index = b.index
  heap[index] = b
  b.index = index
}
