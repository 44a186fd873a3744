/** The built command as processes, with their lines as they come: what every test of the command line needs. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

export type Line = Readonly<Record<string, unknown>>

/** A program, its lines, and waiting for one of them: without a clock, until it comes or the program ends. */
export class Program {
  readonly lines: string[] = []
  errors = ''
  /** Exit code, or the signal that ended it. */
  readonly exit: Promise<number | string>
  readonly #child: ChildProcessWithoutNullStreams
  readonly #waiting = new Set<() => void>()
  #ended = false

  constructor(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.#child = spawn(process.execPath, [file, ...args], { env: { ...process.env, NO_COLOR: '', ...env } })
    this.#child.stdin.on('error', () => {}) // it may be gone by then
    this.#child.stderr.on('data', (chunk) => {
      this.errors += String(chunk)
    })
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.lines.push(line)
      this.#wake()
    })
    this.exit = new Promise((resolve) => {
      this.#child.on('close', (code, signal) => {
        this.#ended = true
        this.#wake()
        resolve(code ?? signal ?? 'unknown')
      })
    })
  }

  static sallyport(...args: readonly string[]): Program {
    return new Program(MAIN, args)
  }

  write(text: string): void {
    this.#child.stdin.write(`${text}\n`)
  }

  end(): void {
    this.#child.stdin.end()
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Calls back with every line, those said already first. */
  each(callback: (line: string) => void): void {
    let seen = 0
    const go = (): void => {
      for (; seen < this.lines.length; seen++) callback(this.lines[seen] as string)
      if (!this.#ended) this.#waiting.add(go)
    }
    go()
  }

  /** Resolves with the first line, said already or later, of which `pick` makes something. Rejects when the program ends without. */
  async find<T>(pick: (line: string) => T | undefined): Promise<T> {
    for (let seen = 0; ; ) {
      for (; seen < this.lines.length; seen++) {
        const found = pick(this.lines[seen] as string)
        if (found !== undefined) return found
      }
      if (this.#ended) throw new Error(`ended without the line; it wrote:\n${this.lines.join('\n')}\n${this.errors}`)
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
  }

  text(part: string): Promise<string> {
    return this.find((line) => (line.includes(part) ? line : undefined))
  }

  /** A JSON line with this member. */
  json(name: string): Promise<Line> {
    return this.find((line) => {
      const value = parse(line)
      return value !== undefined && name in value ? value : undefined
    })
  }

  /** All JSON lines with this member so far. */
  all(name: string): Line[] {
    return this.lines.map(parse).filter((value) => value !== undefined && name in value) as Line[]
  }

  #wake(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }
}

function parse(line: string): Line | undefined {
  try {
    return JSON.parse(line) as Line
  } catch {
    return undefined
  }
}

/** Options that keep everything on this machine's loopback interface, whatever else it has. */
export const ON_LOOPBACK = ['--host', '127.0.0.1'] as const

/** A peer of `connect --json` on loopback. */
export function jsonPeer(...args: readonly string[]): Program {
  return Program.sallyport('connect', '--json', ...ON_LOOPBACK, ...args)
}

/** Gives every signal of one to the other, as `carry` likes it. */
export function carrySignals(
  from: Program,
  to: Program,
  carry: (line: string, deliver: (line: string) => void) => void = (line, deliver) => deliver(line),
): void {
  from.each((line) => {
    if ('signal' in (parse(line) ?? {})) carry(line, (text) => to.write(text))
  })
}
