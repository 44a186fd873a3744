/** The cells of the interop table, and the one way in which the two sides of a cell meet: every program a process, in namespaces. */
import type { ChildProcess } from 'node:child_process'
import { performance } from 'node:perf_hooks'
import type { KernelNet, Nat, Node } from '../kernel/namespaces.ts'
import { type Foreign, type Line, LineProcess, pathOf, startAgent } from './foreign-agent.ts'
import { inTime } from './in-time.ts'

export const MAIN: string = pathOf('../../dist/cli/main.js')

/** Milliseconds that a cell may take from one step to the next. */
const PATIENCE = 40_000

export const NATS = {
  'open, open': {},
  'masquerade, masquerade': { ours: { kind: 'masquerade' }, theirs: { kind: 'masquerade' } },
  'random ports, open': { ours: { kind: 'random' } },
  'open, random ports': { theirs: { kind: 'random' } },
} satisfies Readonly<Record<string, { readonly ours?: Nat; readonly theirs?: Nat }>>

export interface Cell {
  readonly agent: Foreign
  readonly role: 'controlling' | 'controlled'
  /**
   * `full`: whatever a side finds is signalled as it comes. `none`: one signal from each side and generation, with all its candidates and
   * their end.
   */
  readonly trickle: 'full' | 'none'
  /** Where ours is, and where theirs. */
  readonly nats: keyof typeof NATS
  readonly special?: 'they restart' | 'we restart' | 'they are lite' | 'we are lite'
}

export interface Outcome {
  /** From our beginning to gather until data had gone both ways, or come to us from an agent that has data of its own only. */
  readonly ms: number
  readonly data: 'both ways' | 'to us'
  /** After a restart, until there was a path of the new credentials, and data had gone both ways again. */
  readonly again?: number
  /** The types of the two ends, ours first. */
  readonly path: string
}

/** All of one agent. Those that CI runs come first, the rest is for `npm run interop`. */
export function cellsOf(agent: Foreign): { readonly quick: readonly Cell[]; readonly rest: readonly Cell[] } {
  const roles = ['controlling', 'controlled'] as const
  const trickles = ['full', 'none'] as const
  const base = { agent, trickle: 'full', nats: 'masquerade, masquerade' } as const
  const all = (Object.keys(NATS) as (keyof typeof NATS)[]).flatMap((nats) =>
    roles.flatMap((role) => trickles.map((trickle): Cell => ({ agent, role, trickle, nats }))),
  )
  const restarts = roles.flatMap((role): Cell[] => [
    { ...base, role, special: 'they restart' },
    { ...base, role, special: 'we restart' },
  ])
  // A lite agent is on the open internet and controlled (RFC 8445 6.1.1).
  const lite = trickles.flatMap((trickle) => [
    { agent, role: 'controlled', trickle, nats: 'random ports, open', special: 'they are lite' } as const,
    { agent, role: 'controlling', trickle, nats: 'open, random ports', special: 'we are lite' } as const,
  ])
  const can = ({ special }: Cell): boolean =>
    !(special?.endsWith('restart') && agent.cannot?.restart) && !(special === 'they are lite' && agent.cannot?.lite)
  const cells = [...restarts, ...lite, ...all].filter(can)
  const isQuick = ({ special, nats, trickle }: Cell): boolean =>
    special === undefined ? nats === base.nats : special.endsWith('restart') || trickle === 'full'
  return { quick: cells.filter(isQuick), rest: cells.filter((cell) => !isQuick(cell)) }
}

export function describeCell({ role, trickle, nats, special }: Cell): string {
  return `${special === undefined ? '' : `${special}: `}it is ${role}, trickle ${trickle}, ours and theirs behind: ${nats}`
}

/** The internet of some cells, with its STUN server. */
export interface World {
  readonly net: KernelNet
  readonly stun: string
}

export async function createWorld(net: KernelNet): Promise<World> {
  const host = await net.host('stun', { families: [4] })
  const server = new LineProcess('serve', starter(net, host)(process.execPath, [MAIN, 'serve', '--json', '--address', host.ip4]))
  await server.find(({ listening }) => listening)
  return { net, stun: `${host.ip4}:3478` }
}

