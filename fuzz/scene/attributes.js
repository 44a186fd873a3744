// @ts-check
/** Changes to a STUN message that know what an attribute is. For a message that stands in an input between a few bytes before it and its end. */
import { Attribute } from '../../dist/stun/index.js'
import { putUint16, uint16 } from './seal.js'

const TYPES = Object.values(Attribute)
const CLASSES = [0x0001, 0x0011, 0x0101, 0x0111]

/** @typedef {import('../engine/random.js').Random} Random */

/** Where each attribute begins, and the end. @param {Uint8Array} message */
function starts(message) {
  const found = []
  let at = 20
  while (at + 4 <= message.length) {
    found.push(at)
    at += 4 + ((uint16(message, at + 2) + 3) & ~3)
  }
  return { found, end: Math.min(at, message.length) }
}

/** @param {Uint8Array[]} parts */
export function join(...parts) {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    result.set(part, at)
    at += part.length
  }
  return result
}

/** @param {Random} random */
function fresh(random) {
  const length = random.of([0, 0, 1, 3, 4, 4, 4, 8, 8, 9, 16, 20, 20, 32])
  const attribute = new Uint8Array(4 + ((length + 3) & ~3))
  putUint16(attribute, 0, random.below(8) === 0 ? random.below(0x10000) : random.of(TYPES))
  putUint16(attribute, 2, length)
  for (let i = 4; i < 4 + length; i++) attribute[i] = random.of([0, 1, 2, 4, 255, random.below(256)])
  return attribute
}

/** @param {Uint8Array} message @param {Random} random @param {Uint8Array} other another message, to take attributes from */
export function changeMessage(message, random, other) {
  if (message.length < 20) return message
  const { found, end } = starts(message)
  const choice = random.below(8)
  if (choice === 0) {
    const copy = message.slice()
    putUint16(copy, 0, random.of(CLASSES) ^ (random.below(6) === 0 ? 1 << random.below(14) : 0))
    return copy
  }
  const at = found.length === 0 ? end : random.of(found)
  const next = Math.min(message.length, at + 4 + (((at + 4 <= message.length ? uint16(message, at + 2) : 0) + 3) & ~3))
  if (choice === 1) return join(message.subarray(0, at), fresh(random), message.subarray(at))
  if (choice === 2) return join(message.subarray(0, at), message.subarray(next))
  if (choice === 3) return join(message.subarray(0, at), message.subarray(at, next), message.subarray(at))
  if (choice === 4) return join(message.subarray(0, at), message.subarray(next), message.subarray(at, next))
  if (choice === 5) {
    const theirs = other.length < 20 ? [] : starts(other).found
    if (theirs.length === 0) return message
    const from = random.of(theirs)
    const to = Math.min(other.length, from + 4 + ((uint16(other, from + 2) + 3) & ~3))
    return join(message.subarray(0, at), other.subarray(from, to), message.subarray(at))
  }
  if (at + 4 > message.length) return message
  const copy = message.slice()
  if (choice === 6) putUint16(copy, at, random.of(TYPES))
  else putUint16(copy, at + 2, uint16(copy, at + 2) + random.of([-4, -1, 1, 4, 8]))
  return copy
}
