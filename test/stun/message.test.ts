import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Address } from '../../src/net/index.ts'
import { crc32 } from '../../src/stun/crc32.ts'
import {
  Attribute,
  IntegrityKey,
  looksLikeStun,
  Message,
  type MessageClass,
  MessageWriter,
  Method,
  transactionKey,
} from '../../src/stun/index.ts'
import { SeededRandom } from './manual-clock.ts'
import { bytesOf, hexOf, vectors } from './stun-vectors.ts'

const ID = bytesOf('000102030405060708090a0b')
const KEY = IntegrityKey.shortTerm('a password of some length')
const start = (messageClass: MessageClass = 'request'): MessageWriter => new MessageWriter().start(messageClass, Method.Binding, ID)
const read = (data: Uint8Array): Message => Message.read(data)!

/** Asks a message everything that can be asked. */
function interrogate(message: Message): void {
  for (const type of [...Object.values(Attribute), 0x7777, 0xfff0]) {
    message.has(type)
    message.value(type)
    message.text(type)
    message.uint32(type)
    message.uint64(type)
    message.address(type)
    message.addresses(type)
  }
  message.errorCode()
  message.unknownAttributes()
  message.unknownRequired(new Set([Attribute.Username]))
  message.fingerprint()
  message.integrity(KEY)
  message.integritySha256(KEY)
  expect(message.transactionKey).toBe(hexOf(message.transactionId))
}

describe('reading', () => {
  it('takes the datagram only whole: every truncation of every vector is no message', () => {
    for (const { hex } of vectors) {
      const data = bytesOf(hex)
      for (let length = 0; length < data.length; length++) expect(Message.read(data.subarray(0, length))).toBeUndefined()
    }
  })

  it('never throws: every truncation with the length field made to fit', () => {
    for (const { hex } of vectors) {
      const data = bytesOf(hex)
      for (let length = 20; length < data.length; length++) {
        const cut = data.slice(0, length)
        cut[2] = (length - 20) >> 8
        cut[3] = length - 20
        const message = Message.read(cut)
        if (message !== undefined) interrogate(message)
      }
    }
  })

  it('never throws: 100,000 seeded mutations of the vectors', () => {
    const random = new SeededRandom(8489)
    const originals = vectors.map(({ hex }) => bytesOf(hex))
    let messages = 0
    for (let round = 0; round < 100_000; round++) {
      const data = originals[round % originals.length]!.slice()
      for (let changes = 1 + random.below(4); changes > 0; changes--) {
        // Half of them behind the header, in what looks like type and length, where a parser has most to lose.
        const at = random.below(2) === 0 ? random.below(data.length) : 20 + 4 * random.below((data.length - 20) / 4) + random.below(4)
        data[at] = random.below(3) === 0 ? random.below(40) : random.below(256)
      }
      const message = Message.read(data)
      if (message === undefined) continue
      if (messages++ % 4 === 0) interrogate(message)
    }
    expect(messages).toBeGreaterThan(10_000) // else the test tests nothing
  })

  it('never throws: any bytes behind a good header', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (body) => {
        const data = new Uint8Array(20 + (body.length & ~3))
        data.set(start().finish())
        data.set(body.subarray(0, data.length - 20), 20)
        data[3] = data.length - 20
        const message = Message.read(data)
        if (message !== undefined) interrogate(message)
      }),
      { seed: 1, numRuns: 2_000 },
    )
  })

  it.each([
    ['a top bit is set', 0, 0x40],
    ['the magic cookie is another', 7, 0x43],
    ["the length is less than the datagram's", 3, 4],
    ["the length is more than the datagram's", 3, 12],
    ['the length is no multiple of 4', 3, 5],
  ])('RFC 8489 5: is refused when %s', (_what, at, value) => {
    const data = start().flag(Attribute.UseCandidate).flag(Attribute.DontFragment).finish().slice()
    expect(Message.read(data)).toBeDefined()
    data[at] = value
    expect(Message.read(data)).toBeUndefined()
  })

  it('RFC 8489 14: is refused when an attribute reaches over the end', () => {
    const data = start().uint32(Attribute.Priority, 1).finish().slice()
    data[23] = 5
    expect(Message.read(data)).toBeUndefined()
  })

  it('copies nothing: values are views of the datagram, also of one inside a larger buffer', () => {
    const data = new Uint8Array(100)
    data.set(start().text(Attribute.Software, 'abc').finish(), 13)
    const message = read(data.subarray(13, 13 + 28))
    expect(message.value(Attribute.Software)!.buffer).toBe(data.buffer)
    expect(message.transactionId.byteOffset).toBe(13 + 8)
    expect(message.text(Attribute.Software)).toBe('abc')
  })

  it('RFC 7983 7: what looks like STUN is told from the header alone', () => {
    expect(looksLikeStun(start().finish())).toBe(true)
    expect(looksLikeStun(new Uint8Array(20))).toBe(false) // no cookie
    expect(looksLikeStun(start().finish().subarray(0, 19))).toBe(false)
    const rtp = start().finish().slice()
    rtp[0] = 0x80
    expect(looksLikeStun(rtp)).toBe(false)
  })

  it('RFC 8489 5: class and method survive for all 12 bits of the method', () => {
    const writer = new MessageWriter()
    for (let method = 0; method <= 0xfff; method++) {
      for (const messageClass of ['request', 'indication', 'success', 'error'] as const) {
        const message = read(writer.start(messageClass, method, ID).finish())
        if (message.method !== method || message.class !== messageClass) expect.fail(`${messageClass} ${method}`)
      }
    }
  })

  it.each([
    ['Binding request', 'request', 0x001, '0001'],
    ['Binding success', 'success', 0x001, '0101'],
    ['Binding error', 'error', 0x001, '0111'],
    ['Binding indication', 'indication', 0x001, '0011'],
    ['Allocate error', 'error', 0x003, '0113'],
    ['Data indication', 'indication', 0x007, '0017'],
  ] as const)('RFC 8489 5: a %s is 0x%s', (_name, messageClass, method, hex) => {
    expect(hexOf(new MessageWriter().start(messageClass, method, ID).finish().subarray(0, 2))).toBe(hex)
  })

  it('a transaction key is the id in hex', () => {
    expect(transactionKey(ID)).toBe('000102030405060708090a0b')
    expect(read(start().finish()).transactionKey).toBe('000102030405060708090a0b')
  })
})

