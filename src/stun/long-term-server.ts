/**
 * The server's side of long-term credentials (RFC 8489 9.2.4). Stateless: a nonce carries its time and is bound to the client's address by
 * an HMAC, so nothing is kept for clients that have not proved themselves. Sans-I/O; time comes in as `now`.
 */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import type { Address } from '../net/index.ts'
import { IntegrityKey, opaqueString, type PasswordAlgorithm, sameTag } from './integrity-key.ts'
import type { Message } from './message.ts'
import { Attribute, StunError } from './registry.ts'
import { decodePasswordAlgorithms, encodePasswordAlgorithms, nonceCookie } from './security-features.ts'
import type { MessageWriter } from './writer.ts'

export interface LongTermVerifierOptions {
  /** RFC 8489 9.2.4 recommends the provider's domain name. */
  readonly realm: string
  /** What nonces are made with: 32 random bytes, shared by servers that stand behind one address. Copied. */
  readonly secret: Uint8Array
  /** The password of a user; undefined when there is none of that name. */
  readonly password: (username: string) => string | undefined
  /** The name behind a USERHASH, given as 64 hex digits. Turns username anonymity on. */
  readonly usernameOf?: (userhash: string) => string | undefined
  /** Offered to clients, best first; SHA-256 and MD5 by default. An empty list makes a server of RFC 5389. */
  readonly algorithms?: readonly PasswordAlgorithm[]
  /** Milliseconds that a nonce is good for; 600,000 by default. */
  readonly nonceLifetime?: number
}

export type Verdict =
  | { readonly kind: 'accepted'; readonly username: string; readonly key: IntegrityKey; readonly sha256: boolean }
  | { readonly kind: 'rejected'; readonly code: 400 | 401 | 438; readonly reason: string }

const MAC_LENGTH = 16
/** Keys that are remembered; a hash each is the price of forgetting one. */
const KEYS_KEPT = 1024

const BAD_REQUEST = { kind: 'rejected', code: StunError.BadRequest, reason: 'Bad Request' } as const
const UNAUTHENTICATED = { kind: 'rejected', code: StunError.Unauthenticated, reason: 'Unauthenticated' } as const
const STALE = { kind: 'rejected', code: StunError.StaleNonce, reason: 'Stale Nonce' } as const

export class LongTermVerifier {
  readonly #options: LongTermVerifierOptions
  readonly #secret: Uint8Array
  readonly #cookie: string
  readonly #lifetime: number
  /** The value of PASSWORD-ALGORITHMS; undefined when none are offered. */
  readonly #algorithms: Uint8Array | undefined
  readonly #keys = new Map<string, { readonly password: string; readonly key: IntegrityKey }>()

  constructor(options: LongTermVerifierOptions) {
    if (options.secret.length < 16) throw new RangeError(`secret must have at least 16 bytes, not ${options.secret.length}`)
    const lifetime = options.nonceLifetime ?? 600_000
    if (!(lifetime > 0)) throw new RangeError(`nonceLifetime must be above 0, not ${lifetime}`)
    const algorithms = options.algorithms ?? ['SHA-256', 'MD5']
    this.#options = options
    this.#secret = options.secret.slice()
    this.#lifetime = lifetime
    this.#algorithms = algorithms.length === 0 ? undefined : encodePasswordAlgorithms(algorithms)
    this.#cookie = nonceCookie({ passwordAlgorithms: algorithms.length > 0, usernameAnonymity: options.usernameOf !== undefined })
  }

  /** A nonce for one client address. @param now milliseconds on the clock that `verify` will be asked with */
  nonce(client: Address, now: number): string {
    const time = Math.floor(now).toString(16).padStart(12, '0')
    return `${this.#cookie}${time}${this.#mac(time, client)}`
  }

