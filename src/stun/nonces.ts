/**
 * Nonces that a server need not remember: each has its time in it, and is bound to that and to the client's address by an HMAC. Thirty
 * characters, of which RFC 8489 9.2 has thirteen: what strangers are told should be short.
 */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import type { Address } from '../net/index.ts'
import type { Mac } from './integrity-key.ts'
import { BASE64 } from './security-features.ts'

/** Milliseconds modulo 2^36, which is two years: six characters. The HMAC is made of the whole time. */
const TIME_LENGTH = 6
const TIME_MODULUS = 64 ** TIME_LENGTH
/** 64 bits. They can be guessed only one request at a time, and only by who receives at the client's address. */
const MAC_BYTES = 8
const MAC_LENGTH = 11

const encoder = new TextEncoder()
const digest = new Uint8Array(32)

export class Nonces {
  readonly #cookie: string
  readonly #lifetime: number
  readonly #keyed: Mac
  #work: Mac | undefined

  /** @param cookie what each nonce begins with. @param lifetime milliseconds; above 0, and far below two years */
  constructor(cookie: string, secret: Uint8Array, lifetime: number) {
    this.#cookie = cookie
    this.#lifetime = lifetime
    this.#keyed = hmac.create(sha256, secret) as Mac
  }

  /** For one client address. @param now milliseconds on the clock that `fresh` will be asked with */
  make(client: Address, now: number): string {
    const time = Math.floor(now)
    return `${this.#cookie}${timeText(time)}${this.#mac(time, client)}`
  }

  /** Whether it was made for this client, here, and not too long ago. */
  fresh(nonce: string, client: Address, now: number): boolean {
    const { length } = this.#cookie
    if (nonce.length !== length + TIME_LENGTH + MAC_LENGTH || !nonce.startsWith(this.#cookie)) return false
    let made = 0
    for (let i = length; i < length + TIME_LENGTH; i++) {
      const digit = BASE64.indexOf(nonce.charAt(i))
      if (digit < 0) return false
      made = made * 64 + digit
    }
    const whole = Math.floor(now)
    // One from the future has an age of almost two years.
    const age = modulo(whole - made)
    return age < this.#lifetime && same(this.#mac(whole - age, client), nonce, length + TIME_LENGTH)
  }

  #mac(time: number, client: Address): string {
    this.#work = this.#keyed._cloneInto(this.#work)
    this.#work.update(encoder.encode(`${this.#cookie}${time} ${client.key}`))
    this.#work.digestInto(digest)
    let text = ''
    for (let i = 0; i < MAC_BYTES; i += 3) {
      const bits = ((digest[i] as number) << 16) | ((digest[i + 1] as number) << 8) | (digest[i + 2] as number)
      for (let shift = 18; shift >= 0; shift -= 6) text += BASE64.charAt((bits >>> shift) & 63)
    }
    return text.slice(0, MAC_LENGTH)
  }
}

function modulo(time: number): number {
  return ((time % TIME_MODULUS) + TIME_MODULUS) % TIME_MODULUS
}

function timeText(time: number): string {
  let rest = modulo(time)
  let text = ''
  for (let i = 0; i < TIME_LENGTH; i++) {
    text = BASE64.charAt(rest % 64) + text
    rest = Math.floor(rest / 64)
  }
  return text
}

/** Without telling by its time where they differ. Both have the same length behind `at`. */
function same(mac: string, nonce: string, at: number): boolean {
  let difference = 0
  for (let i = 0; i < MAC_LENGTH; i++) difference |= mac.charCodeAt(i) ^ nonce.charCodeAt(at + i)
  return difference === 0
}
