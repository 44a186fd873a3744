/** The system's generator, read in blocks: a transaction id is 12 bytes and a call for each of them costs more than the bytes. */
import { randomFillSync } from 'node:crypto'
import type { Random } from '../random.ts'

const BLOCK = 1024

export function nodeRandom(): Random {
  return new NodeRandom()
}

class NodeRandom implements Random {
  readonly #block = new Uint8Array(BLOCK)
  #used = BLOCK

  bytes(length: number): Uint8Array {
    if (length > BLOCK / 4) return randomFillSync(new Uint8Array(length))
    if (this.#used + length > BLOCK) {
      randomFillSync(this.#block)
      this.#used = 0
    }
    const given = this.#block.slice(this.#used, this.#used + length)
    // What was given may have become a key: keep no second copy.
    this.#block.fill(0, this.#used, this.#used + length)
    this.#used += length
    return given
  }
}
