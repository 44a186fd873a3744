/** Datagram sockets, as everything in the library sees them. */
import type { Address, Family } from './address.ts'
import type { InterfaceAddress } from './interfaces.ts'

/** What a system says when it refuses a datagram; the names are errno's. */
export type SendFailure =
  | 'ENETUNREACH'
  | 'EHOSTUNREACH'
  | 'EPERM'
  | 'EACCES'
  | 'EMSGSIZE'
  | 'ECONNREFUSED'
  | 'EADDRNOTAVAIL'
  | 'ENOBUFS'
  | (string & {})

const PASSING: ReadonlySet<SendFailure> = new Set(['ENOBUFS', 'ENOMEM', 'EAGAIN', 'EINTR', 'ECONNREFUSED', 'EMSGSIZE'])

/**
 * Says nothing of the address: full queues and shortages pass, "refused" may come from a NAT that the peer has not opened yet, and what is too
 * long says that of itself alone.
 */
export function isPassing(failure: SendFailure): boolean {
  return PASSING.has(failure)
}

/** What a socket tells its one owner. Set once, right after the socket was made. */
export interface DatagramHandler {
  /** `data` belongs to the handler from here on. */
  datagram(data: Uint8Array, from: Address): void
  /** A datagram that was sent with `report` could not be. */
  sendFailed(to: Address, failure: SendFailure): void
  /** The queue has room again after `send` returned false. */
  drained(): void
  /** The socket is gone without having been closed by us (its interface went, the owner closed it). */
  lost(reason: Error): void
}

export interface DatagramSocket {
  /** The bound address, port filled in; an unspecified IP when bound to the wildcard. */
  readonly local: Address
  /**
   * Bytes of receive buffer that the system granted, in the measure of `BindOptions.buffer`: less than asked for where an administrator's
   * limit is lower. Undefined where there is no system to grant any.
   */
  readonly buffer: number | undefined
  handle(handler: DatagramHandler): void
  /**
   * Sends one datagram. The memory belongs to the socket until it is on the wire: do not write to it in the same turn of the event loop.
   * Never throws. Returns false when the queue is full: the datagram was taken, but wait for `drained` before the next.
   * `report` asks for `sendFailed` when the system refuses; data goes without, so that a datagram costs no callback.
   */
  send(data: Uint8Array, to: Address, report?: boolean): boolean
  /** TTL or hop limit of what is sent from now on; 64 by default. */
  setHopLimit(hops: number): void
  /** Idempotent. No handler call after it. */
  close(): void
}

export interface BindOptions {
  readonly family: Family
  /** An address of this machine, with its zone where link-local; the wildcard by default. */
  readonly ip?: string
  /** 0, the default, takes any free port. */
  readonly port?: number
  /**
   * Lets other processes that ask for it too have the same address and port; the system gives what comes from one remote address to one of
   * them. Where it cannot, the second is refused. False by default.
   */
  readonly reusePort?: boolean
  /** Bytes to ask for in the system, for datagrams received and sent; 4 MiB by default. Streams do not use it. */
  readonly buffer?: number
  /** To take part in multicast on one link. */
  readonly multicast?: MulticastOptions
}

/**
 * The port is shared with all programs that ask for it so (SO_REUSEADDR), and each of them gets what is sent to a group. Bound to the wildcard
 * a socket hears other links' groups, too, on some systems; bound to an address it hears none on most.
 */
export interface MulticastOptions {
  /** One of the link's addresses, of the socket's family: what is sent to a group leaves there. */
  readonly on: InterfaceAddress
  /** To hear there: `224.0.0.1`, `ff02::1`. None by default. */
  readonly groups?: readonly string[]
}
