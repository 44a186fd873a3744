// @ts-check
/**
 * Datagrams from anywhere into a running traversal. An input is a byte that chooses the moment, then records: where from and with which
 * key, how to put in order (scene/seal.js), two bytes of length, the datagram. After each datagram
 * - nothing has thrown;
 * - what did not prove itself has changed nothing, and nothing was sent for it;
 * - it was delivered byte for byte, answered, or counted.
 * Whether it proved itself is decided here, by node:crypto and what was sent, not by the library.
 */
import { equal, ok } from 'node:assert/strict'
import { Address } from '../../dist/net/index.js'
import { Attribute } from '../../dist/stun/index.js'
import { Meeting, STRANGER } from '../scene/meeting.js'
import { recordMutations, recordsOf } from '../scene/records.js'
import { find, fingerprint, integrity, isMessage, seal, uint16 } from '../scene/seal.js'
import { words } from '../scene/words.js'

/** In `how`, beside the bits of seal.js: the transaction id of the last request that went to where this comes from. */
export const ANSWER = 16
/** And there: the user fragments of the meeting as it is, so that an input outlives a change of what is drawn when. */
export const NAMED = 32
/** Milliseconds that the meeting goes on after something was believed. */
const AFTERMATH = 100
/** In that time, at one check every 5 ms at most, plus what was answered at once. */
const MOST_SENT = AFTERMATH / 5 + 12

/** Before the peer is known; while our checks and the server's answer are on their way; connected; and again, with a restart under way. */
export const MOMENTS = [
  async (/** @type {Meeting} */ meeting) => meeting.pass(10),
  async (/** @type {Meeting} */ meeting) => meeting.pass(46),
  async (/** @type {Meeting} */ meeting) => meeting.pass(75),
  async (/** @type {Meeting} */ meeting) => {
    await meeting.pass(75)
    meeting.session.restart()
    await meeting.pass(5)
  },
]

/** @param {number} moment */
export async function meetUntil(moment) {
  const meeting = new Meeting()
  await meeting.open()
  await /** @type {(meeting: Meeting) => Promise<void>} */ (MOMENTS[moment])(meeting)
  return meeting
}

/** @typedef {import('../scene/records.js').Record} Record */

/** A moment that datagrams come into. */
class Stage {
  #meeting
  #state
  /** What came changed something. */
  changed = false
  /** What may be delivered later. @type {Uint8Array[]} */
  held = []
  /** Where checks came from that proved themselves, perhaps before there could be a pair. @type {Set<string>} */
  #proven = new Set()

  /** @param {Meeting} meeting */
  constructor(meeting) {
    this.#meeting = meeting
    this.#state = meeting.state()
    const { remote = STRANGER, server = STRANGER, local = STRANGER } = meeting
    this.sources = [
      remote,
      server,
      STRANGER,
      remote.withPort(remote.port ^ 1),
      local,
      remote.withPort(0),
      server.withPort(1),
      Address.of('10.0.0.9', 9),
    ]
    const passwords = [meeting.said.a.at(-1), meeting.said.b.at(-1), meeting.said.c.at(-1)].map(
      (signal) => signal?.pwd ?? 'not known yet'.repeat(2),
    )
    this.keys = [...passwords, 'somebody else’s word'].map((text) => Buffer.from(text))
    // Any that was ever given: a generation that has been replaced goes on for a while. Requests have ours, answers the peer's.
    const { a, b, c } = meeting.said
    const proofs = (/** @type {readonly { pwd: string }[]} */ said) =>
      [...new Set(said.map(({ pwd }) => pwd))].map((text) => Buffer.from(text))
    this.proofs = { requests: proofs([...a, ...c]), answers: proofs(b) }
    this.asked = meeting.network.sent.filter(({ data }) => isMessage(data) && data[0] === 0 && data[1] === 1)
  }

