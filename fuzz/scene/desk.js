// @ts-check
/**
 * A Network of one machine with nothing behind it: what it sends lies there to be looked at, what comes to it is put in by hand, and time
 * stands still until it is moved. The same every time, and quicker to set up than a virtual internet.
 */
import { Address } from '../../dist/net/index.js'
import { Random } from '../engine/random.js'

/** @typedef {import('../../dist/net/index.js').Network} Network */
/** @typedef {import('../../dist/net/index.js').DatagramHandler} DatagramHandler */
/** @typedef {import('../../dist/net/index.js').StreamHandler} StreamHandler */
/** @typedef {{ from: Address, to: Address, data: Uint8Array }} Sent */

const FIRST_PORT = 50_000
/** Of promises, until all that hang on one another are through. */
const TURNS = 50

/** A stream that the library has one end of; the other is in hand. */
export class DeskStream {
  /** What the library wrote. @type {Uint8Array[]} */
  written = []
  /** The library closed it. */
  closed = false
  /** @type {StreamHandler | undefined} */
  #handler

  /** @param {Address} local @param {Address} remote */
  constructor(local, remote) {
    this.local = local
    this.remote = remote
  }

  /** @param {StreamHandler} handler */
  handle(handler) {
    this.#handler = handler
  }

  /** @param {Uint8Array} chunk */
  write(chunk) {
    if (!this.closed) this.written.push(chunk.slice())
    return true
  }

  end() {
    this.closed = true
  }

  destroy() {
    this.closed = true
  }

  /** Bytes come in. @param {Uint8Array} chunk */
  receive(chunk) {
    if (!this.closed && chunk.length > 0) this.#handler?.data(chunk)
  }
}

/** @implements {Network} */
export class Desk {
  time = 1_000_000
  /** Datagrams. @type {Sent[]} */
  sent = []
  /** @type {Map<string, DatagramHandler | undefined>} */
  sockets = new Map()
  /** Those dialled by the library. @type {DeskStream[]} */
  dialled = []
  /** Of those waiting. @type {Set<{ at: number, callback: () => void }>} */
  timers = new Set()
  #random = new Random(7)
  /** @type {((stream: DeskStream) => void) | undefined} */
  #accept
  #ips
  #port = FIRST_PORT

  /** @param {readonly string[]} ips of the machine */
  constructor(ips) {
    this.#ips = ips.map((ip) => Address.of(ip, 0))
    this.random = { bytes: (/** @type {number} */ length) => Uint8Array.from({ length }, () => this.#random.below(256)) }
    this.clock = {
      now: () => this.time,
      wallTime: () => this.time,
      wake: (/** @type {number} */ at, /** @type {() => void} */ callback) => {
        const timer = { at, callback }
        this.timers.add(timer)
        return { cancel: () => void this.timers.delete(timer) }
      },
    }
    this.interfaces = {
      list: () =>
        this.#ips.map((address) => ({ name: 'eth0', address, prefixLength: 24, internal: false, temporary: false, deprecated: false })),
      watch: () => () => {},
    }
    this.gateway = { defaultRoutes: async () => [] }
    const noName = async () => {
      throw new Error('there are no names here')
    }
    this.dns = { lookup: noName, lookupLocal: noName }
    this.streams = {
      dial: async (/** @type {{ to: Address }} */ { to }) => {
        const stream = new DeskStream(this.#ip(to.family).withPort(this.#port++), to)
        this.dialled.push(stream)
        return stream
      },
    }
  }

  /** @param {import('../../dist/net/index.js').BindOptions} options */
  async bind({ family, ip, port = 0 }) {
    const local = (ip === undefined ? this.#ip(family) : Address.of(ip, 0)).withPort(port === 0 ? this.#port++ : port)
    if (this.sockets.has(local.key)) throw Object.assign(new Error('taken'), { cause: { code: 'EADDRINUSE' } })
    this.sockets.set(local.key, undefined)
    return {
      local,
      buffer: undefined,
      handle: (/** @type {DatagramHandler} */ handler) => void this.sockets.set(local.key, handler),
      send: (/** @type {Uint8Array} */ data, /** @type {Address} */ to) => {
        this.sent.push({ from: local, to, data: data.slice() })
        return true
      },
      setHopLimit: () => {},
      close: () => void this.sockets.delete(local.key),
    }
  }

  /** @param {import('../../dist/net/index.js').ListenOptions} options @param {(stream: any) => void} accept */
  async listen({ family, ip, port = 0 }, accept) {
    this.#accept = accept
    return { local: (ip === undefined ? this.#ip(family) : Address.of(ip, 0)).withPort(port), renew: () => {}, close: () => {} }
  }

  /** Somebody connects. @param {Address} local @param {Address} remote */
  connect(local, remote) {
    const stream = new DeskStream(local, remote)
    this.#accept?.(stream)
    return stream
  }

  /** A datagram comes in. @param {Address} to @param {Uint8Array} data @param {Address} from */
  receive(to, data, from) {
    this.sockets.get(to.key)?.datagram(data.slice(), from)
  }

  /** What was sent since the last time. */
  takeSent() {
    return this.sent.splice(0)
  }

  /** Time goes on, timer by timer, with turns for promises. @param {number} milliseconds */
  async pass(milliseconds) {
    const end = this.time + milliseconds
    for (;;) {
      for (let turn = 0; turn < TURNS; turn++) await undefined
      const next = [...this.timers].sort((a, b) => a.at - b.at)[0]
      if (next === undefined || next.at > end) break
      this.time = Math.max(this.time, next.at)
      this.timers.delete(next)
      next.callback()
    }
    this.time = end
  }

  /** @param {4 | 6} family */
  #ip(family) {
    return /** @type {Address} */ (this.#ips.find((ip) => ip.family === family))
  }
}
