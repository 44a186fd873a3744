/**
 * Whether what a session sends still gets somewhere. Consent (RFC 7675) finds out within 30 s; whoever sends all the time should know within a
 * second. Nothing is asked while the peer's datagrams come, nor while nothing is sent; a timer runs only while something is.
 */
import type { Pair } from './ice/index.ts'
import type { Timer, Timers } from './net/index.ts'

/** Milliseconds between looks at the counters. */
const TICK = 250
/** Ticks of silence before the question, at most: where the peer sends nothing at all, and where it sends rarely. */
const MOST_ONE_WAY = 4
const MOST = 8

export interface LivenessOwner {
  /** Datagrams sent so far, on any path. */
  readonly sent: number
  /** What carries them. */
  readonly activePair: Pair | undefined
  /** Has the pair show that it works. */
  question(pair: Pair): void
}

export class Liveness {
  readonly #timers: Timers
  readonly #owner: LivenessOwner
  #timer: Timer | undefined
  #pair: Pair | undefined
  #sent = 0
  #datagrams = 0
  #answers = 0
  /** Ticks without a sign of life. */
  #silent = 0
  /** The longest silence of late that meant nothing, in ticks. */
  #usual = 0

  constructor(timers: Timers, owner: LivenessOwner) {
    this.#timers = timers
    this.#owner = owner
  }

  /** False when `watch` wants to be called before the next datagram. */
  get watching(): boolean {
    return this.#timer !== undefined
  }

  watch(): void {
    this.#timer ??= this.#timers.after(TICK, () => this.#look())
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = this.#pair = undefined
  }

  #look(): void {
    this.#timer = undefined
    const { activePair: pair, sent: count } = this.#owner
    const sent = count !== this.#sent
    this.#sent = count
    if (!sent || pair === undefined) {
      this.#pair = undefined
      return
    }
    this.watch()
    if (pair !== this.#pair) this.#begin(pair)
    else if (pair.datagrams !== this.#datagrams) this.#heard(pair, MOST)
    else if (pair.received !== this.#answers) this.#heard(pair, MOST_ONE_WAY)
    else if (++this.#silent > Math.min(2 * this.#usual, MOST)) this.#owner.question(pair)
  }

  #begin(pair: Pair): void {
    this.#pair = pair
    this.#silent = this.#usual = 0
    this.#count(pair)
  }

  /** @param most so much silence is usual from now on, at most; less as time goes by without any */
  #heard(pair: Pair, most: number): void {
    const gap = Math.min(this.#silent, most / 2)
    this.#usual = gap > this.#usual ? gap : this.#usual * 0.9
    this.#silent = 0
    this.#count(pair)
  }

  #count({ datagrams, received }: Pair): void {
    this.#datagrams = datagrams
    this.#answers = received
  }
}
