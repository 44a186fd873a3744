/**
 * Decides when a signal is due: at once when something changed, after a moment when the peer only wants to know that it was heard, and
 * again for as long as the peer may not have heard our last change. Over `exchange.ts`, which decides what is news.
 */
import type { Random, Timer, Timers } from '../net/index.ts'
import { type Reception, type SignalContent, SignalExchange } from './exchange.ts'
import type { Signal } from './signal.ts'

/** Milliseconds until an unheard signal is given again, doubling; people with clipboards are left in peace after a while. */
const AGAIN = 1_000
const AGAIN_MOST = 30_000
/** An answer that carries no news waits this long for company. */
const ANSWER = 10
/** Milliseconds by which the estimate of when the peer sends may be off beyond what our check takes to get there. */
const TOLERANCE = 5
/** A peer this near, in milliseconds, may be reached before it has sent, whatever the estimate. */
const NEAR = 10
/** Signals whose time is remembered until the peer has heard them. */
const MAX_TIMED = 32

const MAX_PAST = 16

export interface SignallerOutlet {
  /** What there is to say now; undefined for nothing. */
  describe(): SignalContent | undefined
  /** Returns false when nobody listened: it is said again to the first who does. */
  giveSignal(signal: Signal): boolean
  /** There is a path: what is unheard is not urgent any more. */
  settled(): boolean
}

export class Signaller {
  readonly #timers: Timers
  readonly #random: Random
  readonly #outlet: SignallerOutlet
  #exchange: SignalExchange
  /** Incarnations of ours that are over. */
  readonly #past: string[] = []
  /** The content of the last signal. */
  #said: SignalContent | undefined
  #unheard = false
  #announcing = false
  #answering: Timer | undefined
  #repeating: Timer | undefined
  #again = AGAIN
  /** When each change was said first. */
  #saidAt: Map<number, number> | undefined
  #listed: readonly string[] | undefined
  #list = 0
  #listSaidAt = Number.POSITIVE_INFINITY
  /** The version of our list that the peer has sent checks to, and since when we know. */
  #tried = 0
  #triedAt = Number.NEGATIVE_INFINITY
  /** Milliseconds for a signal and its answer, at best. */
  #rtt = Number.POSITIVE_INFINITY

  constructor(timers: Timers, random: Random, outlet: SignallerOutlet) {
    this.#timers = timers
    this.#random = random
    this.#outlet = outlet
    this.#exchange = new SignalExchange(random)
  }