describe('values', () => {
  it('of the wrong length are undefined, not garbage', () => {
    const message = read(start().bytes(Attribute.Priority, new Uint8Array(3)).bytes(Attribute.IceControlled, new Uint8Array(7)).finish())
    expect(message.uint32(Attribute.Priority)).toBeUndefined()
    expect(message.uint64(Attribute.IceControlled)).toBeUndefined()
    expect(message.address(Attribute.Priority)).toBeUndefined()
  })

  it('RFC 8489 14: the first of several attributes of one type counts', () => {
    const message = read(start().text(Attribute.Username, 'first').text(Attribute.Username, 'second').finish())
    expect(message.text(Attribute.Username)).toBe('first')
  })

  it('that are not UTF-8 are no text', () => {
    const message = read(start().bytes(Attribute.Username, bytesOf('61ff62')).bytes(Attribute.Realm, bytesOf('c0af')).finish())
    expect(message.text(Attribute.Username)).toBeUndefined()
    expect(message.text(Attribute.Realm)).toBeUndefined()
    expect(message.has(Attribute.Username)).toBe(true)
  })

  it('keep a byte order mark as part of the text', () => {
    expect(read(start().text(Attribute.Username, '\ufeffx').finish()).text(Attribute.Username)).toBe('\ufeffx')
  })

  it('RFC 8489 14.1: an address is of a known family and of its length', () => {
    const bad = ['0001000001020304ff', '00020000010203040', '0003000001020304', '00', ''].map((hex) => bytesOf(hex))
    const type = Attribute.XorMappedAddress
    for (const value of bad) expect(read(start().bytes(type, value).finish()).address(type)).toBeUndefined()
  })

  it('RFC 8656 10.1: every XOR-PEER-ADDRESS of a CreatePermission is there', () => {
    const peers = [Address.of('192.0.2.1', 1), Address.of('2001:db8::2', 2), Address.of('192.0.2.3', 3)]
    const writer = start()
    for (const peer of peers) writer.address(Attribute.XorPeerAddress, peer)
    const message = read(writer.bytes(Attribute.XorPeerAddress, new Uint8Array(3)).finish())
    expect(message.addresses(Attribute.XorPeerAddress).map(String)).toEqual(peers.map(String))
  })

  it('an IPv4-mapped address comes out as IPv4', () => {
    const value = bytesOf('00020d9600000000000000000000ffffc0000201')
    expect(read(start().bytes(Attribute.MappedAddress, value).finish()).address(Attribute.MappedAddress)?.key).toBe('192.0.2.1:3478')
  })

  const codes = [
    [300, '00000300'],
    [401, '00000401'],
    [420, '00000414'],
    [438, '00000426'],
    [699, '00000663'],
  ] as const
  it.each(codes)('RFC 8489 14.8: %i is %s on the wire', (code, hex) => {
    const message = read(start('error').errorCode(code, '').finish())
    expect(hexOf(message.value(Attribute.ErrorCode)!)).toBe(hex)
    expect(message.errorCode()).toEqual({ code, reason: '' })
  })

  it('RFC 8489 14.8: an error code out of range is none, and a broken reason does not hide the code', () => {
    const of = (hex: string): unknown => read(start('error').bytes(Attribute.ErrorCode, bytesOf(hex)).finish()).errorCode()
    for (const hex of ['00000200', '00000700', '00000464', '000004']) expect(of(hex)).toBeUndefined()
    expect(of('0000040141ff')).toEqual({ code: 401, reason: 'A\ufffd' })
    expect(of('fffffc01')).toEqual({ code: 401, reason: '' }) // RFC 8489 14.8: 21 reserved bits are ignored
  })

  it('RFC 8489 6.3.1: unknown comprehension-required types are listed, each once, and optional ones are not', () => {
    const message = read(start().flag(0x7001).text(Attribute.Username, 'x').flag(0x7002).flag(0x7001).flag(0xc123).integrity(KEY).finish())
    expect(message.unknownRequired(new Set([Attribute.Username, Attribute.MessageIntegrity]))).toEqual([0x7001, 0x7002])
    expect(message.unknownRequired(new Set([0x7001, 0x7002, Attribute.Username, Attribute.MessageIntegrity]))).toEqual([])
  })

  it('of very many unknown types only the first are listed, so that a large datagram does not take long', () => {
    const writer = start()
    for (let type = 0x100; type < 0x3000; type++) writer.flag(type)
    expect(read(writer.finish()).unknownRequired(new Set([0x100]))).toEqual(Array.from({ length: 32 }, (_, i) => 0x101 + i))
  })

  it('RFC 8489 14.13: UNKNOWN-ATTRIBUTES is a list of types; half a type at its end is dropped', () => {
    expect(read(start('error').unknownAttributes([0x7001, 0x7002, 0x0003]).finish()).unknownAttributes()).toEqual([0x7001, 0x7002, 3])
    expect(read(start('error').bytes(Attribute.UnknownAttributes, bytesOf('700170')).finish()).unknownAttributes()).toEqual([0x7001])
    expect(read(start('error').finish()).unknownAttributes()).toEqual([])
  })
})

