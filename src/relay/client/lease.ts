/**
 * The life of an allocation at its server (RFC 8656 8): refreshed in time, doubted when somebody asks, given back at the end. What it is used
 * for is in allocation.ts.
 */
import { type Random, randomFraction, type Timer, type Timers } from '../../net/index.ts'
import { Attribute, type Message, type MessageWriter, Method, type RetransmissionSchedule } from '../../stun/index.ts'
import type { Answer, Requests } from './requests.ts'

/** Seconds asked for: what servers give by default (RFC 8656 3.2). */
export const LIFETIME_SECONDS = 600
/** The allocation is refreshed at this part of its life, spread by the other. */
const REFRESH_AT = 0.45
const REFRESH_SPREAD = 0.1
/** Milliseconds: no refresh comes sooner; one that the server refused is tried again after that. */
const REFRESH_SOONEST = 1_000
const REFRESH_RETRY = 10_000
/** Rounds of a refresh without an answer, up to 10 s each. */
const SILENT_ROUNDS = 2
/** Milliseconds without an answer that end a doubt; more on a stream, where what is lost comes again by itself. */
const DEAD_AFTER = 800
const STREAM_DEAD_AFTER = 1_200
/** The part of that time after which the owner may look for another. */
const DOUBT_TOLD = 0.4
/** Milliseconds after a proof of life in which there is no doubt. */
const CALM = 500
/** Doubts in a row that data, which proves nothing, can prolong. */
const MOST_PROLONGED = 2

export interface LeaseParts {
  readonly requests: Requests
  readonly stream: boolean
  readonly timers: Timers
  readonly random: Random
  /** Milliseconds granted. */
  readonly lifetime: number
  /** Datagrams from peers so far. */
  readonly received: () => number
  /** It has not answered a doubt so far. */
  readonly doubtful: () => void
  /** The server does not answer any more, in words. */
  readonly dead: (words: string) => void
  /** What else it says than success. */
  readonly refused: (answer: Answer & { readonly kind: 'error' }) => void
}

export class Lease {
  readonly #parts: LeaseParts
  #expiry: number
  #refreshAt: number | undefined
  #refreshTimer: Timer | undefined
  #endTimer: Timer | undefined
  #silentRounds = 0
  /** A doubt in progress, and when the server last proved that it lives. */
  #doubt: { cancel: () => void } | undefined
  #calmSince = Number.NEGATIVE_INFINITY
  #doubtful = false
  #over = false

  constructor(parts: LeaseParts) {
    this.#parts = parts
    this.#expiry = parts.timers.now() + parts.lifetime
  }

  /** On the clock of the timers. */
  get expiry(): number {
    return this.#expiry
  }

  /** Undefined while a refresh is under way. */
  get refreshAt(): number | undefined {
    return this.#refreshAt
  }

  /** A doubt was raised, and no answer has come for a while. */
  get doubtful(): boolean {
    return this.#doubtful
  }

  start(): void {
    this.#parts.requests.answered = () => this.#calm()
    this.#planRefresh(this.#parts.lifetime)
  }

