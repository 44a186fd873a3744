/** The fuzzer itself, on a target whose counters and whose bug are made for it. */
import { afterEach, describe, expect, it } from 'vitest'
import { Coverage } from '../../fuzz/engine/coverage.js'
import { Fuzzer, type Target } from '../../fuzz/engine/fuzzer.js'

const HIDDEN = 'ICE!'

interface Counters {
  readonly s: Record<string, number>
  readonly f: Record<string, number>
  readonly b: Record<string, number[]>
}

const holder = globalThis as { __coverage__?: Record<string, Counters> }

/** Throws when it is given the hidden word; one counter for each letter that is right so far, as code would have that compares them in turn. */
function lock(file: Counters): Target {
  return {
    name: 'lock',
    longest: 16,
    dictionary: [],
    mutations: [],
    stale: false,
    prepare: async () => {},
    settle: async () => {},
    run: (input) => {
      let right = 0
      while (right < HIDDEN.length && input[right] === HIDDEN.charCodeAt(right)) file.s[right++]!++
      if (right === HIDDEN.length) throw new Error('opened')
    },
  }
}

async function search(seed: number, runs: number, guided: boolean): Promise<{ found: Uint8Array[]; runs: number }> {
  const file: Counters = { s: { 0: 0, 1: 0, 2: 0, 3: 0 }, f: {}, b: {} }
  holder.__coverage__ = { file }
  const coverage = new Coverage()
  if (!guided) coverage.news = () => []
  const found: Uint8Array[] = []
  const fuzzer = new Fuzzer(lock(file), coverage, seed, (_target, input) => `${found.push(input)}`)
  await fuzzer.read([{ name: 'seed', data: new Uint8Array(8) }])
  await fuzzer.fuzz(
    (done) => done >= runs,
    () => {},
  )
  await fuzzer.close()
  return { found, runs: fuzzer.runs }
}

describe('the fuzzer', () => {
  afterEach(() => {
    delete holder.__coverage__
  })

  it('finds what takes four right bytes, and the input that it saves has them', async () => {
    const { found } = await search(1, 200_000, true)
    expect(found).toHaveLength(1)
    expect(Buffer.from(found[0]!).toString('latin1').startsWith(HIDDEN)).toBe(true)
  })

  it('does not find it when coverage does not guide it', async () => {
    const { found } = await search(1, 200_000, false)
    expect(found).toEqual([])
  })

  it('does the same again from the same seed', async () => {
    const [first, second] = [await search(7, 200_000, true), await search(7, 200_000, true)]
    expect(second).toEqual(first)
  })
})
