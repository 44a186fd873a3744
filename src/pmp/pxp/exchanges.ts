/**
 * Requests to the router and the wait for their answers, for both protocols. Requests of one lane go one after the other, each when the one
 * before it is over; lanes know nothing of each other. Which answer is whose, the request itself says.
 */
import type { SallyportError } from '../../errors.ts'
import type { Timer, Timers } from '../../net/index.ts'

/**
 * Milliseconds after the first send, each further wait twice as long (RFC 6886 3.1). RFC 6887 8.1.1 begins at 3 s, for servers that may be
 * far; ours is on the link.
 */
export const FIRST_WAIT = 250
/** Sends in all. RFC 6886 3.1 has nine, which is two minutes: for a router that does not answer four say as much. */
export const SENDS = 4

export interface Question<Answer> {
  /** Requests that must not be under way at the same time have the same. */
  readonly lane: string
  readonly data: Uint8Array
  /** Is it the answer to this? */
  readonly fits: (answer: Answer) => boolean
}

export class Exchanges<Answer> {
  readonly #timers: Timers
  readonly #send: (data: Uint8Array) => void
  readonly #silence: () => SallyportError
  readonly #lanes = new Map<string, Exchange<Answer>[]>()
  #ended: SallyportError | undefined

  /** @param silence what to say when nobody answers */
  constructor(timers: Timers, send: (data: Uint8Array) => void, silence: () => SallyportError) {
    this.#timers = timers
    this.#send = send
    this.#silence = silence
  }

  /** Why nothing can be asked any more; undefined as a rule. */
  get ended(): SallyportError | undefined {
    return this.#ended
  }

  /** Rejects with what `silence` says, or what `fail` or `end` is given. */
  ask(question: Question<Answer>): Promise<Answer> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => {
      const exchange = new Exchange(question, resolve, reject)
      const lane = this.#lanes.get(question.lane)
      if (lane !== undefined) {
        lane.push(exchange)
        return
      }
      this.#lanes.set(question.lane, [exchange])
      this.#repeat(exchange)
    })
  }

  /** Those that wait for an answer; not those that wait for their turn. */
  *underWay(): Generator<Exchange<Answer>> {
    for (const [first] of this.#lanes.values()) if (first !== undefined) yield first
  }

  find(answer: Answer): Exchange<Answer> | undefined {
    for (const exchange of this.underWay()) if (exchange.question.fits(answer)) return exchange
    return undefined
  }

  settle(exchange: Exchange<Answer>, answer: Answer): void {
    if (this.#end(exchange)) exchange.resolve(answer)
  }

  /** All fail with this, now and from now on; the first reason stays. */
  end(error: SallyportError): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    this.fail(error)
  }

  /** Ends all, also those that wait for their turn. */
  fail(error: SallyportError): void {
    const lanes = [...this.#lanes.values()]
    this.#lanes.clear()
    for (const lane of lanes) {
      for (const exchange of lane) {
        exchange.timer?.cancel()
        exchange.reject(error)
      }
    }
  }

  #repeat(exchange: Exchange<Answer>): void {
    const wait = FIRST_WAIT * 2 ** exchange.sends++
    const isLast = exchange.sends === SENDS
    // Before sending, as on a network that answers at once.
    exchange.timer = this.#timers.after(wait, () => {
      if (!isLast) this.#repeat(exchange)
      else if (this.#end(exchange)) exchange.reject(this.#silence())
    })
    this.#send(exchange.question.data)
  }

  /** False when it was over before. */
  #end(exchange: Exchange<Answer>): boolean {
    const { lane: name } = exchange.question
    const lane = this.#lanes.get(name)
    if (lane?.[0] !== exchange) return false
    exchange.timer?.cancel()
    lane.shift()
    const next = lane[0]
    if (next === undefined) this.#lanes.delete(name)
    else this.#repeat(next)
    return true
  }
}

export class Exchange<Answer> {
  readonly question: Question<Answer>
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: SallyportError) => void
  sends = 0
  timer: Timer | undefined

  constructor(question: Question<Answer>, resolve: (answer: Answer) => void, reject: (error: SallyportError) => void) {
    this.question = question
    this.resolve = resolve
    this.reject = reject
  }
}
