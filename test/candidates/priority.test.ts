import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  asPeerReflexive,
  type CandidateType,
  candidatePriority,
  comparePairPriority,
  Foundations,
  isRedundant,
  localPreference,
  pairPriority,
  pairPriorityValue,
} from '../../src/candidates/index.ts'
import { Address } from '../../src/net/index.ts'
import { hostOf, makeBase } from '../ice/solo.ts'

const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })

/** RFC 8445 6.1.2.3 as it stands there. */
function rfc(g: number, d: number): bigint {
  const [controlling, controlled] = [BigInt(g), BigInt(d)]
  const [least, most] = controlling < controlled ? [controlling, controlled] : [controlled, controlling]
  return 2n ** 32n * least + 2n * most + (controlling > controlled ? 1n : 0n)
}

describe('C02 the priority of a candidate (RFC 8445 5.1.2.1)', () => {
  it.each<[CandidateType, number, number]>([
    ['host', 65_535, 2_130_706_431],
    ['srflx', 65_535, 1_694_498_815],
    ['prflx', 65_535, 1_862_270_975],
    ['relay', 65_535, 16_777_215],
    ['relay', 0, 255],
  ])('%s with local preference %i is %i', (type, preference, priority) => {
    expect(candidatePriority(type, preference)).toBe(priority)
  })

  it('is always from 1 to 2^31 - 1', () => {
    fc.assert(
      fc.property(fc.constantFrom<CandidateType>('host', 'srflx', 'prflx', 'relay'), fc.nat(100_000), fc.nat(100), (type, rank, index) => {
        const priority = candidatePriority(type, localPreference(rank, index))
        expect(priority).toBeGreaterThanOrEqual(1)
        expect(priority).toBeLessThan(2 ** 31)
      }),
    )
  })

  it('has a local preference of its own for each candidate of a type, as far as ranks and indexes go', () => {
    const all = Array.from({ length: 64 }, (_, rank) => Array.from({ length: 16 }, (_, index) => localPreference(rank, index))).flat()
    expect(new Set(all).size).toBe(all.length)
    expect(all).toEqual([...all].sort((a, b) => b - a))
  })

  it('C29 as a peer-reflexive one differs in the type preference alone', () => {
    fc.assert(
      fc.property(fc.constantFrom<CandidateType>('host', 'srflx', 'relay'), fc.nat(65_535), (type, preference) => {
        expect(asPeerReflexive(candidatePriority(type, preference))).toBe(candidatePriority('prflx', preference))
      }),
    )
  })
})

describe('C23 the priority of a pair (RFC 8445 6.1.2.3)', () => {
  it('is exact for all 32-bit numbers', () => {
    fc.assert(fc.property(uint32, uint32, (g, d) => void expect(pairPriorityValue(pairPriority(g, d))).toBe(rfc(g, d))))
  })

  it('is compared exactly for all 32-bit numbers, carries included', () => {
    const near = fc.oneof(uint32, fc.constantFrom(0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, 2 ** 32 - 1, 2 ** 32 - 2))
    fc.assert(
      fc.property(near, near, near, near, (g, d, h, e) => {
        const [x, y] = [rfc(g, d), rfc(h, e)]
        expect(Math.sign(comparePairPriority(pairPriority(g, d), pairPriority(h, e)))).toBe(x > y ? -1 : x < y ? 1 : 0)
      }),
      { numRuns: 2_000 },
    )
  })

  it('both ends order pairs alike', () => {
    fc.assert(
      fc.property(uint32, uint32, uint32, uint32, (a, b, c, d) => {
        // Ours and theirs are the other way round over there, but controlling and controlled are not.
        expect(
          comparePairPriority(pairPriority(a, b), pairPriority(c, d)) + comparePairPriority(pairPriority(c, d), pairPriority(a, b)),
        ).toBe(0)
      }),
    )
  })
})

describe('C04 foundations (RFC 8445 5.1.1.3)', () => {
  const [one, two] = [makeBase('10.0.0.1'), makeBase('10.0.0.2')]

  it('are the same exactly for the same type, base IP and server', () => {
    const foundations = new Foundations()
    const all = (['host', 'srflx', 'prflx', 'relay'] as const).flatMap((type) =>
      [one, two].flatMap((base) => ['', '192.0.2.1', '192.0.2.2'].map((server) => foundations.of(type, base, server))),
    )
    expect(new Set(all).size).toBe(all.length)
    expect(foundations.of('host', one)).toBe(all[0])
    expect(foundations.of('relay', two, '192.0.2.2')).toBe(all.at(-1))
  })

  it('do not tell two sockets on one address apart', () => {
    const foundations = new Foundations()
    expect(foundations.of('host', makeBase('10.0.0.1'))).toBe(foundations.of('host', one))
  })

  it('are ice-chars, 32 at most', () => {
    const foundations = new Foundations()
    for (let i = 0; i < 300; i++) expect(foundations.of('srflx', one, `192.0.2.${i}`)).toMatch(/^[A-Za-z0-9+/]{1,32}$/)
  })
})

describe('C05 C06 redundancy (RFC 8445 5.1.3)', () => {
  const base = makeBase('203.0.113.7')
  const host = hostOf(base)

  it('same address and same base: the reflexive candidate of a host without a NAT says nothing new', () => {
    expect(isRedundant(host, { ...host, type: 'srflx', related: base.address })).toBe(true)
  })

  it('another address or another base: it does', () => {
    expect(isRedundant(host, { ...host, address: Address.of('203.0.113.7', 5_001) })).toBe(false)
    expect(isRedundant(host, { ...host, base: makeBase('203.0.113.8') })).toBe(false)
  })
})
