/**
 * The way to a TURN server over UDP, TCP or TLS (RFC 8656 3.1): STUN messages and ChannelData go out and come in as they are, whatever
 * carries them. What comes from anywhere but the server is not passed on.
 */
import type { Address, DatagramSocket, Network, SendFailure, Stream } from '../../net/index.ts'
import { StreamFramer } from '../stream-framer.ts'
import type { RelayTransport } from '../transport.ts'

export interface ConnectionHandler {
  /** One STUN message or ChannelData, or bytes that claim to be; the memory is the handler's. */
  received(data: Uint8Array): void
  /** The system refused what was sent with `report`. */
  sendFailed(failure: SendFailure): void
  drained(): void
  /** Once: it ended without `close`. */
  lost(reason: Error): void
}

export interface ServerConnection {
  readonly transport: RelayTransport
  readonly server: Address
  handle(handler: ConnectionHandler): void
  /** Requests and what belongs to them. On a stream they are taken even when it is full. */
  send(message: Uint8Array): void
  /** Data: STUN indications and ChannelData, padded where `padded` says so. False when the queue is full; a full stream drops it. */
  sendData(data: Uint8Array): boolean
  /** Bytes are lined up by four, as on streams (RFC 8656 12.5). */
  readonly padded: boolean
  /** What was sent goes out, nothing comes in any more. Idempotent. */
  close(): void
}

/** A socket of its own, on the wildcard. Rejects with SallyportError `ERR_BIND`. */
export async function openDatagrams(network: Network, server: Address): Promise<ServerConnection> {
  return new DatagramConnection(await network.bind({ family: server.family }), server)
}

/** Rejects with SallyportError `ERR_DIAL`, or with the signal's reason. */
export async function openStream(
  network: Network,
  server: Address,
  tls: { readonly serverName: string; readonly ca?: string } | undefined,
  signal: AbortSignal,
): Promise<ServerConnection> {
  const stream = await network.streams.dial(tls === undefined ? { to: server, signal } : { to: server, tls, signal })
  return new StreamConnection(stream, server, tls === undefined ? 'tcp' : 'tls')
}

class DatagramConnection implements ServerConnection {
  readonly transport = 'udp'
  readonly padded = false
  readonly server: Address
  readonly #socket: DatagramSocket
  #handler: ConnectionHandler | undefined

  constructor(socket: DatagramSocket, server: Address) {
    this.#socket = socket
    this.server = server
    socket.handle({
      datagram: (data, from) => {
        if (from === server || from.key === server.key) this.#handler?.received(data)
      },
      sendFailed: (_to, failure) => this.#handler?.sendFailed(failure),
      drained: () => this.#handler?.drained(),
      lost: (reason) => this.#handler?.lost(reason),
    })
  }

  handle(handler: ConnectionHandler): void {
    this.#handler = handler
  }

  send(message: Uint8Array): void {
    this.#socket.send(message, this.server, true)
  }

  sendData(data: Uint8Array): boolean {
    return this.#socket.send(data, this.server)
  }

  close(): void {
    this.#handler = undefined
    this.#socket.close()
  }
}

class StreamConnection implements ServerConnection {
  readonly transport: 'tcp' | 'tls'
  readonly padded = true
  readonly server: Address
  readonly #stream: Stream
  readonly #framer: StreamFramer
  #handler: ConnectionHandler | undefined
  #full = false
  #over = false

  constructor(stream: Stream, server: Address, transport: 'tcp' | 'tls') {
    this.#stream = stream
    this.server = server
    this.transport = transport
    this.#framer = new StreamFramer((data) => this.#handler?.received(data))
    stream.handle({
      data: (chunk) => {
        if (this.#framer.push(chunk) || this.#over) return
        stream.destroy()
        this.#lost(new Error('it sends what is neither STUN nor ChannelData'))
      },
      drained: () => {
        this.#full = false
        this.#handler?.drained()
      },
      closed: (reason) => this.#lost(reason ?? new Error('closed by the other side')),
    })
  }

  handle(handler: ConnectionHandler): void {
    this.#handler = handler
  }

  send(message: Uint8Array): void {
    if (!this.#stream.write(message)) this.#full = true
  }

  sendData(data: Uint8Array): boolean {
    // Late data is worth nothing, and a queue without an end is worse: what does not fit is lost, as on a network.
    if (!this.#full && !this.#stream.write(data)) this.#full = true
    return !this.#full
  }

  close(): void {
    if (this.#over) return
    this.#over = true
    this.#handler = undefined
    this.#framer.close()
    this.#stream.end()
  }

  #lost(reason: Error): void {
    if (this.#over) return
    this.#over = true
    const handler = this.#handler
    this.#handler = undefined
    this.#framer.close()
    handler?.lost(reason)
  }
}
