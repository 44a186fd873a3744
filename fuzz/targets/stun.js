// @ts-check
/**
 * The STUN reader. The first byte says how the rest is put in order (scene/seal.js) and with which key; then every accessor is called,
 * and what it says is held against a second reading of the bytes by other means.
 */
import { deepEqual, equal, ok } from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  Attribute,
  decodePasswordAlgorithms,
  IntegrityKey,
  looksLikeStun,
  Message,
  nonceFeatures,
  transactionKey,
} from '../../dist/stun/index.js'
import { changeMessage, join } from '../scene/attributes.js'
import { find, fingerprint, integrity, integritySha256, isMessage, seal, uint16 } from '../scene/seal.js'
import { words } from '../scene/words.js'

/** Those of RFC 5769: 2.1 short-term, 2.4 long-term. */
export const KEYS = [
  { bytes: Buffer.from('VOkJxbRl1RmTxUk/WvJxBt'), key: IntegrityKey.shortTerm('VOkJxbRl1RmTxUk/WvJxBt') },
  {
    bytes: createHash('md5').update('マトリックス:example.org:TheMatrIX').digest(),
    key: IntegrityKey.longTerm('マトリックス', 'example.org', 'TheMatrIX'),
  },
]
const KEY_BIT = 16

const TYPES = Object.values(Attribute)
const KNOWN = new Set(TYPES.filter((type) => type < 0x20))
/** Read from the whole message; all others from what the integrity covers. */
const ANYWHERE = new Set([Attribute.MessageIntegritySha256, Attribute.Fingerprint])

/** @returns {import('../engine/fuzzer.js').Target} */
export function stun() {
  return {
    name: 'stun',
    longest: 1_500,
    dictionary: words('obMatJos2', '!\x12¤B'),
    mutations: [(data, random, { other }) => join(data.subarray(0, 1), changeMessage(data.subarray(1), random, other.subarray(1)))],
    prepare: async () => {},
    stale: false,
    run,
    settle: async () => {},
  }
}

/** @param {Uint8Array} input */
function run(input) {
  if (input.length === 0) return
  const flags = /** @type {number} */ (input[0])
  const { bytes, key } = /** @type {(typeof KEYS)[0]} */ (KEYS[flags & KEY_BIT ? 1 : 0])
  const data = seal(input.subarray(1), flags, bytes)
  const before = data.slice()
  const message = Message.read(data)
  equal(message !== undefined, isMessage(data), 'read takes what is a message, and nothing else')
  if (message === undefined) {
    looksLikeStun(data)
    return
  }
  equal(looksLikeStun(data), /** @type {number} */ (data[0]) < 4)
  ok(message.method >= 0 && message.method < 0x1000)
  equal(message.transactionKey, transactionKey(message.transactionId))
  equal(message.transactionKey, Buffer.from(data.subarray(8, 20)).toString('hex'))

  equal(message.fingerprint(), fingerprint(data))
  equal(message.integrity(key), integrity(data, bytes))
  equal(message.integritySha256(key), integritySha256(data, bytes))

  const attributes = attributesOf(data)
  const present = new Set(attributes.map(({ type }) => type))
  for (const type of present) readAll(message, type, attributes)
  for (const type of TYPES) if (!present.has(type)) ok(!message.has(type))
  readAll(message, /** @type {number} */ (TYPES[flags % TYPES.length]), attributes)
  readErrors(message)
  const required = attributes.filter(({ type, covered }) => covered && type < 0x8000 && !KNOWN.has(type)).map(({ type }) => type)
  deepEqual(message.unknownRequired(KNOWN), [...new Set(required)].slice(0, 32))
  const algorithms = message.value(Attribute.PasswordAlgorithms)
  if (algorithms !== undefined) decodePasswordAlgorithms(algorithms)
  const nonce = message.text(Attribute.Nonce)
  if (nonce !== undefined) nonceFeatures(nonce)
  ok(Buffer.compare(data, before) === 0, 'reading wrote to the datagram')
}

/** @typedef {{ type: number, value: Uint8Array, covered: boolean }} Read */

/** @param {Uint8Array} data @returns {Read[]} */
function attributesOf(data) {
  const integrityAt = Math.min(
    find(data, Attribute.MessageIntegrity) ?? data.length,
    find(data, Attribute.MessageIntegritySha256) ?? data.length,
  )
  const found = []
  for (let at = 20; at < data.length; at += 4 + ((uint16(data, at + 2) + 3) & ~3)) {
    const length = uint16(data, at + 2)
    found.push({ type: uint16(data, at), value: data.subarray(at + 4, at + 4 + length), covered: at <= integrityAt })
  }
  return found
}

/** @param {Message} message @param {number} type @param {readonly Read[]} attributes */
function readAll(message, type, attributes) {
  const all = attributes.filter((attribute) => attribute.type === type && (attribute.covered || ANYWHERE.has(/** @type {any} */ (type))))
  const first = all[0]?.value
  equal(message.has(type), first !== undefined)
  const value = message.value(type)
  if (first === undefined) {
    for (const read of [value, message.text(type), message.uint32(type), message.uint64(type), message.address(type)])
      equal(read, undefined)
    equal(message.addresses(type).length, 0)
    return
  }
  ok(value !== undefined && value.byteOffset === first.byteOffset && value.length === first.length)
  const buffer = Buffer.from(first.buffer, first.byteOffset, first.length)
  equal(message.uint32(type), first.length === 4 ? buffer.readUInt32BE() : undefined)
  equal(message.uint64(type), first.length === 8 ? buffer.readBigUInt64BE() : undefined)
  const text = message.text(type)
  if (text === undefined) ok(!buffer.equals(Buffer.from(buffer.toString())), 'UTF-8 that was not read')
  else ok(buffer.equals(Buffer.from(text)), 'text that is not what was there')
  const address = message.address(type)
  const isAddress = (/** @type {Uint8Array} */ bytes) => (bytes.length === 8 && bytes[1] === 1) || (bytes.length === 20 && bytes[1] === 2)
  equal(address !== undefined, isAddress(first))
  ok(address === undefined || (address.port >= 0 && address.port <= 0xffff && address.key.length > 0))
  equal(message.addresses(type).length, all.filter((attribute) => attribute.covered && isAddress(attribute.value)).length)
}

/** @param {Message} message */
function readErrors(message) {
  const error = message.errorCode()
  const value = message.value(Attribute.ErrorCode)
  if (error !== undefined) {
    ok(value !== undefined && error.code >= 300 && error.code <= 699)
    equal(error.code, /** @type {number} */ (value[2] & 7) * 100 + /** @type {number} */ (value[3]))
  }
  const listed = message.value(Attribute.UnknownAttributes)
  equal(message.unknownAttributes().length, (listed?.length ?? 0) >> 1)
}
