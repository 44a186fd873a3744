/**
 * Credentials that expire, made from a secret that a relay and a credentials service share ("A REST API for access to TURN services", the
 * convention of coturn, eturnal and others): the user name is `expiry:user`, the password its HMAC-SHA1 in base64. Nothing has to be
 * looked up to check one. This says how they are made; who is let in, and for how long, is the service's.
 */
import { hmac } from '@noble/hashes/hmac.js'
import { sha1 } from '@noble/hashes/legacy.js'

/** Milliseconds. */
const DEFAULT_TTL = 3_600_000

const encoder = new TextEncoder()

export interface RestCredentialsOptions {
  /** As the relay has it: `secrets` here, `static-auth-secret` of coturn, `secret` of eturnal. */
  readonly secret: string
  /** Who gets them; for quotas and logs. Without it the user name is the expiry alone. */
  readonly user?: string
  /** Milliseconds that they are good for; one hour by default. */
  readonly ttl?: number
  /** Milliseconds since 1970: `clock.wallTime()`, or `Date.now()`. */
  readonly now: number
}

export interface RestCredentials {
  readonly username: string
  readonly password: string
  /** Milliseconds since 1970: the last second of the user name's. */
  readonly expires: number
}

/** @throws TypeError without a secret; RangeError for times that make no sense */
export function restCredentials(options: RestCredentialsOptions): RestCredentials {
  const { secret, user, ttl = DEFAULT_TTL, now } = options
  if (typeof secret !== 'string' || secret === '') throw new TypeError('secret must be a text that is not empty')
  if (!(ttl > 0)) throw new RangeError(`ttl must be above 0 milliseconds, not ${ttl}`)
  if (!(now >= 0)) throw new RangeError(`now must be milliseconds since 1970, not ${now}`)
  const expirySeconds = Math.floor((now + ttl) / 1000)
  if (!Number.isSafeInteger(expirySeconds)) throw new RangeError(`ttl is too long: ${ttl}`)
  const username = user === undefined || user === '' ? `${expirySeconds}` : `${expirySeconds}:${user}`
  return { username, password: restPassword(secret, username), expires: expirySeconds * 1000 }
}

/** The password of such a user name. */
export function restPassword(secret: string, username: string): string {
  return btoa(String.fromCharCode(...hmac(sha1, encoder.encode(secret), encoder.encode(username))))
}

/** What such a user name says: when it expires, in milliseconds since 1970, and for whom it is (''). Undefined for any other name. */
export function readRestUsername(username: string): { readonly expires: number; readonly user: string } | undefined {
  const match = /^(\d{1,12})(?::(.*))?$/s.exec(username)
  return match === null ? undefined : { expires: Number(match[1]) * 1000, user: match[2] ?? '' }
}
