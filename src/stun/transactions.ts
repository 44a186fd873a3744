/**
 * Requests and the answers they wait for (RFC 8489 6.2.1, 6.3.3, 6.3.4): transaction ids, sending again, giving up. Sans-I/O: messages
 * come in through `receive`, go out through each request's own `send`, and time is `Timers`.
 * Whether an answer is to be believed is the asker's (`accept`); pacing, and what an error response means, too.
 */
import type { Address, Random, Timer, Timers } from '../net/index.ts'
import type { Message } from './message.ts'
import { transactionKey } from './transaction-id.ts'

/** When a request is sent again, and when it is given up. Times in milliseconds. */
export interface RetransmissionSchedule {
  /** Wait after the first send (RTO). */
  readonly initial: number
  /** What each further wait is multiplied by. */
  readonly factor: number
  /** Sends in all (Rc). */
  readonly count: number
  /** Wait after the final send (Rm × RTO). */
  readonly last: number
  /** Every send is a transaction of its own, with its own id; an answer to any of them counts. */
  readonly fresh: boolean
}

/** RFC 8489 6.2.1 over UDP: RTO 500 ms, Rc 7, Rm 16. Sends at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s and gives up at 39.5 s. */
export const RFC_SCHEDULE: RetransmissionSchedule = Object.freeze({ initial: 500, factor: 2, count: 7, last: 8_000, fresh: false })

/** Over TCP or TLS: one send, and Ti = 39.5 s (RFC 8489 6.2.2). */
export const STREAM_SCHEDULE: RetransmissionSchedule = Object.freeze({ initial: 39_500, factor: 1, count: 1, last: 39_500, fresh: false })

export type Outcome =
  /** `rtt` in milliseconds from the first send of the id that was answered: too long when it was sent more than once. */
  { readonly kind: 'response'; readonly message: Message; readonly from: Address; readonly rtt: number } | { readonly kind: 'timeout' }

export interface TransactionRequest {
  /** The request under this id. The view may be one that is used again: it is copied. Called once, or once a send when `fresh`. */
  readonly build: (id: Uint8Array) => Uint8Array
  /** Called in `start` for the first time. The memory is the receiver's to read, not to write. */
  readonly send: (data: Uint8Array) => void
  /** `RFC_SCHEDULE` by default. */
  readonly schedule?: RetransmissionSchedule
  /**
   * Does the response come from where it should, with the integrity it should have? False is a counted drop, and the wait goes on
   * (RFC 8489 9.1.4: a response that fails is discarded as if never received). `at` is what `receive` was told.
   */
  readonly accept?: (message: Message, from: Address, at: unknown) => boolean
  /** Called once, last, unless cancelled first. */
  readonly done: (outcome: Outcome) => void
}

export interface Transaction {
  /** Idempotent; `done` is not called after it. */
  cancel(): void
}

export class Transactions {
  readonly #timers: Timers
  readonly #random: Random
  readonly #pending = new Map<string, Pending>()
  #size = 0
  #refused = 0

  constructor(timers: Timers, random: Random) {
    this.#timers = timers
    this.#random = random
  }

  /** Requests that wait for an answer. */
  get size(): number {
    return this.#size
  }

  /** Responses that `accept` refused, since the beginning. */
  get refused(): number {
    return this.#refused
  }

  /** Sends the request and waits. @throws RangeError for a schedule that makes no sense */
  start(request: TransactionRequest): Transaction {
    const schedule = request.schedule ?? RFC_SCHEDULE
    if (!Number.isInteger(schedule.count) || schedule.count < 1) {
      throw new RangeError(`schedule.count must be an integer of at least 1, not ${schedule.count}`)
    }
    for (const name of ['initial', 'factor', 'last'] as const) {
      if (!(schedule[name] >= 0)) throw new RangeError(`schedule.${name} must be a number of at least 0, not ${schedule[name]}`)
    }
    const pending = new Pending(request, schedule, this)
    this.#size++
    this.#send(pending)
    return pending
  }

  /** False when the message is not a response, or no transaction here has its id. @param at the socket it came to, where there are several */
  receive(message: Message, from: Address, at?: unknown): boolean {
    if (message.class !== 'success' && message.class !== 'error') return false
    const key = message.transactionKey
    const pending = this.#pending.get(key)
    if (pending === undefined) return false
    if (pending.request.accept?.(message, from, at) === false) {
      this.#refused++
      return true
    }
    const rtt = this.#timers.now() - (pending.sent.get(key) as number) // every key in #pending is in its `sent`
    this.#settle(pending, { kind: 'response', message, from, rtt })
    return true
  }

  /** Cancels every transaction. */
  clear(): void {
    for (const pending of this.#pending.values()) this.end(pending)
  }

  /** @internal */
  end(pending: Pending): void {
    if (pending.ended) return
    pending.ended = true
    pending.timer?.cancel()
    for (const key of pending.sent.keys()) this.#pending.delete(key)
    this.#size--
  }

  #send(pending: Pending): void {
    const { request, schedule } = pending
    if (pending.data === undefined || schedule.fresh) {
      const id = this.#random.bytes(12)
      const key = transactionKey(id)
      pending.data = request.build(id).slice()
      pending.sent.set(key, this.#timers.now())
      this.#pending.set(key, pending)
    }
    pending.sends++
    const final = pending.sends === schedule.count
    const delay = final ? schedule.last : schedule.initial * schedule.factor ** (pending.sends - 1)
    // Before sending: on a network that answers at once, the response ends the transaction from within `send`.
    pending.timer = this.#timers.after(delay, () => (final ? this.#settle(pending, { kind: 'timeout' }) : this.#send(pending)))
    request.send(pending.data)
  }

  #settle(pending: Pending, outcome: Outcome): void {
    if (pending.ended) return // `accept` cancelled it
    this.end(pending)
    pending.request.done(outcome)
  }
}

class Pending implements Transaction {
  readonly request: TransactionRequest
  readonly schedule: RetransmissionSchedule
  /** When each id was first sent. */
  readonly sent: Map<string, number> = new Map()
  data: Uint8Array | undefined
  sends = 0
  timer: Timer | undefined
  ended = false
  readonly #owner: Transactions

  constructor(request: TransactionRequest, schedule: RetransmissionSchedule, owner: Transactions) {
    this.request = request
    this.schedule = schedule
    this.#owner = owner
  }

  cancel(): void {
    this.#owner.end(this)
  }
}
