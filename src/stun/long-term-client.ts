/**
 * The client's side of long-term credentials (RFC 8489 9.2.3, 9.2.5): one object per server, which remembers what the server asked for,
 * puts it into requests and judges responses. Sans-I/O; sending the retry, and how often, is the caller's.
 */
import { IntegrityKey, opaqueString, type PasswordAlgorithm } from './integrity-key.ts'
import type { Check, Message } from './message.ts'
import { Attribute, StunError } from './registry.ts'
import {
  COOKIE_LENGTH,
  decodePasswordAlgorithms,
  encodePasswordAlgorithms,
  nonceFeatures,
  type SecurityFeatures,
  userhash,
} from './security-features.ts'
import type { MessageWriter } from './writer.ts'

/** What a server asked for, and the key that answers it. */
interface Challenge {
  /** As they came, and as they go back: some servers have nonces that are no text. */
  readonly realm: Uint8Array
  readonly nonce: Uint8Array
  /** PASSWORD-ALGORITHMS as it came, to be sent back as it is; undefined from servers of RFC 5389. */
  readonly algorithms: Uint8Array | undefined
  readonly algorithm: PasswordAlgorithm
  readonly username: string
  readonly password: string
  /** USERHASH goes in place of USERNAME. */
  readonly userhash: Uint8Array | undefined
  readonly key: IntegrityKey
}

/** With which credentials a request was sent: what `authenticate` returns, for the calls that judge the response. */
export interface Attempt {
  /** @internal */
  readonly challenge: Challenge | undefined
}

export type Reaction =
  /** Send the request again, as a new transaction and through `authenticate` again. */
  { readonly kind: 'retry' } | { readonly kind: 'give-up'; readonly reason: string }

/** Bytes of REALM and of NONCE (RFC 8489 14.9, 14.10). Making a key of a longer realm may take time that grows with its square. */
const LONGEST_TEXT = 763
const RETRY: Reaction = Object.freeze({ kind: 'retry' })
const UNAUTHENTICATED: Attempt = Object.freeze({ challenge: undefined })

export class LongTermCredential {
  #username: string
  #password: string
  #challenge: Challenge | undefined
  #attempt: Attempt = UNAUTHENTICATED

  constructor(username: string, password: string) {
    this.#username = opaqueString(username)
    this.#password = password
  }

  /** Undefined until the server has asked. What is not UTF-8 is replaced: fit for reports only. */
  get realm(): string | undefined {
    const realm = this.#challenge?.realm
    return realm === undefined ? undefined : new TextDecoder().decode(realm)
  }

  /** Credentials that expire: what follows goes out under these. What the server asked for stays. */
  replace(username: string, password: string): void {
    this.#username = opaqueString(username)
    this.#password = password
    const { realm, nonce, algorithms } = this.#challenge ?? {}
    if (realm !== undefined && nonce !== undefined) this.#adopt(realm, nonce, algorithms)
  }

  /**
   * Adds what makes a request authenticated, MESSAGE-INTEGRITY or its SHA-256 sibling last; nothing before the server has asked
   * (RFC 8489 9.2.3.1). Only FINGERPRINT may follow.
   */
  authenticate(writer: MessageWriter): Attempt {
    const challenge = this.#challenge
    if (challenge === undefined) return UNAUTHENTICATED
    if (challenge.userhash === undefined) writer.text(Attribute.Username, challenge.username)
    else writer.bytes(Attribute.Userhash, challenge.userhash)
    writer.bytes(Attribute.Realm, challenge.realm).bytes(Attribute.Nonce, challenge.nonce)
    if (challenge.algorithms === undefined) writer.integrity(challenge.key)
    else {
      // RFC 8489 9.2.5: the list goes back as it came, so that a list shortened on the way is noticed by the server.
      writer.bytes(Attribute.PasswordAlgorithms, challenge.algorithms)
      writer.bytes(Attribute.PasswordAlgorithm, encodePasswordAlgorithms([challenge.algorithm])).integritySha256(challenge.key)
    }
    return this.#attempt
  }

  /** The integrity of a response under the key, and of the kind, that its request had. 'absent' also for a request that had none. */
  verify(response: Message, attempt: Attempt): Check {
    const challenge = attempt.challenge
    if (challenge === undefined) return 'absent'
    // RFC 8489 9.2.4: who asked with PASSWORD-ALGORITHM is answered with SHA-256; taking less would be a bid down.
    return challenge.algorithms === undefined ? response.integrity(challenge.key) : response.integritySha256(challenge.key)
  }

