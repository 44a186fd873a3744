/**
 * Writes STUN messages into one buffer that is used again and again (RFC 8489 5 and 14). Reading is in message.ts.
 */
import type { Address } from '../net/index.ts'
import { crc32 } from './crc32.ts'
import type { IntegrityKey } from './integrity-key.ts'
import { CLASSES, HEADER_LENGTH, type MessageClass } from './message.ts'
import { Attribute, isXorAddress, MAGIC_COOKIE } from './registry.ts'

/** The length field counts 16 bits of whole words behind the header. */
const LONGEST = HEADER_LENGTH + 0xfffc
const FINGERPRINT_XOR = 0x5354554e

/** What may still follow: anything, only SHA-256 integrity and FINGERPRINT, only FINGERPRINT, nothing. */
const OPEN = 0
const AFTER_SHA1 = 1
const AFTER_SHA256 = 2
const CLOSED = 3
/** No message begun. */
const IDLE = 4

const encoder = new TextEncoder()

/**
 * Calls chain: `start`, attributes in order, `integrity`, `fingerprint`, `finish`. Values out of range are RangeErrors; an attribute
 * where none may follow (RFC 8489 14.5 to 14.7) and a call before `start` are TypeErrors.
 */
export class MessageWriter {
  #data: Uint8Array
  #at = 0
  #state = IDLE

  /** @param capacity bytes to begin with, 1500 by default. A longer message makes the buffer grow, up to 65,552 bytes; then RangeError. */
  constructor(capacity = 1500) {
    if (!Number.isInteger(capacity) || capacity < HEADER_LENGTH) {
      throw new RangeError(`capacity must be an integer of at least ${HEADER_LENGTH}, not ${capacity}`)
    }
    this.#data = new Uint8Array(capacity)
  }

  /** Begins a message, and drops one that was not finished. `transactionId` is copied. */
  start(messageClass: MessageClass, method: number, transactionId: Uint8Array): this {
    if (!Number.isInteger(method) || method < 0 || method > 0xfff) throw new RangeError(`method must have 12 bits, not be ${method}`)
    if (transactionId.length !== 12) throw new RangeError(`transactionId must have 12 bytes, not ${transactionId.length}`)
    const c = CLASSES.indexOf(messageClass)
    // RFC 8489 5: class bits C1 and C0 at 0x100 and 0x010, the method in the bits around them.
    const type = (method & 0x00f) | ((method & 0x070) << 1) | ((method & 0xf80) << 2) | ((c & 2) << 7) | ((c & 1) << 4)
    const data = this.#data
    data[0] = type >>> 8
    data[1] = type
    putUint32(data, 4, MAGIC_COOKIE)
    for (let i = 0; i < 12; i++) data[8 + i] = transactionId[i] as number
    this.#at = HEADER_LENGTH
    this.#state = OPEN
    return this
  }

  /** An attribute without a value: USE-CANDIDATE, DONT-FRAGMENT. */
  flag(type: number): this {
    this.#attribute(type, 0)
    return this
  }

  bytes(type: number, value: Uint8Array): this {
    const at = this.#attribute(type, value.length)
    this.#data.set(value, at)
    return this
  }

  /** As UTF-8; unpaired surrogates become U+FFFD. Normalising is the caller's. */
  text(type: number, value: string): this {
    const length = value.length
    for (let i = 0; i < length; i++) if (value.charCodeAt(i) > 0x7f) return this.bytes(type, encoder.encode(value))
    const at = this.#attribute(type, length)
    const data = this.#data
    for (let i = 0; i < length; i++) data[at + i] = value.charCodeAt(i)
    return this
  }

