// @ts-check
/**
 * What `bench/stun.js` compares: STUN codecs from npm, each made to do the same work by its own public API. Whoever cannot do part of it
 * is not asked to: vs-stun has no check of what it reads. Others were looked at and do less: webrtc-stun 3.0.0, stun-js 0.7.0 and node-turn
 * 0.0.6 know no ICE attributes, node-stun 0.1.2 only the addresses of RFC 3489, is-stun 2.0.0 only tells STUN from other data.
 */
import { Attribute, IntegrityKey, Message, MessageWriter, Method } from '../../dist/stun/index.js'

/** An ICE check as it goes over the wire: USERNAME, PRIORITY, ICE-CONTROLLING, MESSAGE-INTEGRITY, FINGERPRINT. */
const id = Buffer.from('b7e7a701bc34d686fa87dfae', 'hex')
const idText = id.toString('hex')
const username = 'Kx8pQ2vN:hT5wZr9d'
const password = 'VOkJxbRl1RmTxUk/WvJxBtaB'
const passwordBytes = Buffer.from(password)
const priority = 0x6e0001ff
const tiebreaker = 0x932ff9b151263b36n
const tiebreakerBytes = Buffer.from('932ff9b151263b36', 'hex')

/**
 * @typedef {object} Codec
 * @property {string} name
 * @property {() => Uint8Array} encode
 * @property {((datagram: Buffer) => void)=} decode reads all values and checks the FINGERPRINT; throws when one is not as sent
 * @property {((datagram: Buffer) => void)=} verify the same, and MESSAGE-INTEGRITY
 */

/** @param {unknown} name @param {unknown} prio @param {unknown} tie @param {string} transaction */
function assertValues(name, prio, tie, transaction) {
  if (name !== username || prio !== priority || tie !== tiebreaker || transaction !== idText)
    throw new Error('not the values that were sent')
}

/** @param {boolean} ok @param {string} what */
function assertThat(ok, what) {
  if (!ok) throw new Error(what)
}

/** @returns {Codec} */
export function sallyport() {
  const key = IntegrityKey.shortTerm(password)
  const writer = new MessageWriter()
  /** @param {Buffer} datagram */
  const read = (datagram) => {
    const message = Message.read(datagram)
    if (message === undefined || message.fingerprint() !== 'valid') throw new Error('not decoded')
    assertValues(
      message.text(Attribute.Username),
      message.uint32(Attribute.Priority),
      message.uint64(Attribute.IceControlling),
      message.transactionKey,
    )
    return message
  }
  return {
    name: 'sallyport',
    encode: () =>
      writer
        .start('request', Method.Binding, id)
        .text(Attribute.Username, username)
        .uint32(Attribute.Priority, priority)
        .uint64(Attribute.IceControlling, tiebreaker)
        .integrity(key)
        .fingerprint()
        .finish(),
    decode: read,
    verify: (datagram) => assertThat(read(datagram).integrity(key) === 'valid', 'not verified'),
  }
}

/** @param {string} name @param {typeof import('werift')} library @returns {Codec} */
function werift(name, { Message: WeriftMessage, parseMessage }) {
  /** @param {Buffer} datagram @param {Buffer=} key */
  const read = (datagram, key) => {
    const message = parseMessage(datagram, key)
    if (message === undefined) throw new Error('not decoded')
    assertValues(
      message.getAttributeValue('USERNAME'),
      message.getAttributeValue('PRIORITY'),
      message.getAttributeValue('ICE-CONTROLLING'),
      message.transactionIdHex,
    )
  }
  return {
    name,
    encode() {
      const message = new WeriftMessage(1, 0, id)
      message.setAttribute('USERNAME', username)
      message.setAttribute('PRIORITY', priority)
      message.setAttribute('ICE-CONTROLLING', tiebreaker)
      return message.addMessageIntegrity(passwordBytes).addFingerprint().bytes
    },
    decode: (datagram) => read(datagram),
    verify: (datagram) => read(datagram, passwordBytes),
  }
}

/** nodertc's `stun`, and @msimerson's continuation of it. @param {string} name @param {any} library untyped @returns {Codec} */
function nodertc(name, library) {
  const stun = library.default
  const { STUN_BINDING_REQUEST, STUN_ATTR_USERNAME, STUN_ATTR_PRIORITY, STUN_ATTR_ICE_CONTROLLING } = stun.constants
  /** @param {Buffer} datagram */
  const read = (datagram) => {
    const message = stun.decode(datagram)
    assertThat(stun.validateFingerprint(message), 'not decoded')
    assertValues(
      message.getAttribute(STUN_ATTR_USERNAME).value.toString(),
      message.getAttribute(STUN_ATTR_PRIORITY).value,
      message.getAttribute(STUN_ATTR_ICE_CONTROLLING).value.readBigUInt64BE(),
      message.transactionId.toString('hex'),
    )
    return message
  }
  return {
    name,
    encode() {
      const message = stun.createMessage(STUN_BINDING_REQUEST, id)
      message.addUsername(username)
      message.addAttribute(STUN_ATTR_PRIORITY, priority)
      message.addAttribute(STUN_ATTR_ICE_CONTROLLING, tiebreakerBytes)
      message.addMessageIntegrity(password)
      message.addFingerprint()
      return stun.encode(message)
    },
    decode: read,
    verify: (datagram) => assertThat(stun.validateMessageIntegrity(read(datagram), password), 'not verified'),
  }
}

/** @param {string} name @param {any} library untyped @returns {Codec} */
function vsStun(name, library) {
  const { create } = library.default
  return {
    name,
    encode() {
      const packet = create.bindingRequest({ username, password })
      packet.transactionID = idText
      packet.append.username(username)
      packet.append.priority(priority)
      packet.append.iceControlling('932ff9b151263b36')
      packet.append.messageIntegrity()
      packet.append.fingerprint()
      return packet.raw
    },
  }
}

/** By the name to import, which is also the one to install. */
export const OTHERS = [
  { name: 'werift', version: '0.24.4', codec: werift },
  { name: 'stun', version: '2.1.0', codec: nodertc },
  { name: '@msimerson/stun', version: '3.2.1', codec: nodertc },
  { name: 'vs-stun', version: '0.0.7', codec: vsStun },
]
