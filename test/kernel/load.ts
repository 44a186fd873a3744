/** Two programs under load (load-peer.js), and what the load shows of their path. */
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Path, RelayServerStatus, SessionState, SessionStatus, Signal, TraversalOptions } from '../../src/index.ts'
import { carrySignals } from './json-peer.ts'
import { JsonProgram } from './json-program.ts'
import type { KernelNet, Node } from './namespaces.ts'

const PROGRAM = fileURLToPath(new URL('load-peer.js', import.meta.url))
/** Milliseconds that what was sent last may take. */
const SETTLE = 2_000

export interface LoadLine extends Partial<Path> {
  readonly signal?: Signal
  readonly event?: 'path' | 'state' | 'error'
  /** Milliseconds since 1970. */
  readonly at?: number
  /** How many datagrams had been sent by then. */
  readonly sent?: number
  readonly state?: SessionState
  readonly code?: string
  readonly answer?: number
  readonly report?: Report
  readonly text?: string
  readonly relays?: readonly RelayServerStatus[]
}

/** What one peer saw. */
export interface Report {
  readonly sent: number
  /** Sends that found the queue full. */
  readonly full: number
  /** Milliseconds that the process stood still at most. */
  readonly late: number
  /** Different ones. */
  readonly received: number
  /** The last of those sent that did; -1 before the first. */
  readonly highest: number
  /** First and last numbers of what did not come before something later did. */
  readonly missing: readonly (readonly [first: number, last: number])[]
  readonly doubled: number
  readonly damaged: number
  /** Came after one that was sent later on the same path. */
  readonly disordered: number
  /** Came after one that was sent later on another path. */
  readonly overtaken: number
  /** By how many at most. */
  readonly behind: number
  /** The times in which nothing came, where that took more than 50 ms: how long, and since when. */
  readonly gaps: readonly { readonly ms: number; readonly at: number }[]
  readonly status: SessionStatus
}

export class LoadPeer extends JsonProgram<LoadLine> {
  readonly node: Node
  #asked = 0

  constructor(net: KernelNet, node: Node, options: TraversalOptions) {
    super(net, node, 'load-peer', PROGRAM, [JSON.stringify(options)])
    this.node = node
  }

  get paths(): readonly LoadLine[] {
    return this.lines.filter(({ event }) => event === 'path')
  }

  get path(): LoadLine | undefined {
    return this.paths.at(-1)
  }

  async report(): Promise<Report> {
    return (await this.#ask('report')).report as Report
  }

  async explain(): Promise<string> {
    return (await this.#ask('explain')).text as string
  }

  async relays(): Promise<readonly RelayServerStatus[]> {
    return (await this.#ask('relays')).relays ?? []
  }

  protected override tells({ event }: LoadLine): boolean {
    return event !== undefined
  }

  #ask(what: string): Promise<LoadLine> {
    const id = ++this.#asked
    this.write({ ask: what, id })
    return this.find(({ answer }) => answer === id)
  }
}

/** What went one way. */
export interface Flow extends Report {
  /** Never arrived. */
  readonly lost: number
}

export class LoadedPair {
  readonly a: LoadPeer
  readonly b: LoadPeer
  readonly #net: KernelNet
  readonly #others: readonly Node[]

  /** @param others the machines that the load goes over, besides */
  constructor(net: KernelNet, a: LoadPeer, b: LoadPeer, others: readonly Node[] = []) {
    this.a = a
    this.b = b
    this.#net = net
    this.#others = others
    carrySignals(a, b)
  }

  get peers(): readonly [LoadPeer, LoadPeer] {
    return [this.a, this.b]
  }

  /** Once both have such a path, the last one that each had. */
  async until(wanted: (path: LoadLine, peer: LoadPeer) => boolean, timeout: number): Promise<void> {
    const end = Date.now() + timeout
    while (!this.peers.every((peer) => peer.path !== undefined && wanted(peer.path, peer))) {
      if (Date.now() > end) throw new Error(`no such path within ${timeout} ms`)
      await delay(20)
    }
  }

  /** @param rate datagrams of 1,200 bytes a second, each way */
  load(rate = 1_000): void {
    for (const peer of this.peers) peer.write({ load: rate })
  }

  /** Stops sending, and waits for what is on its way. To a, and to b. */
  async stop(): Promise<readonly [Flow, Flow]> {
    for (const peer of this.peers) peer.write({ load: 0 })
    const end = Date.now() + SETTLE
    for (;;) {
      const [a, b] = await Promise.all([this.a.report(), this.b.report()])
      const flows = [
        { ...a, lost: b.sent - a.received },
        { ...b, lost: a.sent - b.received },
      ] as const
      if (flows.every(({ lost }) => lost === 0) || Date.now() > end) return flows
      await delay(50)
    }
  }

  /** Datagrams that the kernel threw away on these machines since a program did not read them in time: lost by no fault of a path. */
  async overflows(): Promise<number> {
    const counts = await Promise.all([...this.#others, this.a.node, this.b.node].map((node) => overflowsOf(this.#net, node)))
    return counts.reduce((sum, count) => sum + count, 0)
  }

  /** Whatever fails is told with what both peers say of it; they are gone then. */
  async explained<T>(body: () => Promise<T>): Promise<T> {
    try {
      return await body()
    } catch (error) {
      const explanations = await Promise.all(
        this.peers.map(async (peer) => [
          peer.account,
          await peer.explain().catch(() => ''),
          JSON.stringify(await peer.relays().catch(() => [])),
        ]),
      )
      for (const peer of this.peers) peer.kill('SIGKILL')
      const told = (error as Error).message
      throw Object.assign(error as Error, { message: [told, ...explanations.flat()].join('\n') })
    }
  }
}

async function overflowsOf(net: KernelNet, node: Node): Promise<number> {
  const [four, six] = await Promise.all([
    net.output(node, 'cat', '/proc/net/snmp'),
    net.output(node, 'cat', '/proc/net/snmp6').catch(() => ''), // no IPv6 in this kernel
  ])
  const [names = [], values = []] = four
    .split('\n')
    .filter((line) => line.startsWith('Udp:'))
    .map((line) => line.split(' '))
  const count6 = /^Udp6RcvbufErrors\s+(\d+)/m.exec(six)?.[1] ?? '0'
  return Number(values[names.indexOf('RcvbufErrors')] ?? 0) + Number(count6)
}
