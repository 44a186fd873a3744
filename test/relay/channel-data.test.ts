import { describe, expect, it } from 'vitest'
import { channelOf, channelPayload, encodeChannelData, looksLikeChannelData } from '../../src/relay/channel-data.ts'

const payload = Uint8Array.of(1, 2, 3, 4, 5)

describe('ChannelData', () => {
  it('is a number, a length and the data, without padding in a datagram', () => {
    expect([...encodeChannelData(0x4001, payload, false)]).toEqual([0x40, 0x01, 0, 5, 1, 2, 3, 4, 5])
  })

  it('is padded with zeros to four bytes on a stream, and its length does not count them', () => {
    expect([...encodeChannelData(0x4fff, payload, true)]).toEqual([0x4f, 0xff, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0])
    expect(encodeChannelData(0x4000, payload.subarray(0, 4), true)).toHaveLength(8)
  })

  it('gives its payload as a view, whatever follows it', () => {
    const data = encodeChannelData(0x4123, payload, true)
    expect(channelOf(data)).toBe(0x4123)
    expect([...channelPayload(data)!]).toEqual([...payload])
    expect(channelPayload(data)!.buffer).toBe(data.buffer)
  })

  it('may carry nothing', () => {
    const data = encodeChannelData(0x4000, new Uint8Array(0), false)
    expect(looksLikeChannelData(data)).toBe(true)
    expect(channelPayload(data)).toHaveLength(0)
  })

  it('that promises more than there is has no payload', () => {
    expect(channelPayload(Uint8Array.of(0x40, 0, 0, 2, 1))).toBeUndefined()
  })

  it('is told from all else by its first byte, and needs a header', () => {
    expect(looksLikeChannelData(Uint8Array.of(0x40, 0, 0, 0))).toBe(true)
    expect(looksLikeChannelData(Uint8Array.of(0x7f, 0, 0, 0))).toBe(true)
    for (const first of [0x00, 0x3f, 0x80, 0xc0]) expect(looksLikeChannelData(Uint8Array.of(first, 0, 0, 0))).toBe(false)
    expect(looksLikeChannelData(Uint8Array.of(0x40, 0, 0))).toBe(false)
  })

  it('cannot carry more than its length field can say', () => {
    expect(encodeChannelData(0x4000, new Uint8Array(0xffff), true)).toHaveLength(0x10004)
    expect(() => encodeChannelData(0x4000, new Uint8Array(0x10000), true)).toThrow(RangeError)
  })
})