  /** The checks of RFC 8489 9.2.4, in its order. */
  verify(request: Message, client: Address, now: number): Verdict {
    const withSha256 = request.has(Attribute.MessageIntegritySha256)
    if (!withSha256 && !request.has(Attribute.MessageIntegrity)) return UNAUTHENTICATED
    const named = request.has(Attribute.Username) || request.has(Attribute.Userhash)
    const nonce = request.text(Attribute.Nonce)
    if (!named || nonce === undefined || !request.has(Attribute.Realm)) return BAD_REQUEST
    const algorithm = this.#algorithmOf(request, nonce)
    if (algorithm === undefined) return BAD_REQUEST
    const username = this.#usernameOf(request)
    const password = username === undefined ? undefined : this.#options.password(username)
    if (username === undefined || password === undefined) return UNAUTHENTICATED
    const key = this.#keyOf(username, password, algorithm)
    const check = withSha256 ? request.integritySha256(key) : request.integrity(key)
    if (check !== 'valid') return UNAUTHENTICATED
    if (!this.#fresh(nonce, client, now)) return STALE
    return { kind: 'accepted', username, key, sha256: request.has(Attribute.PasswordAlgorithm) }
  }

  /** Adds to an error response what a rejection says: ERROR-CODE, and for 401 and 438 a new challenge. */
  writeRejection(writer: MessageWriter, verdict: Verdict & { readonly kind: 'rejected' }, client: Address, now: number): void {
    writer.errorCode(verdict.code, verdict.reason)
    if (verdict.code === StunError.BadRequest) return // RFC 8489 9.2.4: neither REALM nor NONCE in a 400
    writer.text(Attribute.Realm, this.#options.realm).text(Attribute.Nonce, this.nonce(client, now))
    if (this.#algorithms !== undefined) writer.bytes(Attribute.PasswordAlgorithms, this.#algorithms)
  }

  /** Adds to a response the integrity that answers the request's (RFC 8489 9.2.4, last rule). Only FINGERPRINT may follow. */
  authenticate(writer: MessageWriter, verdict: Verdict & { readonly kind: 'accepted' }): void {
    if (verdict.sha256) writer.integritySha256(verdict.key)
    else writer.integrity(verdict.key)
  }

  /** Undefined when what the client says of algorithms is not what this server said to it. */
  #algorithmOf(request: Message, nonce: string): PasswordAlgorithm | undefined {
    const all = request.value(Attribute.PasswordAlgorithms)
    const one = request.value(Attribute.PasswordAlgorithm)
    if (all === undefined && one === undefined) return 'MD5'
    // A nonce with another cookie is not from here, or from before a restart: only the list of now can be compared with.
    if (this.#algorithms === undefined || !nonce.startsWith(this.#cookie)) {
      return one === undefined ? 'MD5' : decodePasswordAlgorithms(one)?.[0]
    }
    if (all === undefined || one === undefined || all.length !== this.#algorithms.length) return undefined
    if (!sameTag(this.#algorithms, all, 0, all.length)) return undefined
    const [chosen, ...more] = decodePasswordAlgorithms(one) ?? []
    if (chosen === undefined || more.length > 0) return undefined
    return decodePasswordAlgorithms(all)?.includes(chosen) === true ? chosen : undefined
  }

  #usernameOf(request: Message): string | undefined {
    const username = request.text(Attribute.Username)
    if (username !== undefined) return opaqueString(username)
    const hash = request.value(Attribute.Userhash)
    return hash?.length === 32 ? this.#options.usernameOf?.(bytesToHex(hash)) : undefined
  }

  #keyOf(username: string, password: string, algorithm: PasswordAlgorithm): IntegrityKey {
    const id = `${algorithm}:${username}`
    const kept = this.#keys.get(id)
    if (kept?.password === password) return kept.key
    const key = IntegrityKey.longTerm(username, this.#options.realm, password, algorithm)
    if (this.#keys.size >= KEYS_KEPT) this.#keys.clear()
    this.#keys.set(id, { password, key })
    return key
  }

  #fresh(nonce: string, client: Address, now: number): boolean {
    const cookie = this.#cookie.length
    if (nonce.length !== cookie + 12 + 2 * MAC_LENGTH || !nonce.startsWith(this.#cookie)) return false
    const time = nonce.slice(cookie, cookie + 12)
    if (!/^[0-9a-f]{12}$/.test(time)) return false
    const issued = Number.parseInt(time, 16)
    if (issued > now || now - issued >= this.#lifetime) return false
    const encoder = new TextEncoder()
    const expected = encoder.encode(this.#mac(time, client))
    const given = encoder.encode(nonce.slice(cookie + 12))
    return given.length === expected.length && sameTag(expected, given, 0, expected.length)
  }

  #mac(time: string, client: Address): string {
    return bytesToHex(hmac(sha256, this.#secret, new TextEncoder().encode(`${this.#cookie}${time} ${client.key}`)).subarray(0, MAC_LENGTH))
  }
}
