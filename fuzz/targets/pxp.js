// @ts-check
/**
 * What comes to the clients of NAT-PMP and PCP from their router, from elsewhere, and as announcements. An input is a byte that chooses the
 * moment (two bits) and the family (the third), then records: where from and when, how it is put in order, two bytes of length, the bytes.
 * After each of them
 * - nothing has thrown;
 * - it was counted, or it is what a second reading here calls an answer from the router to something that was asked.
 * Afterwards time goes on: every call is settled, by a grant that makes sense and that an answer stood for or by an error of the union; what is
 * sent is bounded, no restart is told without an answer, and once all is closed no timer and no socket is left.
 */
import { deepEqual, equal, ok } from 'node:assert/strict'
import { SallyportError } from '../../dist/errors.js'
import { Address, Timers } from '../../dist/net/index.js'
import { openPxp } from '../../dist/pmp/pxp/index.js'
import { join } from '../scene/attributes.js'
import { Desk } from '../scene/desk.js'
import { recordMutations } from '../scene/records.js'
import { StagedTarget } from '../scene/staged-target.js'

/** Flags of a record's second byte: nonce, protocol and ports are those of a request that was sent; time has gone on before it comes. */
export const FITTING = 1
export const LATER = 2
export const MUCH_LATER = 4
/** Two bits of its first byte: from the router, its other port, a neighbour, or as an announcement. */
export const ROUTER = 0
export const ANNOUNCED = 3
/** A bit of the input's first byte. */
export const IPV6 = 4

const HOSTS = { 4: Address.of('192.168.1.2', 0), 6: Address.of('2001:db8::2', 0) }
const ROUTERS = { 4: Address.of('192.168.1.1', 5351), 6: Address.of('fe80::1%eth0', 5351) }
/** Milliseconds in which all that was asked is answered or given up, and datagrams: a few requests one after the other, four sends each. */
const AFTERMATH = 30_000
const MOST_SENT = 40
const EPOCH = 1000

/** @param {number} value */
const uint32 = (value) => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
/** @param {Uint8Array} data @param {number} at */
const read16 = (data, at) => ((data[at] ?? 0) << 8) | (data[at + 1] ?? 0)

/** An honest answer to a request. @param {Uint8Array} request @param {number} [epoch] */
export function honest(request, epoch = EPOCH) {
  const [version = 0, opcode = 0] = request
  if (version === 0 && opcode === 0) return join(Uint8Array.of(0, 128, 0, 0), uint32(epoch), Uint8Array.of(203, 0, 113, 9))
  if (version === 0) return join(Uint8Array.of(0, 128 | opcode, 0, 0), uint32(epoch), request.subarray(4, 12))
  const head = join(Uint8Array.of(2, 128 | opcode, 0, 0), request.subarray(4, 8), uint32(epoch), new Uint8Array(12))
  if (opcode === 0) return head
  return join(head, request.subarray(24, 44), Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 203, 0, 113, 9))
}

/** @typedef {{ promise: Promise<unknown>, protocol: string, port: number, state: string, value?: any }} Call */

class Stage {
  desk = new Desk(['192.168.1.2', '2001:db8::2'])
  changed = false
  /** Requests, the last one last. @type {Uint8Array[]} */
  asked = []
  /** @type {Call[]} */
  #calls = []
  #restarts = 0
  #answers = 0
  #moment
  #family
  /** Ports that an answer gave a mapping for, by protocol. @type {Record<string, Set<number>>} */
  #granted = { pcp: new Set(), 'nat-pmp': new Set() }
  /** @type {import('../../dist/pmp/pxp/index.js').Pxp | undefined} */
  #pxp

  /** @param {number} moment @param {4 | 6} family */
  constructor(moment, family) {
    this.#moment = moment
    this.#family = family
  }

