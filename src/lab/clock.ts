/**
 * Virtual time: one heap of events ordered by (time, order of scheduling) for the whole lab, and the view of it
 * that each host has. Nothing here looks at the real clock, so a run depends on its inputs alone.
 */
import type { Clock, Timer } from '../net/index.ts'

/** Wall time at virtual time zero: 2026-01-01T00:00:00Z. */
export const EPOCH: number = 1_767_225_600_000

/** Something that happens at a time. In the heap at most once. */
export abstract class Event {
  time = 0
  order = 0
  index = -1
  abstract fire(): void
}

export class Scheduler {
  /** Virtual milliseconds since the lab was made. */
  now = 0
  /** Set whenever code outside the lab was called: promises may have to settle before time goes on. */
  touched = false
  readonly #heap: Event[] = []
  #order = 0

  /** Time of the next event; Infinity when there is none. */
  get next(): number {
    const first = this.#heap[0]
    return first === undefined ? Number.POSITIVE_INFINITY : first.time
  }

  get size(): number {
    return this.#heap.length
  }

  schedule(event: Event, at: number): void {
    event.time = Math.max(at, this.now)
    event.order = this.#order++
    event.index = this.#heap.length
    this.#heap.push(event)
    this.#rise(event)
  }

  cancel(event: Event): void {
    const index = event.index
    if (index < 0) return
    event.index = -1
    const last = this.#heap.pop() as Event
    if (last === event) return
    this.#heap[index] = last
    last.index = index
    this.#rise(last)
    this.#sink(last)
  }

  /**
   * Fires the events of the next point in time. Those that they schedule for the same point wait for the next call, so that
   * promises settle in between and a loop without delay cannot hide.
   */
  step(): void {
    const heap = this.#heap
    const time = this.next
    if (time === Number.POSITIVE_INFINITY) return
    this.now = time
    const added = this.#order
    for (let first = heap[0]; first !== undefined && first.time === time && first.order < added; first = heap[0]) {
      this.#shift(first)
      first.fire()
    }
  }

  /** Fires everything up to and including `time`, without a pause, and stands there. */
  runTo(time: number): void {
    const heap = this.#heap
    for (let first = heap[0]; first !== undefined && first.time <= time; first = heap[0]) {
      this.#shift(first)
      this.now = first.time
      first.fire()
    }
    if (time > this.now) this.now = time
  }

  #shift(first: Event): void {
    first.index = -1
    const last = this.#heap.pop() as Event
    if (last === first) return
    this.#heap[0] = last
    last.index = 0
    this.#sink(last)
  }

  #rise(event: Event): void {
    const heap = this.#heap
    let index = event.index
    while (index > 0) {
      const above = (index - 1) >> 1
      const parent = heap[above] as Event
      if (!before(event, parent)) break
      heap[index] = parent
      parent.index = index
      index = above
    }
    heap[index] = event
    event.index = index
  }

  #sink(event: Event): void {
    const heap = this.#heap
    const length = heap.length
    let index = event.index
    for (;;) {
      let below = 2 * index + 1
      if (below >= length) break
      let child = heap[below] as Event
      if (below + 1 < length && before(heap[below + 1] as Event, child)) child = heap[++below] as Event
      if (!before(child, event)) break
      heap[index] = child
      child.index = index
      index = below
    }
    heap[index] = event
    event.index = index
  }
}

function before(a: Event, b: Event): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order)
}

/** Whether, and until when, the code of a host stands still. */
export interface Sleeper {
  /** Virtual time at which it runs again; in the past when it is awake. */
  readonly asleepUntil: number
}

export const awake: Sleeper = { asleepUntil: 0 }

/** A callback of code outside the lab. While its host sleeps it waits for the end of that. */
export class Callback extends Event implements Timer {
  readonly #scheduler: Scheduler
  readonly #sleeper: Sleeper
  readonly #callback: () => void

  constructor(scheduler: Scheduler, sleeper: Sleeper, callback: () => void) {
    super()
    this.#scheduler = scheduler
    this.#sleeper = sleeper
    this.#callback = callback
  }

  fire(): void {
    if (this.#sleeper.asleepUntil > this.time) {
      this.#scheduler.schedule(this, this.#sleeper.asleepUntil)
      return
    }
    this.#scheduler.touched = true
    this.#callback()
  }

  cancel(): void {
    this.#scheduler.cancel(this)
  }
}

/** The virtual clock as one host sees it: while the host is suspended its timers wait, and time has jumped afterwards. */
export class HostClock implements Clock {
  readonly #scheduler: Scheduler
  readonly #sleeper: Sleeper

  constructor(scheduler: Scheduler, sleeper: Sleeper = awake) {
    this.#scheduler = scheduler
    this.#sleeper = sleeper
  }

  now(): number {
    return this.#scheduler.now
  }

  wallTime(): number {
    return EPOCH + this.#scheduler.now
  }

  /** @throws RangeError when `at` is not a number; Infinity never comes. */
  wake(at: number, callback: () => void): Timer {
    if (Number.isNaN(at)) throw new RangeError('wake: the time is not a number')
    const timer = new Callback(this.#scheduler, this.#sleeper, callback)
    if (at !== Number.POSITIVE_INFINITY) this.#scheduler.schedule(timer, at)
    return timer
  }
}
