/**
 * ChannelData (RFC 8656 12.4): a channel number, a length and the data. Four bytes in place of an indication's 36 and more. Framing on a
 * stream is in stream-framer.ts.
 */
import { Slab } from './slab.ts'

/** The numbers that a client may bind (RFC 8656 12). */
export const FIRST_CHANNEL = 0x4000
export const LAST_CHANNEL = 0x4fff
/**
 * How far RFC 5766 11 went. Clients of its time draw from all of it, so that a server which keeps to RFC 8656 turns three of four away; it is
 * on ports where nothing else begins like that, and RFC 7983 has nothing to tell apart.
 */
export const LAST_OLD_CHANNEL = 0x7ffe
/** Channels of one allocation: as many as RFC 8656 has numbers. */
export const MOST_CHANNELS: number = LAST_CHANNEL - FIRST_CHANNEL + 1

export const CHANNEL_HEADER_LENGTH = 4

const LONGEST_PAYLOAD = 0xffff

const slab = new Slab()

/** By the first byte alone, which begins with 0b01 (RFC 5766 11.4): no proof that the rest makes sense. */
export function looksLikeChannelData(data: Uint8Array): boolean {
  return data.length >= CHANNEL_HEADER_LENGTH && ((data[0] as number) & 0xc0) === 0x40
}

/** The number, of data that looks like ChannelData. */
export function channelOf(data: Uint8Array): number {
  return ((data[0] as number) << 8) | (data[1] as number)
}

/** The payload, a view; undefined when the length field says more than there is. What is there beyond it is padding (RFC 8656 12.5). */
export function channelPayload(data: Uint8Array): Uint8Array | undefined {
  const end = CHANNEL_HEADER_LENGTH + (((data[2] as number) << 8) | (data[3] as number))
  return end > data.length ? undefined : data.subarray(CHANNEL_HEADER_LENGTH, end)
}

/**
 * Header and payload in one piece of new memory, zero-padded to 4 bytes where asked for, as streams have it (RFC 8656 12.5).
 * @throws RangeError for a payload above 65,535 bytes
 */
export function encodeChannelData(channel: number, payload: Uint8Array, padded: boolean): Uint8Array {
  const { length } = payload
  if (length > LONGEST_PAYLOAD) throw new RangeError(`ChannelData carries at most ${LONGEST_PAYLOAD} bytes, not ${length}`)
  const end = CHANNEL_HEADER_LENGTH + length
  const data = slab.take(padded ? (end + 3) & ~3 : end)
  writeChannelHeader(data, channel, length)
  data.set(payload, CHANNEL_HEADER_LENGTH)
  return data
}

/** The four bytes at the front of `data`, for those who have room before their payload. */
export function writeChannelHeader(data: Uint8Array, channel: number, length: number): void {
  data[0] = channel >>> 8
  data[1] = channel
  data[2] = length >>> 8
  data[3] = length
}
