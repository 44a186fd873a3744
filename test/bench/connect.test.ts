import { describe, expect, it } from 'vitest'
import { cellFloor, designFloor, LIMIT, measure, median } from '../../bench/connect/floor.js'
import { meetIn, type Side } from '../../bench/connect/meet.js'
import { type Cell, PAIRS, RELATIONS } from '../../bench/connect/topologies.js'
import { createTraversal, type Path } from '../../src/index.ts'
import { createLab } from '../../src/lab/index.ts'
import { createStunServer } from '../../src/stun/index.ts'

const delays = { delay: 20, signalling: 20 }
const library = { createLab, createTraversal, createStunServer }

function pair(row: string, column: string): Cell {
  return PAIRS.find((cell) => cell.row.short === row && cell.column.short === column)!
}

function relation(name: string): Cell {
  return RELATIONS.find((cell) => cell.name === name)!
}

function measureCell(cell: Cell): ReturnType<typeof measure> {
  return measure(async (seed) => (await meetIn(library, cell, { ...delays, seed })).sides, 3, delays)
}

const SELECTION = [
  pair('open', 'open'),
  pair('open', 'symR'),
  pair('fw', 'port'),
  pair('full', 'symS'),
  pair('port', 'port'),
  pair('portR', 'portR'),
  pair('symA', 'addr'),
  pair('c:full', 'c:port'),
  pair('c:portR', 'fw'),
  relation('same LAN: symmetric, random'),
  relation('v6 behind stateful firewalls, v4 symmetric on both sides'),
  relation('two homes behind one CGN, port-restricted, hairpin'),
]

// Virtual time, so the same on every machine: the whole is in bench/connect.js.
describe('a cold start on the virtual internet', () => {
  it.for(SELECTION)(`has data both ways within ${LIMIT} times the floor: $name`, async (cell) => {
    const measured = await measureCell(cell)
    expect(measured?.firstRatio).toBeLessThanOrEqual(LIMIT)
    expect(measured?.lastRatio).toBeLessThanOrEqual(LIMIT)
  })

  it('takes exactly signal, check, data and answer between two hosts in the open', async () => {
    expect(await measureCell(pair('open', 'open'))).toMatchObject({ first: 100, last: 100, floor: { first: 100, last: 100 } })
  })

  it('is not measured where there is no path', async () => {
    expect(await measureCell(pair('port', 'symR'))).toBeUndefined()
  })
})

it('counts a meeting that fails where another succeeded as one without end', async () => {
  const meet = async (seed: number): Promise<readonly [Side, Side]> => [
    side('host'),
    { ...side('host'), answeredAt: seed === 1 ? 100 : undefined },
  ]
  expect(await measure(meet, 3, delays)).toMatchObject({ last: Number.POSITIVE_INFINITY, lastRatio: Number.POSITIVE_INFINITY })
})

describe('the floor', () => {
  it('is 2d + s + 2d + 2d from a cold start', () => {
    expect(designFloor({ delay: 20, signalling: 20 })).toBe(140)
    expect(designFloor({ delay: 10, signalling: 100 })).toBe(160)
  })

  it('of a cell has no STUN where either side is told of a host candidate', () => {
    expect(cellFloor([side('host'), side('host')], delays)).toEqual({ first: 100, last: 100 })
    expect(cellFloor([side('srflx'), side('host')], delays)).toEqual({ first: 100, last: 120 })
  })

  it('of a cell starts with STUN where both are told of reflexive candidates', () => {
    expect(cellFloor([side('srflx'), side('srflx')], delays)).toEqual({ first: 140, last: 140 })
  })

  it('of a cell is one way later for the side that learns the peer from its check', () => {
    expect(cellFloor([side('srflx'), side('prflx')], delays)).toEqual({ first: 140, last: 160 })
  })

  it('of a cell counts the way of the path, not of the internet', () => {
    expect(cellFloor([side('host', 1), side('host', 1)], delays)).toEqual({ first: 22, last: 22 })
  })
})

it('the median is the middle one, or between the two in the middle', () => {
  expect(median([5, 1, 3])).toBe(3)
  expect(median([4, 1, 2, 3])).toBe(2.5)
})

function side(type: Path['remote']['type'], rtt = 40): Side {
  const end = { type, ip: '203.0.113.1', port: 1 }
  const path: Path = { kind: 'direct', family: 4, local: end, remote: end, rtt }
  return { firstPath: path, path, state: 'connected', readyAt: 0, heardAt: 0, answeredAt: 0, inbox: [] }
}
