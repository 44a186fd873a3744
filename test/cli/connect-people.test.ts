import { describe, expect, it } from 'vitest'
import { ON_LOOPBACK, Program } from './peers.ts'

function person(...args: readonly string[]): Program {
  return Program.sallyport('connect', ...ON_LOOPBACK, ...args)
}

function code(program: Program): Promise<string> {
  return program.find((line) => (line.startsWith('sallyport1-') ? line : undefined))
}

describe('connect, for people', () => {
  it('swaps codes, says what happens, carries a line each way, and both leave when one does', async () => {
    const [a, b] = [person(), person()]
    const [codeA, codeB] = await Promise.all([code(a), code(b)])
    expect(a.lines.some((line) => /^ {2}host +127\.0\.0\.1:\d+$/.test(line))).toBe(true)
    b.write(codeA)
    a.write(codeB)
    await Promise.all([a.text('Connected direct: host'), b.text('Connected direct: host')])
    a.write('hello b')
    expect(await b.text('< ')).toBe('< hello b')
    b.write('hello a \u001b[2J')
    expect(await a.text('< ')).toBe('< hello a \u{fffd}[2J')
    a.end()
    expect(await a.exit).toBe(0)
    await b.text('The other side left')
    expect(await b.exit).toBe(0)
    expect(a.lines.join('\n')).not.toContain('\u001b') // no terminal, no colours
  })

  it('says why a line is no code, and waits for another', async () => {
    const a = person()
    const own = await code(a)
    a.write('hello?')
    await a.text('a code starts with')
    a.write(own)
    await a.text('it is our own')
    a.end()
    expect(await a.exit).toBe(0)
  })

  it('gives up after --timeout with exit code 1', async () => {
    const a = person('--timeout', '0.5')
    expect(await a.exit).toBe(1)
    expect(a.lines.join('\n')).toContain('No path in time')
  })
})
