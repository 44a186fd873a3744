/**
 * Real time. The monotonic clock of several systems stands still while the machine sleeps, and a session has to notice that
 * its pairs went stale meanwhile; so a sleep is looked for at every reading and added.
 */

import { uptime } from 'node:os'
import { performance } from 'node:perf_hooks'
import type { Clock, Timer } from '../clock.ts'

/** Longest delay setTimeout keeps; beyond it fires at once. */
const LONGEST_DELAY = 2 ** 31 - 1

/** Milliseconds by which wall time has to run ahead of the monotonic clock before a sleep is suspected, and a sleep has to last to count. */
const SLEEP_THRESHOLD = 1000

/** What the clock is made from, so that a test can put a machine to sleep. All milliseconds. */
export interface TimeSources {
  /** Never steps back; may stand still while the machine sleeps. */
  monotonic(): number
  /** May be set by hand. */
  wall(): number
  /** Time since boot, sleep included where the system tells. Slow: asked only when the other two disagree. */
  sinceBoot(): number
}

const system: TimeSources = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  sinceBoot: () => uptime() * 1000,
}

export function nodeClock(sources: TimeSources = system): Clock {
  return new NodeClock(sources)
}

class NodeClock implements Clock {
  readonly #sources: TimeSources
  #wallLead: number
  #bootLead: number
  #slept = 0

  constructor(sources: TimeSources) {
    this.#sources = sources
    this.#wallLead = sources.wall() - sources.monotonic()
    this.#bootLead = sources.sinceBoot() - sources.monotonic()
  }

  now(): number {
    const monotonic = this.#sources.monotonic()
    const wallLead = this.#sources.wall() - monotonic
    if (wallLead - this.#wallLead > SLEEP_THRESHOLD) this.#lookForSleep(monotonic)
    this.#wallLead = wallLead
    return monotonic + this.#slept
  }

  wallTime(): number {
    return this.#sources.wall()
  }

  wake(at: number, callback: () => void): Timer {
    const wake = new Wake(this, at, callback)
    wake.arm()
    return wake
  }

  /** Wall time ran ahead: the machine slept, or somebody set the date. Only the time since boot can tell which. */
  #lookForSleep(monotonic: number): void {
    const bootLead = this.#sources.sinceBoot() - monotonic
    const asleep = bootLead - this.#bootLead
    if (asleep < SLEEP_THRESHOLD) return
    this.#bootLead = bootLead
    this.#slept += asleep
  }
}

class Wake implements Timer {
  readonly #clock: Clock
  readonly #at: number
  readonly #callback: () => void
  readonly #fire = (): void => {
    // setTimeout counts in whole milliseconds from a time of its own, and can be up to one early.
    if (this.#clock.now() < this.#at) this.arm()
    else this.#callback()
  }
  #timeout: NodeJS.Timeout | undefined

  constructor(clock: Clock, at: number, callback: () => void) {
    this.#clock = clock
    this.#at = at
    this.#callback = callback
  }

  cancel(): void {
    clearTimeout(this.#timeout)
  }

  arm(): void {
    const delay = Math.ceil(this.#at - this.#clock.now())
    this.#timeout = setTimeout(this.#fire, Math.min(Math.max(delay, 1), LONGEST_DELAY))
    this.#timeout.unref()
  }
}
