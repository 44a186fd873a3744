/**
 * How much is said to who has not proved anything. Over UDP the source of such a request may be forged, and the answer is larger than the
 * request: a relay must not become what floods others with it. Two bounds, neither of which keeps anything for a stranger:
 *
 * - each source, an IPv4 address or an IPv6 /64, gets so many answers a second, in a table of fixed size;
 * - all sources together get as many bytes as have come in, but for a little.
 *
 * Whoever comes back with the nonce of the answer pays for the next stranger with it, so that honest clients are not held up by the second.
 */
import { type Address, type Random, randomUint32 } from '../../net/index.ts'

/** Sources that fall on one place share its answers: a flood from a million addresses leaves each of the others a good part. */
const PLACES = 1 << 16
/** Bytes that answers may be ahead of what came in, and bytes a second by which that is forgiven. */
const ADVANCE = 32_768
const FORGIVEN_PER_SECOND = 8192

export interface StrangersOptions {
  /** Answers; Infinity for no bound at all, of neither kind. */
  readonly perSecond: number
  readonly burst: number
}

export class Strangers {
  readonly #unbounded: boolean
  /** Milliseconds that an answer costs its source, and that a source may be ahead. */
  readonly #cost: number
  readonly #ahead: number
  /** When each place has paid for its answers: the generic cell rate algorithm of ITU-T I.371, a number for each. */
  readonly #paid: Float64Array
  readonly #seed: number
  #balance = ADVANCE
  #balancedAt = 0

  constructor(options: StrangersOptions, random: Random) {
    this.#unbounded = options.perSecond === Number.POSITIVE_INFINITY
    this.#cost = this.#unbounded ? 0 : 1000 / options.perSecond
    this.#ahead = this.#unbounded ? 0 : (options.burst - 1) * this.#cost
    this.#paid = new Float64Array(this.#unbounded ? 0 : PLACES)
    this.#seed = randomUint32(random)
  }

  /** Bytes of a request came in. */
  heard(bytes: number): void {
    this.#balance = Math.min(ADVANCE, this.#balance + bytes)
  }

  /** Whether this source may be answered now. One that may has been charged. @param now milliseconds on any one clock */
  admit(source: Address, now: number): boolean {
    if (this.#unbounded) return true
    this.#forgive(now)
    if (this.#balance <= 0) return false
    const place = this.#placeOf(source)
    const paid = Math.max(this.#paid[place] as number, now)
    // Half a thousandth of an answer for what adding up fractions may lose.
    if (paid - now > this.#ahead + this.#cost / 2000) return false
    this.#paid[place] = paid + this.#cost
    return true
  }

  /** Bytes of such an answer went out. */
  answered(bytes: number): void {
    if (!this.#unbounded) this.#balance -= bytes
  }

  #forgive(now: number): void {
    const forgiven = ((now - this.#balancedAt) * FORGIVEN_PER_SECOND) / 1000
    this.#balancedAt = now
    if (forgiven > 0) this.#balance = Math.min(ADVANCE, this.#balance + forgiven)
  }

  /** Not to be foreseen from outside, so that nobody can aim at another's place. */
  #placeOf(source: Address): number {
    const { bytes } = source
    let hash = this.#seed
    const length = source.family === 4 ? 4 : 8
    for (let i = 0; i < length; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x5bd1e995) ^ (hash >>> 13)
    hash = Math.imul(hash ^ (hash >>> 16), 0x2c1b3c6d)
    return (hash ^ (hash >>> 15)) & (PLACES - 1)
  }
}

/** The text by which sources are told apart where each is counted: an IPv4 address, or an IPv6 /64. */
export function sourceOf(address: Address): string {
  if (address.family === 4) return address.ip
  const { bytes } = address
  let text = ''
  for (let i = 0; i < 8; i += 2) text += `${(((bytes[i] as number) << 8) | (bytes[i + 1] as number)).toString(16)}:`
  return text
}
