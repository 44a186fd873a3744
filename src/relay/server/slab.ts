/** Memory for datagrams on their way out, cut from larger pieces: a piece of its own for each costs more than all that is done with it. */

const SIZE = 256 * 1024

export class Slab {
  #piece = new Uint8Array(0)
  #at = 0

  /** Fresh memory, with what was never anybody's in it: zeros. */
  take(length: number): Uint8Array {
    if (length > SIZE >>> 2) return new Uint8Array(length)
    let start = this.#at
    if (start + length > this.#piece.length) {
      this.#piece = new Uint8Array(SIZE)
      start = 0
    }
    // Whole words: what is copied to them is copied faster.
    this.#at = (start + length + 7) & ~7
    return this.#piece.subarray(start, start + length)
  }
}
