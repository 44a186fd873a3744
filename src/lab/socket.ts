/** The UDP socket of a virtual host. */
import type { Address, DatagramHandler, DatagramSocket, SendFailure } from '../net/index.ts'
import type { Membership } from './membership.ts'
import type { Packet } from './packet.ts'
import { Packet as UdpPacket } from './packet.ts'

/** A send queue that can fill up, for tests of backpressure. */
export interface SendQueueOptions {
  /** Datagrams after which `send` returns false. */
  readonly limit: number
  /** Datagrams that leave in each millisecond. */
  readonly perMillisecond: number
}

/** What a socket needs of its host. */
export interface SocketOwner {
  readonly sendQueue: SendQueueOptions | undefined
  /** Sends a datagram on its way; a string says why not. */
  transmit(packet: Packet, membership: Membership | undefined): SendFailure | undefined
  /** Runs a callback of the socket's owner after so many milliseconds, never in the same turn. */
  later(milliseconds: number, callback: () => void): void
  forget(socket: LabSocket): void
}

export class LabSocket implements DatagramSocket {
  readonly local: Address
  readonly buffer = undefined
  readonly membership: Membership | undefined
  readonly #owner: SocketOwner
  readonly #queue: { readonly packet: Packet; readonly report: boolean }[] = []
  #handler: DatagramHandler | undefined
  #hops = 64
  #closed = false
  #full = false
  #pumping = false

  constructor(owner: SocketOwner, local: Address, membership?: Membership) {
    this.#owner = owner
    this.local = local
    this.membership = membership
  }

  handle(handler: DatagramHandler): void {
    this.#handler = handler
  }

  send(data: Uint8Array, to: Address, report = false): boolean {
    if (this.#closed) return true
    const copy = new Uint8Array(data.length)
    copy.set(data)
    const packet = new UdpPacket('udp', this.local, to, copy, this.#hops)
    const queue = this.#owner.sendQueue
    if (queue === undefined) {
      this.#transmit(packet, report)
      return true
    }
    this.#queue.push({ packet, report })
    if (!this.#pumping) {
      this.#pumping = true
      this.#owner.later(1, () => this.#pump(queue))
    }
    this.#full ||= this.#queue.length >= queue.limit
    return !this.#full
  }

  /** @throws RangeError unless `hops` is an integer from 1 to 255 */
  setHopLimit(hops: number): void {
    if (!Number.isInteger(hops) || hops < 1 || hops > 255) throw new RangeError(`setHopLimit: not a hop limit: ${hops}`)
    this.#hops = hops
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#handler = undefined
    this.#owner.forget(this)
  }

  /** Whether it has a handler. */
  get listening(): boolean {
    return this.#handler !== undefined
  }

  deliver(packet: Packet): void {
    this.#handler?.datagram(packet.data, packet.from)
  }

  /** The address of the socket is gone. */
  lose(reason: Error): void {
    if (this.#closed) return
    this.#closed = true
    const handler = this.#handler
    this.#handler = undefined
    this.#owner.forget(this)
    this.#owner.later(0, () => handler?.lost(reason))
  }

  #transmit(packet: Packet, report: boolean): void {
    const failure = this.#owner.transmit(packet, this.membership)
    if (failure !== undefined && report) this.#owner.later(0, () => this.#handler?.sendFailed(packet.to, failure))
  }

  #pump(queue: SendQueueOptions): void {
    if (this.#closed) return
    for (const { packet, report } of this.#queue.splice(0, Math.max(1, queue.perMillisecond))) this.#transmit(packet, report)
    this.#pumping = this.#queue.length > 0
    if (this.#pumping) {
      this.#owner.later(1, () => this.#pump(queue))
      return
    }
    if (!this.#full) return
    this.#full = false
    this.#handler?.drained()
  }
}
