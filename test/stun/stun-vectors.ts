/** The messages of RFC 5769 and RFC 8489 appendix B, with the values the RFCs name for them. */
import { readFileSync } from 'node:fs'
import type { Check, MessageClass } from '../../src/stun/index.ts'

export interface Vector {
  readonly name: string
  readonly class: MessageClass
  readonly method: number
  readonly transactionId: string
  readonly shortTerm?: { readonly password: string }
  readonly longTerm?: { readonly username: string; readonly realm: string; readonly password: string }
  readonly software?: string
  readonly username?: string
  readonly userhash?: string
  readonly realm?: string
  readonly nonce?: string
  readonly priority?: number
  readonly iceControlled?: string
  readonly xorMappedAddress?: { readonly ip: string; readonly port: number }
  readonly integrity: Check
  readonly integritySha256: Check
  readonly fingerprint: Check
  readonly hex: string
}

export const vectors = JSON.parse(readFileSync(new URL('../vectors/stun.json', import.meta.url), 'utf8')) as readonly Vector[]

export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16))
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
