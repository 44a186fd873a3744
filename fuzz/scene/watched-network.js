// @ts-check
/** A host's network that remembers what was sent and how many timers are set, and lets datagrams be put straight into its socket. */

/** @typedef {import('../../dist/net/index.js').Network} Network */
/** @typedef {import('../../dist/net/index.js').Address} Address */

export class WatchedNetwork {
  /** What was sent, ever. @type {{ data: Uint8Array, to: Address }[]} */
  sent = []
  timers = 0
  /** @type {import('../../dist/net/index.js').DatagramHandler | undefined} */
  handler
  #network

  /** @param {Network} network */
  constructor(network) {
    this.#network = network
    this.random = network.random
    this.interfaces = network.interfaces
    this.gateway = network.gateway
    this.dns = network.dns
    this.streams = network.streams
    const { clock } = network
    this.clock = {
      now: () => clock.now(),
      wallTime: () => clock.wallTime(),
      wake: (/** @type {number} */ at, /** @type {() => void} */ callback) => this.#wake(at, callback),
    }
  }

  /** @param {import('../../dist/net/index.js').BindOptions} options */
  async bind(options) {
    const socket = await this.#network.bind(options)
    return {
      local: socket.local,
      handle: (/** @type {import('../../dist/net/index.js').DatagramHandler} */ handler) => {
        this.handler = handler
        socket.handle(handler)
      },
      send: (/** @type {Uint8Array} */ data, /** @type {Address} */ to, /** @type {boolean | undefined} */ report) => {
        this.sent.push({ data, to })
        return socket.send(data, to, report)
      },
      setHopLimit: (/** @type {number} */ hops) => socket.setHopLimit(hops),
      close: () => socket.close(),
    }
  }

  /** @param {Parameters<Network['listen']>} parameters */
  listen(...parameters) {
    return this.#network.listen(...parameters)
  }

  /** @param {number} at @param {() => void} callback */
  #wake(at, callback) {
    this.timers++
    let pending = true
    const over = () => {
      if (pending) this.timers--
      pending = false
    }
    const timer = this.#network.clock.wake(at, () => {
      over()
      callback()
    })
    return {
      cancel: () => {
        over()
        timer.cancel()
      },
    }
  }
}
