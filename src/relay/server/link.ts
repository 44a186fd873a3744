/** One client's way to the relay: the 5-tuple of RFC 8656, and how things are put on it. UDP is in udp-listener.ts, streams in stream-listener.ts. */
import type { Address } from '../../net/index.ts'
import type { RelayTransport } from '../transport.ts'
import type { Allocation } from './allocation.ts'

/** Datagrams that wait with a request: a client may send what follows Allocate without waiting for its answer. */
export const MOST_WAITING = 16
/** Bytes of each. It may be a stranger that waits, for his password, and with a thousand others. */
export const LONGEST_WAITING = 2048

export abstract class Link {
  readonly client: Address
  readonly transport: RelayTransport
  allocation: Allocation | undefined
  /** What came while a request of this client waits for its password or its sockets; undefined while none does. */
  waiting: Uint8Array[] | undefined
  /** Nothing reaches the client any more. */
  gone = false
  /** Requests of this client that were turned away since it last had an allocation; counted where there is a connection to end. */
  refusals = 0

  constructor(client: Address, transport: RelayTransport) {
    this.client = client
    this.transport = transport
  }

  /** Sends a STUN message. The memory is the link's. */
  abstract reply(message: Uint8Array): void
  /** Takes a datagram that waited, as if it came now. */
  abstract again(data: Uint8Array): void
  /** Sends ChannelData; `payload` is copied. False when it was dropped because the way is full. */
  abstract channelData(channel: number, payload: Uint8Array): boolean
  /** Sends a Data indication; `payload` is copied. False as above. */
  abstract indication(peer: Address, payload: Uint8Array): boolean
  /** It was turned away too often: ends the connection, where there is one. */
  abstract disconnect(): void
  /** The 5-tuple is in use: it has an allocation, or will have. */
  abstract keep(): void
  /** It is in use no more. */
  abstract forget(): void
}
