import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Program } from './peers.ts'

async function run(...args: readonly string[]): Promise<{ code: number | string; output: string; errors: string }> {
  const program = Program.sallyport(...args)
  program.end()
  const code = await program.exit
  return { code, output: program.lines.join('\n'), errors: program.errors }
}

describe('the command line', () => {
  it.each([
    [['conect'], 'there is no command conect'],
    [['--frobnicate'], 'there is no option --frobnicate'],
    [['help', 'conect'], 'there is no command conect'],
    [['connect', '--frobnicate'], "unknown option '--frobnicate'"],
    [['connect', 'extra'], 'unexpected argument'],
    [['connect', '--stun'], "option '--stun <value>' argument missing"],
    [['connect', '--json', '--stun', 'exa mple.net'], 'option servers[0]'],
    [['connect', '--json', '--timeout', 'soon'], '--timeout must be a number'],
    [['connect', '--json', '--port', '70000'], '--port must be a number from 0 to 65535'],
    [['connect', '--json', '--port', '1.5'], '--port must be a whole number'],
    [['connect', '--json', '--host', '10.0.0.0/99'], '--host'],
    [['connect', '--json', '--host', 'nonsense'], 'no address of this machine fits --host nonsense'],
    [['connect', '--port', '-1'], "option '--port' argument is ambiguous\nTry: sallyport help connect"],
    [['connect', '--events'], '--events goes with --json only'],
    [['serve', '--port', 'x'], '--port must be a number'],
    [['serve', '--address', 'localhost'], 'serve'],
    [['serve', '--port', '5000', '--alternate-port', '5000'], 'alternatePort must differ'],
    [['demo', '--fast'], "unknown option '--fast'"],
  ])('answers %j with exit code 2 and a word why', async (args, why) => {
    const { code, errors } = await run(...args)
    expect(errors).toContain(why)
    expect(errors).not.toMatch(/\n\s+at /) // no stack
    expect(code).toBe(2)
  })

  it.each([[[]], [['help']], [['--help']]])('%j shows every command', async (args) => {
    const { code, output } = await run(...args)
    expect(code).toBe(0)
    for (const command of ['connect', 'serve', 'demo']) expect(output).toContain(`  ${command}`)
  })

  it.each([[['help', 'connect']], [['connect', '--help']]])('%j shows its options', async (args) => {
    const { code, output } = await run(...args)
    expect(code).toBe(0)
    for (const option of ['--json', '--stun', '--timeout']) expect(output).toContain(option)
  })

  it('tells its version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
    expect(await run('--version')).toMatchObject({ code: 0, output: version })
  })
})
