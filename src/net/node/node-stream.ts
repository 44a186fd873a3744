/**
 * One stream over a socket of node:net or node:tls. What is written in one turn of the event loop leaves in one system call at its end: a
 * relay writes a small frame for each datagram that it reads, and the datagrams come in bursts.
 */
import type { Socket } from 'node:net'
import { Address } from '../address.ts'
import type { Stream, StreamHandler } from '../stream.ts'

/** Bytes waiting in the process from which on `write` says stop. */
const HIGH_WATER = 256 * 1024

/** Streams that wait for the end of the turn. Ticks and microtasks would be too early: they run between two datagrams of one burst. */
let waiting: NodeStream[] = []

/** `tcp` is the socket below TLS, or `socket` itself. */
export function streamOver(socket: Socket, tcp: Socket, remote: Address): Stream {
  const local = Address.tryOf(tcp.localAddress ?? '', tcp.localPort ?? 0) ?? Address.any(remote.family)
  const stream = new NodeStream(socket, local, remote)
  socket.on('error', (error) => stream.failed(error))
  socket.on('close', () => stream.closed())
  socket.on('drain', () => stream.drained())
  return stream
}

class NodeStream implements Stream {
  readonly local: Address
  readonly remote: Address
  readonly #socket: Socket
  #handler: StreamHandler | undefined
  #reason: Error | undefined
  #closed = false
  #corked = false
  #full = false

  constructor(socket: Socket, local: Address, remote: Address) {
    this.#socket = socket
    this.local = local
    this.remote = remote
  }

  /** Nothing is read before; what arrived meanwhile waits in the system. */
  handle(handler: StreamHandler): void {
    this.#handler = handler
    if (this.#closed) queueMicrotask(() => handler.closed(this.#reason))
    else this.#socket.on('data', (chunk) => handler.data(chunk))
  }

  write(chunk: Uint8Array): boolean {
    const socket = this.#socket
    if (!socket.writable) return true
    if (!this.#corked) {
      this.#corked = true
      socket.cork()
      if (waiting.push(this) === 1) setImmediate(flush)
    }
    socket.write(chunk)
    // The socket's own mark is lower, so that it always tells when it has drained.
    if (socket.writableLength < HIGH_WATER) return true
    this.#full = true
    return false
  }

  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  uncork(): void {
    this.#corked = false
    this.#socket.uncork()
  }

  failed(error: Error): void {
    this.#reason = error
  }

  closed(): void {
    this.#closed = true
    this.#handler?.closed(this.#reason)
  }

  drained(): void {
    if (!this.#full) return
    this.#full = false
    this.#handler?.drained()
  }
}

function flush(): void {
  const streams = waiting
  waiting = []
  for (const stream of streams) stream.uncork()
}
