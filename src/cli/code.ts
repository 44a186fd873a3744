/**
 * A signal as one line that a person can copy and paste: JSON, deflated, in base64url, after a mark that tells what it is.
 * It holds a password of this one session: give it to the peer, not to the world.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { readSignal, type Signal } from '../signal/index.ts'

/** The version is in the mark. */
const MARK = 'sallyport1-'
/** No honest signal is larger; a small hostile code could unfold to gigabytes. */
const MAX_BYTES = 65_536

export function encodeCode(signal: Signal): string {
  return MARK + deflateRawSync(JSON.stringify(signal), { level: 9 }).toString('base64url')
}

/** The signal in a pasted text, or in words why there is none. White space, which mail and terminals put in, does no harm. Never throws. */
export function decodeCode(text: string): Signal | string {
  const code = text.replace(/\s+/g, '')
  if (!code.startsWith(MARK)) return `a code starts with ${MARK}`
  const body = code.slice(MARK.length)
  if (!/^[\w-]+$/.test(body)) return 'it holds characters that no code has'
  let signal: Signal
  try {
    signal = JSON.parse(inflateRawSync(Buffer.from(body, 'base64url'), { maxOutputLength: MAX_BYTES }).toString('utf8')) as Signal
  } catch {
    return 'it is damaged or not complete'
  }
  const read = readSignal(signal)
  return typeof read === 'string' ? read : signal
}
