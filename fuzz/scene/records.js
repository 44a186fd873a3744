// @ts-check
/** Records of an input: a byte that the target makes of what it likes, then who says what, and how it is put in order (seal.js). */
import { changeMessage, join } from './attributes.js'

const MOST_RECORDS = 6

/** @typedef {{ source: number, how: number, data: Uint8Array }} Record */

/** @param {Uint8Array} input @returns {Record[]} */
export function recordsOf(input) {
  const records = []
  for (let at = 1; at + 4 <= input.length && records.length < MOST_RECORDS; ) {
    const [source = 0, how = 0, high = 0, low = 0] = input.subarray(at, at + 4)
    const end = Math.min(input.length, at + 4 + (((high & 7) << 8) | low))
    records.push({ source, how, data: input.subarray(at + 4, end) })
    at = end
  }
  return records
}

/** @param {number} first @param {readonly Record[]} records */
export function inputOf(first, records) {
  return join(
    Uint8Array.of(first),
    ...records.map(({ source, how, data }) => join(Uint8Array.of(source, how, data.length >> 8, data.length), data)),
  )
}

/**
 * The mutations of such inputs: three parts of a record for one of their order.
 * @param {number} firsts as many first bytes make a difference
 * @param {readonly number[]} hows ways to put in order that are worth a try
 * @param {typeof changeMessage} [change] of the data; a STUN message by default
 * @returns {readonly import('../engine/mutations.js').Mutation[]}
 */
export function recordMutations(firsts, hows, change = changeMessage) {
  /** @type {import('../engine/mutations.js').Mutation} */
  const changeRecord = (input, random, { other }) => {
    const records = recordsOf(input)
    const theirs = recordsOf(other)
    if (records.length === 0) return other
    const record = /** @type {Record} */ (records[random.below(records.length)])
    const choice = random.below(8)
    if (choice === 0) record.source = random.below(256)
    else if (choice === 1) record.how ^= 1 << random.below(6)
    else if (choice === 2) record.how = random.of(hows)
    else record.data = change(record.data, random, theirs.length === 0 ? record.data : random.of(theirs).data)
    return inputOf(/** @type {number} */ (input[0]), records)
  }
  /** @type {import('../engine/mutations.js').Mutation} */
  const changeOrder = (input, random, { other }) => {
    const records = recordsOf(input)
    const theirs = recordsOf(other)
    const choice = random.below(4)
    if (choice === 0) records.splice(random.below(records.length + 1), 1)
    else if (choice === 1) records.reverse()
    else if (choice === 2 && theirs.length > 0) records.splice(random.below(records.length + 1), 0, random.of(theirs))
    else return join(Uint8Array.of(random.below(firsts)), input.subarray(1))
    return inputOf(input[0] ?? 0, records)
  }
  return [changeRecord, changeRecord, changeRecord, changeOrder]
}
