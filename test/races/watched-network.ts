/** A counting Network that also shows what went through its sockets, and stops who sets timers or sends without end. */
import type { Address, BindOptions, DatagramSocket, Network } from '../../src/net/index.ts'
import { CountingNetwork } from '../traversal/counting-network.ts'

export interface Sent {
  readonly to: Address
  readonly data: Uint8Array
}

/** Datagrams that are remembered, to be sent again much later. */
const REMEMBERED = 24

export class WatchedNetwork extends CountingNetwork {
  /** The last datagrams that left, oldest first. */
  readonly sent: Sent[] = []
  readonly #arrived: (data: Uint8Array, from: Address) => void

  constructor(network: Network, arrived: (data: Uint8Array, from: Address) => void) {
    super(network)
    this.#arrived = arrived
  }

  override async bind(options: BindOptions): Promise<DatagramSocket> {
    const socket = await super.bind(options)
    const { handle, send } = socket
    return Object.assign(socket, {
      handle: (handler: Parameters<DatagramSocket['handle']>[0]) =>
        handle({
          datagram: (data, from) => {
            this.#arrived(data, from)
            handler.datagram(data, from)
          },
          sendFailed: (to, failure) => handler.sendFailed(to, failure),
          drained: () => handler.drained(),
          lost: (reason) => handler.lost(reason),
        }),
      send: (data: Uint8Array, to: Address, report?: boolean) => {
        this.sent.push({ to, data })
        if (this.sent.length > REMEMBERED) this.sent.shift()
        return send(data, to, report)
      },
    })
  }
}
