/**
 * The virtual grid: every ordered pair of network kinds, and what is no pair, with real traversals on both sides of a virtual internet.
 * A path comes exactly where the rule of reachable.ts says that plain ICE can get one. The table is printed at the end of the run.
 */
import { afterAll, describe, expect, it } from 'vitest'
import { type Meeting, meetIn } from '../../bench/connect/meet.js'
import { type Cell, KINDS, PAIRS, RELATIONS } from '../../bench/connect/topologies.js'
import { createTraversal } from '../../src/index.ts'
import { createLab } from '../../src/lab/index.ts'
import { createStunServer } from '../../src/stun/index.ts'
import { canMeet } from './reachable.ts'

const library = { createLab, createTraversal, createStunServer }

/** Virtual milliseconds until both sides had their answer; undefined where there was no path. */
const times = new Map<Cell, number | undefined>()

async function checkCell(cell: Cell): Promise<void> {
  const meeting = await meetIn(library, cell, { inspect: ([a, b], servers) => canMeet(a, b, servers) })
  times.set(cell, timeOf(meeting))
  const account = meeting.explanations.join('\n')
  if (meeting.judged) {
    for (const { path, inbox } of meeting.sides) {
      expect(path?.kind, account).toBe('direct')
      expect([...inbox].sort(), account).toEqual(['answer', 'question'])
    }
  } else {
    for (const { path, inbox } of meeting.sides) expect({ path, inbox }, account).toEqual({ path: undefined, inbox: [] })
  }
}

function timeOf({ sides: [a, b] }: Meeting<boolean>): number | undefined {
  return a.answeredAt === undefined || b.answeredAt === undefined ? undefined : Math.max(a.answeredAt, b.answeredAt)
}

describe('two peers connect directly exactly where plain ICE can', () => {
  it.for(PAIRS)('$name', checkCell)
  it.for(RELATIONS)('$name', checkCell)

  it('in at least two hundred cells, some of either outcome in each half', () => {
    expect(PAIRS.length + RELATIONS.length).toBeGreaterThanOrEqual(200)
    for (const half of [PAIRS, RELATIONS]) {
      const outcomes = half.map((cell) => times.get(cell) !== undefined)
      expect(new Set(outcomes)).toEqual(new Set([true, false]))
    }
  })
})

afterAll(() => {
  const show = (cell: Cell | undefined): string => {
    const time = cell === undefined ? undefined : times.get(cell)
    return time === undefined ? '–' : time.toFixed(0)
  }
  const find = (row: unknown, column: unknown): Cell | undefined => PAIRS.find((cell) => cell.row === row && cell.column === column)
  const table = KINDS.map((row) => [row.short.padEnd(8), ...KINDS.map((column) => show(find(row, column)).padStart(8))].join(''))
  const direct = [...times.values()].filter((time) => time !== undefined).length
  console.log(
    [
      `The virtual grid: ${times.size} cells, ${direct} direct, as the rule says.`,
      'Virtual milliseconds until both sides have an answer to their data, 20 ms one way to everything; – where plain ICE has no direct path.',
      '',
      ['', ...KINDS.map(({ short }) => short)].map((head, index) => (index === 0 ? head.padEnd(8) : head.padStart(8))).join(''),
      ...table,
      '',
      ...KINDS.map(({ short, name }) => `${short.padEnd(8)} ${name}`),
      '',
      ...RELATIONS.map((cell) => `${show(cell).padStart(7)}  ${cell.name}`),
    ].join('\n'),
  )
})
