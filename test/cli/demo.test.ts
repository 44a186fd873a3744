import { describe, expect, it } from 'vitest'
import { Program } from './peers.ts'

describe('demo', () => {
  it('connects three processes and two peers behind NATs, shows how, and ends with 0', async () => {
    const demo = Program.sallyport('demo')
    const code = await demo.exit
    const text = demo.lines.join('\n')
    expect(demo.errors).toBe('')
    expect(text.match(/^ {3}Direct /gm)).toHaveLength(2)
    for (const peer of ['alice', 'bob']) {
      for (const what of ['candidate', 'signal', 'check', 'works', 'path', 'message']) expect(text).toMatch(new RegExp(`${peer} +${what} `))
    }
    // The second part: through a mapping, on server-reflexive candidates, and the first check only opened the NAT it passed.
    expect(text).toMatch(/path +srflx 203\.0\.113\.\d+:\d+ +> srflx 203\.0\.113\./)
    expect(text).toMatch(/bob's NAT +maps /)
    expect(text).toContain('as meant: it only opens our NAT')
    expect(code).toBe(0)
  })
})