  /**
   * May this response be acted on (RFC 8489 9.2.5)? False means to go on waiting as if it had not come: fit for a transaction's `accept`.
   * A 401 or 438 cannot prove itself and is let through to `react`, which can do no worse than send again.
   */
  accepts(response: Message, attempt: Attempt): boolean {
    const code = response.class === 'error' ? response.errorCode()?.code : undefined
    if (code === StunError.Unauthenticated || code === StunError.StaleNonce) return true
    const listed = featuresOf(response.value(Attribute.Nonce))?.passwordAlgorithms === true
    if (listed && !response.has(Attribute.PasswordAlgorithms)) return false
    return attempt.challenge === undefined || this.verify(response, attempt) === 'valid'
  }

  /** What to do about an error response. Everything but 401 and 438 is given up here, and is for the caller to read. */
  react(response: Message, attempt: Attempt): Reaction {
    const error = response.errorCode()
    if (response.class !== 'error' || error === undefined) return giveUp('not an error response')
    const stale = error.code === StunError.StaleNonce
    if (!stale && error.code !== StunError.Unauthenticated) return giveUp(`error ${error.code} ${error.reason}`)
    const used = attempt.challenge
    const nonce = response.value(Attribute.Nonce)
    const realm = response.value(Attribute.Realm) ?? (stale ? used?.realm : undefined)
    if (nonce === undefined || realm === undefined) return giveUp(`error ${error.code} without REALM or NONCE`)
    if (nonce.length > LONGEST_TEXT || realm.length > LONGEST_TEXT)
      return giveUp(`error ${error.code} with a REALM or NONCE that is too long`)
    const algorithms = response.value(Attribute.PasswordAlgorithms)
    if (algorithms === undefined && featuresOf(nonce)?.passwordAlgorithms === true) {
      // RFC 8489 9.2.1: the nonce says that there was a list. Someone on the path took it away.
      return giveUp('PASSWORD-ALGORITHMS was removed on the way: a bid-down attack')
    }
    if (algorithms !== undefined && !decodePasswordAlgorithms(algorithms)?.length) {
      return giveUp('no password algorithm in common with the server')
    }
    if (used !== undefined) {
      // RFC 8489 9.2.5: the same answer to the same question would be refused again.
      const same = equal(used.realm, realm) && used.username === this.#username && used.password === this.#password
      if (!stale && same) return giveUp(error.reason === '' ? 'Unauthenticated' : error.reason)
      if (stale && equal(used.nonce, nonce) && this.#challenge === used) return giveUp('the server calls the nonce stale that it gives out')
      // Once agreed on, SHA-256 is not given up again for a message that proves nothing (RFC 8489 9.2.5, last rule).
      if (used.algorithms !== undefined && algorithms === undefined) {
        return giveUp('the server no longer offers password algorithms: a bid-down attack')
      }
    }
    this.#adopt(realm.slice(), nonce.slice(), algorithms?.slice())
    return RETRY
  }

  #adopt(realm: Uint8Array, nonce: Uint8Array, algorithms: Uint8Array | undefined): void {
    const [username, password] = [this.#username, this.#password]
    const algorithm = (algorithms === undefined ? undefined : decodePasswordAlgorithms(algorithms)?.[0]) ?? 'MD5'
    const last = this.#challenge
    const sameUser = last?.username === username && last.password === password
    const sameKey = sameUser && equal(last.realm, realm) && last.algorithm === algorithm
    this.#challenge = {
      realm,
      nonce,
      algorithms,
      algorithm,
      username,
      password,
      userhash: featuresOf(nonce)?.usernameAnonymity === true ? userhash(username, realm) : undefined,
      key: sameKey ? last.key : IntegrityKey.longTerm(username, realm, password, algorithm),
    }
    this.#attempt = { challenge: this.#challenge }
  }
}

/** The cookie is ASCII; what follows it may be any bytes. */
function featuresOf(nonce: Uint8Array | undefined): SecurityFeatures | undefined {
  return nonce === undefined ? undefined : nonceFeatures(String.fromCharCode(...nonce.subarray(0, COOKIE_LENGTH)))
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

function giveUp(reason: string): Reaction {
  return { kind: 'give-up', reason }
}
