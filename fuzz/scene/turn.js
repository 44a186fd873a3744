// @ts-check
/** Records of an input (who says what, and how it is put in order), and TURN requests with credentials: what both targets of the relay need. */
import { createHash } from 'node:crypto'
import { Attribute, Message, MessageWriter, Method } from '../../dist/stun/index.js'
import { changeMessage, join } from './attributes.js'
import { INTEGRITY, LENGTH, seal } from './seal.js'

/** In `how`, beside the bits of seal.js: user name, realm and nonce of whoever says it are put in front of the integrity. */
export const NAMED = 16
/** And there: the transaction id of the last request that is waited for. */
export const ANSWER = 32
const MOST_RECORDS = 6

/** @typedef {{ source: number, how: number, data: Uint8Array }} Record */
/** @typedef {{ username: string, realm: string, nonce: string, key: Buffer }} Credentials */

/** @param {Uint8Array} input behind a first byte, of which the target makes what it likes @returns {Record[]} */
export function recordsOf(input) {
  const records = []
  for (let at = 1; at + 4 <= input.length && records.length < MOST_RECORDS; ) {
    const [source = 0, how = 0, high = 0, low = 0] = input.subarray(at, at + 4)
    const end = Math.min(input.length, at + 4 + (((high & 7) << 8) | low))
    records.push({ source, how, data: input.subarray(at + 4, end) })
    at = end
  }
  return records
}

/** @param {number} first @param {readonly Record[]} records */
export function inputOf(first, records) {
  return join(
    Uint8Array.of(first),
    ...records.map(({ source, how, data }) => join(Uint8Array.of(source, how, data.length >> 8, data.length), data)),
  )
}

/** @param {string} username @param {string} realm @param {string} password */
export function keyOf(username, realm, password) {
  return createHash('md5').update(`${username}:${realm}:${password}`).digest()
}

/** The attributes that come with an integrity. @param {Credentials} credentials */
export function named({ username, realm, nonce }) {
  const writer = new MessageWriter().start('request', Method.Allocate, new Uint8Array(12))
  writer.text(Attribute.Username, username).text(Attribute.Realm, realm).text(Attribute.Nonce, nonce)
  return writer.finish().slice(20)
}

/** A request under good credentials. @param {number} method @param {Credentials} credentials @param {(writer: MessageWriter) => unknown} build @param {number} id */
export function authentic(method, credentials, build, id) {
  const writer = new MessageWriter().start('request', method, new Uint8Array(12).fill(id))
  build(writer)
  return seal(join(writer.finish(), named(credentials)), LENGTH | INTEGRITY, credentials.key)
}

/** @param {Uint8Array} data */
export function read(data) {
  const message = Message.read(data)
  if (message === undefined) throw new Error('what the library sent is no message')
  return message
}

/** @type {import('../engine/mutations.js').Mutation} */
export function changeRecord(input, random, { other }) {
  const records = recordsOf(input)
  const theirs = recordsOf(other)
  if (records.length === 0) return other
  const record = /** @type {Record} */ (records[random.below(records.length)])
  const choice = random.below(8)
  if (choice === 0) record.source = random.below(256)
  else if (choice === 1) record.how ^= 1 << random.below(6)
  else if (choice === 2) record.how = random.of([0, 1, 3, 5, 9, 11, 19, 27, 35, 43])
  else record.data = changeMessage(record.data, random, theirs.length === 0 ? record.data : random.of(theirs).data)
  return inputOf(/** @type {number} */ (input[0]), records)
}

/** @type {import('../engine/mutations.js').Mutation} */
export function changeOrder(input, random, { other }) {
  const records = recordsOf(input)
  const theirs = recordsOf(other)
  const choice = random.below(4)
  if (choice === 0) records.splice(random.below(records.length + 1), 1)
  else if (choice === 1) records.reverse()
  else if (choice === 2 && theirs.length > 0) records.splice(random.below(records.length + 1), 0, random.of(theirs))
  else return join(Uint8Array.of(random.below(8)), input.subarray(1))
  return inputOf(input[0] ?? 0, records)
}
