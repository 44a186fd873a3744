/** Memory for datagrams on their way out, cut from larger pieces: a piece of its own for each costs more than all that is done with it. */

const SIZE = 256 * 1024

export class Slab {
  readonly #size: number
  #piece = new Uint8Array(0)
  #at = 0

  /** @param size bytes of a piece, which lives as long as anything that was cut from it; 256 KiB by default */
  constructor(size: number = SIZE) {
    this.#size = size
  }

  /** Fresh memory, with what was never anybody's in it: zeros. */
  take(length: number): Uint8Array {
    if (length > this.#size >>> 2) return new Uint8Array(length)
    let start = this.#at
    if (start + length > this.#piece.length) {
      this.#piece = new Uint8Array(this.#size)
      start = 0
    }
    // Whole words: what is copied to them is copied faster.
    this.#at = (start + length + 7) & ~7
    return this.#piece.subarray(start, start + length)
  }
}