/**
 * Lets the two sides of a cell meet, restart if that is what it is about, and leave. `name` is the cell's own in its world. Rejects, with
 * what both wrote, when anything is otherwise than it should be.
 */
export async function meet({ net, stun }: World, name: string, cell: Cell): Promise<Outcome> {
  const { agent: foreign, role, trickle, nats, special } = cell
  const places: { readonly ours?: Nat; readonly theirs?: Nat } = NATS[nats]
  const [ourHost, theirHost] = await Promise.all([place(net, `${name}-ours`, places.ours), place(net, `${name}-theirs`, places.theirs)])
  const theirs = startAgent(foreign, {
    controlling: role === 'controlling',
    stun,
    trickle: trickle === 'full',
    lite: special === 'they are lite',
    start: starter(net, theirHost),
  })
  const args = ['connect', '--json', '--timeout', String(PATIENCE / 1_000), ...(special === 'we are lite' ? ['--lite'] : ['--stun', stun])]
  if (foreign.cannot?.data !== undefined) args.push('--events')
  const ours = new LineProcess('sallyport', starter(net, ourHost)(process.execPath, [MAIN, ...args]))
  carry(ours, theirs, trickle)
  carry(theirs, ours, trickle)
  try {
    return await inTime(converse(cell, ours, theirs), PATIENCE)
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${ours.account}\n\n${theirs.account}`)
  }
}

async function converse({ agent, role, special }: Cell, ours: LineProcess, theirs: LineProcess): Promise<Outcome> {
  const talks = agent.cannot?.data === undefined
  const [connected, path, end] = await Promise.all([
    theirs.connected(),
    ours.find(pathLine),
    ours.find(talks ? doneLine : handshake),
    talks && theirs.received(`pong ping ${agent.name}`),
  ])
  if (connected.controlling === (role === 'controlled')) throw new Error('the agent did not keep its role')
  if (path.kind !== 'direct') throw new Error('the path is not direct')
  let again: number | undefined
  if (special?.endsWith('restart')) {
    const startedAt = performance.now()
    const paths = ours.all(pathLine).length
    ;(special === 'they restart' ? theirs : ours).restart()
    await Promise.all([theirs.connected(2), ours.find(pathLine, paths + 1), talks && theirs.received(`pong ping ${agent.name} 2`)])
    again = performance.now() - startedAt
  }
  const { local, remote } = ours.all(pathLine).at(-1) ?? path
  const codes = await Promise.all([ours.close(), theirs.close()])
  if (codes.some((code) => code !== 0)) throw new Error(`they left with ${codes.join(' and ')}`)
  return {
    ms: end.ms ?? 0,
    path: `${local} to ${remote}`,
    data: talks ? 'both ways' : 'to us',
    ...(again === undefined ? {} : { again }),
  }
}

function pathLine(line: Line): Line | undefined {
  return line.event === 'path' ? line : undefined
}

function doneLine(line: Line): Line | undefined {
  return line.done === true ? line : undefined
}

/** What an agent sends that has data of its own only: the first record of DTLS (RFC 6347 4.1), content type 22. */
function handshake(line: Line): Line | undefined {
  return line.event === 'message' && line.text?.startsWith('\u0016') ? line : undefined
}

/** The channel. Without trickle it waits for the first signal that is complete, and passes one of each generation. */
function carry(from: LineProcess, to: LineProcess, trickle: Cell['trickle']): void {
  const passed = new Set<string>()
  from.onSignal((signal) => {
    if (trickle === 'none' && signal.bye !== true) {
      if (signal.end !== true || passed.has(signal.ufrag)) return
      passed.add(signal.ufrag)
    }
    to.signal(signal)
  })
}

function starter(net: KernelNet, node: Node): (command: string, args: readonly string[]) => ChildProcess {
  return (command, args) => net.exec(node, command, args, { stdio: 'pipe' })
}

/** Without a NAT: on the open internet. */
async function place(net: KernelNet, name: string, nat: Nat | undefined): Promise<Node> {
  if (nat === undefined) return net.host(name, { families: [4] })
  const router = await net.router(`${name}-nat`, { nat, families: [4] })
  return net.host(name, { behind: router, families: [4] })
}
