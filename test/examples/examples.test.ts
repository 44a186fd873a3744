import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { carrySignals, Program } from '../cli/peers.ts'

function example(path: string, ...args: readonly string[]): Program {
  return new Program(fileURLToPath(new URL(`../../examples/${path}`, import.meta.url)), args)
}

describe('examples/cli-peer', () => {
  it.each([
    ['another one', () => example('cli-peer/peer.js', '--loopback')],
    ['sallyport connect --json', () => Program.sallyport('connect', '--json', '--loopback')],
  ])('connects to %s, carries data both ways, and leaves when its input ends', async (_what, other) => {
    const [a, b] = [example('cli-peer/peer.js', '--loopback'), other()]
    carrySignals(a, b)
    carrySignals(b, a)
    expect(await a.json('done')).toMatchObject({ done: true, ms: expect.any(Number), direct: true })
    expect(await b.json('done')).toMatchObject({ done: true, direct: true })
    a.end()
    b.end()
    expect([await a.exit, await b.exit]).toEqual([0, 0])
    expect([a.errors, b.errors]).toEqual(['', ''])
  })
})

describe('examples/chat', () => {
  it('talks after each side has pasted the code of the other, and ends on both when one leaves', async () => {
    const [a, b] = [example('chat/chat.js', '--loopback'), example('chat/chat.js', '--loopback')]
    const code = (program: Program): Promise<string> => program.find((line) => (/^[\w-]{100,}$/.test(line) ? line : undefined))
    const [codeA, codeB] = await Promise.all([code(a), code(b)])
    a.write('what?')
    await a.text('That is not a code')
    b.write(codeA)
    a.write(codeB)
    await Promise.all([a.text('Connected: direct'), b.text('Connected: direct')])
    a.write('hello from a')
    expect(await b.text('> ')).toBe('> hello from a')
    b.write('hello from b')
    expect(await a.text('> ')).toBe('> hello from b')
    a.write('/bye')
    await b.text('The other side left.')
    expect([await a.exit, await b.exit]).toEqual([0, 0])
    expect([a.errors, b.errors]).toEqual(['', ''])
  })
})
