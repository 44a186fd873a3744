// @ts-check
/**
 * STUN codec beside werift's, in one process and in turns, as ratios: `npm run build && node bench/stun.js`.
 * The message is an ICE check as it goes over the wire: USERNAME, PRIORITY, ICE-CONTROLLING, MESSAGE-INTEGRITY, FINGERPRINT.
 * "decode" reads those values and checks the FINGERPRINT (werift always does); "verify" checks MESSAGE-INTEGRITY on top.
 */
import { parseMessage, Message as WeriftMessage } from 'werift'
import { Attribute, IntegrityKey, Message, MessageWriter, Method } from '../dist/stun/index.js'

const ROUNDS = 15
const MILLISECONDS = 60

const id = Buffer.from('b7e7a701bc34d686fa87dfae', 'hex')
const username = 'Kx8pQ2vN:hT5wZr9d'
const password = 'VOkJxbRl1RmTxUk/WvJxBtaB'
const priority = 0x6e0001ff
const tiebreaker = 0x932ff9b151263b36n

const key = IntegrityKey.shortTerm(password)
const keyBytes = Buffer.from(password)
const writer = new MessageWriter()

function encodeOurs() {
  return writer
    .start('request', Method.Binding, id)
    .text(Attribute.Username, username)
    .uint32(Attribute.Priority, priority)
    .uint64(Attribute.IceControlling, tiebreaker)
    .integrity(key)
    .fingerprint()
    .finish()
}

function encodeWerift() {
  const message = new WeriftMessage(1, 0, id)
  message.setAttribute('USERNAME', username)
  message.setAttribute('PRIORITY', priority)
  message.setAttribute('ICE-CONTROLLING', tiebreaker)
  return message.addMessageIntegrity(keyBytes).addFingerprint().bytes
}

const datagram = Buffer.from(encodeOurs())
if (!datagram.equals(encodeWerift())) throw new Error('the two codecs write different bytes: the comparison would be of different work')

/** @param {boolean} verify */
function decodeOurs(verify) {
  const message = Message.read(datagram)
  if (message === undefined || message.fingerprint() !== 'valid') throw new Error('not decoded')
  if (verify && message.integrity(key) !== 'valid') throw new Error('not verified')
  if (message.text(Attribute.Username) !== username || message.uint32(Attribute.Priority) !== priority) throw new Error('not read')
  if (message.uint64(Attribute.IceControlling) !== tiebreaker) throw new Error('not read')
  return message.transactionKey.length
}

/** @param {boolean} verify */
function decodeWerift(verify) {
  const message = parseMessage(datagram, verify ? keyBytes : undefined)
  if (message === undefined) throw new Error('not decoded')
  if (message.getAttributeValue('USERNAME') !== username || message.getAttributeValue('PRIORITY') !== priority) throw new Error('not read')
  if (message.getAttributeValue('ICE-CONTROLLING') !== tiebreaker) throw new Error('not read')
  return message.transactionIdHex.length
}

/** @type {readonly [name: string, ours: () => unknown, theirs: () => unknown][]} */
const tasks = [
  ['encode', encodeOurs, encodeWerift],
  ['decode', () => decodeOurs(false), () => decodeWerift(false)],
  ['verify', () => decodeOurs(true), () => decodeWerift(true)],
]

/** Calls a second. @param {() => unknown} task */
function rate(task) {
  const begin = process.hrtime.bigint()
  const end = begin + BigInt(MILLISECONDS) * 1_000_000n
  let calls = 0
  let now = begin
  while (now < end) {
    for (let i = 0; i < 200; i++) task()
    calls += 200
    now = process.hrtime.bigint()
  }
  return calls / (Number(now - begin) / 1e9)
}

/** @param {number[]} values */
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1] ?? 0

console.log(`node ${process.version}, ${datagram.length} bytes, median of ${ROUNDS} rounds of ${MILLISECONDS} ms in turns, per second`)
for (const [name, ours, theirs] of tasks) {
  rate(ours)
  rate(theirs)
  /** @type {number[]} */ const ourRates = []
  /** @type {number[]} */ const theirRates = []
  /** @type {number[]} */ const ratios = []
  for (let round = 0; round < ROUNDS; round++) {
    const a = rate(ours)
    const b = rate(theirs)
    ourRates.push(a)
    theirRates.push(b)
    ratios.push(a / b)
  }
  const [a, b] = [median(ourRates), median(theirRates)].map((value) => Math.round(value).toLocaleString('en').padStart(10))
  console.log(`${name}  sallyport ${a}  werift ${b}  ratio ${median(ratios).toFixed(2)}`)
}
