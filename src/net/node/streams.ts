/** Dialling streams by node:net, with node:tls on top where asked for; TLS is loaded when first used. */
import { connect, isIP, type Socket } from 'node:net'
import { SallyportError } from '../../errors.ts'
import type { DialOptions, Stream, StreamDialer } from '../stream.ts'
import { streamOver } from './node-stream.ts'

export function nodeStreams(): StreamDialer {
  return { dial }
}

async function dial(options: DialOptions): Promise<Stream> {
  const { to, from, tls, signal } = options
  signal?.throwIfAborted()
  const tcp = connect({
    host: to.host,
    port: to.port,
    noDelay: true,
    ...(from === undefined ? {} : { localAddress: from.host, localPort: from.port }),
  })
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
