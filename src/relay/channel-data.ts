/**
 * ChannelData (RFC 8656 12.4): a channel number, a length and the data. Four bytes in place of an indication's 36 and more. Framing on a
 * stream is in stream-framer.ts.
 */

/** The numbers that can be bound (RFC 8656 12). RFC 5766 went to 0x7fff; what lies above 0x4fff is not told from other protocols (RFC 7983). */
export const FIRST_CHANNEL = 0x4000
export const LAST_CHANNEL = 0x4fff

export const CHANNEL_HEADER_LENGTH = 4

const LONGEST_PAYLOAD = 0xffff

/** By the first byte alone (RFC 7983 7): no proof that the rest makes sense. */
export function looksLikeChannelData(data: Uint8Array): boolean {
  return data.length >= CHANNEL_HEADER_LENGTH && ((data[0] as number) & 0xf0) === 0x40
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
 * Header and payload in one new buffer, zero-padded to 4 bytes where asked for, as streams have it (RFC 8656 12.5).
 * @throws RangeError for a payload above 65,535 bytes
 */
export function encodeChannelData(channel: number, payload: Uint8Array, padded: boolean): Uint8Array {
  const { length } = payload
  if (length > LONGEST_PAYLOAD) throw new RangeError(`ChannelData carries at most ${LONGEST_PAYLOAD} bytes, not ${length}`)
  const end = CHANNEL_HEADER_LENGTH + length
  const data = new Uint8Array(padded ? (end + 3) & ~3 : end)
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
