/**
 * Requests to one TURN server over one connection (RFC 8656, RFC 8489 9.2), one at a time: a server that authenticates in the background loses
 * what comes meanwhile (coturn does, also over TCP). Challenges are met here; an answer that does not prove itself changes nothing.
 */
import { type Paced, type Pacer, type Random, randomFraction, type Timer, type Timers } from '../../net/index.ts'
import {
  type Attempt,
  type LongTermCredential,
  type Message,
  MessageWriter,
  type RetransmissionSchedule,
  StunError,
  type Transaction,
  Transactions,
} from '../../stun/index.ts'
import type { ServerConnection } from './server-connection.ts'

/** So many challenges in a row for one request; more make no progress. */
const MOST_CHALLENGES = 4
/** Milliseconds that a stream's request may take: over TCP nothing is sent again, and what was lost is lost. */
const STREAM_WAIT = 5_000
/** Milliseconds between sends of a request over UDP: RFC 8489 6.2.1 begins with 500, loss is noticed sooner where the round trip is known. */
const FIRST_WAIT = 250
const [SHORTEST_WAIT, LONGEST_WAIT] = [100, 500]
/** Sends in all, doubling: the last one after some 8 s. */
const SENDS = 6
const LAST_WAIT = 3_000
/** Milliseconds that an error which does not prove itself waits for an answer that does. */
const UNPROVEN_WAIT = 1_000

export type Answer =
  | { readonly kind: 'success'; readonly message: Message }
  | {
      readonly kind: 'error'
      readonly code: number
      readonly reason: string
      readonly message: Message
      /** False when it came without integrity and nothing better followed: some servers leave it out. */
      readonly proven: boolean
    }
  | { readonly kind: 'silence' }

export interface RelayRequest {
  readonly method: number
  /** Adds the attributes; called anew for every transaction. */
  readonly write: (writer: MessageWriter) => void
  /**
   * Every send has an id of its own, so that a round trip is measured right. Not for Allocate: a second one under another id is another
   * one, and refused (RFC 8656 7.2).
   */
  readonly fresh: boolean
  /** Once, unless the requests are closed before. */
  readonly done: (answer: Answer) => void
}

export interface Probe {
  readonly method: number
  readonly write: (writer: MessageWriter) => void
  readonly schedule: RetransmissionSchedule
  /** Once. 'challenge': the same again will be answered. */
  readonly done: (answer: Answer | { readonly kind: 'challenge' }) => void
}

export interface RequestsParts {
  readonly connection: ServerConnection
  readonly timers: Timers
  readonly random: Random
  readonly pacer: Pacer
}

interface Pending {
  readonly request: RelayRequest
  challenges: number
  transaction: Transaction | undefined
  unproven: (Answer & { readonly kind: 'error' }) | undefined
  timer: Timer | undefined
}

export class Requests implements Paced {
  readonly #parts: RequestsParts
  readonly #transactions: Transactions
  readonly #writer = new MessageWriter()
  readonly #queue: Pending[] = []
  #credential: LongTermCredential | undefined
  #current: Pending | undefined
  #closed = false
  /** Requests made; those answered by 401 or 438, and by 438; responses that did not prove themselves. */
  readonly counters = { requests: 0, challenged: 0, staleNonces: 0, unproven: 0 }

  constructor(parts: RequestsParts) {
    this.#parts = parts
    this.#transactions = new Transactions(parts.timers, parts.random)
  }

  /** Milliseconds; of the last request that was answered. */
  rtt: number | undefined
  /** Told of every answer that proves itself, before what it answers. */
  answered: (() => void) | undefined

  get credential(): LongTermCredential | undefined {
    return this.#credential
  }

  /** Requests go out under it from now on. */
  authenticate(credential: LongTermCredential): void {
    this.#credential = credential
  }

