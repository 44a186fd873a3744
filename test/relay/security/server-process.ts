/** `sallyport serve` as a process of its own, on loopback, and what can be seen of it from outside: memory, descriptors, metrics. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Address } from '../../../src/net/index.ts'

const MAIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const SHORT_NONCES = fileURLToPath(new URL('./short-nonces.js', import.meta.url))
const PROBE = new URL('./memory-probe.js', import.meta.url).href

export const USERS: Readonly<Record<string, string>> = { alice: 'secret', bob: 'hidden', mallory: 'known' }

export interface Memory {
  /** Bytes after a collection: heap, and buffers outside of it. */
  readonly held: number
  readonly resident: number
}

interface Listening {
  readonly listening: readonly string[]
  readonly tcp: readonly string[]
  readonly tls: readonly string[]
  readonly metrics?: string
}

export class ServerProcess {
  /** By transport, in the order in which it was told to listen. */
  readonly udp: readonly Address[]
  readonly tcp: readonly Address[]
  readonly tls: readonly Address[]
  readonly #metrics: string | undefined
  readonly #child: ChildProcess
  readonly #errors: string[]

  private constructor(child: ChildProcess, errors: string[], { listening, tcp, tls, metrics }: Listening) {
    this.#child = child
    this.#errors = errors
    this.udp = listening.map(addressOf)
    this.tcp = tcp.map(addressOf)
    this.tls = tls.map(addressOf)
    this.#metrics = metrics
  }

  /** With the users above, metrics, and any free port on 127.0.0.1. Other addresses are given by `--address`, which takes the place of that one. */
  static serve(...args: readonly string[]): Promise<ServerProcess> {
    const users = Object.entries(USERS).flatMap(([name, password]) => ['--user', `${name}:${password}`])
    const where = args.includes('--address') ? [] : ['--address', '127.0.0.1']
    return ServerProcess.#start(MAIN, ['serve', '--json', '--port', '0', '--metrics', '0', ...users, ...where, ...args])
  }

  /** With alice alone. @param nonceLifetime milliseconds */
  static shortNonces(nonceLifetime: number): Promise<ServerProcess> {
    return ServerProcess.#start(SHORT_NONCES, [String(nonceLifetime)])
  }

  static async #start(file: string, args: readonly string[]): Promise<ServerProcess> {
    const child = fork(file, args, { execArgv: ['--expose-gc', '--import', PROBE], silent: true })
    const errors: string[] = []
    child.stderr?.on('data', (chunk) => errors.push(String(chunk)))
    if (child.stdout === null) throw new Error('no standard output')
    const lines = createInterface({ input: child.stdout })
    const ended = once(child, 'close').then(() => {
      throw new Error(`the server ended at once: ${errors.join('')}`)
    })
    const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string]
    ended.catch(() => {})
    // What follows is read, and not kept.
    lines.on('line', () => {})
    return new ServerProcess(child, errors, JSON.parse(line) as Listening)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** What it wrote to standard error, and how it ended if it did. Empty for one that is well. */
  get trouble(): string {
    const { exitCode, signalCode } = this.#child
    return `${exitCode ?? signalCode ?? ''}${this.#errors.join('')}`
  }

  async memory(): Promise<Memory> {
    this.#child.send('memory')
    const [memory] = (await once(this.#child, 'message')) as [Memory]
    return memory
  }

  /** Open file descriptors. */
  descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length
  }

  /** Resolves when it has no more than so many. */
  async descriptorsDownTo(most: number): Promise<void> {
    while (this.descriptors() > most) await new Promise((resolve) => setTimeout(resolve, 50))
  }

  /** A metric's value, all its labels summed up, or the one with this label. */
  async metric(name: string, label = ''): Promise<number> {
    if (this.#metrics === undefined) throw new Error('started without metrics')
    const text = await (await fetch(this.#metrics)).text()
    const lines = text.split('\n').filter((line) => new RegExp(`^sallyport_${name}[{ ]`).test(line) && line.includes(label))
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
  }

  async stop(): Promise<void> {
    const { exitCode, signalCode } = this.#child
    if (exitCode !== null || signalCode !== null) return
    const closed = once(this.#child, 'close')
    this.#child.kill('SIGKILL')
    await closed
  }
}

function addressOf(key: string): Address {
  const colon = key.lastIndexOf(':')
  return Address.of(key.slice(0, colon).replace(/[[\]]/g, ''), Number(key.slice(colon + 1)))
}