/** Appends attributes behind a finished message, as an attacker on the path would, and corrects the length. */
function append(data: Uint8Array, attributes: string): Uint8Array {
  const tail = bytesOf(attributes)
  const longer = new Uint8Array(data.length + tail.length)
  longer.set(data)
  longer.set(tail, data.length)
  longer[2] = (longer.length - 20) >> 8
  longer[3] = longer.length - 20
  return longer
}

describe('what follows the integrity', () => {
  const USE_CANDIDATE = '00250000'

  it('RFC 8489 14.5: is ignored after MESSAGE-INTEGRITY, which stays valid', () => {
    const message = read(append(start().text(Attribute.Username, 'x').integrity(KEY).finish(), `${USE_CANDIDATE}00060004796f7521`))
    expect(message.integrity(KEY)).toBe('valid')
    expect(message.has(Attribute.UseCandidate)).toBe(false)
    expect(message.value(Attribute.UseCandidate)).toBeUndefined()
    expect(message.text(Attribute.Username)).toBe('x')
    expect(message.unknownRequired(new Set([Attribute.Username, Attribute.MessageIntegrity]))).toEqual([])
  })

  it('RFC 8489 14.6: is ignored after MESSAGE-INTEGRITY-SHA256, a MESSAGE-INTEGRITY too', () => {
    const data = append(start().integritySha256(KEY).finish(), `${USE_CANDIDATE}00080014${'00'.repeat(20)}`)
    const message = read(data)
    expect(message.integritySha256(KEY)).toBe('valid')
    expect(message.has(Attribute.UseCandidate)).toBe(false)
    expect(message.has(Attribute.MessageIntegrity)).toBe(false)
    expect(message.integrity(KEY)).toBe('absent')
  })

  it('RFC 8489 14.5: SHA-256 integrity and FINGERPRINT count behind MESSAGE-INTEGRITY', () => {
    const message = read(start().integrity(KEY).integritySha256(KEY).fingerprint().finish())
    expect([message.integrity(KEY), message.integritySha256(KEY), message.fingerprint()]).toEqual(['valid', 'valid', 'valid'])
    expect([message.has(Attribute.MessageIntegritySha256), message.has(Attribute.Fingerprint)]).toEqual([true, true])
    expect(message.value(Attribute.MessageIntegritySha256)?.length).toBe(32)
  })

  it('RFC 8489 14.5: is ignored also between MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256', () => {
    const message = read(append(start().integrity(KEY).finish(), `${USE_CANDIDATE}001c0010${'00'.repeat(16)}`))
    expect(message.has(Attribute.MessageIntegritySha256)).toBe(true)
    expect(message.has(Attribute.UseCandidate)).toBe(false)
  })

  it('RFC 8489 14.7: a FINGERPRINT that is not last is invalid, though its CRC be right', () => {
    const data = append(start().fingerprint().finish(), USE_CANDIDATE)
    new DataView(data.buffer).setUint32(24, (crc32(data, 20) ^ 0x5354554e) >>> 0)
    expect(read(data).fingerprint()).toBe('invalid')
  })
})

