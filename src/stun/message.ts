/**
 * A STUN message read in place (RFC 8489 5 and 14): a view over the datagram it came in. Nothing is copied, nothing is decoded before it
 * is asked for, and no bytes make it throw. Writing is in writer.ts; what a message means is for those who asked.
 */
import { Address } from '../net/index.ts'
import { crc32 } from './crc32.ts'
import { type IntegrityKey, sameTag } from './integrity-key.ts'
import { Attribute, isXorAddress, MAGIC_COOKIE } from './registry.ts'
import { keyAt } from './transaction-id.ts'

export type MessageClass = 'request' | 'indication' | 'success' | 'error'
export type Check = 'valid' | 'invalid' | 'absent'

/** By the two class bits of the message type, C1 above C0 (RFC 8489 5). */
export const CLASSES: readonly MessageClass[] = ['request', 'indication', 'success', 'error']

export const HEADER_LENGTH = 20
const FINGERPRINT_XOR = 0x5354554e
const MOST_UNKNOWN = 32
const NONE: readonly number[] = Object.freeze([])

const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const lossyDecoder = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * The header test of RFC 7983 7 with the magic cookie: cheap, and no proof of anything. Methods from 0x100 on are outside of it;
 * RFC 8489 18.2 gives none of them out for that reason.
 */
export function looksLikeStun(data: Uint8Array): boolean {
  return data.length >= HEADER_LENGTH && (data[0] as number) < 4 && hasCookie(data)
}

function hasCookie(data: Uint8Array): boolean {
  return data[4] === 0x21 && data[5] === 0x12 && data[6] === 0xa4 && data[7] === 0x42
}

export class Message {
  /** The datagram, as it was given to `read`; the message reads from it for as long as it lives. */
  readonly data: Uint8Array
  /** 12 bits. */
  readonly method: number
  readonly class: MessageClass
  /** Where the attributes that count end; 0 in place of an offset below means that there is none. */
  readonly #end: number
  readonly #sha1At: number
  readonly #sha256At: number
  readonly #fingerprintAt: number
  #key: string | undefined

  private constructor(data: Uint8Array, type: number, end: number, sha1At: number, sha256At: number, fingerprintAt: number) {
    this.data = data
    // RFC 8489 5: the class bits C1 and C0 lie at 0x100 and 0x010, between the bits of the method.
    this.method = (type & 0x000f) | ((type & 0x00e0) >> 1) | ((type & 0x3e00) >> 2)
    this.class = CLASSES[((type >> 7) & 2) | ((type >> 4) & 1)] as MessageClass
    this.#end = end
    this.#sha1At = sha1At
    this.#sha256At = sha256At
    this.#fingerprintAt = fingerprintAt
  }

  /**
   * Undefined unless the datagram is exactly one well-formed message: 20 bytes or more, top two bits zero, the magic cookie, a length that
   * is a multiple of 4 and the datagram's own, and attributes that all fit.
   */
  static read(data: Uint8Array): Message | undefined {
    const size = data.length
    if (size < HEADER_LENGTH || (data[0] as number) > 0x3f || !hasCookie(data)) return undefined
    if ((size & 3) !== 0 || uint16(data, 2) !== size - HEADER_LENGTH) return undefined
    let end = 0
    let sha1At = 0
    let sha256At = 0
    let fingerprintAt = 0
    for (let at = HEADER_LENGTH; at < size; ) {
      const type = uint16(data, at)
      const next = at + 4 + ((uint16(data, at + 2) + 3) & ~3)
      if (next > size) return undefined
      // RFC 8489 14.5 and 14.6: after MESSAGE-INTEGRITY only its SHA-256 sibling and FINGERPRINT count, after that one only FINGERPRINT.
      if (type === Attribute.MessageIntegrity) {
        if (sha1At === 0 && sha256At === 0) {
          sha1At = at
          end = next
        }
      } else if (type === Attribute.MessageIntegritySha256) {
        if (sha256At === 0) {
          sha256At = at
          if (end === 0) end = next
        }
      } else if (type === Attribute.Fingerprint && fingerprintAt === 0) fingerprintAt = at
      at = next
    }
    return new Message(data, uint16(data, 0), end === 0 ? size : end, sha1At, sha256At, fingerprintAt)
  }

