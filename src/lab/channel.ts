/** A signalling channel between two parties: messages that arrive late, in another order, twice, or never. */
import type { Scheduler } from './clock.ts'
import { awake, Callback } from './clock.ts'
import type { SeededRandom } from './random.ts'

export interface ChannelOptions {
  /** Milliseconds one way. Default: twice the lab's delay, as through a server. */
  readonly delay?: number
  /** Up to so many milliseconds more; keeps the order. Default 0. */
  readonly jitter?: number
  /** Share of messages lost, 0 to 1. Default 0. */
  readonly loss?: number
  /** Share of messages that arrive twice. Default 0. */
  readonly duplicate?: number
  /** Share of messages that are held back by another `delay`, so that later ones overtake them. Default 0. */
  readonly reorder?: number
}

/** One end. Messages are copied (structured clone), as a wire would. */
export interface ChannelEnd<T> {
  send(message: T): void
  /** Who gets the other end's messages; those that came before are kept for the first one. */
  onMessage(handler: (message: T) => void): void
}

class End<T> implements ChannelEnd<T> {
  readonly #deliver: (message: T) => void
  #handler: ((message: T) => void) | undefined
  #early: T[] = []

  constructor(deliver: (message: T) => void) {
    this.#deliver = deliver
  }

  send(message: T): void {
    this.#deliver(message)
  }

  onMessage(handler: (message: T) => void): void {
    this.#handler = handler
    for (const message of this.#early.splice(0)) handler(message)
  }

  /** @internal */
  receive(message: T): void {
    if (this.#handler === undefined) this.#early.push(message)
    else this.#handler(message)
  }
}

/** @internal use `lab.channel` */
export function createChannel<T>(
  scheduler: Scheduler,
  random: SeededRandom,
  options: ChannelOptions,
  delay: number,
): [ChannelEnd<T>, ChannelEnd<T>] {
  const { jitter = 0, loss = 0, duplicate = 0, reorder = 0 } = options
  const oneWay = options.delay ?? delay
  const lane = (target: () => End<T>): ((message: T) => void) => {
    let last = 0
    const carry = (message: T): void => {
      if (random.chance(loss)) return
      let at = scheduler.now + oneWay
      if (random.chance(reorder)) {
        at += oneWay
      } else {
        at = Math.max(last, at + (jitter > 0 ? random.fraction() * jitter : 0))
        last = at
      }
      const copy = structuredClone(message)
      scheduler.schedule(new Callback(scheduler, awake, () => target().receive(copy)), at)
    }
    return (message) => {
      if (random.chance(duplicate)) carry(message)
      carry(message)
    }
  }
  const a: End<T> = new End<T>(lane(() => b))
  const b: End<T> = new End<T>(lane(() => a))
  return [a, b]
}
