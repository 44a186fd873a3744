/** The fleet of examples/fleet on this machine: coturn with the configuration that is shown there, on other ports, and what asks it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Attempt, Attribute, LongTermCredential, Message, MessageWriter, Method } from '../../src/stun/index.ts'
import { answers, type Certificate, ended, freePort } from '../relay/coturn.ts'

const CONFIGURATION = fileURLToPath(new URL('../../examples/fleet/coturn.conf', import.meta.url))
/** Of the configuration: secrets belong to it. */
const REALM = 'example.net'
const UDP = 17 << 24
const COOKIE = [0x21, 0x12, 0xa4, 0x42]

export interface Credentials {
  readonly username: string
  readonly password: string
}

/** One machine of the fleet, with a database of its own. */
export class FleetMember {
  readonly port: number
  readonly tlsPort: number
  /** Of the relayed addresses. */
  readonly ports: readonly [min: number, max: number]
  readonly #folder = mkdtempSync(join(tmpdir(), 'fleet-'))
  readonly #certificate: Certificate | undefined
  #child: ChildProcess | undefined

  private constructor(port: number, tlsPort: number, ports: readonly [number, number], certificate: Certificate | undefined) {
    this.port = port
    this.tlsPort = tlsPort
    this.ports = ports
    this.#certificate = certificate
  }

  static async start(secret: string, ports: readonly [number, number], certificate?: Certificate): Promise<FleetMember> {
    const member = new FleetMember(await freePort(), await freePort(), ports, certificate)
    await member.addSecret(secret)
    await member.start()
    return member
  }

  get uri(): string {
    return `turn:127.0.0.1:${this.port}`
  }

  /** The configuration as it is; on loopback, which it would refuse, and on ports that nobody has. */
  async start(): Promise<void> {
    const { port, tlsPort, ports } = this
    const certificate = this.#certificate
    const child = spawn(
      'turnserver',
      [
        ...['-c', CONFIGURATION],
        ...['127.0.0.1', '::1'].flatMap((ip) => ['--listening-ip', ip, '--relay-ip', ip]),
        ...['--allow-loopback-peers', '--allowed-peer-ip=127.0.0.1'],
        ...['--listening-port', `${port}`, '--tls-listening-port', `${tlsPort}`, '--min-port', `${ports[0]}`, '--max-port', `${ports[1]}`],
        ...(certificate === undefined ? ['--no-tls'] : ['--cert', certificate.certFile, '--pkey', certificate.keyFile]),
        ...['--userdb', this.#database, '--pidfile', join(this.#folder, 'pid'), '-m', '1'],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'], env: ENVIRONMENT },
    )
    this.#child = child
    let log = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (log = `${log}${text}`.slice(-4_000)))
    try {
      await answers(port, child)
    } catch (cause) {
      throw new Error(`coturn does not answer: ${log}`, { cause })
    }
  }

  async addSecret(secret: string): Promise<void> {
    await run('turnadmin', '--set-secret', secret, '--realm', REALM, '--db', this.#database)
  }

  async removeSecret(secret: string): Promise<void> {
    await run('turnadmin', '--delete-secret', secret, '--realm', REALM, '--db', this.#database)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  /** Idempotent. */
  async kill(): Promise<void> {
    if (this.#child !== undefined) await ended(this.#child)
  }

  async remove(): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  has(relayed: { readonly port: number }): boolean {
    return relayed.port >= this.ports[0] && relayed.port <= this.ports[1]
  }

  get #database(): string {
    return join(this.#folder, 'turndb')
  }
}

/** Two clients of coturn's own, one relayed to the other: datagrams sent and received, and what it said. */
export async function tryOut(
  member: FleetMember,
  who: Credentials,
  ...args: readonly string[]
): Promise<{ readonly sent: number; readonly received: number; readonly said: string }> {
  const port = args.includes('-S') ? member.tlsPort : member.port
  const credentials = ['-u', who.username, '-w', who.password]
  const said = await run('turnutils_uclient', '-y', '-c', '-n', '20', '-m', '1', ...credentials, '-p', `${port}`, ...args, '127.0.0.1')
  const [, sent, received] = /tot_send_msgs=(\d+), tot_recv_msgs=(\d+)\n(?!.*tot_send_msgs)/s.exec(said) ?? []
  return { sent: Number(sent ?? 0), received: Number(received ?? 0), said }
}

/** What the server answers to a permission for each of the peers: 0 or the error code. Nothing is sent to them. */
export async function permissions(member: FleetMember, who: Credentials, peers: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const codes = new Map<string, number>()
  for (const family of [4, 6] as const) {
    const socket = createSocket('udp4')
    const credential = new LongTermCredential(who.username, who.password)
    const ask = async (method: number, build: (writer: MessageWriter, id: Uint8Array) => void): Promise<Message> => {
      for (let tries = 0; tries < 4; tries++) {
        const id = randomBytes(12)
        const writer = new MessageWriter().start('request', method, id)
        build(writer, id)
        const attempt: Attempt = credential.authenticate(writer)
        socket.send(writer.finish().slice(), member.port, '127.0.0.1')
        const [data] = (await once(socket, 'message', { signal: AbortSignal.timeout(10_000) })) as [Uint8Array]
        const message = Message.read(data)
        if (message === undefined) throw new Error('not an answer')
        if (credential.react(message, attempt).kind !== 'retry') return message
      }
      throw new Error('asked for credentials again and again')
    }
    try {
      const allocation = await ask(Method.Allocate, (writer) =>
        writer.uint32(Attribute.RequestedTransport, UDP).uint32(Attribute.RequestedAddressFamily, family === 4 ? 1 << 24 : 2 << 24),
      )
      if (allocation.class !== 'success') throw new Error(`no allocation: ${JSON.stringify(allocation.errorCode())}`)
      for (const peer of peers.filter((one) => one.includes(':') === (family === 6))) {
        const answer = await ask(Method.CreatePermission, (writer, id) => writer.bytes(Attribute.XorPeerAddress, xorAddress(peer, id)))
        codes.set(peer, answer.class === 'success' ? 0 : (answer.errorCode()?.code ?? -1))
      }
      await ask(Method.Refresh, (writer) => writer.uint32(Attribute.Lifetime, 0))
    } finally {
      socket.close()
    }
  }
  return codes
}

/** By hand: our own addresses know no IPv4 in IPv6. */
function xorAddress(ip: string, id: Uint8Array): Uint8Array {
  const bytes = ip.includes(':') ? bytesOf6(ip) : ip.split('.').map(Number)
  const mask = [...COOKIE, ...id]
  return Uint8Array.from([0, bytes.length === 4 ? 1 : 2, 9 ^ 0x21, 9 ^ 0x12, ...bytes.map((byte, i) => byte ^ (mask[i] as number))])
}

function bytesOf6(ip: string): number[] {
  // As hexadecimal groups, whatever stands there.
  const [head = '', tail] = new URL(`http://[${ip}]`).hostname.slice(1, -1).split('::')
  const groups = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)))
  const [before, after] = [groups(head), groups(tail ?? '')]
  const all = [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after]
  return all.flatMap((group) => [group >> 8, group & 0xff])
}

const ENVIRONMENT = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }

/** What it wrote. Its exit code says nothing: these programs end with 0 or 255, whatever happened. */
async function run(command: string, ...args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: ENVIRONMENT })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += String(text)))
  await once(child, 'close')
  // They leave a file each in the first folder where they may.
  for (const [, file] of said.matchAll(/log file opened: (\S+)/g)) if (file !== undefined) rmSync(file, { force: true })
  return said
}