  uint32(type: number, value: number): this {
    if (value >>> 0 !== value) throw outOfRange(type, 32, value)
    const at = this.#attribute(type, 4)
    putUint32(this.#data, at, value)
    return this
  }

  uint64(type: number, value: bigint): this {
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw outOfRange(type, 64, value)
    const at = this.#attribute(type, 8)
    putUint32(this.#data, at, Number(value >> 32n))
    putUint32(this.#data, at + 4, Number(value & 0xffff_ffffn))
    return this
  }

  /** Plain or XORed, as the type has it (RFC 8489 14.1, 14.2). The zone of a link-local address does not travel. */
  address(type: number, address: Address): this {
    const ip = address.bytes
    const at = this.#attribute(type, 4 + ip.length)
    const data = this.#data
    const xored = isXorAddress(type)
    const port = xored ? address.port ^ (MAGIC_COOKIE >>> 16) : address.port
    data[at] = 0
    data[at + 1] = address.family === 4 ? 1 : 2
    data[at + 2] = port >>> 8
    data[at + 3] = port
    for (let i = 0; i < ip.length; i++) data[at + 4 + i] = xored ? (ip[i] as number) ^ (data[4 + i] as number) : (ip[i] as number)
    return this
  }

  /** ERROR-CODE (RFC 8489 14.8); codes go from 300 to 699. */
  errorCode(code: number, reason: string): this {
    if (!Number.isInteger(code) || code < 300 || code > 699) throw new RangeError(`code must be an integer from 300 to 699, not ${code}`)
    const text = encoder.encode(reason)
    const at = this.#attribute(Attribute.ErrorCode, 4 + text.length)
    putUint32(this.#data, at, (Math.trunc(code / 100) << 8) | (code % 100))
    this.#data.set(text, at + 4)
    return this
  }

  /** UNKNOWN-ATTRIBUTES (RFC 8489 14.13). */
  unknownAttributes(types: readonly number[]): this {
    const at = this.#attribute(Attribute.UnknownAttributes, 2 * types.length)
    types.forEach((type, i) => {
      this.#data[at + 2 * i] = type >>> 8
      this.#data[at + 2 * i + 1] = type
    })
    return this
  }

  /** MESSAGE-INTEGRITY over all that is written so far (RFC 8489 14.5). */
  integrity(key: IntegrityKey): this {
    if (this.#state !== OPEN) throw misplaced(this.#state, Attribute.MessageIntegrity)
    const end = this.#at
    const at = this.#reserve(Attribute.MessageIntegrity, 20)
    this.#state = AFTER_SHA1
    this.#data.set(key.tagSha1(this.#data, end, this.#putLength()), at)
    return this
  }

  /** MESSAGE-INTEGRITY-SHA256 (RFC 8489 14.6). @param length of the tag in bytes: 32 by default; 16, 20, 24 or 28 truncate it */
  integritySha256(key: IntegrityKey, length = 32): this {
    if (this.#state !== OPEN && this.#state !== AFTER_SHA1) throw misplaced(this.#state, Attribute.MessageIntegritySha256)
    if (length < 16 || length > 32 || length % 4 !== 0) throw new RangeError(`length must be 16, 20, 24, 28 or 32, not ${length}`)
    const end = this.#at
    const at = this.#reserve(Attribute.MessageIntegritySha256, length)
    this.#state = AFTER_SHA256
    this.#data.set(key.tagSha256(this.#data, end, this.#putLength()).subarray(0, length), at)
    return this
  }

  /** FINGERPRINT, the last attribute (RFC 8489 14.7). */
  fingerprint(): this {
    if (this.#state >= CLOSED) throw misplaced(this.#state, Attribute.Fingerprint)
    const end = this.#at
    const at = this.#reserve(Attribute.Fingerprint, 4)
    this.#state = CLOSED
    this.#putLength()
    putUint32(this.#data, at, crc32(this.#data, end) ^ FINGERPRINT_XOR)
    return this
  }

  /** The message: a view of the buffer, valid until the next `start`. Who keeps it, or sends more than one in a turn, takes `.slice()`. */
  finish(): Uint8Array {
    if (this.#state === IDLE) throw misplaced(IDLE, 0)
    this.#putLength()
    this.#state = IDLE
    return this.#data.subarray(0, this.#at)
  }

  #attribute(type: number, length: number): number {
    if (this.#state !== OPEN) throw misplaced(this.#state, type)
    return this.#reserve(type, length)
  }

  /** Writes type and length, clears the padding, and returns where the value goes. */
  #reserve(type: number, length: number): number {
    const at = this.#at
    const next = at + 4 + ((length + 3) & ~3)
    if (next > this.#data.length) this.#grow(next)
    const data = this.#data
    data[at] = type >>> 8
    data[at + 1] = type
    data[at + 2] = length >>> 8
    data[at + 3] = length
    // RFC 8489 14: padding is ignored on receipt, and zero in what is sent; the buffer holds an older message.
    for (let i = at + 4 + length; i < next; i++) data[i] = 0
    this.#at = next
    return at + 4
  }

  #grow(needed: number): void {
    if (needed > LONGEST) throw new RangeError(`a STUN message has at most ${LONGEST} bytes, this one would have ${needed}`)
    const larger = new Uint8Array(Math.min(LONGEST, Math.max(needed, 2 * this.#data.length)))
    larger.set(this.#data.subarray(0, this.#at))
    this.#data = larger
  }

  #putLength(): number {
    const length = this.#at - HEADER_LENGTH
    this.#data[2] = length >>> 8
    this.#data[3] = length
    return length
  }
}

function putUint32(data: Uint8Array, at: number, value: number): void {
  data[at] = value >>> 24
  data[at + 1] = value >>> 16
  data[at + 2] = value >>> 8
  data[at + 3] = value
}

function outOfRange(type: number, bits: number, value: number | bigint): RangeError {
  return new RangeError(`value of attribute 0x${type.toString(16)} must be an unsigned integer of ${bits} bits, not ${value}`)
}

function misplaced(state: number, type: number): TypeError {
  if (state === IDLE) return new TypeError('start() begins a message; nothing is begun here')
  return new TypeError(`attribute 0x${type.toString(16)} cannot follow the integrity or fingerprint that is already written`)
}
