import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Address } from '../../src/net/index.ts'
import { Attribute, IntegrityKey, Message, MessageWriter, Method } from '../../src/stun/index.ts'
import { hexOf } from './stun-vectors.ts'

const ID = new Uint8Array(12).fill(9)
const KEY = IntegrityKey.shortTerm('secret')
const start = (): MessageWriter => new MessageWriter().start('request', Method.Binding, ID)

const XOR = [Attribute.XorMappedAddress, Attribute.XorPeerAddress, Attribute.XorRelayedAddress]
const PLAIN = [Attribute.MappedAddress, Attribute.OtherAddress, Attribute.ResponseOrigin, Attribute.AlternateServer]
const FREE = fc.integer({ min: 0x4000, max: 0x7fff })
const port = fc.integer({ min: 0, max: 0xffff })
const address = fc
  .oneof(fc.tuple(fc.uint8Array({ minLength: 4, maxLength: 4 }), port), fc.tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), port))
  .map(([bytes, number]) => Address.fromBytes(bytes, number))

describe('what is written is read again', () => {
  it('addresses of both families, plain and XORed, under any transaction id', () => {
    const anyId = fc.uint8Array({ minLength: 12, maxLength: 12 })
    fc.assert(
      fc.property(address, anyId, fc.constantFrom(...XOR, ...PLAIN), (value, id, type) => {
        const message = Message.read(new MessageWriter().start('success', Method.Binding, id).address(type, value).finish())!
        expect(message.address(type)?.key).toBe(value.key)
      }),
      { seed: 2 },
    )
  })

  it('RFC 8489 14.2: an XORed address does not stand in the message as it is', () => {
    const value = Address.of('192.0.2.1', 3478)
    expect(hexOf(start().address(Attribute.XorMappedAddress, value).finish())).not.toContain('c0000201')
    expect(hexOf(start().address(Attribute.MappedAddress, value).finish())).toContain('00010d96c0000201')
  })

  it('numbers, bytes and text of every length, in one message', () => {
    const field = fc.oneof(
      fc.record({ kind: fc.constant('bytes' as const), value: fc.uint8Array({ maxLength: 40 }) }),
      fc.record({ kind: fc.constant('text' as const), value: fc.string({ unit: 'grapheme', maxLength: 40 }) }),
      fc.record({ kind: fc.constant('uint32' as const), value: fc.integer({ min: 0, max: 0xffff_ffff }) }),
      fc.record({ kind: fc.constant('uint64' as const), value: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }) }),
    )
    const fields = fc.uniqueArray(fc.tuple(FREE, field), { selector: ([type]) => type, maxLength: 12 })
    const writer = new MessageWriter(20)
    fc.assert(
      fc.property(fields, (list) => {
        writer.start('indication', Method.Send, ID)
        for (const [type, { kind, value }] of list) {
          if (kind === 'bytes') writer.bytes(type, value)
          else if (kind === 'text') writer.text(type, value)
          else if (kind === 'uint32') writer.uint32(type, value)
          else writer.uint64(type, value)
        }
        const message = Message.read(writer.integrity(KEY).fingerprint().finish())!
        expect([message.integrity(KEY), message.fingerprint()]).toEqual(['valid', 'valid'])
        for (const [type, { kind, value }] of list) {
          if (kind === 'bytes') expect([...message.value(type)!]).toEqual([...value])
          else expect(message[kind](type)).toBe(value)
        }
      }),
      { seed: 3, numRuns: 300 },
    )
  })

  it('error codes with any reason', () => {
    fc.assert(
      fc.property(fc.integer({ min: 300, max: 699 }), fc.string({ unit: 'grapheme', maxLength: 60 }), (code, reason) => {
        const message = Message.read(new MessageWriter().start('error', 1, ID).errorCode(code, reason).finish())
        expect(message?.errorCode()).toEqual({ code, reason })
      }),
      { seed: 4 },
    )
  })
})

