/** User fragments and passwords (RFC 8445 5.3, RFC 8839 5.4). */
import type { Random } from '../net/index.ts'

export interface Credentials {
  /** 4 to 256 ice-chars. */
  readonly ufrag: string
  /** 22 to 256 ice-chars. */
  readonly pwd: string
}

const ICE_CHARS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
/** 48 bits: RFC 8445 5.3 asks for 24, but one process may have ten thousand sessions to tell apart by it. */
const UFRAG_LENGTH = 8
/** 144 bits; RFC 8445 5.3 asks for 128. */
const PWD_LENGTH = 24

export function createCredentials(random: Random): Credentials {
  return { ufrag: iceChars(random, UFRAG_LENGTH), pwd: iceChars(random, PWD_LENGTH) }
}

/** Within the lengths and characters of RFC 8839 5.4. */
export function areCredentials(value: { readonly ufrag: unknown; readonly pwd: unknown }): value is Credentials {
  return isIceText(value.ufrag, 4) && isIceText(value.pwd, 22)
}

function isIceText(value: unknown, least: number): boolean {
  return typeof value === 'string' && value.length >= least && value.length <= 256 && /^[A-Za-z0-9+/]+$/.test(value)
}

function iceChars(random: Random, length: number): string {
  let text = ''
  // 64 characters: six bits of each byte, without bias.
  for (const byte of random.bytes(length)) text += ICE_CHARS[byte & 63]
  return text
}
