/** A Network that counts what it lent out and did not get back: timers, sockets, watchers of interfaces, look-ups. */
import type { BindOptions, Clock, DatagramHandler, DatagramSocket, Network, Timer } from '../../src/net/index.ts'

export class CountingNetwork implements Network {
  readonly clock: Clock
  readonly random: Network['random']
  readonly interfaces: Network['interfaces']
  readonly gateway: Network['gateway']
  readonly dns: Network['dns']
  readonly streams: Network['streams']
  readonly timers = new Set<Timer>()
  readonly sockets = new Set<DatagramSocket>()
  /** What the library set on each socket, so that a test can play the network. */
  readonly handlers = new Map<DatagramSocket, DatagramHandler>()
  watchers = 0
  lookups = 0
  /** By multicast on the link, ever. */
  localLookups = 0
  /** Timers set and datagrams sent, ever: what is quiet sets none. */
  wakes = 0
  /** One more is an error: somebody sets timers without end. */
  mostWakes: number = Number.POSITIVE_INFINITY
  sends = 0
  readonly #network: Network

  constructor(network: Network) {
    this.#network = network
    this.random = network.random
    this.gateway = network.gateway
    this.streams = network.streams
    const { clock } = network
    this.clock = { now: () => clock.now(), wallTime: () => clock.wallTime(), wake: (at, callback) => this.#wake(clock, at, callback) }
    this.interfaces = {
      list: () => network.interfaces.list(),
      watch: (changed) => {
        this.watchers++
        const stop = network.interfaces.watch(changed)
        let stopped = false
        return () => {
          if (!stopped) this.watchers--
          stopped = true
          stop()
        }
      },
    }
    this.dns = {
      lookup: (name, options) => this.#lookUp(network.dns.lookup(name, options)),
      lookupLocal: (name, options) => {
        this.localLookups++
        return this.#lookUp(network.dns.lookupLocal(name, options))
      },
    }
  }

  async #lookUp<T>(answer: Promise<T>): Promise<T> {
    this.lookups++
    try {
      return await answer
    } finally {
      this.lookups--
    }
  }

  /** What is still lent out, by kind; all zero when nothing is left behind. */
  get left(): { timers: number; sockets: number; watchers: number; lookups: number } {
    return { timers: this.timers.size, sockets: this.sockets.size, watchers: this.watchers, lookups: this.lookups }
  }

  async bind(options: BindOptions): Promise<DatagramSocket> {
    const socket = await this.#network.bind(options)
    const counted: DatagramSocket = {
      local: socket.local,
      buffer: socket.buffer,
      handle: (handler) => {
        this.handlers.set(counted, handler)
        socket.handle({
          datagram: (data, from) => handler.datagram(data, from),
          sendFailed: (to, failure) => handler.sendFailed(to, failure),
          drained: () => handler.drained(),
          lost: (reason) => {
            this.sockets.delete(counted)
            handler.lost(reason)
          },
        })
      },
      send: (data, to, report) => {
        this.sends++
        return socket.send(data, to, report)
      },
      setHopLimit: (hops) => socket.setHopLimit(hops),
      close: () => {
        this.sockets.delete(counted)
        socket.close()
      },
    }
    this.sockets.add(counted)
    return counted
  }

  listen(...parameters: Parameters<Network['listen']>): ReturnType<Network['listen']> {
    return this.#network.listen(...parameters)
  }

  #wake(clock: Clock, at: number, callback: () => void): Timer {
    if (++this.wakes > this.mostWakes) throw new Error(`more than ${this.mostWakes} timers were set`)
    const inner = clock.wake(at, () => {
      this.timers.delete(timer)
      callback()
    })
    const timer: Timer = {
      cancel: () => {
        this.timers.delete(timer)
        inner.cancel()
      },
    }
    this.timers.add(timer)
    return timer
  }
}

export const NOTHING_LEFT = { timers: 0, sockets: 0, watchers: 0, lookups: 0 }