describe('the buffer', () => {
  it('is used again: a later message leaves nothing of an earlier one, not even in the padding', () => {
    const writer = new MessageWriter()
    writer.start('request', 1, ID).bytes(Attribute.Data, new Uint8Array(60).fill(0xff)).finish()
    const second = writer.start('request', 1, ID).text(Attribute.Software, 'abcde').finish()
    expect(hexOf(second.subarray(20))).toBe('80220005' + '6162636465' + '000000')
  })

  it('is the same from message to message', () => {
    const writer = new MessageWriter()
    const first = writer.start('request', 1, ID).finish()
    expect(writer.start('request', 1, ID).finish().buffer).toBe(first.buffer)
  })

  it('grows when a message outgrows it, and keeps what was written', () => {
    const writer = new MessageWriter(20).start('request', 1, ID).text(Attribute.Username, 'me')
    const message = Message.read(writer.bytes(Attribute.Data, new Uint8Array(5000)).finish())!
    expect([message.text(Attribute.Username), message.value(Attribute.Data)?.length]).toEqual(['me', 5000])
  })

  it('RFC 8489 5: holds the longest message there is, and not one word more', () => {
    const longest = start().bytes(Attribute.Data, new Uint8Array(0xfff8)).finish()
    expect(longest.length).toBe(20 + 0xfffc)
    expect(Message.read(longest)?.value(Attribute.Data)?.length).toBe(0xfff8)
    expect(() => start().bytes(Attribute.Data, new Uint8Array(0xfff9))).toThrow(RangeError)
    expect(() => start().bytes(Attribute.Data, new Uint8Array(200_000))).toThrow(RangeError)
  })
})

describe('misuse is an error at the call', () => {
  it.each<[string, (writer: MessageWriter) => unknown]>([
    ['a transaction id of another length', (w) => w.start('request', 1, new Uint8Array(11))],
    ['a method of more than 12 bits', (w) => w.start('request', 0x1000, ID)],
    ['a negative number', (w) => w.uint32(1, -1)],
    ['a number of 33 bits', (w) => w.uint32(1, 2 ** 32)],
    ['a fraction', (w) => w.uint32(1, 0.5)],
    ['a bigint of 65 bits', (w) => w.uint64(1, 1n << 64n)],
    ['a negative bigint', (w) => w.uint64(1, -1n)],
    ['an error code below 300', (w) => w.errorCode(200, 'OK')],
    ['an error code above 699', (w) => w.errorCode(700, '')],
    ['a tag of 12 bytes', (w) => w.integritySha256(KEY, 12)],
    ['a tag of 18 bytes', (w) => w.integritySha256(KEY, 18)],
    ['a capacity below a header', () => new MessageWriter(19)],
  ])('%s is a RangeError', (_what, call) => {
    expect(() => call(start())).toThrow(RangeError)
  })

  it.each<[string, (writer: MessageWriter) => unknown]>([
    ['an attribute after MESSAGE-INTEGRITY', (w) => w.integrity(KEY).flag(Attribute.UseCandidate)],
    ['an attribute after FINGERPRINT', (w) => w.fingerprint().uint32(Attribute.Priority, 1)],
    ['MESSAGE-INTEGRITY twice', (w) => w.integrity(KEY).integrity(KEY)],
    ['MESSAGE-INTEGRITY after MESSAGE-INTEGRITY-SHA256', (w) => w.integritySha256(KEY).integrity(KEY)],
    ['MESSAGE-INTEGRITY-SHA256 twice', (w) => w.integritySha256(KEY).integritySha256(KEY)],
    ['MESSAGE-INTEGRITY after FINGERPRINT', (w) => w.fingerprint().integrity(KEY)],
    ['FINGERPRINT twice', (w) => w.fingerprint().fingerprint()],
    ['anything before start', () => new MessageWriter().flag(1)],
    [
      'anything after finish',
      (w) => {
        w.finish()
        w.flag(1)
      },
    ],
    ['finish before start', () => new MessageWriter().finish()],
  ])('RFC 8489 14.5 to 14.7: %s is a TypeError', (_what, call) => {
    expect(() => call(start())).toThrow(TypeError)
  })
})
