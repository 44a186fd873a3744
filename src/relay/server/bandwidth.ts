/** Limits of bytes a second: a token bucket that holds one second's worth. */

export class Bandwidth {
  readonly #bytesPerSecond: number
  #left: number
  #at: number

  /** @param now milliseconds on the clock that `take` will be asked with */
  constructor(bytesPerSecond: number, now: number) {
    this.#bytesPerSecond = bytesPerSecond
    this.#left = bytesPerSecond
    this.#at = now
  }

  /** False when that is too much now; nothing is taken then. A datagram larger than a second's worth passes when the bucket is full. */
  take(bytes: number, now: number): boolean {
    const full = this.#bytesPerSecond
    this.#left = Math.min(full, this.#left + ((now - this.#at) * full) / 1000)
    this.#at = now
    if (bytes > this.#left && this.#left < full) return false
    this.#left -= bytes
    return true
  }

  /** Gives back what was not used after all. */
  refund(bytes: number): void {
    this.#left += bytes
  }
}
