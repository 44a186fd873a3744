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
    [['connect', '--turn', '192.0.2.1'], '--turn-user: there are 0, and --turn wants one'],
    [['connect', '--turn-user', 'a', '--turn-pass', 'b'], '--turn-user and --turn-pass go with --turn'],
    [['connect', '--turn', 'a', '--turn', 'b', '--turn', 'c', '--turn-user', 'x', '--turn-user', 'y', '--turn-pass', 'z'], '--turn-user'],
    [['connect', '--relay-only'], '--relay-only goes with --turn'],
    [['connect', '--turn', 'exa mple', '--turn-user', 'a', '--turn-pass', 'b'], 'option servers[0]'],
    [['connect', '--turn', 'stun:192.0.2.1', '--turn-user', 'a', '--turn-pass', 'b'], 'option servers[0]'],
    [['connect', '--lite', '--port-mapping'], 'option portMapping makes no sense with lite'],
    [['serve', '--port', 'x'], '--port must be a number'],
    [['serve', '--address', 'localhost'], 'serve'],
    [['serve', '--port', '5000', '--alternate-port', '5000'], 'alternatePort must differ'],
    [['serve', '--realm', 'x'], '--realm is for a relay: give it --user, --user-file, --secret or --secret-file'],
    [['serve', '--workers', '2'], '--workers is for a relay'],
    [['serve', '--allow-private-peers'], '--allow-private-peers is for a relay'],
    [['serve', '--user', 'alice'], '--user must be NAME:PASSWORD'],
    [['serve', '--user', ':secret'], '--user must be NAME:PASSWORD'],
    [['serve', '--user', 'a:b', '--user', 'a:c'], '--user names a twice'],
    [['serve', '--user-file', '/nowhere/at/all'], '--user-file: ENOENT'],
    [['serve', '--secret', ''], '--secret must not be empty'],
    [['serve', '--secret-file', '/dev/null'], '--secret-file: /dev/null is empty'],
    [['serve', '--user', 'a:b', '--workers', '0'], '--workers must be a number from 1 to 256'],
    [['serve', '--user', 'a:b', '--workers', '1.5'], '--workers must be a whole number'],
    [['serve', '--user', 'a:b', '--workers', '9', '--relay-ports', '50000-50009'], 'too few for 9 workers'],
    [['serve', '--user', 'a:b', '--relay-ports', '50000'], '--relay-ports must be two ports'],
    [['serve', '--user', 'a:b', '--relay-ports', '60000-50000'], '--relay-ports must be two ports'],
    [['serve', '--user', 'a:b', '--tls-cert', '/dev/null'], '--tls-cert and --tls-key go together'],
    [['serve', '--user', 'a:b', '--tls-port', '5349'], '--tls-port goes with --tls-cert and --tls-key'],
    [['serve', '--user', 'a:b', '--max-rate', '5x'], '--max-rate must be bytes a second'],
    [['serve', '--user', 'a:b', '--max-user-rate', '0'], '--max-user-rate must be bytes a second'],
    [['serve', '--user', 'a:b', '--max-allocations', '0'], '--max-allocations must be a number from 1'],
    [['serve', '--user', 'a:b', '--allow-peers', '10.0.0.0/99'], '--allow-peers: not an address range'],
    [['serve', '--user', 'a:b', '--drain-timeout', 'soon'], '--drain-timeout must be a number'],
    [['serve', '--user', 'a:b', '--address', '127.0.0.1', '--external-address', 'here'], 'serve: '],
    [['serve', '--metrics', 'x:9'], '--metrics must be a port'],
    [['serve', '--metrics', '127.0.0.1'], '--metrics must be a port'],
    [['credentials'], 'credentials: no secret'],
    [['credentials', '--secret', 's', '--ttl', '0'], '--ttl must be a number from 1'],
    [['credentials', '--secret', 's', '--uri', 'turn:x'], '--uri goes with --json only'],
    [['credentials', '--secret', 's', '--json', '--uri', 'stun:x'], '--uri must be a turn: or turns: URI'],
    [['credentials', '--secret', 's', '--json', '--uri', 'turn:x:y'], 'credentials: --uri'],
    [['doctor', '--server', 'exa mple'], 'doctor: option servers[0]'],
    [['doctor', '--server', 'turn:192.0.2.1'], 'doctor: --turn-user: there are 0, and --server turn:… wants one'],
    [['doctor', '--server', '192.0.2.1', '--turn-user', 'a'], '--turn-user and --turn-pass go with --server turn:…'],
    [['doctor', '--turn-ca', '/nowhere/at/all'], '--turn-ca: ENOENT'],
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
    for (const command of ['connect', 'serve', 'credentials', 'doctor', 'demo']) expect(output).toContain(`  ${command}`)
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
