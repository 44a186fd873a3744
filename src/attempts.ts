/** When a session that had a path starts over: soon after it was lost, and more and more rarely while there is none. */
import type { Timer, Timers } from './net/index.ts'

/** Milliseconds without a path before everything starts anew: other pairs, or another interface, may come first. */
const RESTART_DELAY = 1_000
/** Before another attempt after one that found no path, doubling from the delay above. */
const RETRY_MOST = 300_000

export interface AttemptsOwner {
  startOver(why: string): void
}

export class Attempts {
  readonly #timers: Timers
  readonly #owner: AttemptsOwner
  #restart: Timer | undefined
  /** After an attempt that found no path, while an earlier generation's may go on. */
  #another: Timer | undefined
  /** Before the next one; undefined before there was a path. */
  #delay: number | undefined

  constructor(timers: Timers, owner: AttemptsOwner) {
    this.#timers = timers
    this.#owner = owner
  }

  /** There was a path since the session was opened, so what is in the way now may pass. */
  get hadPath(): boolean {
    return this.#delay !== undefined
  }

  /** One begins. */
  begun(): void {
    this.#restart?.cancel()
    this.#another?.cancel()
    this.#restart = this.#another = undefined
  }

  /** An earlier one goes on in the place of the present one. */
  resumed(): void {
    this.#restart?.cancel()
    this.#restart = undefined
  }

  /** There is a path, or another one. @param settled of the present generation: one of an earlier one does not end the search for it */
  found(settled: boolean): void {
    this.resumed()
    this.#delay ??= RESTART_DELAY
    if (!settled) return
    this.#another?.cancel()
    this.#another = undefined
    this.#delay = RESTART_DELAY
  }

  /** No path is left. */
  lost(): void {
    this.#restart?.cancel()
    this.#restart = this.#timers.after(RESTART_DELAY, () => this.#owner.startOver('the path was lost'))
  }

  /** The present one found none. With an earlier generation's path going on, both ends would stay so for ever. */
  failed(): void {
    if (this.#delay === undefined) return
    this.#another ??= this.#timers.after(this.#delay, () => this.#owner.startOver('another attempt'))
    this.#delay = Math.min(this.#delay * 2, RETRY_MOST)
  }

  /** The session is over, or idle. */
  stop(): void {
    this.begun()
    this.#delay = undefined
  }
}
