// @ts-check
/** xorshift128: chance that a seed repeats, cheap enough for millions of draws a second. */
export class Random {
  #a
  #b = 362_436_069
  #c = 521_288_629
  #d = 88_675_123

  /** @param {number} seed */
  constructor(seed) {
    this.#a = (seed ^ 0x9e37_79b9) | 0 || 1
    for (let i = 0; i < 16; i++) this.uint32()
  }

  uint32() {
    const t = this.#a ^ (this.#a << 11)
    this.#a = this.#b
    this.#b = this.#c
    this.#c = this.#d
    this.#d = this.#d ^ (this.#d >>> 19) ^ t ^ (t >>> 8)
    return this.#d >>> 0
  }

  /** An integer in [0, limit). @param {number} limit */
  below(limit) {
    return this.uint32() % limit
  }

  /** @template T @param {readonly T[]} choices @returns {T} */
  of(choices) {
    return /** @type {T} */ (choices[this.below(choices.length)])
  }
}
