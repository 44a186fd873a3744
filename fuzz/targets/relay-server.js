// @ts-check
/**
 * Datagrams and streams into a relay, from a client with an allocation, from strangers, and from peers. An input is a byte that is not used,
 * then records: who says it, how it is put in order (scene/seal.js), two bytes of length, the bytes. After each of them
 * - nothing has thrown;
 * - a stranger over UDP got one answer at most, and none to what is no request; nobody else got it;
 * - whoever has not proved himself has changed nothing, and nothing was relayed for him;
 * - nothing went to where a relay must not lead, by node:net's reading of the addresses;
 * - another client's allocation, whose address may be forged here, goes on as before.
 */
import { equal, ok } from 'node:assert/strict'
import { BlockList } from 'node:net'
import { Address } from '../../dist/net/index.js'
import { createRelay } from '../../dist/relay/index.js'
import { Attribute, MessageWriter, Method } from '../../dist/stun/index.js'
import { join } from '../scene/attributes.js'
import { Desk } from '../scene/desk.js'
import { recordsOf } from '../scene/records.js'
import { integrity, integritySha256, isMessage, seal } from '../scene/seal.js'
import { authentic, keyOf, MUTATIONS, NAMED, named, read } from '../scene/turn.js'

const REALM = 'sallyport'
const USERS = { alice: 'wonder', mallory: 'known' }
export const SERVER = Address.of('9.9.9.9', 3478)
const SERVER_6 = Address.of('2620:fe::fe', 3478)
export const PEER = Address.of('8.8.8.8', 5_000)
const OTHER_PEER = Address.of('8.8.4.4', 5_000)
const UDP = 17 << 24

/** Of `source`: who says it, over which transport. */
export const MALLORY = 0
export const MALLORY_STREAM = 1
export const STRANGER = 2
export const STRANGER_STREAM = 3
export const PEER_SAYS = 4
export const OTHER_PEER_SAYS = 5
/** The address of alice, forged. */
export const FORGED = 6
export const NEWCOMER = 7

const INSIDE = new BlockList()
for (const [net, bits] of /** @type {const} */ ([
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['224.0.0.0', 3],
]))
  INSIDE.addSubnet(net, bits, 'ipv4')
for (const [net, bits] of /** @type {const} */ ([
  ['::', 127],
  ['64:ff9b:1::', 48],
  ['2001::', 32],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 9],
  ['ff00::', 8],
]))
  INSIDE.addSubnet(net, bits, 'ipv6')

/** @typedef {import('../scene/turn.js').Credentials} Credentials */
/** @typedef {import('../scene/desk.js').DeskStream} DeskStream */

class Stage {
  desk = new Desk([SERVER.ip, SERVER_6.ip])
  /** @type {import('../../dist/relay/index.js').Relay | undefined} */
  relay
  clients = {
    alice: Address.of('1.1.1.1', 1_000),
    mallory: Address.of('1.1.1.2', 2_000),
    stranger: Address.of('1.1.1.3', 3_000),
    newcomer: Address.of('1.1.1.4', 4_000),
  }
  /** By client address. @type {Map<string, Credentials>} */
  credentials = new Map()
  /** @type {Address | undefined} */
  alices
  /** @type {Address | undefined} */
  mallorys
  /** @type {DeskStream[]} */
  streams = []
  #id = 0
  #state = ''
  #sockets = 0
  changed = false

