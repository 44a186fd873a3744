// @ts-check
/**
 * What comes to the client of a relay from its server, and from whoever else. An input is a byte that chooses the moment (two bits) and the
 * transport (the third), then records: where from, how it is put in order (scene/seal.js), two bytes of length, the bytes. After each of them
 * - nothing has thrown;
 * - what was delivered came in a record, from a peer that has a permission, and from the server;
 * - over UDP, what was not from the server, or answers nothing that was asked, has changed nothing;
 * - an allocation comes from nothing but an answer that proves itself.
 * Afterwards time goes on: what is sent is bounded, and once the client is closed no timer is left.
 */
import { equal, ok } from 'node:assert/strict'
import { Address, Timers } from '../../dist/net/index.js'
import { RelayClient } from '../../dist/relay/index.js'
import { Attribute, MessageWriter, parseServerUri } from '../../dist/stun/index.js'
import { Desk } from '../scene/desk.js'
import { find, INTEGRITY, integrity, isMessage, LENGTH, seal, uint16 } from '../scene/seal.js'
import { StagedTarget } from '../scene/staged-target.js'
import { ANSWER, keyOf, MUTATIONS } from '../scene/turn.js'

const SERVER = Address.of('9.9.9.9', 3478)
const SOURCES = [SERVER, SERVER.withPort(3479), Address.of('1.1.1.66', 3478), Address.of('8.8.8.8', 5_000)]
export const PEER = Address.of('8.8.8.8', 5_000)
const REALM = 'fuzz.example'
const [USER, PASSWORD] = ['alice', 'wonder']
const KEY = keyOf(USER, REALM, PASSWORD)
/** Milliseconds that it goes on after something came of an input, and datagrams in that time: tries again, of all that is under way. */
const AFTERMATH = 3_000
const MOST_SENT = 60

/** An honest answer to a request. @param {Uint8Array} asked @param {'success' | 'error'} kind @param {(writer: MessageWriter) => unknown} build @param {number} how */
function answerTo(asked, kind, build, how = LENGTH | INTEGRITY) {
  const method = (((asked[0] ?? 0) & 0x3e) << 2) | (((asked[1] ?? 0) & 0xe0) >> 1) | ((asked[1] ?? 0) & 0xf)
  const writer = new MessageWriter().start(kind, method, asked.slice(8, 20))
  build(writer)
  return seal(writer.finish().slice(), how, KEY)
}

const challenge = (/** @type {MessageWriter} */ w) => w.errorCode(401, '').text(Attribute.Realm, REALM).text(Attribute.Nonce, 'nonce')
const grant = (/** @type {MessageWriter} */ w) =>
  w
    .address(Attribute.XorRelayedAddress, SERVER.withPort(50_000))
    .address(Attribute.XorMappedAddress, Address.of('1.1.1.1', 50_000))
    .uint32(Attribute.Lifetime, 600)

class Stage {
  desk = new Desk(['1.1.1.1'])
  /** What the outlet was told, but for data. @type {string[]} */
  told = []
  /** @type {{ data: Uint8Array, from: Address }[]} */
  delivered = []
  /** What was sent and may be answered, the last one last. @type {Uint8Array[]} */
  asked = []
  changed = false
  /** An answer came that proves itself. */
  #proven = false
  #had = 0
  moment
  stream
  client

  /** @param {number} moment @param {boolean} stream */
  constructor(moment, stream) {
    this.moment = moment
    this.stream = stream
    const text = `turn:9.9.9.9?transport=${stream ? 'tcp' : 'udp'}`
    this.client = new RelayClient({
      network: this.desk,
      timers: new Timers(this.desk.clock),
      uri: parseServerUri(text),
      text,
      addresses: [SERVER],
      credentials: async () => ({ username: USER, password: PASSWORD }),
      families: [4],
      outlet: {
        measured: () => {},
        allocated: () => void this.told.push('allocated'),
        lost: () => void this.told.push('lost'),
        doubted: () => void this.told.push('doubted'),
        ended: () => void this.told.push('ended'),
        failed: () => void this.told.push('failed'),
        datagram: (_allocation, data, from) => void this.delivered.push({ data: data.slice(), from }),
        sendFailed: () => void this.told.push('sendFailed'),
        drained: () => {},
      },
    })
  }

