/** Listening for streams by node:net, or node:tls, which is loaded when first used. */
import { createServer, type Server, type Socket } from 'node:net'
import type { SecureContext } from 'node:tls'
import { SallyportError } from '../../errors.ts'
import { Address } from '../address.ts'
import type { ListenOptions, Stream, StreamListener, TlsIdentity } from '../stream.ts'
import { checkedBindOptions } from './datagram-socket.ts'
import { streamOver } from './node-stream.ts'

/** A server, and how it takes another certificate. */
interface Listening {
  readonly server: Server
  renew(tls: TlsIdentity): void
}

/** @throws TypeError or RangeError naming the option, SallyportError `ERR_BIND` */
export async function listenForStreams(options: ListenOptions, accept: (stream: Stream) => void): Promise<StreamListener> {
  checkedBindOptions(options)
  const { family, ip = family === 4 ? '0.0.0.0' : '::', port = 0, reusePort = false, tls } = options
  let closed = false
  const accepted = (socket: Socket, tcp: Socket): void => {
    const remote = Address.tryOf(tcp.remoteAddress ?? '', tcp.remotePort ?? 0)
    if (remote === undefined || closed) socket.on('error', () => {}).destroy()
    else accept(streamOver(socket, tcp, remote))
  }
  const { server, renew } = tls === undefined ? tcpServer(accepted) : await tlsServer(tls, accepted)
  // Node.js before 22.12 does not know reusePort and passes over it.
  const shared: { readonly reusePort?: boolean } = reusePort ? { reusePort } : {}
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new SallyportError('ERR_BIND', `no TCP listener at ${ip} port ${port}: ${cause.message}`, { cause }))
    })
    server.listen({ host: ip, port, ipv6Only: true, exclusive: true, ...shared }, resolve)
  })
  // One connection that could not be accepted (out of descriptors) is not the end of the listener.
  server.removeAllListeners('error').on('error', () => {})
  const bound = server.address() as { readonly address: string; readonly port: number }
  const close = (): void => {
    closed = true
    server.close()
  }
  return { local: Address.of(bound.address, bound.port), renew, close }
}

/** What a connection becomes, with the socket below it. */
type Accepted = (socket: Socket, tcp: Socket) => void

function tcpServer(accepted: Accepted): Listening {
  return { server: createServer({ noDelay: true }, (socket) => accepted(socket, socket)), renew: () => {} }
}

/** Not a server of node:tls: that one tells of a connection when its handshake is over, and bounds nobody who never begins one. */
async function tlsServer(tls: TlsIdentity, accepted: Accepted): Promise<Listening> {
  const { createSecureContext, TLSSocket } = await import('node:tls')
  const contextOf = ({ cert, key }: TlsIdentity): SecureContext =>
    identified(() => createSecureContext({ cert, key, minVersion: 'TLSv1.2' }))
  let secureContext = contextOf(tls)
  const server = createServer({ noDelay: true }, (tcp) => accepted(new TLSSocket(tcp, { isServer: true, secureContext }), tcp))
  const renew = (renewed: TlsIdentity): void => {
    secureContext = contextOf(renewed)
  }
  return { server, renew }
}

function identified<T>(use: () => T): T {
  try {
    return use()
  } catch (cause) {
    throw new SallyportError('ERR_BIND', `no TLS with that certificate and key: ${(cause as Error).message}`, { cause })
  }
}
