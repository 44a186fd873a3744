/**
 * The key of MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (RFC 8489 9.1.1, 9.2.2, 14.5, 14.6), with its HMAC states prepared:
 * a key's two pad blocks are hashed once, not once a message. Where the tags lie in a message is for message.ts and writer.ts.
 */
import { hmac } from '@noble/hashes/hmac.js'
import { md5, sha1 } from '@noble/hashes/legacy.js'
import { sha256 } from '@noble/hashes/sha2.js'

/** What a long-term key is hashed with (RFC 8489 18.5). */
export type PasswordAlgorithm = 'MD5' | 'SHA-256'

/** The part of an HMAC in progress that is used here. */
export interface Mac {
  update(data: Uint8Array): unknown
  digestInto(out: Uint8Array): void
  _cloneInto(to?: Mac): Mac
}

/** Keys whose pad blocks stay hashed: enough for those in use now. Ten thousand idle sessions need not keep 2 KB each for one check a while. */
const PREPARED = 256

const SHA1_LENGTH = 20
const SHA256_LENGTH = 32

const encoder = new TextEncoder()
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const digest = new Uint8Array(SHA256_LENGTH)
/** Overwritten by every tag, so that a tag allocates no hash. */
let workSha1: Mac | undefined
let workSha256: Mac | undefined
/** A ring. Weak, so that no key outlives its owner here. */
const prepared: WeakRef<IntegrityKey>[] = []
let next = 0
/** A message whose length field must differ from the one on the wire is hashed from here, so that the datagram stays as it came. */
let scratch = new Uint8Array(2048)

export class IntegrityKey {
  /** A password as text, which is there anyway, or bytes. */
  readonly #secret: Uint8Array | string
  #sha1: Mac | undefined
  #sha256: Mac | undefined

  private constructor(secret: Uint8Array | string) {
    this.#secret = secret
  }

  /** The key of the short-term mechanism, as ICE uses it (RFC 8489 9.1.1). */
  static shortTerm(password: string): IntegrityKey {
    return new IntegrityKey(opaqueString(password))
  }

  /**
   * The key of the long-term mechanism, as TURN uses it (RFC 8489 9.2.2). MD5 by default, the only one RFC 5389 knows. The realm may be
   * given as it came; one that is no text then counts as it is.
   */
  static longTerm(username: string, realm: string | Uint8Array, password: string, algorithm: PasswordAlgorithm = 'MD5'): IntegrityKey {
    const hash = algorithm === 'MD5' ? md5.create() : sha256.create()
    hash.update(opaqueBytes(username)).update(COLON).update(opaqueBytes(realm)).update(COLON).update(opaqueBytes(password))
    return new IntegrityKey(hash.digest())
  }

  /** A key that is bytes already, from a key agreement. Copied. */
  static fromBytes(bytes: Uint8Array): IntegrityKey {
    return new IntegrityKey(bytes.slice())
  }

  /**
   * HMAC-SHA1 over the first `end` bytes of a message as if its length field were `length`.
   * @returns 20 bytes, valid until any key computes the next tag
   * @internal
   */
  tagSha1(message: Uint8Array, end: number, length: number): Uint8Array {
    if (this.#sha1 === undefined) {
      this.#sha1 = hmac.create(sha1, this.#keyBytes()) as Mac
      this.#keepPrepared()
    }
    workSha1 = this.#sha1._cloneInto(workSha1)
    return run(workSha1, message, end, length, SHA1_LENGTH)
  }

  /** The same with HMAC-SHA256: 32 bytes. @internal */
  tagSha256(message: Uint8Array, end: number, length: number): Uint8Array {
    if (this.#sha256 === undefined) {
      this.#sha256 = hmac.create(sha256, this.#keyBytes()) as Mac
      this.#keepPrepared()
    }
    workSha256 = this.#sha256._cloneInto(workSha256)
    return run(workSha256, message, end, length, SHA256_LENGTH)
  }

  #keyBytes(): Uint8Array {
    return typeof this.#secret === 'string' ? encoder.encode(this.#secret) : this.#secret
  }

  /** In the place of whoever was prepared longest ago. */
  #keepPrepared(): void {
    const oldest = prepared[next]?.deref()
    prepared[next] = new WeakRef(this)
    next = (next + 1) % PREPARED
    if (oldest === undefined || oldest === this) return
    oldest.#sha1 = undefined
    oldest.#sha256 = undefined
  }
}

function run(mac: Mac, message: Uint8Array, end: number, length: number, outLength: number): Uint8Array {
  if ((((message[2] as number) << 8) | (message[3] as number)) === length) {
    mac.update(end === message.length ? message : message.subarray(0, end))
  } else {
    if (scratch.length < end) scratch = new Uint8Array(end)
    for (let i = 0; i < end; i++) scratch[i] = message[i] as number
    scratch[2] = length >>> 8
    scratch[3] = length & 0xff
    mac.update(scratch.subarray(0, end))
  }
  const out = digest.subarray(0, outLength)
  mac.digestInto(out)
  return out
}

/**
 * The OpaqueString profile (RFC 8265 4.2) as far as a sender can apply it: every space is U+0020, the rest NFC. ASCII passes as it is.
 * What the profile would refuse is left to fail at the other side's comparison.
 */
export function opaqueString(text: string): string {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return text.replace(/\p{Zs}/gu, ' ').normalize('NFC')
  return text
}

/** What long-term keys and USERHASH are hashed from is separated by it. */
export const COLON: Uint8Array = Uint8Array.of(0x3a)

/** The same as UTF-8; bytes that are no UTF-8 stay as they are. */
export function opaqueBytes(text: string | Uint8Array): Uint8Array {
  if (typeof text === 'string') return encoder.encode(opaqueString(text))
  try {
    return encoder.encode(opaqueString(strictDecoder.decode(text)))
  } catch {
    return text // what fatal decoding throws says no more than that it is none
  }
}

/** Compares without telling by its time where two tags of the same length differ. `at` is where the tag begins in `data`. */
export function sameTag(tag: Uint8Array, data: Uint8Array, at: number, length: number): boolean {
  let difference = 0
  for (let i = 0; i < length; i++) difference |= (tag[i] as number) ^ (data[at + i] as number)
  return difference === 0
}
