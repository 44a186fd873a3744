/** `sallyport serve --json` in a namespace, or `sallyport connect --json` as one side of a meeting. */
import { fileURLToPath } from 'node:url'
import type { CandidateType } from '../../src/candidates/index.ts'
import type { Signal } from '../../src/index.ts'
import { JsonProgram } from './json-program.ts'
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

export class JsonPeer extends JsonProgram<Output> {
  /** @param args the subcommand first */
  constructor(net: KernelNet, node: Node, ...args: readonly string[]) {
    super(net, node, args[0] ?? '', MAIN, args)
  }

  /** The last one it had so far. */
  get path(): Output | undefined {
    return this.lines.findLast(({ event }) => event === 'path')
  }

  /** What the peer says over the path. */
  async heard(): Promise<string | undefined> {
    return (await this.find(({ event }) => event === 'message')).text
  }

  /** All but signals and single checks; what it explained is on standard error. */
  protected override tells({ signal, event }: Output): boolean {
    return signal === undefined && event !== 'check'
  }
}

/** Swaps the signals of two programs. */
export function carrySignals(a: JsonProgram<{ signal?: Signal }>, b: JsonProgram<{ signal?: Signal }>): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.each(({ signal }) => {
      if (signal !== undefined) to.write({ signal })
    })
  }
}
