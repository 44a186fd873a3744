/**
 * Server-reflexive addresses (RFC 8445 5.1.1.2): every base asks every server of its family at once, and goes on asking so that the NAT
 * keeps the mapping (5.1.1.4) and a changed one is noticed. A server that does not answer delays nothing else.
 */
import type { Address, Pacer, Random, SendFailure, Timer, Timers } from '../net/index.ts'
import { randomFraction } from '../net/index.ts'
import {
  Attribute,
  type Message,
  MessageWriter,
  Method,
  type RetransmissionSchedule,
  type Transaction,
  type Transactions,
} from '../stun/index.ts'
import type { Base } from './candidate.ts'

/**
 * Milliseconds until a question is asked anew, as a transaction of its own, while it has no answer: RFC 8445 14.3 puts 500 ms under a
 * retransmission timer, and one lost packet should not cost that much. Every request waits for its slot of the pace. Twelve within 7 s;
 * where three in five round trips fail, two servers leave 1 in 200 clients without an answer to the first five.
 */
const REQUEST_INTERVALS: readonly number[] = [50, 50, 75, 100, 100, 150, 200, 400, 800, 1_600, 3_200]
/** After the last request. */
const LAST_WAIT = 1_500
/** Each by itself: sent once, and waited for as long as the whole question takes, or longer where the pace is slow. */
const ONCE: RetransmissionSchedule = { initial: 10_000, factor: 1, count: 1, last: 10_000, fresh: true }
/** Milliseconds between requests that keep a mapping; NATs as short as 30 s are in use, RFC 8445 11 allows 15 s and more. */
const KEEP_ALIVE = 20_000
/** Milliseconds between questions that doubts bring about, at least. */
const DOUBT_INTERVAL = 5_000
/** Milliseconds before a server that did not answer is asked again, doubling. */
const RETRY_FIRST = 5_000
const RETRY_MOST = 300_000

export interface ReflexiveServer {
  /** As configured; for reports. */
  readonly uri: string
  readonly address: Address
}

/** What one server says of one base. */
export interface ReflexiveBinding {
  readonly base: Base
  readonly server: ReflexiveServer
  /** The last mapped address; undefined until there was an answer. */
  readonly mapped: Address | undefined
  /** Milliseconds of the last round trip. */
  readonly rtt: number | undefined
  /** Why there is no answer now, in words. */
  readonly failure: string | undefined
  /** The first question is still open. */
  readonly pending: boolean
  /** Where the server can answer from, too (RFC 5780 7.4); undefined for most. */
  readonly other: Address | undefined
}

export interface ReflexiveOutlet {
  send(base: Base, to: Address, data: Uint8Array): void
  /** An answer, a changed mapping, a failure: what `binding` says is new. */
  changed(binding: ReflexiveBinding): void
}

/** Requests on their way, any of which may bring the answer. */
interface Question {
  sends: number
  readonly open: Transaction[]
}

interface Asking {
  base: Base
  server: ReflexiveServer
  mapped: Address | undefined
  rtt: number | undefined
  failure: string | undefined
  pending: boolean
  other: Address | undefined
  retryAfter: number
  question: Question | undefined
  /** Until the next request, of this question or of the next one. */
  timer: Timer | undefined
  /** When a doubt made us ask last. */
  doubtedAt: number
}

export class ReflexiveGatherer {
  readonly #timers: Timers
  readonly #random: Random
  readonly #transactions: Transactions
  readonly #pacer: Pacer
  readonly #outlet: ReflexiveOutlet
  readonly #writer = new MessageWriter(256)
  readonly #bases = new Set<Base>()
  readonly #servers = new Map<string, ReflexiveServer>()
  readonly #asking = new Map<string, Asking>()
  readonly #queue = new Set<Asking>()

  constructor(parts: { timers: Timers; random: Random; transactions: Transactions; pacer: Pacer; outlet: ReflexiveOutlet }) {
    this.#timers = parts.timers
    this.#random = parts.random
    this.#transactions = parts.transactions
    this.#pacer = parts.pacer
    this.#outlet = parts.outlet
  }

