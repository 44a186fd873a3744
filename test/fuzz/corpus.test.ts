/** Every committed input through its target, without counters: what the fuzzer's past taught is not forgotten between its runs. */
import { describe, expect, it } from 'vitest'
import { runOnce } from '../../fuzz/engine/fuzzer.js'
import { corpusOf, TARGETS } from '../../fuzz/targets/index.js'

describe.each(Object.keys(TARGETS))('the corpus of %s', (name) => {
  it('goes in, input by input, and nothing is wrong', async () => {
    const target = await TARGETS[name]!()
    const corpus = corpusOf(name)
    expect(corpus.length).toBeGreaterThan(5)
    await target.prepare()
    for (const [index, { data }] of corpus.entries()) {
      if (target.stale) await target.prepare()
      try {
        await runOnce(target, data)
      } catch (error) {
        throw new Error(`input ${index}, base64 ${Buffer.from(data).toString('base64')}: ${(error as Error).message}`, { cause: error })
      }
    }
  })
})
