import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { areCredentials, createCredentials, newTieBreaker, splitUsername } from '../../src/ice/index.ts'
import { SeededRandom } from '../stun/manual-clock.ts'

const PWD = 'p'.repeat(22)

describe('C01 credentials of our own', () => {
  it('have at least 24 random bits in the user fragment and 128 in the password, in ice-chars only', () => {
    const random = new SeededRandom(1)
    for (let i = 0; i < 500; i++) {
      const { ufrag, pwd } = createCredentials(random)
      expect(ufrag).toMatch(/^[A-Za-z0-9+/]+$/)
      expect(pwd).toMatch(/^[A-Za-z0-9+/]+$/)
      expect(ufrag.length * 6).toBeGreaterThanOrEqual(24)
      expect(pwd.length * 6).toBeGreaterThanOrEqual(128)
      expect(areCredentials({ ufrag, pwd })).toBe(true)
    }
  })

  it('use every ice-char, evenly', () => {
    const random = new SeededRandom(1)
    const counts = new Map<string, number>()
    for (let i = 0; i < 2_000; i++) for (const char of createCredentials(random).pwd) counts.set(char, (counts.get(char) ?? 0) + 1)
    expect(counts.size).toBe(64)
    const mean = (2_000 * createCredentials(random).pwd.length) / 64
    for (const count of counts.values()) expect(Math.abs(count - mean)).toBeLessThan(mean * 0.25)
  })

  it('never come twice', () => {
    const random = new SeededRandom(1)
    const seen = new Set(Array.from({ length: 5_000 }, () => createCredentials(random).ufrag))
    expect(seen.size).toBe(5_000)
  })
})

describe('C01 credentials of others', () => {
  it.each([
    ['the shortest', { ufrag: 'abcd', pwd: PWD }],
    ['the longest', { ufrag: 'a'.repeat(256), pwd: 'b'.repeat(256) }],
    ['plus and slash', { ufrag: 'a+/b', pwd: `${PWD}+/` }],
  ])('are taken: %s', (_what, value) => {
    expect(areCredentials(value)).toBe(true)
  })

  it.each([
    ['a short ufrag', { ufrag: 'abc', pwd: PWD }],
    ['a long ufrag', { ufrag: 'a'.repeat(257), pwd: PWD }],
    ['a short password', { ufrag: 'abcd', pwd: PWD.slice(1) }],
    ['a long password', { ufrag: 'abcd', pwd: 'p'.repeat(257) }],
    ['a colon', { ufrag: 'a:bc', pwd: PWD }],
    ['a trailing line break', { ufrag: 'abcd', pwd: `${PWD}\n` }],
    ['another script', { ufrag: 'äöüß', pwd: PWD }],
    ['no text', { ufrag: ['a', 'b', 'c', 'd'], pwd: PWD }],
    ['nothing', { ufrag: undefined, pwd: undefined }],
  ])('are refused: %s', (_what, value) => {
    expect(areCredentials(value)).toBe(false)
  })
})

describe('C30 a USERNAME', () => {
  it('is parted at its colon, for any two user fragments', () => {
    const ufrag = fc.string({ minLength: 4, maxLength: 256, unit: fc.constantFrom(...'abcXYZ019+/') })
    fc.assert(
      fc.property(ufrag, ufrag, (receiver, sender) => void expect(splitUsername(`${receiver}:${sender}`)).toEqual({ receiver, sender })),
    )
  })

  it.each([undefined, '', 'nocolon'])('%s is none', (username) => {
    expect(splitUsername(username)).toBeUndefined()
  })
})

describe('a tie-breaker', () => {
  it('has 64 bits', () => {
    const random = new SeededRandom(3)
    const all = Array.from({ length: 200 }, () => newTieBreaker(random))
    expect(all.every((tie) => tie >= 0n && tie < 2n ** 64n)).toBe(true)
    expect(all.some((tie) => tie >= 2n ** 63n)).toBe(true)
    expect(new Set(all).size).toBe(200)
  })
})
