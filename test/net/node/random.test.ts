import { describe, expect, it } from 'vitest'
import { nodeRandom } from '../../../src/net/node/random.ts'

describe('random bytes', () => {
  it.each([0, 1, 12, 255, 256, 257, 1024, 5000])('come %i at a time', (length) => {
    expect(nodeRandom().bytes(length)).toHaveLength(length)
  })

  it('never repeat, across many blocks', () => {
    const random = nodeRandom()
    const seen = new Set(Array.from({ length: 2000 }, () => Buffer.from(random.bytes(12)).toString('hex')))
    expect(seen.size).toBe(2000)
  })

  it('belong to the caller: writing to some changes no others', () => {
    const random = nodeRandom()
    const first = random.bytes(16)
    const copy = first.slice()
    const second = random.bytes(16)
    second.fill(0)
    expect(first).toEqual(copy)
    expect(first.buffer.byteLength).toBe(16)
  })
})
