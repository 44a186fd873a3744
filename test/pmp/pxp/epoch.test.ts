import { describe, expect, it } from 'vitest'
import { Epoch, type EpochRule, natPmpEpochRule, pcpEpochRule } from '../../../src/pmp/pxp/epoch.ts'

/** Whether the second reading continues the first: seconds of the router's clock, milliseconds of ours. */
function continues(rule: EpochRule, first: readonly [number, number], second: readonly [number, number]): boolean {
  const epoch = new Epoch(rule)
  expect(epoch.continues(...first)).toBe(true)
  return epoch.continues(...second)
}

describe("NAT-PMP's epoch (RFC 6886 3.6)", () => {
  it.each([
    [[1000, 0], [1000, 0], true],
    [[1000, 0], [1800, 800_000], true],
    // 7/8 of 800 s is 700 s; two seconds less is still rounding.
    [[1000, 0], [1698, 800_000], true],
    [[1000, 0], [1697, 800_000], false],
    [[1000, 0], [998, 0], true],
    [[1000, 0], [997, 0], false],
    [[1000, 0], [0, 1], false],
    // A clock that goes faster than ours says nothing.
    [[1000, 0], [9000, 1000], true],
  ] as const)('%j then %j: %j', (first, second, expected) => {
    expect(continues(natPmpEpochRule, first, second)).toBe(expected)
  })
})

describe("PCP's epoch (RFC 6887 8.5)", () => {
  it.each([
    [[1000, 0], [1000, 0], true],
    [[1000, 0], [999, 0], true],
    [[1000, 0], [998, 0], false],
    // Ours has gone on by 160 s: the router's by 148 at least, since 148 + 2 = 160 - 160/16.
    [[1000, 0], [1148, 160_000], true],
    [[1000, 0], [1147, 160_000], false],
    // The router's by 160 s: ours by 148 at least.
    [[1000, 0], [1160, 148_000], true],
    [[1000, 0], [1160, 147_999], false],
    [[1000, 0], [1002, 0], true],
    [[1000, 0], [1003, 0], false],
    [[1000, 0], [0, 3_600_000], false],
  ] as const)('%j then %j: %j', (first, second, expected) => {
    expect(continues(pcpEpochRule, first, second)).toBe(expected)
  })
})

describe('an epoch', () => {
  it('begins anew with a restart, so that one restart counts once', () => {
    const epoch = new Epoch(pcpEpochRule)
    expect(epoch.known).toBe(false)
    expect([epoch.continues(5000, 0), epoch.continues(3, 60_000), epoch.continues(13, 70_000)]).toEqual([true, false, true])
    expect(epoch.known).toBe(true)
  })
})