  /** Waits for its turn. */
  ask(request: RelayRequest): void {
    if (this.#closed) return
    this.#queue.push({ request, challenges: 0, transaction: undefined, unproven: undefined, timer: undefined })
    this.#next()
  }

  /** Out of turn and at intervals of its own, to find out whether the server lives. */
  probe(probe: Probe): Transaction {
    const { method, write, schedule, done } = probe
    let attempt: Attempt | undefined
    return this.#transactions.start({
      build: (id) => {
        const built = this.#build(method, write, id)
        attempt = built.attempt
        return built.data
      },
      send: (data) => this.#parts.connection.send(data),
      schedule,
      accept: (message) => message.method === method && this.#proves(message, attempt),
      done: (outcome) => {
        if (outcome.kind === 'timeout') {
          done({ kind: 'silence' })
          return
        }
        const { message, rtt } = outcome
        const answer = answerOf(message)
        if (!isChallenge(answer) || attempt === undefined) this.#measured(rtt)
        else if (this.#credential?.react(message, attempt).kind === 'retry') {
          done({ kind: 'challenge' })
          return
        }
        done(answer)
      },
    })
  }

  /** Sends one request and waits for nothing. */
  tell(method: number, write: (writer: MessageWriter) => void): void {
    if (this.#closed) return
    this.#parts.connection.send(this.#build(method, write, this.#parts.random.bytes(12)).data.slice())
  }

  /** True when the message was an answer to something asked here. */
  receive(message: Message): boolean {
    return this.#transactions.receive(message, this.#parts.connection.server)
  }

  /** Nothing is called back any more. */
  close(): void {
    this.#closed = true
    this.#current?.timer?.cancel()
    this.#current = undefined
    this.#queue.length = 0
    this.#transactions.clear()
    this.#parts.pacer.withdraw(this)
  }

  /** For the pacer. */
  paced(): boolean {
    const current = this.#current
    if (current === undefined || current.transaction !== undefined) return false
    this.#start(current)
    return true
  }

  #next(): void {
    if (this.#current !== undefined || this.#closed) return
    this.#current = this.#queue.shift()
    if (this.#current === undefined) return
    this.#begin(this.#current)
  }

  #begin(pending: Pending): void {
    // Pacing keeps bursts off NATs and small links (RFC 8445 14.2); a stream does that for itself.
    if (this.#parts.connection.transport === 'udp') this.#parts.pacer.request(this, true)
    else this.#start(pending)
  }

  #start(pending: Pending): void {
    const { request, challenges } = pending
    let attempt: Attempt | undefined
    const transaction = this.#transactions.start({
      build: (id) => {
        const built = this.#build(request.method, request.write, id)
        attempt = built.attempt
        return built.data
      },
      send: (data) => this.#parts.connection.send(data),
      schedule: this.#schedule(request.fresh),
      accept: (message) => {
        if (message.method !== request.method) return false
        if (this.#proves(message, attempt)) return true
        this.#unproven(pending, message)
        return false
      },
      done: (outcome) => {
        if (outcome.kind === 'timeout') this.#settle(pending, pending.unproven ?? { kind: 'silence' })
        else this.#answered(pending, outcome.message, attempt, outcome.rtt)
      },
    })
    // On a network that answers at once it is over already, or the next round has begun.
    if (this.#current === pending && pending.challenges === challenges) pending.transaction = transaction
  }

  #build(
    method: number,
    write: (writer: MessageWriter) => void,
    id: Uint8Array,
  ): { readonly data: Uint8Array; readonly attempt: Attempt | undefined } {
    this.counters.requests++
    const writer = this.#writer.start('request', method, id)
    write(writer)
    const attempt = this.#credential?.authenticate(writer)
    return { data: writer.fingerprint().finish(), attempt }
  }

  #proves(message: Message, attempt: Attempt | undefined): boolean {
    return attempt === undefined || this.#credential === undefined || this.#credential.accepts(message, attempt)
  }

  /** An error that may be anybody's. Servers that leave out the integrity exist, so it counts when nothing better comes. */
  #unproven(pending: Pending, message: Message): void {
    this.counters.unproven++
    const error = message.errorCode()
    if (message.class !== 'error' || error === undefined || pending.unproven !== undefined) return
    const answer = { kind: 'error', ...error, message, proven: false } as const
    pending.unproven = answer
    pending.timer = this.#parts.timers.after(UNPROVEN_WAIT, () => this.#settle(pending, answer))
  }

  #answered(pending: Pending, message: Message, attempt: Attempt | undefined, rtt: number): void {
    const answer = answerOf(message)
    if (!isChallenge(answer) || attempt === undefined || this.#credential === undefined) {
      this.#measured(rtt)
      this.#settle(pending, answer)
      return
    }
    this.counters.challenged++
    if (answer.code === StunError.StaleNonce) this.counters.staleNonces++
    const reaction = this.#credential.react(message, attempt)
    if (reaction.kind === 'retry' && ++pending.challenges <= MOST_CHALLENGES) {
      pending.transaction = undefined
      this.#begin(pending)
      return
    }
    const reason = reaction.kind === 'retry' ? 'it asks again and again' : reaction.reason
    // Also where it was the nonce: the same is to be done, to begin anew with new credentials.
    this.#settle(pending, { ...answer, code: StunError.Unauthenticated, reason, proven: false })
  }

  #measured(rtt: number): void {
    this.rtt = rtt
    this.answered?.()
  }

  #settle(pending: Pending, answer: Answer): void {
    if (this.#current !== pending) return
    pending.transaction?.cancel()
    pending.timer?.cancel()
    this.#current = undefined
    pending.request.done(answer)
    this.#next()
  }

  #schedule(fresh: boolean): RetransmissionSchedule {
    if (this.#parts.connection.transport !== 'udp') return { initial: STREAM_WAIT, factor: 1, count: 1, last: STREAM_WAIT, fresh }
    const wait = this.rtt === undefined ? FIRST_WAIT : Math.min(LONGEST_WAIT, Math.max(SHORTEST_WAIT, 2 * this.rtt))
    // Spread, so that clients that were cut off together do not march in step.
    const initial = wait * (0.9 + 0.2 * randomFraction(this.#parts.random))
    return { initial, factor: 2, count: SENDS, last: LAST_WAIT, fresh }
  }
}

/** Besides 401: pion, and what is built on it, answers 400 without integrity to a user name or password that is not, or no longer, good. */
export function refusesCredentials({ code, proven }: Answer & { readonly kind: 'error' }): boolean {
  return code === StunError.Unauthenticated || (code === StunError.BadRequest && !proven)
}

function answerOf(message: Message): Answer {
  if (message.class === 'success') return { kind: 'success', message }
  return { kind: 'error', ...(message.errorCode() ?? { code: 0, reason: 'an error without a code' }), message, proven: true }
}

function isChallenge(answer: Answer): answer is Answer & { readonly kind: 'error' } {
  return answer.kind === 'error' && (answer.code === StunError.Unauthenticated || answer.code === StunError.StaleNonce)
}
