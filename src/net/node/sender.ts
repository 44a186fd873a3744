/** The sending half of a node:dgram socket: never throws, knows when the queue is full, reports refusals when asked. */
import type { Socket } from 'node:dgram'
import type { Address } from '../address.ts'
import type { DatagramHandler } from '../socket.ts'
import type { Remotes } from './remotes.ts'

/** Bytes waiting in the process from which on `send` says stop. More than the largest datagram: see `send`. */
const HIGH_WATER = 256 * 1024
const LOW_WATER = HIGH_WATER / 4

/** What node:dgram puts on a failed send. */
interface SendError extends Error {
  readonly code?: string
  readonly address?: string
  readonly port?: number
}

export class Sender {
  readonly #socket: Socket
  readonly #remotes: Remotes
  /** IPv4 goes through a dual-stack IPv6 socket in its mapped form (RFC 3493 3.7). */
  readonly #mapped: boolean
  #handler: DatagramHandler | undefined
  #full = false
  /** Bytes waiting after the last send. */
  #waiting = 0
  // One callback of each kind for all datagrams: an error says itself which address it was. Made when first needed, which most sockets of a
  // relay never do.
  #sent: (() => void) | undefined
  #reported: ((error: SendError | null) => void) | undefined

  constructor(socket: Socket, remotes: Remotes, mapped: boolean) {
    this.#socket = socket
    this.#remotes = remotes
    this.#mapped = mapped
  }

  /** Who hears of refusals and of room in the queue; nobody any more with undefined. */
  handle(handler: DatagramHandler | undefined): void {
    this.#handler = handler
  }

  send(data: Uint8Array, to: Address, report: boolean): boolean {
    const ip = to.zone !== '' ? `${to.ip}%${to.zone}` : this.#mapped && to.family === 4 ? `::ffff:${to.ip}` : to.ip
    try {
      // Nothing calls back for a datagram that the system takes at once. As soon as one waits, each later one tells when it
      // left; a queue cannot get full by one datagram, so the last one in a full queue always does.
      if (report) this.#socket.send(data, to.port, ip, (this.#reported ??= (error) => this.#told(error)))
      else if (this.#waiting > 0) this.#socket.send(data, to.port, ip, (this.#sent ??= () => this.#left()))
      else this.#socket.send(data, to.port, ip)
      this.#waiting = this.#socket.getSendQueueSize()
      if (this.#waiting < HIGH_WATER) return true
    } catch {
      // Port 0, a closed socket: as good as lost on the way, and said only to who asked.
      if (report) queueMicrotask(() => this.#handler?.sendFailed(to, 'EINVAL'))
      return true
    }
    this.#full = true
    return false
  }

  #left(): void {
    if (!this.#full || this.#handler === undefined) return
    if (this.#socket.getSendQueueSize() > LOW_WATER) return
    this.#full = false
    this.#handler.drained()
  }

  #told(error: SendError | null): void {
    if (error !== null) this.#refused(error)
    this.#left()
  }

  #refused({ address, port, code, message }: SendError): void {
    const to = address === undefined || port === undefined ? undefined : this.#remotes.get(address, port)
    if (to !== undefined) this.#handler?.sendFailed(to, code ?? message)
  }
}
