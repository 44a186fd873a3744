/**
 * The system's network with sockets on shared ports that can be taken anew. Linux gives what comes from one remote address to a socket chosen
 * by its place among those that share the port: the place in the order in which they came, and the last one fills the gap of one that goes.
 * So after the death of one process others are at the wrong place, and get what belongs to somebody else; taking a socket anew puts it
 * at the end (worker-order.ts says which has to).
 */
import type {
  Address,
  BindOptions,
  Clock,
  DatagramHandler,
  DatagramSocket,
  Dns,
  Gateway,
  Interfaces,
  ListenOptions,
  Network,
  Random,
  Stream,
  StreamDialer,
  StreamListener,
} from '../../../net/index.ts'

export class ReturningNetwork implements Network {
  readonly clock: Clock
  readonly random: Random
  readonly interfaces: Interfaces
  readonly gateway: Gateway
  readonly dns: Dns
  readonly streams: StreamDialer
  readonly #network: Network
  readonly #shared = new Set<ReturningSocket>()

  constructor(network: Network) {
    this.#network = network
    this.clock = network.clock
    this.random = network.random
    this.interfaces = network.interfaces
    this.gateway = network.gateway
    this.dns = network.dns
    this.streams = network.streams
  }

  async bind(options: BindOptions): Promise<DatagramSocket> {
    const socket = await this.#network.bind(options)
    if (options.reusePort !== true) return socket
    const shared = new ReturningSocket(this.#network, options, socket, () => this.#shared.delete(shared))
    this.#shared.add(shared)
    return shared
  }

  listen(options: ListenOptions, accept: (stream: Stream) => void): Promise<StreamListener> {
    return this.#network.listen(options, accept)
  }

  /** Takes all shared ports anew. Rejects with SallyportError `ERR_BIND`. */
  async rebind(): Promise<void> {
    for (const socket of this.#shared) await socket.rebind()
  }
}

class ReturningSocket implements DatagramSocket {
  readonly local: Address
  readonly #network: Network
  readonly #options: BindOptions
  readonly #forget: () => void
  #socket: DatagramSocket
  #handler: DatagramHandler | undefined
  #hops: number | undefined
  #closed = false

  constructor(network: Network, options: BindOptions, socket: DatagramSocket, forget: () => void) {
    this.#network = network
    this.#options = { ...options, port: socket.local.port }
    this.#socket = socket
    this.#forget = forget
    this.local = socket.local
  }

  get buffer(): number | undefined {
    return this.#socket.buffer
  }

  handle(handler: DatagramHandler): void {
    this.#handler = handler
    this.#socket.handle(handler)
  }

  send(data: Uint8Array, to: Address, report?: boolean): boolean {
    return this.#socket.send(data, to, report)
  }

  setHopLimit(hops: number): void {
    this.#socket.setHopLimit(hops)
    this.#hops = hops
  }

  close(): void {
    this.#closed = true
    this.#forget()
    this.#socket.close()
  }

  async rebind(): Promise<void> {
    // In this order: the gap has to be filled before we are the last. What waits in the old socket's buffer is lost.
    this.#socket.close()
    const socket = await this.#network.bind(this.#options)
    if (this.#closed) return socket.close()
    this.#socket = socket
    if (this.#hops !== undefined) socket.setHopLimit(this.#hops)
    if (this.#handler === undefined) return
    socket.handle(this.#handler)
    // Who waits for room in the old queue has it in the new one.
    this.#handler.drained()
  }
}
