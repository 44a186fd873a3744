// @ts-check
/**
 * Signals into a live session. The first byte chooses the moment, and whether the rest is text, a JSON signal in each line, or says how a
 * real signal of the peer's is changed, value by value, into what JSON could not carry. Nothing throws; what is refused changes nothing;
 * whatever was taken, checks stay paced, and a peer that opens the session anew gets its path.
 */
import { equal, ok } from 'node:assert/strict'
import { readSignal } from '../../dist/signal/index.js'
import { Meeting } from '../scene/meeting.js'
import { oddValue } from '../scene/odd-values.js'
import { words } from '../scene/words.js'

export const STRUCTURED = 128
const MOST_SIGNALS = 6
/** Milliseconds that the meeting goes on after something was taken. */
const AFTERMATH = 60
/** One check every 5 ms at most, and answers to the peer's. */
const MOST_SENT = AFTERMATH / 5 + 12
/** Milliseconds in which peers that both open the session anew have a path: signals and checks take 20 each way. */
const REOPENED = 1_500
/** How often that is tried: the sum of the input's bytes decides. */
const ONE_IN = 16
const LONGEST_REPORT = 200_000

/** Before the peer is known; on the way; connected. */
export const MOMENTS = [10, 46, 75]

const FIELDS = [
  'v',
  'id',
  'to',
  'seq',
  'ack',
  'ask',
  'ufrag',
  'pwd',
  'for',
  'tie',
  'controlling',
  'candidates',
  'list',
  'tried',
  'end',
  'bye',
  '__proto__',
]
const COUNTS = [0, 1, 2, 3, 7, 100, 2 ** 31, 2 ** 53 - 1]

const decoder = new TextDecoder()

/** One value after another out of bytes. */
class Reader {
  #data
  #at = 0

  /** @param {Uint8Array} data */
  constructor(data) {
    this.#data = data
  }

  get isOver() {
    return this.#at >= this.#data.length
  }

  byte() {
    return this.#data[this.#at++] ?? 0
  }

  text() {
    const length = this.byte()
    const text = decoder.decode(this.#data.subarray(this.#at, this.#at + length))
    this.#at += length
    return text
  }
}

/** The signals that an input stands for. @param {Uint8Array} data @param {object} real a signal of the peer's @returns {unknown[]} */
function structured(data, real) {
  const reader = new Reader(data)
  const signals = []
  /** @type {any} */
  let signal = structuredClone(real)
  while (!reader.isOver && signals.length < MOST_SIGNALS) {
    const change = reader.byte() & 7
    const field = /** @type {string} */ (FIELDS[reader.byte() % FIELDS.length])
    // As JSON.parse does it, also for __proto__.
    const set = (/** @type {unknown} */ value) =>
      Object.defineProperty(signal, field, { value, writable: true, enumerable: true, configurable: true })
    if (change === 0) set(COUNTS[reader.byte() & 7])
    else if (change === 1) set(reader.text())
    else if (change === 2) delete signal[field]
    else if (change === 3) set(oddValue(reader.byte()))
    else if (change === 4) signal.candidates = [...(Array.isArray(signal.candidates) ? signal.candidates : []), reader.text()]
    else if (change === 5)
      signal.candidates = [oddValue(reader.byte()), ...(Array.isArray(signal.candidates) ? signal.candidates.slice(1) : [])]
    else if (change === 6)
      signal.candidates = Array.from(
        { length: reader.byte() },
        (_, i) => `candidate:${i} 1 udp ${i + 1} 203.0.113.${i % 256} ${i + 1} typ host`,
      )
    else {
      signals.push((reader.byte() & 7) === 0 ? oddValue(reader.byte()) : signal)
      signal = structuredClone(real)
    }
  }
  signals.push(signal)
  return signals
}

/** @param {Uint8Array} data @returns {unknown[]} */
function parsed(data) {
  const lines = decoder.decode(data).split('\n').slice(0, MOST_SIGNALS)
  return lines.flatMap((line) => {
    try {
      return [JSON.parse(line)]
    } catch {
      return [] // whoever reads the channel sees to that
    }
  })
}

class Signals {
  name = 'signals'
  longest = 4_000
  dictionary = words(
    ...FIELDS.map((field) => `"${field}":`),
    ...[
      'null',
      'true',
      'false',
      '[]',
      '{}',
      '""',
      '-1',
      '1e400',
      '0.5',
      '9007199254740991',
      '9007199254740992',
      ',',
      '"candidates":[],',
      '\n',
    ],
    ...[
      '"0000000000000000"',
      '"ffffffffffffffff"',
      '"candidate:1 1 udp 1 192.0.2.1 1 typ host"',
      '"bye":true,',
      '"v":1,',
      '\\u0000',
      '\\ud800',
    ],
  )
  /** @type {readonly import('../engine/mutations.js').Mutation[]} */
  mutations = []
  stale = true
  /** @type {(Meeting | undefined)[]} */
  #meetings = MOMENTS.map(() => undefined)
  /** @type {Meeting | undefined} */
  #changed
  #reopen = false

