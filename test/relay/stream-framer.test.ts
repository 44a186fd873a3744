import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { channelPayload, encodeChannelData } from '../../src/relay/channel-data.ts'
import { StreamFramer } from '../../src/relay/stream-framer.ts'
import { Attribute, Message, MessageWriter, Method } from '../../src/stun/index.ts'

function stun(data: Uint8Array): Uint8Array {
  return new MessageWriter().start('indication', Method.Data, new Uint8Array(12)).bytes(Attribute.Data, data).finish().slice()
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

/** A framer and what came out of it. */
function framing(longest?: number): { readonly framer: StreamFramer; readonly frames: Uint8Array[] } {
  const frames: Uint8Array[] = []
  return { framer: new StreamFramer((data) => frames.push(data), longest === undefined ? {} : { longest }), frames }
}

describe('C68 a stream', () => {
  it('of several frames in one chunk gives each of them, as views', () => {
    const { framer, frames } = framing()
    const whole = concat([stun(Uint8Array.of(1)), encodeChannelData(0x4000, Uint8Array.of(2, 3, 4), true), stun(new Uint8Array(9))])
    expect(framer.push(whole)).toBe(true)
    expect(frames.map(({ length }) => length)).toEqual([28, 7, 36])
    for (const frame of frames) expect(frame.buffer).toBe(whole.buffer)
    expect([...channelPayload(frames[1]!)!]).toEqual([2, 3, 4])
  })

  it('gives the same frames however it is cut', () => {
    const frame = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map(stun),
      fc
        .tuple(fc.integer({ min: 0x4000, max: 0x4fff }), fc.uint8Array({ maxLength: 300 }))
        .map(([channel, data]) => encodeChannelData(channel, data, true)),
    )
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 200 }), (sent, cuts) => {
        const { framer, frames } = framing()
        const whole = concat(sent)
        let at = 0
        for (const size of [...cuts, whole.length]) {
          expect(framer.push(whole.slice(at, at + size))).toBe(true)
          at = Math.min(at + size, whole.length)
        }
        expect(framer.pending).toBe(0)
        // What is delivered lacks its padding only.
        expect(frames).toHaveLength(sent.length)
        for (const [i, got] of frames.entries()) expect([...got]).toEqual([...sent[i]!.subarray(0, got.length)])
        expect(frames.map(({ length }) => (length + 3) & ~3)).toEqual(sent.map(({ length }) => length))
      }),
      { seed: 68 },
    )
  })

  it('that comes byte by byte is put together', () => {
    const { framer, frames } = framing()
    const whole = concat([encodeChannelData(0x4001, Uint8Array.of(7), true), stun(Uint8Array.of(1, 2, 3))])
    for (const byte of whole) expect(framer.push(Uint8Array.of(byte))).toBe(true)
    expect(frames).toHaveLength(2)
    expect(channelPayload(frames[0]!)).toEqual(Uint8Array.of(7))
    expect(Message.read(frames[1]!)?.value(Attribute.Data)).toEqual(Uint8Array.of(1, 2, 3))
  })

  it('is held back until the padding of a frame is there, too', () => {
    const { framer, frames } = framing()
    const data = encodeChannelData(0x4000, Uint8Array.of(1), true)
    framer.push(data.slice(0, 6))
    expect(frames).toHaveLength(0)
    framer.push(data.slice(6))
    expect(frames).toHaveLength(1)
  })

  it.each([
    ['the first byte is that of neither kind', [0xc0]],
    ['the first byte is that of neither kind, with more behind it', [0x80, 0, 0, 0, 0]],
    ['a message has a length that is no multiple of four', [0, 1, 0, 3]],
  ])('is given up when %s', (_, bytes) => {
    const { framer, frames } = framing()
    const good = encodeChannelData(0x4000, Uint8Array.of(1), true)
    expect(framer.push(concat([good, Uint8Array.from(bytes)]))).toBe(false)
    expect(frames).toHaveLength(1)
    expect(framer.push(good)).toBe(false)
    expect(frames).toHaveLength(1)
  })

  it('that is cut within a header of no known kind is given up too', () => {
    const { framer } = framing()
    expect(framer.push(Uint8Array.of(0x00))).toBe(true)
    expect(framer.push(Uint8Array.of(0x01, 0x00, 0x03))).toBe(false)
  })

  it('is given up at the header of a frame that is longer than allowed, and takes one that is not', () => {
    const { framer, frames } = framing(100)
    expect(framer.push(encodeChannelData(0x4000, new Uint8Array(96), true))).toBe(true)
    expect(frames).toHaveLength(1)
    expect(framer.push(Uint8Array.of(0x40, 0, 0, 97))).toBe(false)
  })

  it('keeps no more than twice what came, whatever a header promises', () => {
    const { framer } = framing()
    framer.push(Uint8Array.of(0x40, 0, 0xff, 0xff, 1))
    expect(framer.pending).toBe(5)
  })

  it('delivers nothing after it was closed, also from within', () => {
    let count = 0
    const framer: StreamFramer = new StreamFramer(() => {
      count++
      framer.close()
    })
    const data = encodeChannelData(0x4000, Uint8Array.of(1), true)
    expect(framer.push(concat([data, data, data]))).toBe(false)
    expect(count).toBe(1)
  })
})
