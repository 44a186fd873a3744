/**
 * What a session sends: on the pair of the moment, or later when there is one; whether there is room, and whether it still gets somewhere.
 */
import type { Base } from './candidates/index.ts'
import type { Pair } from './ice/index.ts'
import { Liveness } from './liveness.ts'
import type { Timers } from './net/index.ts'
import { Outbox } from './outbox.ts'

export interface OutflowOwner {
  /** What carries data now. */
  readonly activePair: Pair | undefined
  /** Has the pair show that it works. */
  question(pair: Pair): void
  /** There is room again after `send` said that there is none. */
  roomAgain(): void
}

export interface OutflowHost {
  readonly timers: Timers
  /** Calls back when a socket that was full has room. */
  whenDrained(base: Base, callback: () => void): void
}

export class Outflow {
  readonly #host: OutflowHost
  readonly #owner: OutflowOwner
  readonly #outbox = new Outbox()
  #sent = 0
  /** `send` said that there is no room. */
  #full = false
  /** Made when it is needed first: few sessions ever fill a socket's queue. */
  #drained: (() => void) | undefined
  /** Made when something is sent: most sessions of a large program are idle. */
  #liveness: Liveness | undefined

  constructor(host: OutflowHost, owner: OutflowOwner) {
    this.#host = host
    this.#owner = owner
  }

  /** Datagrams, on any path. */
  get sent(): number {
    return this.#sent
  }

  /** Those that wait for a path. */
  get queued(): number {
    return this.#outbox.size
  }

  /** Those that waited in vain, or could not even do that. */
  get lost(): number {
    return this.#outbox.lost
  }

  get activePair(): Pair | undefined {
    return this.#owner.activePair
  }

  /** False when it has to wait for a path, or when the queue is full: it was taken all the same. */
  send(data: Uint8Array): boolean {
    const active = this.#owner.activePair
    if (active === undefined) {
      this.#outbox.put(data)
      return false
    }
    this.#sent++
    if (this.#liveness?.watching !== true) this.#watch()
    if (active.base.send(data, active.to)) return true
    this.#full = true
    this.#drained ??= () => this.#roomAgain()
    this.#host.whenDrained(active.base, this.#drained)
    return false
  }

  /** Another pair carries the data. Whoever waits for room would wait for a base that carries nothing any more. */
  moved(): void {
    this.#roomAgain()
  }

  /** There is a path: sends what waited for it. */
  flush(): void {
    if (this.#outbox.size === 0) return
    this.#outbox.empty((data) => {
      if (this.#owner.activePair === undefined) return false
      this.send(data)
      return true
    })
    if (this.#outbox.size === 0) this.#owner.roomAgain()
  }

  /** The attempt is over: what waits is lost. */
  stop(): void {
    this.#liveness?.stop()
    this.#outbox.discard()
  }

  question(pair: Pair): void {
    this.#owner.question(pair)
  }

  #watch(): void {
    this.#liveness ??= new Liveness(this.#host.timers, this)
    this.#liveness.watch()
  }

  #roomAgain(): void {
    if (!this.#full) return
    this.#full = false
    this.#owner.roomAgain()
  }
}
