/** The demo's first part: this process starts a STUN server and two peers, and is nothing but the channel that carries their signals. */
import { type ChildProcess, spawn } from 'node:child_process'
import { performance } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Signal } from '../../signal/index.ts'
import type { PathText } from '../format.ts'
import type { Sight } from '../watch.ts'
import type { Meeting, Stage } from './stage.ts'

/** Milliseconds; a tenth of a second is the rule. */
const PATIENCE = 8_000

/** A line of `connect --json --events`. */
type Line =
  | { readonly signal: Signal }
  | (Sight & { readonly ms: number })
  | ({ readonly event: 'path'; readonly ms: number } & PathText)
  | { readonly event: 'message'; readonly text: string; readonly ms: number }
  | { readonly done: true; readonly ms: number }
  | { readonly failed: string; readonly reason: string }
  | { readonly warning: string }

interface Peer {
  readonly name: string
  readonly child: ChildProcess
  path?: PathText
  heard?: string
  took?: number
}

export async function meetOnSockets(stage: Stage): Promise<Meeting> {
  const children: ChildProcess[] = []
  const endAll = (): void => {
    for (const child of children) child.kill()
  }
  process.once('exit', endAll)
  let timer: NodeJS.Timeout | undefined
  try {
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error('the processes did not meet in time')), PATIENCE)
    })
    return await Promise.race([meet(stage, children), late])
  } finally {
    clearTimeout(timer)
    await Promise.all(children.map(leave))
    process.off('exit', endAll)
  }
}

async function meet(stage: Stage, children: ChildProcess[]): Promise<Meeting> {
  const { bold, dim } = stage.colours
  const start = (...args: readonly string[]): ChildProcess => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('../main.js', import.meta.url)), ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    // One that is gone already takes no more signals; its exit is noticed elsewhere.
    child.stdin?.on('error', () => {})
    children.push(child)
    return child
  }
  const server = start('serve', '--json', '--address', '127.0.0.1', '--port', '0')
  const address = await new Promise<string>((resolve, reject) => {
    onLines(server, (line) => {
      const { listening } = JSON.parse(line) as { listening?: readonly string[] }
      if (listening !== undefined) resolve(listening[0] ?? '')
    })
    server.once('exit', () => reject(new Error('the STUN server did not start')))
  })
  const peer = (name: string, other: string): Peer => {
    const say = `Hello ${other}, this is ${name}.`
    return { name, child: start('connect', '--json', '--events', '--loopback', '--stun', address, '--say', say) }
  }
  const peers = [peer('alice', 'bob'), peer('bob', 'alice')] as const
  console.log(`   ${bold('STUN server')}  process ${String(server.pid).padEnd(8)} ${dim(`sallyport serve on ${address}`)}`)
  for (const { name, child } of peers)
    console.log(`   ${bold(name.padEnd(11))}  process ${String(child.pid).padEnd(8)} ${dim('sallyport connect --json')}`)
  console.log('')
  stage.header('ms')
  let startedAt: number | undefined
  const ms = (): number => {
    startedAt ??= performance.now()
    return performance.now() - startedAt
  }
  await Promise.all([follow(stage, peers[0], peers[1], ms), follow(stage, peers[1], peers[0], ms)])
  stage.rest()
  const { path } = peers[0]
  if (path === undefined) throw new Error('data went both ways, but no path was told of')
  return { path, took: peers.map(({ took = Number.NaN }) => took) }
}

/** Shows what a peer says, carries its signals, and resolves when data has gone both ways. */
function follow(stage: Stage, peer: Peer, other: Peer, ms: () => number): Promise<void> {
  return new Promise((resolve, reject) => {
    onLines(peer.child, (text) => {
      const line = JSON.parse(text) as Line
      if ('signal' in line) {
        other.child.stdin?.write(`${text}\n`)
        stage.signal(ms(), peer.name, other.name, line.signal)
      } else if ('failed' in line) reject(new Error(`${peer.name}: ${line.reason}`))
      else if ('done' in line) peer.took = line.ms
      else if ('warning' in line) reject(new Error(`${peer.name}: ${line.warning}`))
      else if (line.event === 'path') {
        peer.path = line
        stage.path(ms(), peer.name, line)
      } else if (line.event === 'message') {
        peer.heard = line.text
        stage.line(ms(), peer.name, 'message', `from ${other.name}: ${line.text}`, { paint: 'yellow' })
      } else stage.sight(ms(), peer.name, line)
      if (peer.took !== undefined && peer.heard !== undefined) resolve()
    })
    peer.child.once('exit', () => reject(new Error(`${peer.name} ended early`)))
  })
}

function onLines(child: ChildProcess, take: (line: string) => void): void {
  if (child.stdout !== null) createInterface({ input: child.stdout }).on('line', take)
}

/** Peers leave when their input ends, the server when it is told to. */
async function leave(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  child.stdin?.end()
  child.kill()
  await gone
}
