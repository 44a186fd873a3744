/** Byte streams over node:net, with node:tls on top where asked for; TLS is loaded when first used. */
import { connect, createServer, isIP, type Socket } from 'node:net'
import { SallyportError } from '../../errors.ts'
import { Address } from '../address.ts'
import type { BindOptions } from '../socket.ts'
import type { DialOptions, Stream, StreamDialer, StreamHandler, StreamListener } from '../stream.ts'
import { assertBindOptions } from './datagram-socket.ts'

export function nodeStreams(): StreamDialer {
  return { dial }
}

async function dial(options: DialOptions): Promise<Stream> {
  const { to, tls, signal } = options
  signal?.throwIfAborted()
  const tcp = connect({ host: hostOf(to), port: to.port, noDelay: true })
  let socket = tcp
  try {
    await ready(tcp, 'connect', signal)
    if (tls !== undefined) {
      const { connect: secure } = await import('node:tls')
      signal?.throwIfAborted()
      socket = secure({
        socket: tcp,
        host: tls.serverName,
        // An IP address is checked against the certificate, but has no place in SNI (RFC 6066 3).
        servername: isIP(tls.serverName) === 0 ? tls.serverName : '',
        ...(tls.ca === undefined ? {} : { ca: tls.ca }),
      })
      await ready(socket, 'secureConnect', signal)
    }
    return streamOver(socket, tcp, to)
  } catch (cause) {
    socket.destroy()
    tcp.destroy()
    if (signal?.aborted) throw signal.reason
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new SallyportError('ERR_DIAL', `no ${tls === undefined ? 'TCP' : 'TLS'} connection to ${to.key}: ${reason}`, { cause })
  }
}

function ready(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (settle: () => void): void => {
      socket.off(event, stands).off('error', fails).off('close', ends)
      signal?.removeEventListener('abort', aborts)
      settle()
    }
    const stands = (): void => done(resolve)
    const fails = (error: Error): void => {
      // A second error of the same attempt has nobody left to tell.
      socket.on('error', () => {})
      done(() => reject(error))
    }
    const ends = (): void => done(() => reject(new Error('closed by the other side')))
    const aborts = (): void => {
      socket.on('error', () => {})
      done(() => reject(signal?.reason))
    }
    socket.once(event, stands).once('error', fails).once('close', ends)
    signal?.addEventListener('abort', aborts, { once: true })
  })
}

/** @throws SallyportError `ERR_BIND` */
export async function listenForStreams(options: BindOptions, accept: (stream: Stream) => void): Promise<StreamListener> {
  assertBindOptions(options)
  const { family, ip = family === 4 ? '0.0.0.0' : '::', port = 0 } = options
  const server = createServer({ noDelay: true }, (socket) => {
    const remote = Address.tryOf(socket.remoteAddress ?? '', socket.remotePort ?? 0)
    if (remote === undefined) socket.destroy()
    else accept(streamOver(socket, socket, remote))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new SallyportError('ERR_BIND', `no TCP listener at ${ip} port ${port}: ${cause.message}`, { cause }))
    })
    server.listen({ host: ip, port, ipv6Only: true, exclusive: true }, resolve)
  })
  // One connection that could not be accepted (out of descriptors) is not the end of the listener.
  server.removeAllListeners('error').on('error', () => {})
  const bound = server.address() as { readonly address: string; readonly port: number }
  return { local: Address.of(bound.address, bound.port), close: () => void server.close() }
}

function hostOf(address: Address): string {
  return address.zone === '' ? address.ip : `${address.ip}%${address.zone}`
}

function streamOver(socket: Socket, tcp: Socket, remote: Address): Stream {
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
    return !this.#socket.writable || this.#socket.write(chunk)
  }

  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  failed(error: Error): void {
    this.#reason = error
  }

  closed(): void {
    this.#closed = true
    this.#handler?.closed(this.#reason)
  }

  drained(): void {
    this.#handler?.drained()
  }
}
