/** coturn's own TURN client, and the echo that it sends to. It has a relay's packets counted, and says how many were lost. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { RelayTransport } from '../../src/relay/index.ts'
import type { Requirements } from '../requirements.ts'

export const TURNUTILS: Requirements = { commands: { turnutils_uclient: 'coturn', turnutils_peer: 'coturn' } }

export interface UclientOptions {
  readonly transport: RelayTransport
  /** The server's; `ip` may be of either family. */
  readonly ip: string
  readonly port: number
  readonly user: string
  /** Of the user, or what makes one that expires: the REST convention. */
  readonly password: { readonly of: 'user'; readonly text: string } | { readonly of: 'rest'; readonly secret: string }
  /** Where an echo is. */
  readonly peer: { readonly ip: string; readonly port: number }
  /** For TLS: a file with the certificate to trust. */
  readonly ca?: string
  /** Channels by default. */
  readonly by?: 'channels' | 'indications'
  /** Of each client; 20 by default. */
  readonly messages?: number
  /** Milliseconds between them; 5 by default. */
  readonly interval?: number
  /** Bytes; 171 by default, which streams have to pad. */
  readonly length?: number
  /** `-m 3` and others, as they are. */
  readonly more?: readonly string[]
}

export interface UclientResult {
  readonly sent: number
  readonly received: number
  /** Exit code. */
  readonly code: number | null
  readonly output: string
}

/** Runs it to its end: five seconds, since it starts sending late, and what its messages take. */
export async function uclient(options: UclientOptions): Promise<UclientResult> {
  const { transport, ip, port, user, password, peer, ca, by, messages = 20, interval = 5, length = 171, more = [] } = options
  const args = [
    ...(transport === 'udp' ? [] : ['-t']),
    ...(transport === 'tls' ? ['-S'] : []),
    ...(ca === undefined ? [] : ['-E', ca]),
    ...(by === 'indications' ? ['-s'] : []),
    ...(peer.ip.includes(':') ? ['-x'] : []),
    ...['-u', user, ...(password.of === 'user' ? ['-w', password.text] : ['-W', password.secret])],
    ...['-e', peer.ip, '-r', String(peer.port), '-p', String(port)],
    ...['-n', String(messages), '-z', String(interval), '-l', String(length)],
    ...more,
    ip,
  ]
  const child = spawn('turnutils_uclient', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const [code] = (await once(child, 'close')) as [number | null]
  const [, sent = '0', received = '0'] = /start_mclient: tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/.exec(output) ?? []
  return { sent: Number(sent), received: Number(received), code, output: `turnutils_uclient ${args.join(' ')}\n${output}` }
}

export class Echo {
  readonly ip: string
  readonly port: number
  readonly #child: ChildProcess

  private constructor(ip: string, port: number, child: ChildProcess) {
    this.ip = ip
    this.port = port
    this.#child = child
  }

  /** coturn's, on a port that was free, and the next one: a client of RTP and RTCP sends to both. */
  static async start(ip: string): Promise<Echo> {
    const port = await freePort(ip)
    const child = spawn('turnutils_peer', ['-L', ip, '-p', String(port)], { stdio: 'ignore' })
    const echo = new Echo(ip, port, child)
    await Promise.race([
      echo.#answers(),
      once(child, 'exit').then(([code]) => Promise.reject(new Error(`turnutils_peer left with ${String(code)}`))),
    ])
    return echo
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill()
    await gone
  }

  /** It says nothing once it is there. */
  async #answers(): Promise<void> {
    const socket = createSocket(this.ip.includes(':') ? 'udp6' : 'udp4')
    const answer = once(socket, 'message')
    const knocking = setInterval(() => socket.send('there?', this.port, this.ip), 50)
    try {
      await answer
    } finally {
      clearInterval(knocking)
      socket.close()
    }
  }
}

/** Nobody holds it any more, and hardly anybody takes it meanwhile. */
async function freePort(ip: string): Promise<number> {
  const socket = createSocket(ip.includes(':') ? 'udp6' : 'udp4')
  socket.bind(0, ip)
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  return port
}
