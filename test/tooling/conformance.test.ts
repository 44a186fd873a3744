import { describe, expect, it } from 'vitest'
import { idsInFiles, idsOf, readTable } from '../conformance.ts'

describe('the conformance table', () => {
  const rows = readTable()
  const used = new Set([...idsInFiles().values()].flatMap((ids) => [...ids]))

  it('has every id once, numbered without a gap', () => {
    expect(rows.map(({ id }) => id)).toEqual(rows.map((_, i) => `C${String(i + 1).padStart(2, '0')}`))
  })

  it('has a row for every id that a test uses', () => {
    expect([...used].filter((id) => !rows.some((row) => row.id === id))).toEqual([])
  })

  it('has a test for every row but those of rooms that are still to be built', () => {
    expect(rows.filter(({ id, later }) => later === undefined && !used.has(id)).map(({ id }) => id)).toEqual([])
  })

  it('takes ids from the start of a name only', () => {
    expect(idsOf('C01 C23 two of them')).toEqual(['C01', 'C23'])
    expect(idsOf('C02: with a colon')).toEqual(['C02'])
    expect(idsOf('as C01 says')).toEqual([])
  })
})
