/** Sockets that hand datagrams to each other at once: enough network to put a server between two of them. */
import { SallyportError } from '../../src/errors.ts'
import { Address, type BindOptions, type DatagramHandler, type DatagramSocket, type Network } from '../../src/net/index.ts'

export class MemorySocket implements DatagramSocket {
  readonly local: Address
  readonly buffer: number | undefined = undefined
  readonly #network: MemoryNetwork
  handler: DatagramHandler | undefined
  /** What came in, when nobody handles it. */
  readonly received: { data: Uint8Array; from: Address }[] = []
  /** As if the queue were full from now on. */
  full = false

  constructor(network: MemoryNetwork, local: Address) {
    this.#network = network
    this.local = local
  }

  handle(handler: DatagramHandler): void {
    this.handler = handler
  }

  send(data: Uint8Array, to: Address): boolean {
    this.#network.deliver(data.slice(), this.local, to)
    return !this.full
  }

  setHopLimit(): void {}

  close(): void {
    this.#network.sockets.delete(this.local.key)
  }
}

export class MemoryNetwork {
  readonly sockets: Map<string, MemorySocket> = new Map()
  /** Keys of addresses that cannot be bound. */
  readonly refused: Set<string> = new Set()
  readonly refusedFamilies: Set<number> = new Set()
  #port = 40_000

  /** Only `bind` is there. */
  get network(): Network {
    return { bind: async (options: BindOptions) => this.bind(options) } as unknown as Network
  }

  bind({ family, ip = family === 4 ? '0.0.0.0' : '::', port = 0 }: BindOptions): MemorySocket {
    const local = Address.of(ip, port === 0 ? this.#port++ : port)
    if (this.sockets.has(local.key) || this.refused.has(local.key) || this.refusedFamilies.has(family)) {
      throw new SallyportError('ERR_BIND', `no ${local.key}`)
    }
    const socket = new MemorySocket(this, local)
    this.sockets.set(local.key, socket)
    return socket
  }

  deliver(data: Uint8Array, from: Address, to: Address): void {
    const socket = this.sockets.get(to.key) ?? this.sockets.get(Address.any(to.family, to.port).key)
    if (socket?.handler === undefined) socket?.received.push({ data, from })
    else socket.handler.datagram(data, from)
  }
}
