import { createHmac } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { Program } from './peers.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** As coturn and others make it. */
function password(secret: string, username: string): string {
  return createHmac('sha1', secret).update(username).digest('base64')
}

async function made(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Readonly<Record<string, unknown>>> {
  const program = new Program(MAIN, ['credentials', '--json', ...args], env)
  expect(await program.exit).toBe(0)
  return JSON.parse(program.lines.join('')) as Readonly<Record<string, unknown>>
}

it('they are the expiry with the user, and its HMAC under the secret', async () => {
  const before = Date.now()
  const { username, password: given, ttl, ...rest } = await made(['--secret', 'between us', '--user', 'alice', '--ttl', '60'])
  const [expiry, user] = String(username).split(':')
  expect(user).toBe('alice')
  expect(Number(expiry) * 1_000).toBeGreaterThan(before + 58_000)
  expect(Number(expiry) * 1_000).toBeLessThanOrEqual(Date.now() + 60_000)
  expect(given).toBe(password('between us', String(username)))
  expect(ttl).toBe(60)
  expect(rest).toEqual({})
})

it('with URIs they are the answer of a credentials service', async () => {
  const uris = ['turn:relay.example.net', 'turns:relay.example.net:443?transport=tcp']
  expect(await made(['--secret', 's', ...uris.flatMap((uri) => ['--uri', uri])])).toMatchObject({ uris, ttl: 3600 })
})

it('the secret comes from the command line, a file, or the environment, in that order', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'secret-'))
  try {
    const file = join(folder, 'secret')
    writeFileSync(file, 'of the file\r\n')
    const all = {
      args: ['--secret', 'of the command line'],
      file: ['--secret-file', file],
      env: { SALLYPORT_SECRET: 'of the environment' },
    }
    for (const [args, env, secret] of [
      [[...all.file, ...all.args], all.env, 'of the command line'],
      [all.file, all.env, 'of the file'],
      [[], all.env, 'of the environment'],
    ] as const) {
      const { username, password: given } = await made(args, env)
      expect(given).toBe(password(secret, String(username)))
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('for people it is three lines', async () => {
  const program = Program.sallyport('credentials', '--secret', 's', '--user', 'alice')
  expect(await program.exit).toBe(0)
  expect(program.lines.map((line) => line.split(/\s+/)[0])).toEqual(['username', 'password', 'until'])
})
