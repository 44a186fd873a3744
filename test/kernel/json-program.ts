/**
 * A program in a namespace that speaks in lines of JSON, one object each, on its standard streams. What it wrote goes into the error when it
 * does otherwise than was waited for.
 */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { KernelNet, Node } from './namespaces.ts'

export class JsonProgram<Line extends object> {
  /** Exit code, or the signal that ended it. */
  readonly exit: Promise<number | string>
  readonly #name: string
  readonly #child: ChildProcess
  readonly #lines: Line[] = []
  readonly #waiting = new Set<() => void>()
  #errors = ''
  #ended = false

  /** @param name for failures @param file what Node.js runs */
  constructor(net: KernelNet, node: Node, name: string, file: string, args: readonly string[]) {
    this.#name = `${name} in ${node.name}`
    this.#child = net.exec(node, process.execPath, [file, ...args], { stdio: 'pipe' })
    this.#child.stdin?.on('error', () => {}) // it may be gone by then
    this.#child.stderr?.on('data', (chunk) => {
      this.#errors += String(chunk)
    })
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.#lines.push(JSON.parse(line) as Line)
      this.#wake()
    })
    this.exit = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        this.#ended = true
        this.#wake()
        resolve(code ?? signal ?? 'unknown')
      })
    })
  }

  get name(): string {
    return this.#name
  }

  /** So far. */
  get lines(): readonly Line[] {
    return this.#lines
  }

  /** Calls back with every line, those written already first. */
  each(take: (line: Line) => void): void {
    let seen = 0
    const go = (): void => {
      while (seen < this.#lines.length) take(this.#lines[seen++] as Line)
    }
    this.#waiting.add(go)
    go()
  }

  write(line: object): void {
    this.#child.stdin?.write(`${JSON.stringify(line)}\n`)
  }

  /** The word to leave: its standard input ends. Resolves with how it left. */
  end(): Promise<number | string> {
    this.#child.stdin?.end()
    return this.exit
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** The first line, written already or later, that is as wanted. Rejects when it fails or ends without. */
  find(wanted: (line: Line) => boolean): Promise<Line> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = this.#lines.find(wanted)
        if (found === undefined && !this.#ended) return
        this.#waiting.delete(look)
        if (found !== undefined) resolve(found)
        else reject(new Error(`${this.#name} ended without the line\n${this.account}`))
      }
      this.#waiting.add(look)
      look()
    })
  }

  /** For the reader of a failure: what it wrote, as far as `tells` lets it through. */
  get account(): string {
    const lines = this.#lines.filter((line) => this.tells(line))
    return [`${this.#name}:`, ...lines.map((line) => JSON.stringify(line).slice(0, 300)), this.#errors].join('\n')
  }

  protected tells(_line: Line): boolean {
    return true
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }
}