  async open() {
    const { client, desk, moment } = this
    client.start()
    client.allocate()
    await desk.pass(30)
    this.#collect()
    if (moment === 0) return
    await this.#honest('error', challenge, 0)
    if (moment === 1) return
    await this.#honest('success', grant)
    equal(this.told.join(), 'allocated')
    this.#had = 1
    client.allocation?.expect(PEER)
    client.allocation?.send(Uint8Array.of(1, 2, 3), PEER, true)
    await desk.pass(30)
    this.#collect()
    if (moment === 2) return
    await this.#honest('success', () => {})
    await this.#honest('success', () => {})
    equal(client.allocation?.status().channels, 1)
  }

  /** To the client's only socket, or its only stream. @param {Uint8Array} data @param {Address} from */
  #receive(data, from = SERVER) {
    const { desk, stream } = this
    if (stream) desk.dialled.at(-1)?.receive(data)
    else for (const handler of [...desk.sockets.values()]) handler?.datagram(data.slice(), from)
  }

  /** @param {'success' | 'error'} kind @param {(writer: MessageWriter) => unknown} build @param {number} [how] */
  async #honest(kind, build, how) {
    this.#receive(answerTo(/** @type {Uint8Array} */ (this.asked.at(-1)), kind, build, how))
    await this.desk.pass(30)
    this.#collect()
  }

  /** What was sent since, requests apart from data. */
  #collect() {
    const out = this.stream ? this.desk.dialled.flatMap(({ written }) => written.splice(0)) : this.desk.takeSent().map(({ data }) => data)
    for (const data of out) if (isMessage(data) && ((data[1] ?? 0) & 0x10) === 0) this.asked.push(data)
    return out.length
  }

  /** @param {import('../scene/records.js').Record} record */
  take({ source, how, data: bare }) {
    const from = /** @type {Address} */ (SOURCES[source & 3])
    const asked = this.asked.at(-1 - ((source >> 2) & 3)) ?? this.asked.at(-1)
    const answering = bare.slice()
    if (how & ANSWER && asked !== undefined && bare.length >= 20) answering.set(asked.subarray(8, 20), 8)
    const data = seal(answering, how & 15, KEY).slice()
    const [told, delivered, before] = [this.told.length, this.delivered.length, this.#state()]
    const isAnswer = isMessage(data) && this.asked.some((request) => Buffer.compare(request.subarray(8, 20), data.subarray(8, 20)) === 0)
    this.#receive(data, from)
    this.#collect()
    for (const { data: given, from: peer } of this.delivered.slice(delivered)) {
      ok(this.moment > 1, 'delivered before there was an allocation')
      equal(peer.ip, PEER.ip, 'delivered from somebody without a permission')
      ok(given.length <= data.length || this.stream, 'more was delivered than came')
      if (this.stream) continue
      ok(Buffer.from(data).includes(given), 'delivered is not what came')
      equal(
        given.length,
        uint16(data, (data[0] ?? 0) < 0x40 ? (find(data, Attribute.Data) ?? 0) + 2 : 2),
        'delivered is not as long as it says',
      )
    }
    const isServers = this.stream || from === SERVER
    if (!isServers) equal(this.delivered.length, delivered, 'delivered from who is not the server')
    const proven = isServers && isAnswer && integrity(data, KEY) === 'valid'
    this.#proven ||= proven
    if (!this.stream && !(isServers && isAnswer)) equal(this.told.length, told, `what answers nothing made it say ${this.told.at(-1)}`)
    // Data that is delivered is worth a channel back.
    if (!this.stream && !proven && this.delivered.length === delivered)
      equal(this.#state(), before, 'what is no proven answer changed something')
    this.changed ||= this.stream || isAnswer || this.delivered.length > delivered
  }

  #state() {
    const { allocation } = this.client
    if (allocation === undefined) return 'none'
    const { counters: _counters, requests: _requests, ...rest } = allocation.status()
    return JSON.stringify(rest)
  }

  async finish() {
    const { client, desk } = this
    let sent = this.#collect()
    await desk.pass(AFTERMATH)
    sent += this.#collect()
    ok(sent <= MOST_SENT, `${sent} datagrams in ${AFTERMATH} ms`)
    if (this.told.filter((what) => what === 'allocated').length > this.#had) ok(this.#proven, 'an allocation without a proof')
    client.close()
    await desk.pass(0)
    equal(desk.timers.size, 0, 'timers are left')
    equal(desk.sockets.size, 0, 'sockets are left')
  }
}

/** @returns {import('../engine/fuzzer.js').Target} */
export function relayClient() {
  return new StagedTarget('relay-client', MUTATIONS, async (choice) => {
    const stage = new Stage(choice & 3, (choice & 4) !== 0)
    await stage.open()
    return stage
  })
}