  /** Said by this side itself, now or before: what a channel gives back that reaches everybody. */
  isOwn({ id }: Signal): boolean {
    return id !== undefined && (id === this.#exchange.id || this.#past.includes(id))
  }

  receive(signal: Signal): Reception {
    const reception = this.#exchange.receive(signal)
    if (reception.incarnation) this.#sayListAnew()
    this.#learn(signal)
    if (reception.answer) this.#answering ??= this.#timers.after(ANSWER, () => this.#say())
    // Not at once: most often our next signal is on its way to it already.
    if (this.#exchange.mistaken) this.#repeating ??= this.#timers.after(AGAIN, () => this.#repeat())
    return reception
  }

  /** One signal for all that changes in this turn, after the caller had the chance to listen. */
  announce(): void {
    if (this.#announcing) return
    this.#announcing = true
    queueMicrotask(() => {
      if (this.#announcing) this.#say()
    })
  }

  /** A new attempt: repeats start from the shortest wait, and what the peer tried for the last one counts no more. */
  hurry(): void {
    this.#sayListAnew()
    this.#again = AGAIN
    this.announce()
  }

  listened(): void {
    if (this.#unheard) this.announce()
  }

  /** The last word to this peer, if there was a first one. What comes after it is another incarnation. */
  farewell(): void {
    const content = this.#said === undefined ? undefined : this.#outlet.describe()
    const exchange = this.#exchange
    this.stop()
    this.#past.push(exchange.id)
    if (this.#past.length > MAX_PAST) this.#past.shift()
    this.#exchange = new SignalExchange(this.#random)
    this.#said = undefined
    this.#saidAt = undefined
    this.#sayListAnew()
    this.#list = 0
    // Last: whoever hears it may close the session once more.
    if (content !== undefined) this.#outlet.giveSignal(exchange.compose({ ...content, candidates: [], bye: true }, true))
  }

  stop(): void {
    this.#answering?.cancel()
    this.#repeating?.cancel()
    this.#answering = this.#repeating = undefined
    this.#announcing = false
  }

  /** @param mistaken the peer takes us for an earlier incarnation: only something new makes it listen again */
  #say(mistaken = false): void {
    this.#announcing = false
    this.#answering?.cancel()
    this.#answering = undefined
    const content = this.#outlet.describe()
    if (content === undefined) return
    const change = mistaken || this.#said === undefined || !saysTheSame(content, this.#said)
    const signal = this.#exchange.compose({ ...content, list: this.#listOf(content) }, change)
    this.#said = content
    // Said again after it was heard, it would be timed from now and seem to be answered at once.
    if (!this.#exchange.heard) this.#time(signal.seq ?? 0)
    this.#repeating?.cancel()
    this.#repeating = this.#timers.after(this.#again, () => this.#repeat())
    // Last: whoever hears it may close the session, and then nothing may be set any more.
    this.#unheard = !this.#outlet.giveSignal(signal)
  }

  /**
   * When the peer will have sent to all that we offer, for a peer that is `distance` milliseconds away: because it says so, or by the time
   * that signals take. Infinity while neither tells.
   */
  sendsFrom(distance: number): number {
    if (this.#list > 0 && this.#tried >= this.#list) return this.#triedAt
    // Through a server both ways take the same time. A channel may be otherwise, and then the estimate is off by half a round trip at worst;
    // half of that has to be made up by the time that our check takes to get there.
    const oneWay = this.#rtt / 2
    return distance >= NEAR && oneWay / 2 <= distance + TOLERANCE ? this.#listSaidAt + oneWay : Number.POSITIVE_INFINITY
  }

  /** The next signal counts as a new list, which the peer has to try anew: its NAT has forgotten the last attempt, or it is another peer. */
  #sayListAnew(): void {
    this.#listed = undefined
    this.#tried = 0
    this.#listSaidAt = Number.POSITIVE_INFINITY
  }

  #time(seq: number): void {
    this.#saidAt ??= new Map()
    if (this.#saidAt.size < MAX_TIMED && !this.#saidAt.has(seq)) this.#saidAt.set(seq, this.#timers.now())
  }

  #learn({ to, tried = 0 }: Signal): void {
    const now = this.#timers.now()
    const { acknowledged } = this.#exchange
    const saidAt = this.#saidAt?.get(acknowledged)
    if (saidAt !== undefined) this.#rtt = Math.min(this.#rtt, now - saidAt)
    for (const seq of this.#saidAt?.keys() ?? []) if (seq <= acknowledged) this.#saidAt?.delete(seq)
    if (this.#saidAt?.size === 0) this.#saidAt = undefined
    if (to !== this.#exchange.id || tried <= this.#tried) return
    this.#tried = tried
    this.#triedAt = now
  }

  /** The version of the list, counted up when it changed. */
  #listOf({ candidates }: SignalContent): number {
    if (this.#listed === undefined || !sameLines(candidates, this.#listed)) {
      this.#listed = candidates
      this.#list++
      this.#listSaidAt = this.#timers.now()
    }
    return this.#list
  }

  #repeat(): void {
    this.#repeating = undefined
    const { heard, mistaken } = this.#exchange
    if ((heard || this.#outlet.settled()) && !mistaken) return
    this.#again = Math.min(this.#again * 2, AGAIN_MOST)
    this.#say(mistaken)
  }
}

function saysTheSame(a: SignalContent, b: SignalContent): boolean {
  const { candidates, ...rest } = a
  const { candidates: others, ...otherRest } = b
  const names = Object.keys(rest) as (keyof typeof rest)[]
  if (names.length !== Object.keys(otherRest).length || !names.every((name) => rest[name] === otherRest[name])) return false
  return sameLines(candidates, others)
}

function sameLines(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((line, index) => line === b[index]))
}
