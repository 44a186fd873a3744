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
const ANSWER = 50

export interface SignallerOutlet {
  /** What there is to say now; undefined for nothing. */
  describe(): SignalContent | undefined
  /** Returns false when nobody listened: it is said again to the first who does. */
  emit(signal: Signal): boolean
  /** There is a path: what is unheard is not urgent any more. */
  settled(): boolean
}

export class Signaller {
  readonly #timers: Timers
  readonly #random: Random
  readonly #outlet: SignallerOutlet
  #exchange: SignalExchange
  /** The content of the last signal; empty before the first. */
  #said = ''
  #unheard = false
  #announcing = false
  #answering: Timer | undefined
  #repeating: Timer | undefined
  #again = AGAIN

  constructor(timers: Timers, random: Random, outlet: SignallerOutlet) {
    this.#timers = timers
    this.#random = random
    this.#outlet = outlet
    this.#exchange = new SignalExchange(random)
  }

  receive(signal: Signal): Reception {
    const reception = this.#exchange.receive(signal)
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

  /** A new attempt: repeats start from the shortest wait. */
  hurry(): void {
    this.#again = AGAIN
    this.announce()
  }

  listened(): void {
    if (this.#unheard) this.announce()
  }

  /** The last word to this peer, if there was a first one. What comes after it is another incarnation. */
  farewell(): void {
    const content = this.#said === '' ? undefined : this.#outlet.describe()
    const exchange = this.#exchange
    this.stop()
    this.#exchange = new SignalExchange(this.#random)
    this.#said = ''
    // Last: whoever hears it may close the session once more.
    if (content !== undefined) this.#outlet.emit(exchange.compose({ ...content, candidates: [], bye: true }, true))
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
    const text = JSON.stringify(content)
    const signal = this.#exchange.compose(content, text !== this.#said || mistaken)
    this.#said = text
    this.#repeating?.cancel()
    this.#repeating = this.#timers.after(this.#again, () => this.#repeat())
    // Last: whoever hears it may close the session, and then nothing may be set any more.
    this.#unheard = !this.#outlet.emit(signal)
  }

  #repeat(): void {
    this.#repeating = undefined
    const { heard, mistaken } = this.#exchange
    if ((heard || this.#outlet.settled()) && !mistaken) return
    this.#again = Math.min(this.#again * 2, AGAIN_MOST)
    this.#say(mistaken)
  }
}