  async open() {
    const { desk } = this
    const address = HOSTS[this.#family]
    const local = { name: 'eth0', address, prefixLength: 24, internal: false, temporary: false, deprecated: false }
    const uplink = { local, router: ROUTERS[this.#family].withPort(0) }
    const restarted = () => void this.#restarts++
    this.#pxp = await openPxp({ network: desk, timers: new Timers(desk.clock), uplink, restarted })
    if (this.#moment === 0) return
    const { pcp, natPmp } = this.#pxp
    this.#map(pcp, 5000)
    if (natPmp !== undefined) this.#map(natPmp, 5000)
    this.#collect()
    if (this.#moment === 1) return
    for (let answered = 0; answered < this.asked.length; answered++) {
      this.take({ source: ROUTER, how: 0, data: honest(/** @type {Uint8Array} */ (this.asked[answered])) })
      await desk.pass(0)
      this.#collect()
    }
    const [first, second] = this.#calls
    equal(first?.state, 'granted')
    if (natPmp !== undefined) equal(second?.state, 'granted')
    if (this.#moment === 2) {
      this.#map(pcp, 5000, first?.value)
      this.#call(pcp, 0, pcp.probe())
      if (natPmp !== undefined) this.#map(natPmp, 5001)
    } else {
      this.#call(pcp, 0, pcp.unmap(first?.value))
      if (natPmp !== undefined) this.#call(natPmp, 0, natPmp.unmap(second?.value))
    }
    this.#collect()
    this.changed = false
  }

  /** @param {import('../../dist/pmp/protocol.js').MappingClient} client @param {number} port @param {any} [previous] */
  #map(client, port, previous) {
    const internal = HOSTS[this.#family].withPort(port)
    this.#call(client, port, client.map({ transport: 'udp', internal, externalPort: port, lifetime: 60_000, previous }))
  }

  /** @param {import('../../dist/pmp/protocol.js').MappingClient} client @param {number} port @param {Promise<unknown>} promise */
  #call({ protocol }, port, promise) {
    /** @type {Call} */
    const call = { promise, protocol, port, state: 'pending' }
    this.#calls.push(call)
    promise.then(
      (value) => void Object.assign(call, { state: 'granted', value }),
      (value) => void Object.assign(call, { state: 'refused', value }),
    )
  }

  #collect() {
    const sent = this.desk.takeSent()
    for (const { data, to } of sent) {
      equal(to.key, ROUTERS[this.#family].key, 'something was sent to somebody else')
      this.asked.push(data)
    }
    return sent.length
  }

  /** @param {import('../scene/records.js').Record} record */
  take({ source, how, data: bare }) {
    const pxp = /** @type {import('../../dist/pmp/pxp/index.js').Pxp} */ (this.#pxp)
    const { desk } = this
    const data = how & FITTING ? this.#fitted(bare, (source >> 2) & 7) : bare
    const kind = source & 3
    if (how & LATER) desk.time += 1_000
    if (how & MUCH_LATER) desk.time += 1_000_000
    this.changed ||= (how & (LATER | MUCH_LATER)) !== 0
    const router = ROUTERS[this.#family]
    const from = [router, router.withPort(5350), HOSTS[this.#family].withPort(5351), router][kind]
    const [counted, restarts] = [count(pxp.drops), this.#restarts]
    const sockets = [...desk.sockets].filter(([key]) => key.endsWith(':5350') === (kind === ANNOUNCED))
    for (const [, handler] of sockets) handler?.datagram(data.slice(), /** @type {Address} */ (from))
    const drops = count(pxp.drops) - counted
    if (kind === ANNOUNCED) {
      const isOne = isAnnouncement(data)
      equal(drops, isOne ? 0 : 1, 'an announcement is one or it is counted')
      this.changed ||= isOne
    } else if (kind !== ROUTER) {
      equal(drops, 1, 'what is not from the router and its port was not counted')
    } else if (drops === 0) {
      ok(this.#isAnswer(data), 'what answers nothing was taken for an answer')
      this.#answers++
      this.changed = true
    } else {
      equal(drops, 1)
    }
    if (drops !== 0 || kind !== ROUTER) equal(this.#restarts, restarts, 'a restart without an answer')
  }

  /** @param {Uint8Array} bare @param {number} index */
  #fitted(bare, index) {
    const request = this.asked.at(-1 - index) ?? this.asked.at(-1)
    const data = bare.slice()
    if (request === undefined || data[0] !== request[0]) return data
    if (data.length > 1) data[1] = 0x80 | (request[1] ?? 0)
    if (request[0] === 0 && data.length >= 10 && request.length >= 6) data.set(request.subarray(4, 6), 8)
    if (request[0] === 2 && data.length >= 42 && request.length >= 42) data.set(request.subarray(24, 42), 24)
    return data
  }

  /** @param {Uint8Array} data */
  #isAnswer(data) {
    const [version = 0, opcode = 0, , code = 0] = data
    if (data.length < 4 || opcode < 128) return false
    // Whoever says that this is not the version.
    if (code === 1 && this.asked.length > 0) return true
    const asked = this.asked.filter((request) => (request[0] === version || version === 0) && opcode === 128 + (request[1] ?? 0))
    if (asked.length === 0) return false
    if (version === 0) {
      if (data.length < 8) return false
      if (opcode === 128) return data.length >= 12 || read16(data, 2) !== 0
      const success = read16(data, 2) === 0
      if (success && data.length < 16) return false
      this.#granted['nat-pmp']?.add(read16(data, 8))
      return true
    }
    if (version !== 2 || data.length % 4 !== 0 || data.length < 24 || data.length > 1100) return false
    if (opcode === 128 || (code !== 0 && data.length < 60)) return true
    if (data.length < 60) return false
    this.#granted.pcp?.add(read16(data, 40))
    return asked.some(
      (request) => Buffer.compare(request.subarray(24, 37), data.subarray(24, 37)) === 0 && read16(request, 40) === read16(data, 40),
    )
  }

  async finish() {
    const pxp = /** @type {import('../../dist/pmp/pxp/index.js').Pxp} */ (this.#pxp)
    let sent = this.#collect()
    await this.desk.pass(AFTERMATH)
    sent += this.#collect()
    ok(sent <= MOST_SENT, `${sent} datagrams in ${AFTERMATH} ms`)
    ok(this.#restarts <= this.#answers, 'more restarts than answers')
    for (const call of this.#calls) {
      const { state, value, port, protocol } = call
      ok(state !== 'pending', 'a call that is never settled')
      if (state === 'refused') {
        ok(value instanceof SallyportError && value.code.startsWith('ERR_MAPPING_'), String(value))
      } else if (port !== 0) {
        const { external, lifetime, internal } = value
        ok(external.port > 0 && lifetime > 0 && internal.port === port, 'a grant that makes no sense')
        ok(this.#granted[protocol]?.has(port), 'a grant that nobody gave')
        deepEqual(JSON.parse(JSON.stringify(value.memory ?? null)), value.memory ?? null)
      }
    }
    pxp.close()
    await this.desk.pass(0)
    equal(this.desk.timers.size, 0, 'timers are left')
    equal(this.desk.sockets.size, 0, 'sockets are left')
  }
}

/** @param {import('../../dist/pmp/pxp/index.js').PxpDrops} drops */
function count({ source, unreadable, unasked, announcement }) {
  return source + unreadable + unasked + announcement
}

/** @param {Uint8Array} data */
function isAnnouncement(data) {
  if (data[1] !== 128) return false
  if (data[0] === 0) return data.length >= (read16(data, 2) === 0 ? 12 : 8)
  if (data[0] !== 2 || data.length < 24 || data.length > 1100 || data.length % 4 !== 0) return false
  // Options are read in a success alone.
  return data[3] !== 0 || data.length === 24 || hasOptions(data)
}

/** @param {Uint8Array} data */
function hasOptions(data) {
  /** @type {Record<number, number>} */
  const lengths = { 1: 16, 2: 0, 3: 20 }
  let at = 24
  while (at < data.length) {
    const [code = 0, length] = [data[at], read16(data, at + 2)]
    if ((lengths[code] ?? length) !== length || (code === 3 && (data[at + 5] ?? 0) > 128)) return false
    at += 4 + Math.ceil(length / 4) * 4
  }
  return at === data.length
}

const ODD = [0, 1, 2, 3, 5, 8, 12, 13, 14, 24, 127, 128, 129, 130, 131, 255]

/**
 * Changes an answer in one place that means something.
 * @param {Uint8Array} data @param {import('../engine/random.js').Random} random @param {Uint8Array} other
 */
function changeAnswer(data, random, other) {
  const choice = random.below(6)
  if (choice === 0) return data.subarray(0, random.below(data.length + 1))
  if (choice === 1) return join(data, new Uint8Array(random.of([1, 2, 4, 8, 24])))
  if (choice === 2) return join(data, other.subarray(random.of([0, 24, 60])))
  if (data.length === 0) return other
  const copy = data.slice()
  if (choice === 3) copy[random.below(Math.min(4, data.length))] = random.of(ODD)
  else if (choice === 4) copy[random.below(data.length)] = random.of(ODD)
  else {
    const at = random.of([4, 8, 12])
    if (at + 4 <= copy.length) copy.set(uint32(random.of([0, 1, EPOCH - 3, EPOCH + 60, 60, 0xffff_ffff])), at)
  }
  return copy
}

/** @returns {import('../engine/fuzzer.js').Target} */
export function pxp() {
  const mutations = recordMutations(8, [0, FITTING, FITTING | LATER, FITTING | MUCH_LATER], changeAnswer)
  return new StagedTarget('pxp', mutations, async (choice) => {
    const stage = new Stage(choice & 3, choice & IPV6 ? 6 : 4)
    await stage.open()
    return stage
  })
}
