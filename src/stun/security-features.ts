/**
 * What RFC 8489 added to long-term credentials: the nonce cookie with its security features (9.2, 18.1), PASSWORD-ALGORITHM(S) (14.11,
 * 14.12) and USERHASH (14.4). Who uses them when is in long-term-client.ts and long-term-server.ts.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { COLON, opaqueBytes, type PasswordAlgorithm } from './integrity-key.ts'

export interface SecurityFeatures {
  /** Bit 0: PASSWORD-ALGORITHMS comes with this nonce. */
  readonly passwordAlgorithms: boolean
  /** Bit 1: USERHASH in place of USERNAME. */
  readonly usernameAnonymity: boolean
}

/** Characters of a nonce's cookie. */
export const COOKIE_LENGTH = 13
const COOKIE = /^obMatJos2[A-Za-z0-9+/]{4}/
export const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
/** RFC 8489 18.5.1. */
const NUMBERS: Readonly<Record<PasswordAlgorithm, number>> = { MD5: 1, 'SHA-256': 2 }

/** The 13 characters that a nonce begins with. The bits lie in the first 6 of 24, so in the first character. */
export function nonceCookie(features: SecurityFeatures): string {
  const bits = (features.passwordAlgorithms ? 32 : 0) | (features.usernameAnonymity ? 16 : 0)
  return `obMatJos2${BASE64.charAt(bits)}AAA`
}

/** Undefined when the nonce has no cookie: its server knows RFC 5389 only. */
export function nonceFeatures(nonce: string): SecurityFeatures | undefined {
  if (!COOKIE.test(nonce)) return undefined
  const bits = BASE64.indexOf(nonce.charAt(9))
  return { passwordAlgorithms: (bits & 32) !== 0, usernameAnonymity: (bits & 16) !== 0 }
}

/** The value of USERHASH: 32 bytes of SHA-256 (RFC 8489 14.4). A realm that is no text counts as it is. */
export function userhash(username: string, realm: string | Uint8Array): Uint8Array {
  return sha256.create().update(opaqueBytes(username)).update(COLON).update(opaqueBytes(realm)).digest()
}

/** The value of PASSWORD-ALGORITHMS, best first; of PASSWORD-ALGORITHM for a list of one. */
export function encodePasswordAlgorithms(algorithms: readonly PasswordAlgorithm[]): Uint8Array {
  const value = new Uint8Array(4 * algorithms.length) // neither of the two has parameters
  for (const [i, algorithm] of algorithms.entries()) value[4 * i + 1] = NUMBERS[algorithm]
  return value
}

/**
 * Those of the list that are known here, in its order; undefined when it is not a list. Parameters that an algorithm does not have make
 * it another one.
 */
export function decodePasswordAlgorithms(value: Uint8Array): readonly PasswordAlgorithm[] | undefined {
  const known: PasswordAlgorithm[] = []
  for (let at = 0; at < value.length; ) {
    if (at + 4 > value.length) return undefined
    const number = ((value[at] as number) << 8) | (value[at + 1] as number)
    const length = ((value[at + 2] as number) << 8) | (value[at + 3] as number)
    // A single PASSWORD-ALGORITHM leaves its padding to the attribute, so the last entry may end without.
    if (at + 4 + length > value.length) return undefined
    if (length === 0 && number === NUMBERS.MD5) known.push('MD5')
    if (length === 0 && number === NUMBERS['SHA-256']) known.push('SHA-256')
    at += 4 + ((length + 3) & ~3)
  }
  return known
}
