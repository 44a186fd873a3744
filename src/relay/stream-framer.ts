/**
 * Cuts a TCP or TLS stream into STUN messages and ChannelData (RFC 8656 3.1 and 12.5, RFC 8489 6.2.2). A frame that lies within one chunk is
 * a view of it; only one that is split is put together, in memory that grows with what has come, not with what a header promises.
 */
import { CHANNEL_HEADER_LENGTH, LAST_CHANNEL } from './channel-data.ts'

/** Both kinds tell their length in the first four bytes. */
const LENGTH_KNOWN = 4
const STUN_HEADER_LENGTH = 20
/** The longest of either kind: ChannelData with its padding. */
const LONGEST = CHANNEL_HEADER_LENGTH + 0x10000
const FIRST_ROOM = 256

export interface FramerLimits {
  /** Bytes of a frame, above which the stream is given up; the longest that the formats allow by default. */
  readonly longest?: number
  /** The highest channel that the other side may use; that of RFC 8656 by default. */
  readonly lastChannel?: number
}

export class StreamFramer {
  readonly #frame: (data: Uint8Array) => void
  readonly #longest: number
  /** The highest first byte of a frame. */
  readonly #lastFirst: number
  /** The beginning of a frame whose end has not come. */
  #partial: Uint8Array = new Uint8Array(0)
  #filled = 0
  #over = false

  /**
   * @param frame gets each STUN message, or ChannelData without its padding; the memory is the receiver's
   */
  constructor(frame: (data: Uint8Array) => void, { longest = LONGEST, lastChannel = LAST_CHANNEL }: FramerLimits = {}) {
    this.#frame = frame
    this.#longest = longest
    this.#lastFirst = lastChannel >> 8
  }

  /** Bytes of a frame that has begun and not ended. */
  get pending(): number {
    return this.#filled
  }

  /**
   * What came next; the memory is the framer's from here on. False when it is neither of the two kinds, or too long: there is no finding
   * the next frame then, so the stream has to be closed.
   */
  push(chunk: Uint8Array): boolean {
    let at = this.#filled === 0 ? 0 : this.#complete(chunk)
    while (!this.#over && at < chunk.length) {
      const left = chunk.length - at
      if (left < LENGTH_KNOWN) {
        if ((chunk[at] as number) > this.#lastFirst) this.close()
        break
      }
      const size = this.#sizeOf(chunk, at)
      if (size === 0 || size > this.#longest) this.close()
      else if (size > left) break
      else {
        this.#deliver(chunk, at, size)
        at += size
      }
    }
    if (this.#over) return false
    if (at < chunk.length) this.#keep(chunk.subarray(at))
    return true
  }

  /** Nothing is delivered any more, also in the middle of a chunk. */
  close(): void {
    this.#over = true
    this.#partial = new Uint8Array(0)
    this.#filled = 0
  }

  /** Takes what the partial frame lacks, and returns how much of the chunk that was. */
  #complete(chunk: Uint8Array): number {
    let at = 0
    if (this.#filled < LENGTH_KNOWN) {
      at = Math.min(LENGTH_KNOWN - this.#filled, chunk.length)
      this.#keep(chunk.subarray(0, at))
      if (this.#filled < LENGTH_KNOWN) return at
    }
    const size = this.#sizeOf(this.#partial, 0)
    if (size === 0 || size > this.#longest) {
      this.close()
      return at
    }
    const end = Math.min(at + size - this.#filled, chunk.length)
    this.#keep(chunk.subarray(at, end))
    if (this.#filled === size) {
      const whole = this.#partial
      this.#partial = new Uint8Array(0)
      this.#filled = 0
      this.#deliver(whole, 0, size)
    }
    return end
  }

  /** Bytes of the frame with its padding; 0 when it is none. */
  #sizeOf(data: Uint8Array, at: number): number {
    const first = data[at] as number
    const length = uint16(data, at + 2)
    if (first > this.#lastFirst) return 0
    if (first >= 0x40) return (CHANNEL_HEADER_LENGTH + length + 3) & ~3
    // RFC 8489 5: the top two bits are zero, and the length counts whole words.
    return (length & 3) === 0 ? STUN_HEADER_LENGTH + length : 0
  }

  #keep(bytes: Uint8Array): void {
    const needed = this.#filled + bytes.length
    if (needed > this.#partial.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.#partial.length, FIRST_ROOM))
      larger.set(this.#partial.subarray(0, this.#filled))
      this.#partial = larger
    }
    this.#partial.set(bytes, this.#filled)
    this.#filled = needed
  }

  #deliver(data: Uint8Array, at: number, size: number): void {
    const unpadded = ((data[at] as number) & 0xc0) === 0x40 ? CHANNEL_HEADER_LENGTH + uint16(data, at + 2) : size
    this.#frame(data.subarray(at, at + unpadded))
  }
}

function uint16(data: Uint8Array, at: number): number {
  return ((data[at] as number) << 8) | (data[at + 1] as number)
}
