/**
 * A program of ours in a namespace: `sallyport serve --json`, or `sallyport connect --json` as one side of a meeting. What it wrote goes into
 * the error when it does otherwise than was waited for.
 */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { CandidateType } from '../../src/candidates/index.ts'
import type { Signal } from '../../src/index.ts'
import type { KernelNet, Node } from './namespaces.ts'

export const MAIN: string = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** What the command writes, as far as it matters here. */
export interface Output {
  readonly listening?: readonly string[]
  readonly signal?: Signal
  readonly event?: string
  readonly done?: true
  readonly failed?: string
  readonly warning?: string
  /** Since gathering began. */
  readonly ms?: number
  readonly direct?: boolean
  readonly kind?: 'direct' | 'relay'
  readonly local?: CandidateType
  readonly remote?: CandidateType
  /** As the peer sees us, with the port. */
  readonly localAddress?: string
  readonly remoteAddress?: string
  /** Of a message. */
  readonly text?: string
}

export class JsonPeer {
  /** Exit code, or the signal that ended it. */
  readonly exit: Promise<number | string>
  readonly #name: string
  readonly #child: ChildProcess
  readonly #lines: Output[] = []
  readonly #waiting = new Set<() => void>()
  #errors = ''
  #ended = false

  /** @param args the subcommand first */
  constructor(net: KernelNet, node: Node, ...args: readonly string[]) {
    this.#name = `${args[0]} in ${node.name}`
    this.#child = net.exec(node, process.execPath, [MAIN, ...args], { stdio: 'pipe' })
    this.#child.stdin?.on('error', () => {}) // it may be gone by then
    this.#child.stderr?.on('data', (chunk) => {
      this.#errors += String(chunk)
    })
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.#lines.push(JSON.parse(line) as Output)
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

  /** The last one it had so far. */
  get path(): Output | undefined {
    return this.#lines.findLast(({ event }) => event === 'path')
  }

  /** Calls back with every signal it wrote and will write. */
  onSignal(take: (signal: Signal) => void): void {
    let seen = 0
    const go = (): void => {
      for (; seen < this.#lines.length; seen++) {
        const { signal } = this.#lines[seen] as Output
        if (signal !== undefined) take(signal)
      }
    }
    this.#waiting.add(go)
    go()
  }

  signal(signal: Signal): void {
    this.#child.stdin?.write(`${JSON.stringify({ signal })}\n`)
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
  find(wanted: (line: Output) => boolean): Promise<Output> {
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

  /** What the peer says over the path. */
  async heard(): Promise<string | undefined> {
    return (await this.find(({ event }) => event === 'message')).text
  }

  /** For the reader of a failure: what it wrote but for its signals, and its explanation. */
  get account(): string {
    const lines = this.#lines.filter(({ signal, event }) => signal === undefined && event !== 'check')
    return [`${this.#name}:`, ...lines.map((line) => JSON.stringify(line).slice(0, 300)), this.#errors].join('\n')
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }
}

/** Swaps the signals of two peers. */
export function carrySignals(a: JsonPeer, b: JsonPeer): void {
  a.onSignal((signal) => b.signal(signal))
  b.onSignal((signal) => a.signal(signal))
}
