import { describe, expect, it } from 'vitest'
import { CELLS, LOSSES, type LossRow, limitsOf, measureLoss, meetOnce, misses, summary } from '../../bench/loss/measure.js'
import { createTraversal } from '../../src/index.ts'
import { createLab } from '../../src/lab/index.ts'
import { createStunServer } from '../../src/stun/index.ts'

const library = { createLab, createTraversal, createStunServer }
const [, portRestricted] = CELLS

// Virtual time, so the same on every machine: the whole is in bench/loss.js.
describe('a meeting through accesses that lose packets', () => {
  it.for(LOSSES)('keeps its limits where each access loses $access', async (loss) => {
    expect(misses(await measureLoss(library, portRestricted!, loss, 20), limitsOf(loss))).toEqual([])
  })

  it('loses nothing where no access does', async () => {
    const { first, last, checks, requests } = await meetOnce(library, portRestricted!, 1, 0)
    expect([first, last]).toEqual([expect.closeTo(141, 0), expect.closeTo(141, 0)])
    expect(requests).toEqual([2, 2])
    expect(Math.max(...checks)).toBeLessThanOrEqual(12)
  })

  it('does not come about where everything is lost', async () => {
    const { paths, last, direct } = await meetOnce(library, portRestricted!, 1, 1)
    expect({ paths, last, direct }).toEqual({ paths: Number.POSITIVE_INFINITY, last: Number.POSITIVE_INFINITY, direct: false })
  })
})

describe('what a row is held to', () => {
  const good: LossRow = {
    seeds: 1_000,
    met: 1_000,
    direct: 1_000,
    paths: { median: 1, p99: 1, worst: 1 },
    first: { median: 400, p99: 2_000, worst: 9_000 },
    last: { median: 400, p99: 2_000, worst: 9_000 },
    checks: { mean: 15, most: 80 },
    requests: { mean: 2 },
  }
  const [none] = LOSSES
  const extreme = LOSSES.find(({ literal, heavy }) => literal && heavy)

  it('both readings of 36 % are measured, between the peers and on each access', () => {
    expect(LOSSES.filter(({ heavy }) => heavy).map(({ between, access }) => [between, access])).toEqual([
      [0.36, expect.closeTo(0.2)],
      [expect.closeTo(0.5904), 0.36],
    ])
  })

  it('names nothing where all is kept', () => {
    expect(misses(good, limitsOf(none!))).toEqual([])
  })

  it('one meeting in 1,000 may fail at 36 %, and none at less', () => {
    const row = { ...good, met: 999, direct: 999 }
    expect(misses(row, limitsOf(none!))).toEqual(['1 of 1000 did not meet'])
    expect(misses(row, limitsOf(extreme!))).toEqual([])
    expect(misses({ ...row, met: 998, direct: 998 }, limitsOf(extreme!))).toEqual(['2 of 1000 did not meet'])
  })

  it('names a meeting that is not direct, times that are too long, and too many checks', () => {
    const row = { ...good, direct: 999, last: { median: 401, p99: 2_001, worst: 9_000 }, checks: { mean: 15.1, most: 80 } }
    expect(misses(row, limitsOf(none!))).toEqual(['1 not direct', 'median over 400', 'p99 over 2000', 'over 15 checks'])
  })

  it('the 99th percentile is what 99 in 100 do not exceed', () => {
    const times = Array.from({ length: 200 }, (_, i) => 200 - i)
    expect(summary(times)).toEqual({ median: 100, p99: 198, worst: 200 })
    expect(summary([7])).toEqual({ median: 7, p99: 7, worst: 7 })
  })
})
