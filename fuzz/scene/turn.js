// @ts-check
/** TURN requests with credentials, and how inputs are changed: what both targets of the relay need. */
import { createHash } from 'node:crypto'
import { Attribute, Message, MessageWriter, Method } from '../../dist/stun/index.js'
import { join } from './attributes.js'
import { recordMutations } from './records.js'
import { INTEGRITY, LENGTH, seal } from './seal.js'

/** In `how`, beside the bits of seal.js: user name, realm and nonce of whoever says it are put in front of the integrity. */
export const NAMED = 16
/** And there: the transaction id of the last request that is waited for. */
export const ANSWER = 32

/** @typedef {{ username: string, realm: string, nonce: string, key: Buffer }} Credentials */

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

/** First bytes, of either target of the relay, and ways to put a record in order. */
export const MUTATIONS = recordMutations(8, [0, 1, 3, 5, 9, 11, 19, 27, 35, 43])