  async open() {
    const { desk, clients } = this
    this.relay = await createRelay({
      network: desk,
      addresses: [SERVER.ip, SERVER_6.ip],
      users: USERS,
      nonceSecret: new Uint8Array(32).fill(9),
      // What is counted for each source would be carried from run to run.
      strangers: { perSecond: Number.POSITIVE_INFINITY },
    })
    const [own, stranger] = [Address.of('1.1.1.2', 2_001), Address.of('1.1.1.3', 3_001)]
    this.streams = [desk.connect(SERVER, own), desk.connect(SERVER, stranger)]
    this.alices = await this.#allocate(clients.alice, 'alice')
    this.mallorys = await this.#allocate(clients.mallory, 'mallory')
    await this.#allocate(own, 'mallory', this.streams[0])
    for (const client of [clients.stranger, clients.newcomer]) this.#learn(client, 'mallory', this.#exchange(client, this.#first()))
    this.#learn(stranger, 'mallory', this.#exchange(stranger, this.#first(), this.streams[1]))
    for (const [client, user] of /** @type {const} */ ([
      [clients.alice, 'alice'],
      [clients.mallory, 'mallory'],
    ])) {
      const channel = authentic(
        Method.ChannelBind,
        this.#of(client),
        (w) => w.uint32(Attribute.ChannelNumber, 0x4000_0000).address(Attribute.XorPeerAddress, PEER),
        ++this.#id,
      )
      equal(read(this.#exchange(client, channel)).class, 'success', `no channel for ${user}`)
    }
    this.#sockets = desk.sockets.size
    this.#state = this.#told()
  }

  /** @param {import('../scene/records.js').Record} record */
  take({ source: whole, how, data: bare }) {
    const { desk, clients, streams } = this
    const source = whole & 7
    const said = [
      clients.mallory,
      streams[0]?.remote,
      clients.stranger,
      streams[1]?.remote,
      PEER,
      OTHER_PEER,
      clients.alice,
      clients.newcomer,
    ]
    const from = /** @type {Address} */ (said[source])
    const credentials = this.credentials.get(from.key)
    const known =
      source === FORGED ? { .../** @type {Credentials} */ (credentials), key: Buffer.from('not the key of alice') } : credentials
    const body = how & NAMED && known !== undefined && bare.length >= 20 ? join(bare.subarray(0, bare.length & ~3), named(known)) : bare
    const data = seal(body, how & 15, known?.key ?? Buffer.alloc(16)).slice()
    const stream = source === MALLORY_STREAM ? streams[0] : source === STRANGER_STREAM ? streams[1] : undefined
    if (stream !== undefined) {
      // Cut in two, where the rest of `source` says.
      const cut = Math.min(data.length, (whole >> 3) * 3)
      for (const part of [data.slice(0, cut), data.slice(cut)]) stream.receive(part)
      this.changed = true
    } else if (source === PEER_SAYS || source === OTHER_PEER_SAYS) {
      desk.receive(/** @type {Address} */ (whole & 8 ? this.alices : this.mallorys), data, from)
    } else desk.receive(SERVER, data, from)
    this.#look(source, from, data)
  }

  /** What was sent for it. @param {number} source @param {Address} from @param {Uint8Array} data */
  #look(source, from, data) {
    const { desk, clients } = this
    const sent = desk.takeSent()
    const told = this.#told()
    const proven = this.#isProven(from, data)
    const [, answered = 0] = sent[0]?.data[0] === 1 ? sent[0].data : []
    if (answered === 0x08 || answered === 0x09) {
      // Of several peers of a channel the first counts (RFC 8489 14); of a permission's, all do.
      const peers = read(data).addresses(Attribute.XorPeerAddress)
      for (const peer of answered === 0x08 ? peers : peers.slice(0, 1)) assertOutside(peer)
    }
    for (const { from: local, to, data: out } of sent) {
      if (local.port !== SERVER.port) {
        assertOutside(to)
        ok(to.ip !== SERVER.ip, `relayed to ${to.key}, which is here`)
        ok(source !== STRANGER && source !== STRANGER_STREAM, 'relayed for a stranger')
      } else if (source === PEER_SAYS || source === OTHER_PEER_SAYS) {
        ok(to.key === clients.alice.key || to.key === clients.mallory.key, `told ${to.key}`)
        ok((out[0] ?? 0) >= 0x40 || (out[1] ?? 0) === 0x17, 'neither ChannelData nor a Data indication')
      } else if (isMessage(data) && ((data[0] ?? 0) & 1) === 0 && ((data[1] ?? 0) & 0x10) === 0)
        equal(to.key, from.key, 'somebody else was answered')
    }
    if (source === STRANGER || source === NEWCOMER) {
      ok(sent.length <= 1, `${sent.length} datagrams for one of a stranger's`)
      const isClassic = data.length >= 20 && data[0] === 0 && data[1] === 1
      ok(
        sent.length === 0 || (isMessage(data) ? ((data[0] ?? 0) & 1) === 0 && ((data[1] ?? 0) & 0x10) === 0 : isClassic),
        'what is no request was answered',
      )
    }
    // What was believed may show later: sockets take their time.
    this.changed ||= proven
    if (told === this.#state && desk.sockets.size === this.#sockets) return
    if (source !== MALLORY_STREAM && source !== STRANGER_STREAM) ok(proven, 'who has not proved himself changed something')
    this.#state = told
    this.#sockets = desk.sockets.size
  }

  /** @param {Address} from @param {Uint8Array} data */
  #isProven(from, data) {
    const credentials = this.credentials.get(from.key)
    if (credentials === undefined || !isMessage(data)) return false
    return integrity(data, credentials.key) === 'valid' || integritySha256(data, credentials.key) === 'valid'
  }

  /** Alice has what she had: a channel there and back. */
  witness() {
    const { desk, clients, alices } = this
    const said = Uint8Array.of(0x40, 0, 0, 5, 1, 2, 3, 4, 5)
    desk.receive(SERVER, said, clients.alice)
    desk.receive(/** @type {Address} */ (alices), said.slice(4), PEER)
    const [there, back, ...more] = desk.takeSent()
    equal(more.length, 0)
    deepEqualSent(there, /** @type {Address} */ (alices), PEER, said.slice(4))
    deepEqualSent(back, SERVER, clients.alice, said)
  }

  /** What was begun is over, and nothing of it is left behind once the relay closes. */
  async finish() {
    await this.desk.pass(0)
    this.desk.takeSent()
    this.witness()
    const refresh = authentic(Method.Refresh, this.#of(this.clients.alice), (w) => w.uint32(Attribute.Lifetime, 600), 250)
    equal(read(this.#exchange(this.clients.alice, refresh)).class, 'success')
    await this.relay?.close()
    equal(this.desk.timers.size, 0, 'timers are left')
    equal(this.desk.sockets.size, 0, 'sockets are left')
  }

  async close() {
    await this.relay?.close()
  }

  #told() {
    const { counters: _counters, ...rest } = /** @type {import('../../dist/relay/index.js').Relay} */ (this.relay).status()
    return JSON.stringify(rest)
  }

  /** @param {Address} client @returns {Credentials} */
  #of(client) {
    return /** @type {Credentials} */ (this.credentials.get(client.key))
  }

  #first() {
    return new MessageWriter()
      .start('request', Method.Allocate, new Uint8Array(12).fill(++this.#id))
      .uint32(Attribute.RequestedTransport, UDP)
      .finish()
      .slice()
  }

  /** The one answer. @param {Address} client @param {Uint8Array} data @param {DeskStream} [stream] */
  #exchange(client, data, stream) {
    if (stream === undefined) this.desk.receive(SERVER, data, client)
    else stream.receive(data)
    const sent = stream === undefined ? this.desk.takeSent().map(({ data: out }) => out) : stream.written.splice(0)
    return /** @type {Uint8Array} */ (sent[0])
  }

  /** @param {Address} client @param {'alice' | 'mallory'} username @param {Uint8Array} challenge */
  #learn(client, username, challenge) {
    const nonce = /** @type {string} */ (read(challenge).text(Attribute.Nonce))
    this.credentials.set(client.key, { username, realm: REALM, nonce, key: keyOf(username, REALM, USERS[username]) })
  }

  /** @param {Address} client @param {'alice' | 'mallory'} user @param {DeskStream} [stream] */
  async #allocate(client, user, stream) {
    this.#learn(client, user, this.#exchange(client, this.#first(), stream))
    const both = (/** @type {MessageWriter} */ w) =>
      w.uint32(Attribute.RequestedTransport, UDP).uint32(Attribute.AdditionalAddressFamily, 0x0200_0000)
    const request = authentic(Method.Allocate, this.#of(client), both, ++this.#id)
    if (stream === undefined) this.desk.receive(SERVER, request, client)
    else stream.receive(request)
    await this.desk.pass(0)
    const [answer] = stream === undefined ? this.desk.takeSent().map(({ data }) => data) : stream.written.splice(0)
    return /** @type {Address} */ (read(/** @type {Uint8Array} */ (answer)).address(Attribute.XorRelayedAddress))
  }
}

/** @param {Address} address */
function assertOutside(address) {
  ok(!INSIDE.check(address.ip, address.family === 4 ? 'ipv4' : 'ipv6'), `${address.key} is inside`)
}

/** @param {import('../scene/desk.js').Sent | undefined} sent @param {Address} from @param {Address} to @param {Uint8Array} data */
function deepEqualSent(sent, from, to, data) {
  equal(sent?.from.key, from.key)
  equal(sent?.to.key, to.key)
  equal(Buffer.compare(sent?.data ?? new Uint8Array(0), data), 0, 'not what was sent')
}

class RelayServer {
  name = 'relay-server'
  longest = 2_000
  /** @type {readonly Uint8Array[]} */
  dictionary = []
  mutations = MUTATIONS
  stale = true
  /** @type {Stage | undefined} */
  #stage

  async prepare() {
    if (this.#stage === undefined) {
      this.#stage = new Stage()
      await this.#stage.open()
    }
    this.stale = false
  }

  /** @param {Uint8Array} input */
  run(input) {
    const stage = /** @type {Stage} */ (this.#stage)
    for (const record of recordsOf(input)) stage.take(record)
    stage.witness()
    this.stale = stage.changed
  }

  async settle() {
    await this.#stage?.finish()
    this.#stage = undefined
  }
}

/** @returns {import('../engine/fuzzer.js').Target} */
export function relayServer() {
  return new RelayServer()
}
