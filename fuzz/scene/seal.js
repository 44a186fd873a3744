// @ts-check
/**
 * Integrity and fingerprint as the RFC has them, by node:crypto and node:zlib: what the library says is held against it, and inputs are
 * given them, or no mutant would ever get past authentication.
 */
import { createHmac } from 'node:crypto'
import { crc32 } from 'node:zlib'

const SHA1 = 0x0008
const SHA256 = 0x001c
const FINGERPRINT = 0x8028

/** @param {Uint8Array} data @param {number} at */
export function uint16(data, at) {
  return /** @type {number} */ (data[at] << 8) | /** @type {number} */ (data[at + 1])
}

/** @param {Uint8Array} data @param {number} at @param {number} value */
export function putUint16(data, at, value) {
  data[at] = value >>> 8
  data[at + 1] = value
}

/** The HMAC over what is before `at`, with the length that the header has for an end at `end`. @param {Uint8Array} data @param {number} at @param {number} end @param {'sha1' | 'sha256'} hash @param {Uint8Array} key */
function tag(data, at, end, hash, key) {
  const covered = data.slice(0, at)
  putUint16(covered, 2, end - 20)
  return createHmac(hash, key).update(covered).digest()
}

/** Where the first attribute of a type is; undefined when there is none, or no message. @param {Uint8Array} data @param {number} type */
export function find(data, type) {
  for (let at = 20; at + 4 <= data.length; at += 4 + ((uint16(data, at + 2) + 3) & ~3)) if (uint16(data, at) === type) return at
  return undefined
}

/** Header and attributes fit the datagram. @param {Uint8Array} data */
export function isMessage(data) {
  if (data.length < 20 || data.length % 4 !== 0 || /** @type {number} */ (data[0]) > 63) return false
  if (uint16(data, 2) !== data.length - 20 || uint16(data, 4) !== 0x2112 || uint16(data, 6) !== 0xa442) return false
  let at = 20
  while (at < data.length) at += 4 + ((uint16(data, at + 2) + 3) & ~3)
  return at === data.length
}

/** @param {Uint8Array} data @param {Uint8Array} key @returns {'valid' | 'invalid' | 'absent'} */
export function integrity(data, key) {
  const at = find(data, SHA1)
  const other = find(data, SHA256)
  // RFC 8489 14.6: behind the SHA-256 one only FINGERPRINT counts.
  if (at === undefined || (other !== undefined && other < at)) return 'absent'
  if (uint16(data, at + 2) !== 20) return 'invalid'
  return tag(data, at, at + 24, 'sha1', key).equals(data.subarray(at + 4, at + 24)) ? 'valid' : 'invalid'
}

/** @param {Uint8Array} data @param {Uint8Array} key @returns {'valid' | 'invalid' | 'absent'} */
export function integritySha256(data, key) {
  const at = find(data, SHA256)
  if (at === undefined) return 'absent'
  const length = uint16(data, at + 2)
  if (length < 16 || length > 32 || length % 4 !== 0) return 'invalid'
  const expected = tag(data, at, at + 4 + length, 'sha256', key).subarray(0, length)
  return expected.equals(data.subarray(at + 4, at + 4 + length)) ? 'valid' : 'invalid'
}

/** @param {Uint8Array} data @returns {'valid' | 'invalid' | 'absent'} */
export function fingerprint(data) {
  const at = find(data, FINGERPRINT)
  if (at === undefined) return 'absent'
  if (at + 8 !== data.length || uint16(data, at + 2) !== 4) return 'invalid'
  return Buffer.from(data.buffer, data.byteOffset).readUInt32BE(at + 4) === fingerprintOf(data.subarray(0, at)) ? 'valid' : 'invalid'
}

/** @param {Uint8Array} covered */
function fingerprintOf(covered) {
  return (crc32(covered) ^ 0x5354_554e) >>> 0
}

/** How an input is put in order before it goes in. */
export const LENGTH = 1
export const INTEGRITY = 2
export const INTEGRITY_SHA256 = 4
export const PRINT = 8

/**
 * The message with its length set right and the parts appended that `flags` name, behind whatever attributes it has.
 * @param {Uint8Array} data @param {number} flags @param {Uint8Array} key
 */
export function seal(data, flags, key) {
  if (data.length < 20 || (flags & 15) === 0) return data
  const start = data.length & ~3
  const result = new Uint8Array(start + (flags & INTEGRITY ? 24 : 0) + (flags & INTEGRITY_SHA256 ? 36 : 0) + (flags & PRINT ? 8 : 0))
  result.set(data.subarray(0, start))
  putUint16(result, 2, result.length - 20)
  let at = start
  for (const [flag, type, hash, length] of /** @type {const} */ ([
    [INTEGRITY, SHA1, 'sha1', 20],
    [INTEGRITY_SHA256, SHA256, 'sha256', 32],
  ])) {
    if ((flags & flag) === 0) continue
    putUint16(result, at, type)
    putUint16(result, at + 2, length)
    result.set(tag(result, at, at + 4 + length, hash, key), at + 4)
    at += 4 + length
  }
  if (flags & PRINT) {
    putUint16(result, at, FINGERPRINT)
    putUint16(result, at + 2, 4)
    new DataView(result.buffer).setUint32(at + 4, fingerprintOf(result.subarray(0, at)))
  }
  return result
}