  /** @param {Record} record */
  take({ source, how, data: bare }) {
    const meeting = this.#meeting
    const { network, delivered } = meeting
    const from = /** @type {Address} */ (this.sources[source & 7])
    const key = /** @type {Buffer} */ (this.keys[(source >> 4) & 3])
    const named = how & NAMED ? this.#named(bare, (source >> 4) & 3) : bare
    const data = seal(how & ANSWER ? this.#answering(named, from) : named, how, key).slice()
    const copy = data.slice()
    const before = { counted: meeting.counted, sent: network.sent.length, delivered: delivered.length }
    // The traversal owns what it is given, so it gets its own.
    network.handler?.datagram(data, from)
    const counted = meeting.counted - before.counted
    const sent = network.sent.slice(before.sent)
    for (const given of delivered.slice(before.delivered)) this.#assertCame(given, copy)
    equal(meeting.other.status.received, 0, 'delivered to a session that has no path')
    if (this.#isBelieved(copy, from)) {
      this.#proven.add(from.key)
      ok(sent.length <= 3, `${sent.length} datagrams were sent at once for one`)
      const state = meeting.state()
      this.changed ||= state !== this.#state
      this.#state = state
      if (counted === 0 && sent.length === 0) this.#mayHold(copy, from)
      return
    }
    equal(meeting.state(), this.#state, 'what did not prove itself changed something')
    const bytes = sent.reduce((sum, { data }) => sum + data.length, 0)
    ok(bytes <= copy.length, `${bytes} bytes were sent for ${copy.length} that did not prove themselves`)
    // A keep-alive (RFC 8445 11) from where a session's peer is.
    if (counted === 0 && isKeepAlive(copy) && (this.#proven.has(from.key) || this.#pairsTo(from).length > 0)) return
    if (counted === 0 && this.#mayHold(copy, from)) return
    equal(counted, 1, `it was counted ${counted} times`)
  }

  /** The peer was heard from there, and its pair is not valid yet: what becomes of it shows later. @param {Uint8Array} data @param {Address} from */
  #mayHold(data, from) {
    const pairs = this.#pairsTo(from)
    if (pairs.some(({ valid }) => valid) || !pairs.some(({ heard }) => heard)) return false
    this.held.push(data)
    this.changed = true
    return true
  }

  /** It is the datagram that came now, or the next of those that were held. @param {Uint8Array} given @param {Uint8Array} now */
  #assertCame(given, now) {
    const next = this.held.findIndex((held) => Buffer.compare(given, held) === 0)
    if (next >= 0) this.held.splice(0, next + 1)
    else ok(Buffer.compare(given, now) === 0, 'delivered is not what came')
  }

  /** @param {Address} from @returns {{ heard: boolean, valid: boolean }[]} */
  #pairsTo(from) {
    const { session, other } = this.#meeting
    const pairs = [...session.explain().pairs, ...other.explain().pairs]
    return pairs.filter(({ remote }) => remote.address === from.key)
  }

  /** Time goes on, with the peer still there. */
  async goOn() {
    const { network, session } = this.#meeting
    const before = network.sent.length
    await this.#meeting.pass(AFTERMATH)
    const sent = network.sent.length - before
    ok(sent <= MOST_SENT, `${sent} datagrams in ${AFTERMATH} ms`)
    ok(String(session.explain()).length > 0)
    this.#meeting.state()
    await this.#meeting.close()
  }

  /** @param {Uint8Array} bare @param {number} key whose user fragment goes first: that of the session with this key */
  #named(bare, key) {
    const { a, b, c } = this.#meeting.said
    const username = Buffer.from(`${(key === 2 ? c : a).at(-1)?.ufrag}:${b.at(-1)?.ufrag}`)
    const at = find(bare, Attribute.Username)
    if (at === undefined || uint16(bare, at + 2) !== username.length || at + 4 + username.length > bare.length) return bare
    const named = bare.slice()
    named.set(username, at + 4)
    return named
  }

  /** @param {Uint8Array} bare @param {Address} from */
  #answering(bare, from) {
    const request = this.asked.findLast(({ to }) => to.key === from.key) ?? this.asked.at(-1)
    if (request === undefined || bare.length < 20) return bare
    const answer = bare.slice()
    answer.set(request.data.subarray(8, 20), 8)
    return answer
  }

  /** It has the integrity of a word that was given, or is an answer of the server's to what the server was asked. @param {Uint8Array} data @param {Address} from */
  #isBelieved(data, from) {
    if (!isMessage(data) || fingerprint(data) === 'invalid') return false
    const isAnswer = /** @type {number} */ (data[0] & 1) === 1
    const isIndication = !isAnswer && /** @type {number} */ (data[1] & 0x10) !== 0
    const proofs = isAnswer ? this.proofs.answers : this.proofs.requests
    if (!isIndication && proofs.some((key) => integrity(data, key) === 'valid')) return true
    return (
      isAnswer &&
      this.asked.some(({ data: asked, to }) => to.key === from.key && Buffer.compare(asked.subarray(8, 20), data.subarray(8, 20)) === 0)
    )
  }
}

/** @param {Uint8Array} data */
function isKeepAlive(data) {
  return isMessage(data) && data[0] === 0 && data[1] === 0x11 && fingerprint(data) === 'valid'
}

class Demultiplexer {
  name = 'demultiplexer'
  longest = 2_000
  /** @type {readonly Uint8Array[]} */
  dictionary = []
  mutations = recordMutations(4, [0, 1, 8, 9, 11, 25, 27, 43, 43])
  stale = true
  /** @type {(Stage | undefined)[]} */
  #stages = MOMENTS.map(() => undefined)
  /** @type {Stage | undefined} */
  #changed

  async prepare() {
    for (const moment of MOMENTS.keys()) {
      if (this.#stages[moment] !== undefined) continue
      const meeting = await meetUntil(moment)
      this.#stages[moment] = new Stage(meeting)
      const { said } = meeting
      const [ours = '', theirs = '', others = ''] = [said.a.at(-1)?.ufrag, said.b.at(-1)?.ufrag, said.c.at(-1)?.ufrag]
      if (moment === 2) this.dictionary = words(ours, theirs, others, `${ours}:${theirs}`, `${others}:${theirs}`, `${others}:`)
    }
    this.stale = false
  }

  /** @param {Uint8Array} input */
  run(input) {
    const moment = /** @type {number} */ (input[0] ?? 0) & 3
    const stage = /** @type {Stage} */ (this.#stages[moment])
    const records = recordsOf(input)
    for (const record of records) stage.take(record)
    if (!stage.changed) return
    this.#stages[moment] = undefined
    this.#changed = stage
    this.stale = true
  }

  async settle() {
    await this.#changed?.goOn()
    this.#changed = undefined
  }
}

/** @returns {import('../engine/fuzzer.js').Target} */
export function demultiplexer() {
  return new Demultiplexer()
}
