import { createHash, createHmac } from 'node:crypto'
import { crc32 as zlibCrc32 } from 'node:zlib'
import { expect, it } from 'vitest'
import { crc32 } from '../../src/stun/crc32.ts'
import { IntegrityKey, Message, MessageWriter } from '../../src/stun/index.ts'
import { Attribute } from '../../src/stun/registry.ts'
import { SeededRandom } from './manual-clock.ts'
import { hexOf } from './stun-vectors.ts'

const ID = new Uint8Array(12)

/** The tag that node:crypto computes over the same bytes. */
function expected(hash: 'sha1' | 'sha256', key: Uint8Array, data: Uint8Array, tagLength: number): string {
  return createHmac(hash, key)
    .update(data.subarray(0, data.length - 4 - tagLength))
    .digest('hex')
}

it('RFC 8489 9.1.1: the short-term key is the password, whatever its length', () => {
  for (const length of [0, 1, 22, 63, 64, 65, 256]) {
    const password = 'p'.repeat(length)
    const bytes = new TextEncoder().encode(password)
    const key = IntegrityKey.shortTerm(password)
    const data = new MessageWriter().start('request', 1, ID).text(Attribute.Username, 'x:y').integrity(key).finish()
    expect(hexOf(Message.read(data)!.value(Attribute.MessageIntegrity)!)).toBe(expected('sha1', bytes, data, 20))
    const long = new MessageWriter().start('request', 1, ID).text(Attribute.Username, 'x:y').integritySha256(key).finish()
    expect(hexOf(Message.read(long)!.value(Attribute.MessageIntegritySha256)!)).toBe(expected('sha256', bytes, long, 32))
  }
})

const HASHES = [
  ['MD5', 'md5'],
  ['SHA-256', 'sha256'],
] as const

it.each(HASHES)('RFC 8489 9.2.2: the long-term key is the %s of user, realm and password', (algorithm, hash) => {
  const bytes = createHash(hash).update('user:realm:pass').digest()
  const key = IntegrityKey.longTerm('user', 'realm', 'pass', algorithm)
  const data = new MessageWriter().start('request', 1, ID).integritySha256(key).finish()
  expect(hexOf(Message.read(data)!.value(Attribute.MessageIntegritySha256)!)).toBe(expected('sha256', bytes, data, 32))
})

it('RFC 8489 9.2.2: MD5 is what the long-term key is hashed with by default', () => {
  const data = new MessageWriter()
    .start('request', 1, ID)
    .integrity(IntegrityKey.longTerm('user', 'realm', 'pass'))
    .finish()
  expect(Message.read(data)!.integrity(IntegrityKey.longTerm('user', 'realm', 'pass', 'MD5'))).toBe('valid')
})

it('RFC 8265 4.2: composed and decomposed letters, and spaces of any kind, make one password', () => {
  const data = new MessageWriter().start('request', 1, ID).integrity(IntegrityKey.shortTerm('Ame\u0301lie\u00a0x')).finish()
  const message = Message.read(data)!
  expect(message.integrity(IntegrityKey.shortTerm('Am\u00e9lie x'))).toBe('valid')
  expect(message.integrity(IntegrityKey.shortTerm('Amelie x'))).toBe('invalid')
  expect(message.integrity(IntegrityKey.fromBytes(new TextEncoder().encode('Am\u00e9lie x')))).toBe('valid') // composed: NFC
})

it('a key of bytes is independent of the memory it came in', () => {
  const bytes = new Uint8Array(32).fill(1)
  const key = IntegrityKey.fromBytes(bytes)
  bytes.fill(2)
  const data = new MessageWriter().start('request', 1, ID).integrity(key).finish()
  expect(Message.read(data)!.integrity(IntegrityKey.fromBytes(new Uint8Array(32).fill(1)))).toBe('valid')
})

it('RFC 8489 14.7: the CRC-32 is the one of ITU V.42, at every length', () => {
  const random = new SeededRandom(32)
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926)
  for (let length = 0; length < 300; length++) {
    const data = random.bytes(length)
    if (typeof zlibCrc32 === 'function') expect(crc32(data)).toBe(zlibCrc32(data)) // node:zlib has it since 20.15
    let bitwise = -1
    for (const byte of data) {
      bitwise ^= byte
      for (let k = 0; k < 8; k++) bitwise = (bitwise & 1) !== 0 ? (bitwise >>> 1) ^ 0xedb88320 : bitwise >>> 1
    }
    expect(crc32(data)).toBe(~bitwise >>> 0)
    expect(crc32(data, length >> 1)).toBe(crc32(data.subarray(0, length >> 1)))
  }
})
