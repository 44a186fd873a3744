/**
 * Seeded chance: the sfc32 generator (Doty-Humphrey, PractRand), one stream per named user of it, so that a host that is
 * added or that draws more does not shift what the others get. Not for keys outside a lab.
 */
import type { Random } from '../net/index.ts'

export class SeededRandom implements Random {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number, name: string) {
    this.#a = hash(`${seed}/${name}/a`)
    this.#b = hash(`${seed}/${name}/b`)
    this.#c = hash(`${seed}/${name}/c`)
    for (let i = 0; i < 15; i++) this.uint32()
  }

  /** An integer in [0, 2^32). */
  uint32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  /** A fraction in [0, 1). */
  fraction(): number {
    return this.uint32() / 0x1_0000_0000
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit)
  }

  /** True with the given probability; draws nothing for 0 and 1. */
  chance(probability: number): boolean {
    if (probability <= 0) return false
    return probability >= 1 || this.fraction() < probability
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let i = 0; i < length; i += 4) {
      const word = this.uint32()
      for (let j = 0; j < 4 && i + j < length; j++) bytes[i + j] = word >>> (8 * j)
    }
    return bytes
  }
}

/** FNV-1a over UTF-16 code units, finished with a mix so that names that differ in one letter share no bits. */
function hash(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