  /** The 12 bytes, a view. */
  get transactionId(): Uint8Array {
    return this.data.subarray(8, HEADER_LENGTH)
  }

  /** The same as 24 hex digits. */
  get transactionKey(): string {
    return (this.#key ??= keyAt(this.data, 8))
  }

  has(type: number): boolean {
    return this.#find(type) !== 0
  }

  /** The value of the first attribute of a type, a view. Attributes behind the integrity that do not count are not there. */
  value(type: number): Uint8Array | undefined {
    const at = this.#find(type)
    return at === 0 ? undefined : this.data.subarray(at + 4, at + 4 + uint16(this.data, at + 2))
  }

  /** Undefined also when it is not UTF-8. */
  text(type: number): string | undefined {
    const value = this.value(type)
    return value === undefined ? undefined : decode(value)
  }

  /** Undefined also when the value is not 4 bytes long. */
  uint32(type: number): number | undefined {
    const at = this.#find(type)
    return at === 0 || uint16(this.data, at + 2) !== 4 ? undefined : uint32(this.data, at + 4)
  }

  /** Undefined also when the value is not 8 bytes long. */
  uint64(type: number): bigint | undefined {
    const at = this.#find(type)
    if (at === 0 || uint16(this.data, at + 2) !== 8) return undefined
    return (BigInt(uint32(this.data, at + 4)) << 32n) | BigInt(uint32(this.data, at + 8))
  }

  /** Plain or XORed, as the type has it. Undefined also when family and length do not make an address. */
  address(type: number): Address | undefined {
    const at = this.#find(type)
    return at === 0 ? undefined : this.#addressAt(at, isXorAddress(type))
  }

  /** Every occurrence that is an address: CreatePermission repeats XOR-PEER-ADDRESS (RFC 8656 10.1). */
  addresses(type: number): readonly Address[] {
    const found: Address[] = []
    for (let at = HEADER_LENGTH; at < this.#end; at = after(this.data, at)) {
      if (uint16(this.data, at) !== type) continue
      const address = this.#addressAt(at, isXorAddress(type))
      if (address !== undefined) found.push(address)
    }
    return found
  }

  /** Occurrences, whatever their values. */
  count(type: number): number {
    let found = 0
    for (let at = HEADER_LENGTH; at < this.#end; at = after(this.data, at)) if (uint16(this.data, at) === type) found++
    return found
  }

  /** ERROR-CODE (RFC 8489 14.8). Undefined also when class or number is out of range; a reason that is not UTF-8 is repaired. */
  errorCode(): { readonly code: number; readonly reason: string } | undefined {
    const value = this.value(Attribute.ErrorCode)
    if (value === undefined || value.length < 4) return undefined
    const hundreds = (value[2] as number) & 7
    const number = value[3] as number
    if (hundreds < 3 || hundreds > 6 || number > 99) return undefined
    const reason = value.subarray(4)
    return { code: hundreds * 100 + number, reason: decode(reason) ?? lossyDecoder.decode(reason) }
  }

  /** The types that UNKNOWN-ATTRIBUTES lists (RFC 8489 14.13). */
  unknownAttributes(): readonly number[] {
    const value = this.value(Attribute.UnknownAttributes)
    if (value === undefined) return NONE
    const types: number[] = []
    for (let i = 0; i + 1 < value.length; i += 2) types.push(uint16(value, i))
    return types
  }

  /**
   * Comprehension-required types that are here and not in `known`, each once: what a 420 lists (RFC 8489 6.3.1). Of very many the first
   * 32: a large datagram has room for thousands, and comparing each with each would take long.
   */
  unknownRequired(known: ReadonlySet<number>): readonly number[] {
    let unknown: number[] | undefined
    for (let at = HEADER_LENGTH; at < this.#end; at = after(this.data, at)) {
      const type = uint16(this.data, at)
      if (type >= 0x8000 || known.has(type)) continue
      unknown ??= []
      if (!unknown.includes(type) && unknown.push(type) === MOST_UNKNOWN) break
    }
    return unknown ?? NONE
  }

  /** FINGERPRINT (RFC 8489 14.7); one that is not the last attribute is invalid. */
  fingerprint(): Check {
    const at = this.#fingerprintAt
    if (at === 0) return 'absent'
    if (at + 8 !== this.data.length || uint16(this.data, at + 2) !== 4) return 'invalid'
    return (crc32(this.data, at) ^ FINGERPRINT_XOR) >>> 0 === uint32(this.data, at + 4) ? 'valid' : 'invalid'
  }

  /** MESSAGE-INTEGRITY (RFC 8489 14.5). */
  integrity(key: IntegrityKey): Check {
    const at = this.#sha1At
    if (at === 0) return 'absent'
    if (uint16(this.data, at + 2) !== 20) return 'invalid'
    const tag = key.tagSha1(this.data, at, at + 24 - HEADER_LENGTH)
    return sameTag(tag, this.data, at + 4, 20) ? 'valid' : 'invalid'
  }

  /** MESSAGE-INTEGRITY-SHA256 (RFC 8489 14.6): whole, or truncated to 16 bytes at the least. */
  integritySha256(key: IntegrityKey): Check {
    const at = this.#sha256At
    if (at === 0) return 'absent'
    const length = uint16(this.data, at + 2)
    if (length < 16 || length > 32 || (length & 3) !== 0) return 'invalid'
    const tag = key.tagSha256(this.data, at, at + 4 + length - HEADER_LENGTH)
    return sameTag(tag, this.data, at + 4, length) ? 'valid' : 'invalid'
  }

  #find(type: number): number {
    if (type === Attribute.MessageIntegritySha256) return this.#sha256At
    if (type === Attribute.Fingerprint) return this.#fingerprintAt
    const data = this.data
    for (let at = HEADER_LENGTH; at < this.#end; at = after(data, at)) if (uint16(data, at) === type) return at
    return 0
  }

  #addressAt(at: number, xored: boolean): Address | undefined {
    const data = this.data
    const length = uint16(data, at + 2)
    const family = data[at + 5] // the byte before it is zero, and ignored (RFC 8489 14.1)
    if (!(family === 1 && length === 8) && !(family === 2 && length === 20)) return undefined
    const port = uint16(data, at + 6)
    const ip = data.subarray(at + 8, at + 4 + length)
    if (!xored) return Address.fromBytes(ip, port)
    const plain = new Uint8Array(ip.length)
    // RFC 8489 14.2: the key stream is the magic cookie and the transaction id, bytes 4 to 19 of the header.
    for (let i = 0; i < ip.length; i++) plain[i] = (ip[i] as number) ^ (data[4 + i] as number)
    return Address.fromBytes(plain, port ^ (MAGIC_COOKIE >>> 16))
  }
}

function uint16(data: Uint8Array, at: number): number {
  return ((data[at] as number) << 8) | (data[at + 1] as number)
}

function uint32(data: Uint8Array, at: number): number {
  return ((uint16(data, at) << 16) | uint16(data, at + 2)) >>> 0
}

function after(data: Uint8Array, at: number): number {
  return at + 4 + ((uint16(data, at + 2) + 3) & ~3)
}

function decode(value: Uint8Array): string | undefined {
  if (value.length <= 128 && isAscii(value)) return String.fromCharCode.apply(null, value as unknown as number[])
  try {
    return strictDecoder.decode(value)
  } catch {
    return undefined // what fatal decoding throws says no more than that
  }
}

function isAscii(value: Uint8Array): boolean {
  for (let i = 0; i < value.length; i++) if ((value[i] as number) > 0x7f) return false
  return true
}
