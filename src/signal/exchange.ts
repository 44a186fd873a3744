/**
 * Keeps signals straight on a channel that may lose, repeat, reorder or delay them by any time: which one is news, which incarnation of
 * the peer is speaking, and whether the peer has heard our last word.
 */
import type { Random } from '../net/index.ts'
import { SIGNAL_VERSION, type Signal } from './signal.ts'

/** What the sender fills in itself. */
export type SignalContent = Omit<Signal, 'v' | 'id' | 'to' | 'seq' | 'ack' | 'ask' | 'list'>

export interface Reception {
  /** It says something that no earlier signal said. */
  readonly news: boolean
  /** The first one of another incarnation: the peer started anew, and what the last one said is over. */
  readonly incarnation: boolean
  /** The sender wants to know that it arrived. */
  readonly answer: boolean
}

/** Incarnations of the peer that are remembered, so that a late signal of one does not revive it. */
const MAX_RETIRED = 16

export class SignalExchange {
  readonly id: string
  #seq = 0
  #acknowledged = 0
  #peer: string | undefined
  #peerSeq = 0
  #mistaken = false
  #retired: Map<string, number> | undefined
  /** User fragments of another ICE agent, which has no incarnations: all that it had, the present one last. */
  #ufrags: Set<string> | undefined

  constructor(random: Random) {
    this.id = [...random.bytes(8)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  }

  /** The peer has seen our last change, as far as we know. */
  get heard(): boolean {
    return this.#acknowledged >= this.#seq
  }

  /** The last change of ours that the peer has seen. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  /** The peer speaks to another incarnation than this one: a late signal of an earlier one made it believe that we are gone. */
  get mistaken(): boolean {
    return this.#mistaken
  }

  /** @param change whether `content` says more than the last signal did */
  compose(content: SignalContent & Pick<Signal, 'list'>, change: boolean): Signal {
    if (change) {
      this.#seq++
      this.#mistaken = false
    }
    const known = this.#peer === undefined ? {} : { to: this.#peer, ack: this.#peerSeq }
    const signal: Signal = { v: SIGNAL_VERSION, id: this.id, seq: this.#seq, ...known, ...content }
    return this.heard ? signal : { ...signal, ask: true }
  }

  receive(signal: Signal): Reception {
    if (signal.id === undefined) return { news: this.#isPresent(signal.ufrag), incarnation: false, answer: false }
    const { id, seq = 0 } = signal
    // No more than was ever said, and to this incarnation: the number comes from outside.
    const ack = signal.to === this.id ? Math.min(signal.ack ?? 0, this.#seq) : 0
    const answer = signal.ask === true
    if (id !== this.#peer) {
      // A late word of an earlier incarnation says nothing. But if it is alive after all, our answer, which goes to another one, tells it
      // that it has to say something new.
      if (seq <= (this.#retired?.get(id) ?? -1)) return { news: false, incarnation: false, answer }
      // The end of an incarnation that is not the present one ends nothing.
      if (signal.bye === true) {
        this.#retire(id, seq)
        return { news: false, incarnation: false, answer: false }
      }
      const incarnation = this.#peer !== undefined
      if (this.#peer !== undefined) this.#retire(this.#peer, this.#peerSeq)
      this.#retired?.delete(id)
      this.#peer = id
      this.#peerSeq = seq
      this.#acknowledged = ack
      this.#mistaken = this.#isMistaken(signal)
      return { news: true, incarnation, answer }
    }
    this.#acknowledged = Math.max(this.#acknowledged, ack)
    const news = seq > this.#peerSeq
    if (seq >= this.#peerSeq) this.#mistaken = this.#isMistaken(signal)
    if (news) this.#peerSeq = seq
    return { news, incarnation: false, answer }
  }

  /** A late candidate of a generation that is over names the user fragment of that one (RFC 8838 11). */
  #isPresent(ufrag: string): boolean {
    const ufrags = this.#ufrags ?? new Set<string>()
    if (ufrags.has(ufrag)) return [...ufrags].at(-1) === ufrag
    this.#ufrags = ufrags.add(ufrag)
    for (const oldest of ufrags) {
      if (ufrags.size <= MAX_RETIRED) break
      ufrags.delete(oldest)
    }
    return true
  }

  #isMistaken({ to }: Signal): boolean {
    return to !== undefined && to !== this.id
  }

  #retire(id: string, seq: number): void {
    const retired = this.#retired ?? new Map<string, number>()
    this.#retired = retired.set(id, seq)
    for (const oldest of retired.keys()) {
      if (retired.size <= MAX_RETIRED) break
      retired.delete(oldest)
    }
  }
}
