/**
 * The server's side of long-term credentials (RFC 8489 9.2.4). Stateless: nothing is kept for clients that have not proved themselves
 * (nonces.ts). Sans-I/O; time comes in as `now`. A server that has passwords at hand calls `verify`; one that has to ask for them reads what
 * a request claims first, and judges it when it knows.
 */
import { bytesToHex } from '@noble/hashes/utils.js'
import type { Address } from '../net/index.ts'
import { IntegrityKey, opaqueString, type PasswordAlgorithm, sameTag } from './integrity-key.ts'
import type { Message } from './message.ts'
import { Nonces } from './nonces.ts'
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

/** What a request says of itself; nothing of it is proven but by `fresh`. */
export interface Claim {
  readonly kind: 'claimed'
  /** Undefined when it is that of nobody here: a USERHASH that is not known, or a name that is no text. */
  readonly username: string | undefined
  readonly algorithm: PasswordAlgorithm
  /** Its nonce is one that this server gave to this address: who sent it receives there. */
  readonly fresh: boolean
}

export type Verdict =
  | { readonly kind: 'accepted'; readonly username: string; readonly key: IntegrityKey; readonly sha256: boolean }
  | { readonly kind: 'rejected'; readonly code: 400 | 401 | 438; readonly reason: string }
export type Rejection = Verdict & { readonly kind: 'rejected' }

/** Bytes of USERNAME (RFC 8489 14.3). A longer one is nobody's, and bringing it to its normal form may take time that grows with its square. */
const LONGEST_USERNAME = 508
/** Keys that are remembered; a hash each is the price of forgetting one. */
const KEYS_KEPT = 1024
/** Nonces tell their age only up to two years. */
const LONGEST_NONCE_LIFETIME = 366 * 86_400_000

const BAD_REQUEST: Rejection = { kind: 'rejected', code: StunError.BadRequest, reason: 'Bad Request' }
const UNAUTHENTICATED: Rejection = { kind: 'rejected', code: StunError.Unauthenticated, reason: 'Unauthenticated' }
const STALE: Rejection = { kind: 'rejected', code: StunError.StaleNonce, reason: 'Stale Nonce' }

export class LongTermVerifier {
  readonly #options: LongTermVerifierOptions
  readonly #cookie: string
  readonly #nonces: Nonces
  /** The value of PASSWORD-ALGORITHMS; undefined when none are offered. */
  readonly #algorithms: Uint8Array | undefined
  readonly #keys = new Map<string, { readonly password: string; readonly key: IntegrityKey }>()

  constructor(options: LongTermVerifierOptions) {
    if (options.secret.length < 16) throw new RangeError(`secret must have at least 16 bytes, not ${options.secret.length}`)
    const lifetime = options.nonceLifetime ?? 600_000
    if (!(lifetime > 0 && lifetime <= LONGEST_NONCE_LIFETIME)) {
      throw new RangeError(`nonceLifetime must be above 0, and a year at most, not ${lifetime}`)
    }
    const algorithms = options.algorithms ?? ['SHA-256', 'MD5']
    this.#options = options
    this.#algorithms = algorithms.length === 0 ? undefined : encodePasswordAlgorithms(algorithms)
    this.#cookie = nonceCookie({ passwordAlgorithms: algorithms.length > 0, usernameAnonymity: options.usernameOf !== undefined })
    this.#nonces = new Nonces(this.#cookie, options.secret, lifetime)
  }

  /** A nonce for one client address. @param now milliseconds on the clock that `verify` will be asked with */
  nonce(client: Address, now: number): string {
    return this.#nonces.make(client, now)
  }

  /** The checks of RFC 8489 9.2.4, in its order. */
  verify(request: Message, client: Address, now: number): Verdict {
    const claim = this.read(request, client, now)
    if (claim.kind === 'rejected') return claim
    const password = claim.username === undefined ? undefined : this.#options.password(claim.username)
    return password === undefined ? UNAUTHENTICATED : this.judge(request, claim, password)
  }

  /** The part of those checks that needs no password. A 401 here is a request without credentials, which is no failure. */
  read(request: Message, client: Address, now: number): Claim | Rejection {
    if (!request.has(Attribute.MessageIntegritySha256) && !request.has(Attribute.MessageIntegrity)) return UNAUTHENTICATED
    const named = request.has(Attribute.Username) || request.has(Attribute.Userhash)
    if (!named || !request.has(Attribute.Nonce) || !request.has(Attribute.Realm)) return BAD_REQUEST
    // One that is no text is not from here.
    const nonce = request.text(Attribute.Nonce) ?? ''
    const algorithm = this.#algorithmOf(request, nonce)
    if (algorithm === undefined) return BAD_REQUEST
    return { kind: 'claimed', username: this.#usernameOf(request), algorithm, fresh: this.#nonces.fresh(nonce, client, now) }
  }

  /** The rest of them, with the password of the user that it claims to be; undefined when there is no such user. */
  judge(request: Message, claim: Claim, password: string | undefined): Verdict {
    if (claim.username === undefined || password === undefined) return UNAUTHENTICATED
    const key = this.keyOf(claim.username, password, claim.algorithm)
    if (!proves(request, key)) return UNAUTHENTICATED
    if (!claim.fresh) return STALE
    return { kind: 'accepted', username: claim.username, key, sha256: request.has(Attribute.PasswordAlgorithm) }
  }

  /** The key of a user, made once for as long as it is in use. */
  keyOf(username: string, password: string, algorithm: PasswordAlgorithm): IntegrityKey {
    const id = `${algorithm}:${username}`
    const kept = this.#keys.get(id)
    if (kept?.password === password) return kept.key
    const key = IntegrityKey.longTerm(username, this.#options.realm, password, algorithm)
    if (this.#keys.size >= KEYS_KEPT) this.#keys.clear()
    this.#keys.set(id, { password, key })
    return key
  }

  /** Adds to an error response what a rejection says: ERROR-CODE, and for 401 and 438 a new challenge. */
  writeRejection(writer: MessageWriter, verdict: Rejection, client: Address, now: number): void {
    writer.errorCode(verdict.code, verdict.reason)
    if (verdict.code === StunError.BadRequest) return // RFC 8489 9.2.4: neither REALM nor NONCE in a 400
    writer.text(Attribute.Realm, this.#options.realm).text(Attribute.Nonce, this.nonce(client, now))
    if (this.#algorithms !== undefined) writer.bytes(Attribute.PasswordAlgorithms, this.#algorithms)
  }

  /** Adds to a response the integrity that answers the request's (RFC 8489 9.2.4, last rule). Only FINGERPRINT may follow. */
  authenticate(writer: MessageWriter, verdict: { readonly key: IntegrityKey; readonly sha256: boolean }): void {
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
    const name = request.value(Attribute.Username)
    if (name !== undefined) {
      const username = name.length > LONGEST_USERNAME ? undefined : request.text(Attribute.Username)
      return username === undefined ? undefined : opaqueString(username)
    }
    const hash = request.value(Attribute.Userhash)
    return hash?.length === 32 ? this.#options.usernameOf?.(bytesToHex(hash)) : undefined
  }
}

/** Whether the request's integrity, the stronger of the two where it has both, is of this key. */
export function proves(request: Message, key: IntegrityKey): boolean {
  const check = request.has(Attribute.MessageIntegritySha256) ? request.integritySha256(key) : request.integrity(key)
  return check === 'valid'
}
