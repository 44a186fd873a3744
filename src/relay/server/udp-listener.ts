/** A UDP socket that clients send to: which of them a datagram is from, and how theirs are sent. */
import type { Address, DatagramHandler, DatagramSocket } from '../../net/index.ts'
import { CHANNEL_HEADER_LENGTH, writeChannelHeader } from '../channel-data.ts'
import { Slab } from '../slab.ts'
import { dataIndicationLength, looksLikeSend, writeDataIndication } from './indications.ts'
import { Link } from './link.ts'
import type { Requests } from './requests.ts'
import type { Counters } from './status.ts'
import type { TransactionIds } from './transaction-ids.ts'

/** Bytes in the system for each: a burst of 3,000 datagrams. */
export const LISTENER_BUFFER: number = 4 << 20

/** The sockets of one family: one, or four by which the behaviour tests of RFC 5780 are answered. */
export interface UdpGroup {
  readonly listeners: UdpListener[]
  readonly addresses: Address[]
}

export interface UdpListenerOptions {
  readonly requests: Requests
  readonly counters: Counters
  readonly ids: TransactionIds
  /** The socket is gone without having been closed. */
  readonly lost: (at: Address) => void
}

export class UdpListener implements DatagramHandler {
  readonly socket: DatagramSocket
  readonly ids: TransactionIds
  readonly slab: Slab = new Slab()
  readonly #group: UdpGroup
  readonly #at: number
  readonly #requests: Requests
  readonly #counters: Counters
  readonly #lost: (at: Address) => void
  /** Clients that have an allocation, or whose request waits. */
  readonly #links = new Map<string, UdpLink>()
  #from: Address | undefined
  #link: UdpLink | undefined
  #full = false

  /** @param at position in the group */
  constructor(socket: DatagramSocket, group: UdpGroup, at: number, { requests, counters, ids, lost }: UdpListenerOptions) {
    this.socket = socket
    this.ids = ids
    this.#group = group
    this.#at = at
    this.#requests = requests
    this.#counters = counters
    this.#lost = lost
  }

  datagram(data: Uint8Array, from: Address): void {
    let link = this.#link
    if (from !== this.#from) {
      link = this.#links.get(from.key)
      this.#from = from
      this.#link = link
    }
    const first = data[0] as number
    if (link !== undefined) {
      const { allocation } = link
      if (allocation !== undefined && link.waiting === undefined) {
        if ((first & 0xc0) === 0x40 && data.length >= CHANNEL_HEADER_LENGTH) {
          allocation.channelData(data)
          return
        }
        if (looksLikeSend(data)) {
          allocation.sendIndication(data)
          return
        }
      }
    }
    // Binding (RFC 8489 6.3.1), with the cookie or as RFC 3489 had it.
    if (first === 0 && data[1] === 1) this.#binding(data, from)
    else if (link !== undefined) this.#requests.datagram(data, link)
    else if (first < 0x40) this.#requests.message(data, new UdpLink(from, this))
    else this.#counters.ignored[(first & 0xc0) === 0x40 ? 'unexpected' : 'malformed']++
  }

  sendFailed(): void {}

  drained(): void {
    this.#full = false
  }

  lost(): void {
    for (const link of [...this.#links.values()]) {
      link.gone = true
      link.allocation?.end('disconnected')
    }
    this.#lost(this.socket.local)
  }

  /** False when it was dropped, because the queue is full. */
  send(data: Uint8Array, to: Address): boolean {
    if (this.#full) return false
    if (!this.socket.send(data, to)) this.#full = true
    return true
  }

  receive(data: Uint8Array, link: UdpLink): void {
    this.#requests.datagram(data, link)
  }

  keep(link: UdpLink): void {
    this.#links.set(link.client.key, link)
    this.#from = undefined
  }

  forget(link: UdpLink): void {
    if (this.#links.get(link.client.key) === link) this.#links.delete(link.client.key)
    this.#from = undefined
  }

  /** The allocations have ended already. */
  close(): void {
    for (const link of this.#links.values()) link.gone = true
    this.#links.clear()
    this.#from = undefined
    this.#link = undefined
    this.socket.close()
  }

  #binding(data: Uint8Array, from: Address): void {
    const { listeners, addresses } = this.#group
    const reply = this.#requests.binding(data, from, addresses, this.#at, true)
    if (reply !== undefined) listeners[reply.via]?.send(reply.data, reply.to)
  }
}

export class UdpLink extends Link {
  readonly #listener: UdpListener

  constructor(client: Address, listener: UdpListener) {
    super(client, 'udp')
    this.#listener = listener
  }

  again(data: Uint8Array): void {
    this.#listener.receive(data, this)
  }

  reply(message: Uint8Array): void {
    this.#listener.send(message, this.client)
  }

  channelData(channel: number, payload: Uint8Array): boolean {
    const { length } = payload
    const data = this.#listener.slab.take(CHANNEL_HEADER_LENGTH + length)
    writeChannelHeader(data, channel, length)
    data.set(payload, CHANNEL_HEADER_LENGTH)
    return this.#listener.send(data, this.client)
  }

  indication(peer: Address, payload: Uint8Array): boolean {
    const { slab, ids } = this.#listener
    const data = slab.take(dataIndicationLength(peer, payload.length))
    writeDataIndication(data, ids.next(), peer, payload)
    return this.#listener.send(data, this.client)
  }

  disconnect(): void {}

  keep(): void {
    this.#listener.keep(this)
  }

  forget(): void {
    this.#listener.forget(this)
  }
}
