/**
 * What a cable or a radio does to packets: delay, jitter, loss (even or in bursts), reordering, duplication, an MTU, a rate.
 * One link joins one interface to a network; its two directions have separate states.
 */
import type { DropReason } from './packet.ts'
import type { SeededRandom } from './random.ts'

/** Loss in bursts: two states with a loss of their own (Gilbert 1960, Elliott 1963). Probabilities are per packet. */
export interface BurstLoss {
  /** Probability of going from the good state to the bad one. */
  readonly enter: number
  /** Probability of going back. The mean burst is 1 / leave packets long. */
  readonly leave: number
  /** Loss in the good state; default 0. */
  readonly good?: number
  /** Loss in the bad state; default 1. */
  readonly bad?: number
}

export interface LinkOptions {
  /** Milliseconds one way. */
  readonly delay?: number
  /** Up to so many milliseconds more, evenly spread; keeps the order. Default 0. */
  readonly jitter?: number
  /** Share of packets lost, 0 to 1, or bursts. 1 cuts the link. Default 0. */
  readonly loss?: number | BurstLoss
  /** Share of packets that are held back so that later ones overtake them. Default 0. */
  readonly reorder?: number
  /** Milliseconds such a packet is held back; default 10. */
  readonly reorderDelay?: number
  /** Share of packets that arrive twice. Default 0. */
  readonly duplicate?: number
  /** Longest IP packet in bytes; longer ones are dropped without a word. Default: no limit. */
  readonly mtu?: number
  /** Kilobits per second; packets wait for their turn. Default: no limit. */
  readonly rate?: number
  /** Longest wait for a turn in milliseconds before packets are dropped; default 200. Only with `rate`. */
  readonly queue?: number
}

type Complete = Required<LinkOptions>

const DEFAULTS: Complete = {
  delay: 0,
  jitter: 0,
  loss: 0,
  reorder: 0,
  reorderDelay: 10,
  duplicate: 0,
  mtu: Number.POSITIVE_INFINITY,
  rate: Number.POSITIVE_INFINITY,
  queue: 200,
}

export class Link {
  /** From the interface to the network. */
  readonly up: Lane
  readonly down: Lane
  #options: Complete

  /** Each direction has chance of its own: traffic one way does not change what happens the other way. */
  constructor(options: LinkOptions, up: SeededRandom, down: SeededRandom) {
    this.#options = complete(options, DEFAULTS)
    this.up = new Lane(this, up)
    this.down = new Lane(this, down)
  }

  get options(): Readonly<Complete> {
    return this.#options
  }

  /** Changes the given properties from now on; what is under way arrives as it would have. @throws RangeError */
  set(options: LinkOptions): void {
    this.#options = complete(options, this.#options)
  }
}

/** One direction of a link. */
export class Lane {
  readonly #link: Link
  readonly #random: SeededRandom
  #bad = false
  /** When the last packet in order comes out. */
  #last = 0
  /** When the last bit of the queue has gone in. */
  #free = 0

  constructor(link: Link, random: SeededRandom) {
    this.#link = link
    this.#random = random
  }

  /** Whether what happens to a packet depends on when exactly those before it came. */
  get ordered(): boolean {
    const { jitter, rate } = this.#link.options
    return jitter > 0 || rate !== Number.POSITIVE_INFINITY
  }

  /** When a packet that goes in at `at` comes out, or why it does not. */
  pass(at: number, bytes: number): number | DropReason {
    const options = this.#link.options
    if (bytes > options.mtu) return 'mtu'
    if (this.#loses(options.loss)) return 'loss'
    let out = at
    if (options.rate !== Number.POSITIVE_INFINITY) {
      const begin = Math.max(at, this.#free)
      if (begin - at > options.queue) return 'queue'
      this.#free = begin + (bytes * 8) / options.rate
      out = this.#free
    }
    out += options.delay
    // A held-back packet does not move the mark: it is the one that later ones may overtake.
    if (this.#random.chance(options.reorder)) return out + options.reorderDelay
    if (options.jitter > 0) {
      out += this.#random.fraction() * options.jitter
      if (out < this.#last) out = this.#last
    }
    if (out > this.#last) this.#last = out
    return out
  }

  /** Whether the packet that passes now does so twice. */
  doubles(): boolean {
    return this.#random.chance(this.#link.options.duplicate)
  }

  #loses(loss: number | BurstLoss): boolean {
    if (typeof loss === 'number') return this.#random.chance(loss)
    if (this.#random.chance(this.#bad ? loss.leave : loss.enter)) this.#bad = !this.#bad
    return this.#random.chance(this.#bad ? (loss.bad ?? 1) : (loss.good ?? 0))
  }
}

function complete(options: LinkOptions, base: Complete): Complete {
  const result = { ...base }
  for (const [name, value] of Object.entries(options)) if (value !== undefined) Object.assign(result, { [name]: value })
  for (const name of ['delay', 'jitter', 'reorderDelay', 'mtu', 'rate', 'queue'] as const) {
    if (!(result[name] >= 0)) throw new RangeError(`link: ${name} must not be negative: ${result[name]}`)
  }
  if (result.rate === 0) throw new RangeError('link: rate must be more than 0; a loss of 1 cuts a link')
  const { loss } = result
  const shares = typeof loss === 'number' ? { loss } : { ...loss }
  for (const [name, share] of Object.entries({ ...shares, reorder: result.reorder, duplicate: result.duplicate })) {
    if (!(share >= 0 && share <= 1)) throw new RangeError(`link: ${name} must be between 0 and 1: ${share}`)
  }
  return result
}
