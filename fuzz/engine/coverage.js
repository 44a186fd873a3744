// @ts-check
/**
 * What a run did, by istanbul's counters of statements, functions and branches. They are replaced by views of one array of bytes, so that
 * a run is judged in one pass; and judged as AFL does it, by how often (once, twice, 3, 4 to 7 and so on), not only by whether.
 */

/** How often as one bit. A counter that comes round to 0 counts as nothing, which is rare enough. */
const BUCKET = Uint8Array.from({ length: 256 }, (_, count) => {
  if (count === 0) return 0
  if (count < 4) return 1 << (count - 1)
  return [8, 16, 32, 128].reduce((bit, least) => (count >= least ? bit << 1 : bit), 8)
})

export class Coverage {
  #counters = new Uint8Array(0)
  #words = new Uint32Array(0)
  #seen = new Uint8Array(0)
  #total = 0

  /** Takes over the counters of every module loaded so far: call it after the last import. */
  constructor() {
    /** @type {Record<string, { s: object, f: object, b: Record<string, ArrayLike<number>> }>} */
    const files = /** @type {any} */ (globalThis).__coverage__ ?? {}
    const places = Object.values(files).flatMap((file) => [
      { size: Object.keys(file.s).length, put: (/** @type {Uint8Array} */ view) => (file.s = view) },
      { size: Object.keys(file.f).length, put: (/** @type {Uint8Array} */ view) => (file.f = view) },
      ...Object.entries(file.b).map(([id, arms]) => ({ size: arms.length, put: (/** @type {Uint8Array} */ view) => (file.b[id] = view) })),
    ])
    const size = places.reduce((sum, place) => sum + place.size, 0)
    const buffer = new ArrayBuffer((size + 3) & ~3)
    this.#counters = new Uint8Array(buffer)
    this.#words = new Uint32Array(buffer)
    this.#seen = new Uint8Array(buffer.byteLength)
    let at = 0
    for (const { size, put } of places) {
      put(new Uint8Array(buffer, at, size))
      at += size
    }
  }

  /** Counters there are. 0 when the library was loaded without them. */
  get size() {
    return this.#counters.length
  }

  /** Pairs of a counter and how often, seen so far. */
  get total() {
    return this.#total
  }

  reset() {
    this.#counters.fill(0)
  }

  /** What this run did and none before it, as `features`; from now on it is no news. */
  news() {
    const words = this.#words
    const counters = this.#counters
    const seen = this.#seen
    /** @type {number[]} */
    const news = []
    for (let word = 0; word < words.length; word++) {
      if (words[word] === 0) continue
      for (let i = word << 2; i < (word << 2) + 4; i++) {
        const bit = /** @type {number} */ (BUCKET[/** @type {number} */ (counters[i])])
        if ((bit & ~(/** @type {number} */ (seen[i]))) === 0) continue
        seen[i] = /** @type {number} */ (seen[i]) | bit
        this.#total++
        news.push(i * 256 + bit)
      }
    }
    return news
  }

  /** What this run did, as numbers: which counter, and which bit. */
  features() {
    /** @type {number[]} */
    const found = []
    for (const [i, count] of this.#counters.entries()) if (count !== 0) found.push(i * 256 + /** @type {number} */ (BUCKET[count]))
    return found
  }
}
