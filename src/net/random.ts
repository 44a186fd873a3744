/** Chance, as everything in the library sees it: the system's generator, or a seeded one on the virtual internet. */

export interface Random {
  /** `length` random bytes, fit for keys when the network is a real one. The caller owns them. */
  bytes(length: number): Uint8Array
}

/** An integer in [0, 2^32). */
export function randomUint32(random: Random): number {
  const [a = 0, b = 0, c = 0, d = 0] = random.bytes(4)
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
}

/** A fraction in [0, 1) with 32 bits. */
export function randomFraction(random: Random): number {
  return randomUint32(random) / 0x1_0000_0000
}