  async prepare() {
    for (const [moment, milliseconds] of MOMENTS.entries()) {
      if (this.#meetings[moment] !== undefined) continue
      const meeting = new Meeting()
      await meeting.open()
      await meeting.pass(milliseconds)
      this.#meetings[moment] = meeting
    }
    this.stale = false
  }

  /** @param {Uint8Array} input */
  run(input) {
    const first = input[0] ?? 0
    const moment = (first & 127) % MOMENTS.length
    const meeting = /** @type {Meeting} */ (this.#meetings[moment])
    const rest = input.subarray(1)
    const signals = first & STRUCTURED ? structured(rest, /** @type {object} */ (meeting.said.b.at(-1))) : parsed(rest)
    let taken = false
    for (const signal of signals) taken = give(meeting, signal) || taken
    if (!taken) return
    this.#meetings[moment] = undefined
    this.#changed = meeting
    this.#reopen = input.reduce((sum, byte) => sum + byte, 0) % ONE_IN === 0
    this.stale = true
  }

  async settle() {
    const meeting = this.#changed
    if (meeting === undefined) return
    this.#changed = undefined
    const before = meeting.network.sent.length
    await meeting.pass(AFTERMATH)
    const sent = meeting.network.sent.length - before
    ok(sent <= MOST_SENT, `${sent} datagrams in ${AFTERMATH} ms`)
    ok(String(meeting.session.explain()).length < LONGEST_REPORT)
    meeting.state()
    if (this.#reopen) await reopen(meeting)
    await meeting.close()
  }
}

/** True when it was taken. @param {Meeting} meeting @param {unknown} signal */
function give(meeting, signal) {
  const { session, said } = meeting
  const read = readSignal(signal)
  const before = { state: meeting.state(), bad: session.status.badSignals, sent: meeting.network.sent.length }
  const taken = session.signal(/** @type {any} */ (signal))
  if (typeof read === 'string') {
    ok(read.length > 0 && read.length < 400, 'what a stranger wrote fills the reason')
    equal(session.status.badSignals, before.bad + 1)
  } else {
    equal(read.candidates.length + read.refused.length, read.signal.candidates.length)
    equal(session.status.badSignals, before.bad)
  }
  const isOwn = typeof read !== 'string' && said.a.some(({ id }) => id === read.signal.id)
  equal(taken, typeof read !== 'string' && !isOwn)
  if (!taken) equal(meeting.state(), before.state, 'what was refused changed something')
  return taken
}

/** @param {Meeting} meeting */
async function reopen(meeting) {
  const { session, peer, traversal, peerTraversal } = meeting
  await session.close()
  await peer.close()
  await meeting.pass(30)
  equal(traversal.connect({ peer: 'b' }), session)
  peerTraversal?.connect({ peer: 'a' })
  for (const end of [session, peer]) end.ready.catch(() => {}) // its state is looked at
  await meeting.pass(REOPENED)
  equal(session.state, 'connected')
  equal(peer.state, 'connected')
}

/** @returns {import('../engine/fuzzer.js').Target} */
export function signals() {
  return new Signals()
}