describe('integrity', () => {
  it.each([16, 20, 24, 28, 32])('RFC 8489 14.6: a SHA-256 tag of %i bytes verifies', (length) => {
    const message = read(start().integritySha256(KEY, length).fingerprint().finish())
    expect(message.integritySha256(KEY)).toBe('valid')
    expect(message.value(Attribute.MessageIntegritySha256)?.length).toBe(length)
  })

  it.each([0, 4, 12, 17, 36])('RFC 8489 14.6: a SHA-256 tag of %i bytes is invalid', (length) => {
    expect(read(start().bytes(Attribute.MessageIntegritySha256, new Uint8Array(length)).finish()).integritySha256(KEY)).toBe('invalid')
  })

  it('RFC 8489 14.6: a tag cut short on the way is invalid, since the length is under the HMAC', () => {
    const whole = start().integritySha256(KEY).finish()
    const cut = whole.slice(0, whole.length - 16)
    cut[3] = cut.length - 20
    cut[23] = 16
    expect(read(cut).integritySha256(KEY)).toBe('invalid')
  })

  it('a MESSAGE-INTEGRITY of another length than 20 is invalid', () => {
    for (const length of [0, 16, 24]) {
      expect(read(start().bytes(Attribute.MessageIntegrity, new Uint8Array(length)).finish()).integrity(KEY)).toBe('invalid')
    }
  })

  it('that is not there is absent', () => {
    const message = read(start().finish())
    expect([message.integrity(KEY), message.integritySha256(KEY), message.fingerprint()]).toEqual(['absent', 'absent', 'absent'])
  })

  it('of long messages, beyond what fits the first buffers, verifies', () => {
    for (const size of [1400, 2048, 4096, 60_000]) {
      const writer = start().bytes(Attribute.Data, new Uint8Array(size).fill(7))
      const message = read(writer.integrity(KEY).integritySha256(KEY).fingerprint().finish())
      expect([message.integrity(KEY), message.integritySha256(KEY), message.fingerprint()]).toEqual(['valid', 'valid', 'valid'])
    }
  })

  it('under many keys in turn is not mixed up', () => {
    const keys = Array.from({ length: 20 }, (_, i) => IntegrityKey.shortTerm(`password ${i} ${'x'.repeat(5 * i)}`))
    const messages = keys.map((key) => read(start().integrity(key).integritySha256(key).finish().slice()))
    for (const [i, message] of messages.entries()) {
      for (const [j, key] of keys.entries()) {
        expect(message.integrity(key)).toBe(i === j ? 'valid' : 'invalid')
        expect(message.integritySha256(key)).toBe(i === j ? 'valid' : 'invalid')
      }
    }
  })
})
