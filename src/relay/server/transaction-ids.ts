/** Transaction ids of indications. Nobody answers those, so that they need to be different and not to be foreseen by nobody (RFC 8489 5). */
import type { Random } from '../../net/index.ts'

export class TransactionIds {
  readonly #id: Uint8Array

  constructor(random: Random) {
    this.#id = random.bytes(12)
  }

  /** Overwritten by the next one. */
  next(): Uint8Array {
    const id = this.#id
    for (let i = 11; i >= 4; i--) {
      const byte = ((id[i] as number) + 1) & 0xff
      id[i] = byte
      if (byte !== 0) break
    }
    return id
  }
}
