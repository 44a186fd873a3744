/**
 * The grid in bad weather: loss, disorder and delay, on the internet and in the signalling, cost time, but they neither open nor close a way.
 * The rule's model has both peers try at once, so the combinations that depend on who was first are left out where one comes late.
 */
import { describe, expect, it } from 'vitest'
import { type MeetOptions, meetIn } from '../../bench/connect/meet.js'
import { type Cell, KINDS, PAIRS, RELATIONS } from '../../bench/connect/topologies.js'
import { createTraversal } from '../../src/index.ts'
import { createLab } from '../../src/lab/index.ts'
import { createStunServer } from '../../src/stun/index.ts'
import { canMeet } from './reachable.ts'

const library = { createLab, createTraversal, createStunServer }

/** Each pair once, in turn one way round and the other. */
const CELLS: readonly Cell[] = PAIRS.filter(({ row, column }) => {
  const [r, c] = [KINDS.indexOf(row), KINDS.indexOf(column)]
  return (r + c) % 2 === 0 ? r <= c : r > c
})

interface Weather extends MeetOptions<boolean> {
  readonly name: string
}

const WEATHERS: readonly Weather[] = [
  { name: 'a tenth of all packets is lost on every link', weather: { loss: 0.1 } },
  { name: 'packets are lost in bursts', weather: { loss: { enter: 0.02, leave: 0.25 } } },
  { name: 'packets are delayed, doubled and out of order', weather: { jitter: 30, reorder: 0.2, duplicate: 0.2 } },
  { name: 'signals are lost, doubled and out of order', channel: { loss: 0.4, duplicate: 0.3, reorder: 0.3 } },
  { name: 'signals take two seconds', signalling: 2_000 },
  { name: 'signals take no time', signalling: 0 },
  { name: 'one peer starts three seconds later', late: 3_000 },
]

describe('who can meet does not change when', () => {
  it.for(WEATHERS)('$name', async ({ name: _name, ...options }) => {
    const wrong: string[] = []
    for (const cell of [...CELLS, ...(options.late === undefined ? RELATIONS : [])]) {
      const inspect: Weather['inspect'] = ([a, b], servers) => canMeet(a, b, servers)
      const { sides, judged, explanations } = await meetIn(library, cell, { ...options, goal: 'paths', patience: 16_000, inspect })
      const outcomes = sides.map(({ path }) => path?.kind === 'direct')
      if (outcomes.some((direct) => direct !== judged)) wrong.push(`${cell.name}: ${judged ? 'no' : 'a'} path\n${explanations.join('\n')}`)
    }
    expect(wrong).toEqual([])
  })
})