  /**
   * Whether a doubt was raised: one at a time, and none right after a proof of life.
   * @param elsewhere the network is another one now, where what was proved before counts for nothing
   */
  doubt(elsewhere: boolean): boolean {
    if (this.#over || this.#doubt !== undefined) return false
    if (!elsewhere && this.#parts.timers.now() - this.#calmSince < CALM) return false
    this.#ask(0)
    return true
  }

  /** Nothing is refreshed any more, and nothing called back. */
  stop(): void {
    this.#over = true
    this.#parts.requests.answered = undefined
    this.#refreshTimer?.cancel()
    this.#endTimer?.cancel()
    this.#doubt?.cancel()
    this.#refreshTimer = this.#endTimer = this.#refreshAt = this.#doubt = undefined
  }

  #ask(prolonged: number): void {
    const { requests, stream, received } = this.#parts
    const patience = Math.max(stream ? STREAM_DEAD_AFTER : DEAD_AFTER, 3 * (requests.rtt ?? 0))
    // Fresh transactions after 0, 100, 250 and 475 of 800 ms; on a stream one is enough.
    const schedule: RetransmissionSchedule = stream
      ? { initial: patience, factor: 1, count: 1, last: patience, fresh: true }
      : { initial: patience / 8, factor: 1.5, count: 4, last: (patience * 3.25) / 8, fresh: true }
    const before = received()
    // Before asking: on a network that answers at once, the answer is here when `probe` returns.
    const doubt = { cancel: () => {} }
    this.#doubt = doubt
    const told = this.#parts.timers.after(patience * DOUBT_TOLD, () => {
      // While datagrams come it is more likely that the answers got lost.
      if (this.#doubtful || received() > before) return
      this.#doubtful = true
      this.#parts.doubtful()
    })
    const transaction = requests.probe({
      method: Method.Refresh,
      write: keepLifetime,
      schedule,
      done: (answer) => {
        told.cancel()
        if (this.#over) return
        if (answer.kind === 'success') this.#refreshed(answer.message)
        else if (answer.kind === 'error') this.#parts.refused(answer)
        else if (this.#doubt === doubt) {
          // A new nonce, or data all the while: no proof, but reason to look again.
          const again = answer.kind === 'challenge' || received() > before
          if (again && prolonged < MOST_PROLONGED) this.#ask(prolonged + 1)
          else this.#parts.dead('does not answer any more')
        }
      },
    })
    doubt.cancel = () => {
      transaction.cancel()
      told.cancel()
    }
  }

  /** The server proved that it lives. */
  #calm(): void {
    this.#silentRounds = 0
    this.#calmSince = this.#parts.timers.now()
    this.#doubt?.cancel()
    this.#doubt = undefined
    this.#doubtful = false
  }

  #planRefresh(lifetime: number): void {
    const delay = lifetime * (REFRESH_AT + REFRESH_SPREAD * randomFraction(this.#parts.random))
    this.#refreshIn(Math.max(REFRESH_SOONEST, delay))
  }

  #refreshIn(delay: number): void {
    const { timers } = this.#parts
    this.#refreshTimer?.cancel()
    this.#refreshAt = timers.now() + delay
    this.#refreshTimer = timers.at(this.#refreshAt, () => this.#refresh())
  }

  #refresh(): void {
    const { timers, requests, stream, dead, refused } = this.#parts
    this.#refreshTimer = undefined
    this.#refreshAt = undefined
    // If nothing has prolonged it by then, the server has forgotten it.
    this.#endTimer ??= timers.at(this.#expiry, () => dead('has not prolonged the allocation'))
    requests.ask({
      method: Method.Refresh,
      write: keepLifetime,
      fresh: true,
      done: (answer) => {
        if (this.#over) return
        if (answer.kind === 'success') this.#refreshed(answer.message)
        else if (answer.kind === 'error') {
          refused(answer)
          if (!this.#over) this.#refreshIn(REFRESH_RETRY)
        } else if (stream || ++this.#silentRounds >= SILENT_ROUNDS) dead('does not answer any more')
        else this.#refresh()
      },
    })
  }

  #refreshed(message: Message): void {
    const seconds = message.uint32(Attribute.Lifetime) ?? LIFETIME_SECONDS
    if (seconds === 0) {
      this.#parts.dead('has deleted the allocation')
      return
    }
    this.#expiry = this.#parts.timers.now() + seconds * 1_000
    this.#endTimer?.cancel()
    this.#endTimer = undefined
    this.#planRefresh(seconds * 1_000)
  }
}

function keepLifetime(writer: MessageWriter): void {
  writer.uint32(Attribute.Lifetime, LIFETIME_SECONDS)
}

/** What a Refresh says that gives an allocation back (RFC 8656 8.1). */
export function endLifetime(writer: MessageWriter): void {
  writer.uint32(Attribute.Lifetime, 0)
}
