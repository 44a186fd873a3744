/**
 * Other people's ICE agents against `sallyport connect --json`, in the NATs of real kernels: agent × role × trickle × NATs, restarts, and lite
 * agents. By default a part of it; `npm run interop` sets INTEROP=all and runs the whole. The table is printed at the end.
 */
import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { KERNEL, KernelNet } from '../kernel/namespaces.ts'
import { type Requirements, requires } from '../requirements.ts'
import { AGENTS, type Foreign } from './foreign-agent.ts'
import { type Cell, cellsOf, createWorld, describeCell, MAIN, meet, NATS, type Outcome, type World } from './matrix.ts'

const WHOLE = process.env.INTEROP === 'all'
const outcomes = new Map<Cell, Outcome | 'failed'>()

afterAll(() => {
  if (outcomes.size > 0) console.log(table())
})

describe.concurrent.each(AGENTS)('against $name', (agent) => {
  const { quick, rest } = cellsOf(agent)
  const cells = WHOLE ? [...quick, ...rest] : quick

  describe('through NATs', requires(needs(agent)), () => {
    let world: World | undefined

    beforeAll(async () => {
      await agent.prepare?.()
      world = await createWorld(await KernelNet.create())
    })

    afterAll(() => world?.net.close())

    for (const cell of cells)
      it.concurrent(describeCell(cell), { timeout: 100_000 }, async () => {
        outcomes.set(cell, 'failed')
        const outcome = await meet(world as World, `cell${cells.indexOf(cell)}`, cell)
        outcomes.set(cell, outcome)
        expect(outcome.data).toBe(agent.cannot?.data === undefined ? 'both ways' : 'to us')
      })
  })
})

function needs({ needs }: Foreign): Requirements {
  return {
    ...needs,
    ...KERNEL,
    commands: { ...needs.commands, ...KERNEL.commands },
    also: { ...needs.also, 'a build (npm run build)': existsSync(MAIN) },
  }
}

function row({ agent, role, trickle, nats, special }: Cell, outcome: Outcome | 'failed'): string[] {
  const start = [agent.name, role, trickle, nats, special ?? '']
  if (outcome === 'failed') return [...start, 'FAILED']
  const { ms, path, data, again } = outcome
  return [...start, 'connected', ms.toFixed(0).padStart(6), path, data, again === undefined ? '' : again.toFixed(0).padStart(6)]
}

function table(): string {
  const heads = ['agent', 'role', 'trickle', 'behind: ours, theirs', '', '', '    ms', 'path: ours to theirs', 'data', 'ms after restart']
  const order = ({ agent, nats, special }: Cell): number =>
    AGENTS.indexOf(agent) * 100 + Object.keys(NATS).indexOf(nats) + (special === undefined ? 0 : 50)
  const rows = [...outcomes].sort(([a], [b]) => order(a) - order(b)).map(([cell, outcome]) => row(cell, outcome))
  const all = [heads, ...rows]
  const widths = heads.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)))
  const cannot = AGENTS.flatMap(({ cannot = {} }) => Object.values(cannot))
  return [
    "Other people's ICE agents: milliseconds from the beginning of our gathering until data had gone both ways, the agent's start included.",
    'Several cells at a time share the processor: these are no measurements of speed.',
    '',
    ...all.map((row) =>
      row
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    ),
    '',
    `Not asked of them: ${cannot.join('; ')}.`,
  ].join('\n')
}