  /** Everything asked so far, in the order of asking. */
  get bindings(): readonly ReflexiveBinding[] {
    return [...this.#asking.values()]
  }

  /** Milliseconds; undefined while no server has answered. */
  get shortestRtt(): number | undefined {
    let shortest: number | undefined
    for (const { rtt } of this.#asking.values()) if (rtt !== undefined && rtt < (shortest ?? Number.POSITIVE_INFINITY)) shortest = rtt
    return shortest
  }

  get pending(): boolean {
    for (const asking of this.#asking.values()) if (asking.pending) return true
    return false
  }

  addBase(base: Base): void {
    this.#bases.add(base)
    for (const server of this.#servers.values()) this.#ask(base, server)
  }

  removeBase(base: Base): void {
    this.#bases.delete(base)
    for (const [key, asking] of this.#asking) {
      if (asking.base !== base) continue
      this.#stop(asking)
      this.#asking.delete(key)
    }
  }

  addServer(server: ReflexiveServer): void {
    if (this.#servers.has(server.address.key)) return
    this.#servers.set(server.address.key, server)
    for (const base of this.#bases) this.#ask(base, server)
  }

  /** The system refused a request: no route, forbidden. Nothing to wait for (RFC 8489 6.2.1 stops on hard errors). */
  sendFailed(base: Base, to: Address, failure: SendFailure): void {
    const asking = this.#asking.get(keyOf(base, to))
    if (asking?.question !== undefined) this.#failed(asking, failure)
  }

  /** Asks everything again now: the network changed. */
  refresh(): void {
    for (const asking of this.#asking.values()) {
      this.#stop(asking)
      this.#enqueue(asking)
    }
  }

  /** What is sent from there seems to get nowhere: the NAT may have forgotten the mapping. Asks again, now or soon after the last doubt. */
  verify(base: Base): void {
    const now = this.#timers.now()
    for (const asking of this.#asking.values()) {
      if (asking.base !== base || asking.question !== undefined || this.#queue.has(asking) || now < asking.doubtedAt) continue
      const at = Math.max(now, asking.doubtedAt + DOUBT_INTERVAL)
      asking.doubtedAt = at
      asking.timer?.cancel()
      if (at > now) asking.timer = this.#timers.after(at - now, () => this.#enqueue(asking))
      else {
        this.#stop(asking)
        this.#enqueue(asking)
      }
    }
  }

  close(): void {
    for (const asking of this.#asking.values()) this.#stop(asking)
    this.#asking.clear()
    this.#bases.clear()
    this.#pacer.withdraw(this)
  }

  /** @internal for the pacer */
  paced(): boolean {
    for (const asking of this.#queue) {
      this.#queue.delete(asking)
      this.#start(asking)
      for (const next of this.#queue) {
        this.#pacer.request(this, next.pending)
        break
      }
      return true
    }
    return false
  }

  #ask(base: Base, server: ReflexiveServer): void {
    const key = keyOf(base, server.address)
    if (base.address.family !== server.address.family || this.#asking.has(key)) return
    // A loopback socket reaches loopback servers only, and there is no NAT between the two; the same the other way round (RFC 8445 5.1.1.1).
    if ((base.address.scope === 'loopback') !== (server.address.scope === 'loopback') && base.address.scope !== 'unspecified') return
    if (base.address.scope === 'link-local') return
    const asking: Asking = {
      base,
      server,
      mapped: undefined,
      rtt: undefined,
      failure: undefined,
      pending: true,
      other: undefined,
      retryAfter: RETRY_FIRST,
      question: undefined,
      timer: undefined,
      doubtedAt: Number.NEGATIVE_INFINITY,
    }
    this.#asking.set(key, asking)
    this.#enqueue(asking)
  }

  #enqueue(asking: Asking): void {
    this.#queue.add(asking)
    // Ahead of ordinary checks: a candidate that comes late costs every session what it costs this queue.
    this.#pacer.request(this, asking.pending)
  }

  #start(asking: Asking): void {
    const { base, server } = asking
    const question = asking.question ?? { sends: 0, open: [] }
    asking.question = question
    const wait = REQUEST_INTERVALS[question.sends++]
    // Before sending: on a network that answers at once, the question is over when `start` returns.
    asking.timer =
      wait === undefined
        ? this.#timers.after(LAST_WAIT, () => this.#failed(asking, 'no answer'))
        : this.#timers.after(wait, () => this.#enqueue(asking))
    const transaction = this.#transactions.start({
      build: (id) => this.#writer.start('request', Method.Binding, id).fingerprint().finish().slice(),
      send: (data) => this.#outlet.send(base, server.address, data),
      schedule: ONCE,
      accept: (message, from) => message.method === Method.Binding && from.key === server.address.key,
      done: (outcome) => {
        if (outcome.kind === 'response') this.#answered(asking, outcome.message, outcome.rtt)
      },
    })
    if (asking.question === question) question.open.push(transaction)
    else transaction.cancel()
  }

  #answered(asking: Asking, message: Message, rtt: number): void {
    const mapped =
      message.class === 'success' ? (message.address(Attribute.XorMappedAddress) ?? message.address(Attribute.MappedAddress)) : undefined
    if (mapped === undefined || mapped.port === 0 || mapped.family !== asking.server.address.family) {
      const error = message.errorCode()
      this.#failed(asking, error === undefined ? 'answer without an address' : `error ${error.code} ${error.reason}`)
      return
    }
    const news = asking.mapped?.key !== mapped.key || asking.pending || asking.failure !== undefined
    this.#stop(asking)
    asking.mapped = mapped
    asking.other = message.address(Attribute.OtherAddress)
    asking.rtt = rtt
    asking.failure = undefined
    asking.pending = false
    asking.retryAfter = RETRY_FIRST
    this.#again(asking, KEEP_ALIVE)
    if (news) this.#outlet.changed(asking)
  }

  #failed(asking: Asking, failure: string): void {
    this.#stop(asking)
    asking.failure = failure
    asking.pending = false
    this.#again(asking, asking.retryAfter)
    asking.retryAfter = Math.min(asking.retryAfter * 2, RETRY_MOST)
    this.#outlet.changed(asking)
  }

  #again(asking: Asking, delay: number): void {
    // Spread over a fifth, so that the clients of one server do not march in step.
    asking.timer = this.#timers.after(delay * (0.9 + 0.2 * randomFraction(this.#random)), () => this.#enqueue(asking))
  }

  #stop(asking: Asking): void {
    for (const transaction of asking.question?.open ?? []) transaction.cancel()
    asking.question = undefined
    asking.timer?.cancel()
    asking.timer = undefined
    this.#queue.delete(asking)
  }
}

function keyOf(base: Base, server: Address): string {
  return `${base.id} ${server.key}`
}
