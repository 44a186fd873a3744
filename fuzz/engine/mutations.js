// @ts-check
/** Changes to bytes that know nothing of what they mean, the usual ones of libFuzzer and AFL. None writes to what it is given. */

const INTERESTING_8 = [0, 1, 2, 3, 4, 7, 8, 15, 16, 20, 31, 32, 63, 64, 100, 127, 128, 254, 255]
const INTERESTING_16 = [0, 1, 4, 8, 20, 255, 256, 512, 1000, 1024, 4096, 0x7fff, 0x8000, 0xfffc, 0xfffe, 0xffff]
const INTERESTING_32 = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]

/** @typedef {import('./random.js').Random} Random */
/** @typedef {(data: Uint8Array, random: Random, context: { other: Uint8Array, dictionary: readonly Uint8Array[] }) => Uint8Array} Mutation */

/** @param {Uint8Array} data @param {number} from @param {number} to @param {Uint8Array} middle */
function splice(data, from, to, middle) {
  const result = new Uint8Array(from + middle.length + data.length - to)
  result.set(data.subarray(0, from))
  result.set(middle, from)
  result.set(data.subarray(to), from + middle.length)
  return result
}

/** Short ones most often. @param {Random} random @param {number} most */
function length(random, most) {
  return 1 + random.below(Math.max(1, Math.min(most, random.of([4, 4, 4, 16, 16, 64, 1024]))))
}

/** @param {Uint8Array} data @param {Random} random */
function part(data, random) {
  const from = random.below(data.length + 1)
  return { from, to: Math.min(data.length, from + length(random, data.length)) }
}

/** @type {readonly Mutation[]} */
export const MUTATIONS = [
  // One bit.
  (data, random) => changed(data, random, (copy, at) => (copy[at] = /** @type {number} */ (copy[at]) ^ (1 << random.below(8)))),
  // One byte, to anything.
  (data, random) => changed(data, random, (copy, at) => (copy[at] = random.below(256))),
  // One byte, to something on an edge.
  (data, random) => changed(data, random, (copy, at) => (copy[at] = random.of(INTERESTING_8))),
  // A little more, or less.
  (data, random) => changed(data, random, (copy, at) => (copy[at] = /** @type {number} */ (copy[at]) + random.below(33) - 16)),
  (data, random) =>
    changed(data, random, (copy, at) => {
      const view = new DataView(copy.buffer, copy.byteOffset)
      if (at + 2 <= copy.length)
        view.setUint16(at, random.below(2) === 0 ? random.of(INTERESTING_16) : view.getUint16(at) + random.below(33) - 16)
    }),
  (data, random) =>
    changed(data, random, (copy, at) => {
      if (at + 4 <= copy.length) new DataView(copy.buffer, copy.byteOffset).setUint32(at, random.of(INTERESTING_32))
    }),
  // Bytes gone, come, or come twice.
  (data, random) => {
    const { from, to } = part(data, random)
    return splice(data, from, to, new Uint8Array(0))
  },
  (data, random) => {
    const at = random.below(data.length + 1)
    const fill = random.below(2) === 0 ? random.below(256) : -1
    return splice(
      data,
      at,
      at,
      Uint8Array.from({ length: length(random, 64) }, () => (fill < 0 ? random.below(256) : fill)),
    )
  },
  (data, random) => {
    const { from, to } = part(data, random)
    const at = random.below(data.length + 1)
    return splice(data, at, at, data.subarray(from, to))
  },
  (data, random) => {
    const { from, to } = part(data, random)
    const copy = data.slice()
    copy.set(data.subarray(from, Math.min(to, data.length)), random.below(Math.max(1, data.length - (to - from) + 1)))
    return copy
  },
  // The end cut off.
  (data, random) => data.slice(0, random.below(data.length + 1)),
  // A word that means something, over what is there or in between.
  (data, random, { dictionary }) => {
    if (dictionary.length === 0) return data
    const word = random.of(dictionary)
    const at = random.below(data.length + 1)
    return splice(data, at, random.below(2) === 0 ? at : Math.min(data.length, at + word.length), word)
  },
  // A piece of another input, in the same way.
  (data, random, { other }) => {
    const { from, to } = part(other, random)
    const at = random.below(data.length + 1)
    return splice(data, at, random.below(2) === 0 ? at : Math.min(data.length, at + to - from), other.subarray(from, to))
  },
  // The beginning of this one, the end of another.
  (data, random, { other }) => {
    const at = random.below(data.length + 1)
    return splice(data, at, data.length, other.subarray(Math.min(at, other.length)))
  },
  // A digit among digits.
  (data, random) =>
    changed(data, random, (copy, start) => {
      const at = copy.findIndex((byte, i) => i >= start && byte >= 0x30 && byte <= 0x39)
      if (at >= 0) copy[at] = 0x30 + random.below(10)
    }),
]

/** @param {Uint8Array} data @param {Random} random @param {(copy: Uint8Array, at: number) => unknown} change */
function changed(data, random, change) {
  if (data.length === 0) return Uint8Array.of(random.below(256))
  const copy = data.slice()
  change(copy, random.below(copy.length))
  return copy
}
