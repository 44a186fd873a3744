/** coturn on this machine's loopback, for tests: started with the options given, on ports that are free, and killed at the end. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MessageWriter, Method } from '../../src/stun/index.ts'
import { type Requirements, requires } from '../requirements.ts'

/** For `describe`. */
export const COTURN: Requirements = { commands: { turnserver: 'coturn', openssl: 'openssl' } }

export interface CoturnOptions {
  /** Further command-line options, such as `--stale-nonce=2`. */
  readonly args?: readonly string[]
  /** `alice:wonder` unless one says otherwise; empty with a secret. */
  readonly users?: readonly string[]
  /** Also TLS, under this certificate. */
  readonly tls?: Certificate
  /** Where the same server is to come back. */
  readonly port?: number
}

export interface Certificate {
  /** In PEM: what clients are to trust. */
  readonly ca: string
  readonly certFile: string
  readonly keyFile: string
}

export interface Coturn {
  readonly port: number
  readonly tlsPort: number
  /** What it said on standard output so far. */
  readonly log: () => string
  /** At once, and without a word to its clients. Idempotent. */
  readonly kill: () => Promise<void>
}

/** Listens on 127.0.0.1 and ::1, relays on the same, and lets them be peers. Rejects with what it said when it does not answer in time. */
export async function startCoturn(options: CoturnOptions = {}): Promise<Coturn> {
  requires(COTURN)
  const { users = ['alice:wonder'], tls, args = [] } = options
  const port = options.port ?? (await freePort())
  const tlsPort = tls === undefined ? 0 : await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'coturn-'))
  const child = spawn(
    'turnserver',
    [
      '-n',
      ...['127.0.0.1', '::1'].flatMap((ip) => ['--listening-ip', ip, '--relay-ip', ip]),
      ...['--listening-port', `${port}`, '--realm', 'coturn.test', '--lt-cred-mech', '--allow-loopback-peers', '-m', '1'],
      ...['--no-cli', '--no-dtls', '--no-rfc5780', '--log-file', 'stdout', '--simple-log', '--verbose'],
      ...['--pidfile', join(folder, 'pid'), '--userdb', join(folder, 'db')],
      ...users.flatMap((user) => ['--user', user]),
      ...(tls === undefined ? ['--no-tls'] : ['--tls-listening-port', `${tlsPort}`, '--cert', tls.certFile, '--pkey', tls.keyFile]),
      ...args,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } },
  )
  let log = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      log += text
    })
  }
  const kill = async (): Promise<void> => {
    await ended(child)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await answers(port, child)
  } catch (error) {
    await kill()
    throw new Error(`coturn does not answer: ${log.slice(-2_000)}`, { cause: error })
  }
  return { port, tlsPort, log: () => log, kill }
}

/** Of an authority of its own, for `relay.test`, 127.0.0.1 and ::1. */
export function makeCertificate(): Certificate & { readonly remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'relay-tls-'))
  const at = (name: string): string => join(folder, name)
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const names = 'subjectAltName=DNS:relay.test,IP:127.0.0.1,IP:::1'
  openssl('req', '-x509', ...newKey, '-days', '2', '-keyout', at('ca-key'), '-out', at('ca'), '-subj', '/CN=sallyport test authority')
  openssl('req', ...newKey, '-keyout', at('key'), '-out', at('request'), '-subj', '/CN=relay.test', '-addext', names)
  openssl(
    ...['x509', '-req', '-in', at('request'), '-CA', at('ca'), '-CAkey', at('ca-key'), '-CAcreateserial', '-days', '2'],
    ...['-copy_extensions', 'copy', '-out', at('cert')],
  )
  return {
    ca: readFileSync(at('ca'), 'utf8'),
    certFile: at('cert'),
    keyFile: at('key'),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

function openssl(...args: readonly string[]): void {
  const { status, stderr } = spawnSync('openssl', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`)
}

/** Free for UDP and TCP on loopback just now. */
export async function freePort(): Promise<number> {
  for (;;) {
    const listener = createServer()
    await new Promise<void>((resolve, reject) => listener.once('error', reject).listen(0, '127.0.0.1', resolve))
    const { port } = listener.address() as { readonly port: number }
    const socket = createSocket('udp4')
    const free = await new Promise<boolean>((resolve) => {
      socket.once('error', () => resolve(false)).bind(port, '127.0.0.1', () => resolve(true))
    })
    socket.close()
    await new Promise((resolve) => listener.close(resolve))
    if (free) return port
  }
}

/** Asks for a Binding until there is an answer. */
export function answers(port: number, child: ChildProcess): Promise<void> {
  const request = new MessageWriter().start('request', Method.Binding, new Uint8Array(12)).finish()
  const socket = createSocket('udp4')
  return new Promise<void>((resolve, reject) => {
    const asking = setInterval(() => socket.send(request, port, '127.0.0.1'), 50)
    const patience = setTimeout(() => reject(new Error('no answer within 10 s')), 10_000)
    const done = (): void => {
      clearInterval(asking)
      clearTimeout(patience)
    }
    socket.once('message', () => {
      done()
      resolve()
    })
    child.once('error', (error) => {
      done()
      reject(error)
    })
    child.once('exit', (code) => {
      done()
      reject(new Error(`it ended with ${code}`))
    })
  }).finally(() => socket.close())
}

export async function ended(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
}
