/**
 * Other people's ICE agents, each a process that speaks JSON lines. In: `{"signal": …}`, our side's signals. Out: `{"signal": …}`, its
 * description in the same form but without `id`; `{"connected": {…}}` once it considers itself connected; `{"received": text}` for each
 * datagram it has not had before; `{"failed": why}`. Once connected it sends `ping <its name>` until that is answered, and it answers
 * any other datagram with `pong ` and the datagram, as `sallyport connect --json` does. It leaves when its standard input ends.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Signal } from '../../src/index.ts'
import type { Requirements } from '../requirements.ts'

export interface Foreign {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly needs: Requirements
}

export const AGENTS: readonly Foreign[] = [
  { name: 'werift', command: process.execPath, args: [pathOf('werift-peer.js')], needs: {} },
  {
    name: 'aioice',
    command: '/usr/bin/python3',
    args: [pathOf('aioice_peer.py')],
    needs: { pythonModules: { aioice: 'python3-aioice' } },
  },
]

export interface Connected {
  readonly controlling: boolean
  /** Candidate types. */
  readonly local: string
  readonly remote: string
  /** Where it sends to, ip:port. */
  readonly address: string
}

/** What any of the programs here may write, `sallyport connect --json` too. */
export interface Line {
  readonly signal?: Signal
  readonly connected?: Connected
  readonly received?: string
  readonly failed?: string
  readonly event?: string
  readonly kind?: string
  readonly done?: boolean
  readonly direct?: boolean
  readonly local?: string
  readonly remote?: string
  readonly listening?: readonly string[]
}

/** A program that writes JSON lines. */
export class LineProcess {
  readonly #child: ChildProcess
  readonly #exited: Promise<number | null>
  readonly #lines: Line[] = []
  readonly #waiting = new Set<() => void>()
  #onSignal: (signal: Signal) => void = () => {}
  #over: string | undefined
  #errors = ''

  /** `child` has pipes for its standard streams. */
  constructor(child: ChildProcess) {
    this.#child = child
    child.stderr?.on('data', (chunk) => {
      this.#errors += chunk
    })
    this.#exited = new Promise((resolve) => {
      child.once('error', (error) => this.#end(`it does not start: ${error.message}`))
      child.once('close', (code) => {
        this.#end(`it left with ${code}: ${this.#errors}`)
        resolve(code)
      })
    })
    // That it is gone is told by its end.
    child.stdin?.on('error', () => {})
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (text) => this.#line(JSON.parse(text) as Line))
  }

  signal(signal: Signal): void {
    this.#child.stdin?.write(`${JSON.stringify({ signal })}\n`)
  }

  /** Signals it wrote, also those before this call. */
  onSignal(handler: (signal: Signal) => void): void {
    this.#onSignal = handler
    for (const { signal } of this.#lines) if (signal !== undefined) handler(signal)
  }

  /** The first line, written already or later, of which `find` makes something. Rejects when it fails or ends without. */
  find<T>(find: (line: Line) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = this.#lines.map(find).find((value) => value !== undefined)
        if (found === undefined && this.#over === undefined) return
        this.#waiting.delete(look)
        if (found !== undefined) resolve(found)
        else reject(new Error(this.#over))
      }
      this.#waiting.add(look)
      look()
    })
  }

  connected(): Promise<Connected> {
    return this.find(({ connected }) => connected)
  }

  async received(text: string): Promise<void> {
    await this.find(({ received }) => received === text || undefined)
  }

  /** Ends its input, and resolves with its exit code. */
  close(): Promise<number | null> {
    this.#child.stdin?.end()
    return this.#exited
  }

  #line(line: Line): void {
    this.#lines.push(line)
    if (line.signal !== undefined) this.#onSignal(line.signal)
    if (line.failed !== undefined) this.#end(`it failed: ${line.failed}`)
    for (const look of [...this.#waiting]) look()
  }

  #end(reason: string): void {
    this.#over ??= reason
    for (const look of [...this.#waiting]) look()
  }
}

export interface StartOptions {
  readonly controlling: boolean
  /** host:port */
  readonly stun?: string
  /** Offers 127.0.0.1 too. */
  readonly loopback?: boolean
  /** Starts the program, elsewhere than here perhaps. */
  readonly start?: (command: string, args: readonly string[]) => ChildProcess
}

export function startAgent({ command, args }: Foreign, options: StartOptions): LineProcess {
  const { controlling, stun, loopback = false, start = spawn } = options
  const more = [
    controlling ? '--controlling' : '--controlled',
    ...(stun === undefined ? [] : ['--stun', stun]),
    ...(loopback ? ['--loopback'] : []),
  ]
  return new LineProcess(start(command, [...args, ...more]))
}

export function pathOf(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url))
}
