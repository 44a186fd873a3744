import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { Address, type DatagramSocket } from '../../../src/net/index.ts'
import { restCredentials } from '../../../src/relay/index.ts'
import { makeIdentity } from '../../net/tls-identity.ts'
import { requires } from '../../requirements.ts'
import { type Line, Program } from '../peers.ts'
import { resources } from './resources.ts'
import { echoPeer, TurnClient } from './turn-client.ts'

const { programs, clients, peers } = resources()

const LAB = ['--address', '127.0.0.1', '--port', '0', '--allow-private-peers'] as const

interface Listening {
  readonly listening: readonly string[]
  readonly tcp: readonly string[]
  readonly tls: readonly string[]
  readonly uris: readonly string[]
  readonly metrics?: string
}

async function start(...args: readonly string[]): Promise<{ readonly server: Program; readonly at: Listening; readonly udp: string }> {
  const server = Program.sallyport('serve', '--json', ...LAB, ...args)
  programs.push(server)
  const at = (await server.json('listening')) as unknown as Listening
  return { server, at, udp: at.listening[0] ?? '' }
}

async function client(server: string, user = 'alice', password = 'secret1'): Promise<TurnClient> {
  const made = await TurnClient.udp(server, user, password)
  clients.push(made)
  return made
}

async function peer(): Promise<DatagramSocket> {
  const made = await echoPeer()
  peers.push(made)
  return made
}

async function echoes(through: TurnClient, relayed: Address): Promise<void> {
  const echo = await peer()
  expect(await through.permit(echo.local)).toBeUndefined()
  through.send('there and back', echo.local)
  expect(await through.receive()).toEqual({ text: 'there and back', from: echo.local })
  expect(relayed.ip).toBe('127.0.0.1')
}

function events(server: Program, event: string): readonly Line[] {
  return server.all('event').filter((line) => line.event === event)
}

/** The first such event, said already or to come. */
function event(server: Program, name: string): Promise<Line> {
  return server.find((line) => {
    const value = JSON.parse(line) as Line
    return value.event === name ? value : undefined
  })
}

describe('serve with users', () => {
  it('relays for one of them, and tells of the allocation in a line as it comes and as it goes', async () => {
    const { server, udp } = await start('--user', 'alice:secret1', '--user', 'bob:a:b')
    const alice = await client(udp)
    const relayed = (await alice.allocate()) as Address
    await echoes(alice, relayed)
    expect(await alice.refresh(0)).toBeUndefined()
    const common = { user: 'alice', client: alice.local.key, transport: 'udp', relayed: [relayed.key], time: expect.any(String) }
    expect(await event(server, 'allocation-created')).toMatchObject(common)
    const traffic = { packetsToPeers: 1, bytesToPeers: 14, packetsToClient: 1, bytesToClient: 14 }
    expect(await event(server, 'allocation-deleted')).toMatchObject({ ...common, ...traffic, reason: 'released' })
    // A password may have colons.
    expect(await (await client(udp, 'bob', 'a:b')).allocate()).toBeInstanceOf(Address)
  })

  it('refuses a wrong password and a name that it does not know, and tells of both', async () => {
    const { server, udp } = await start('--user', 'alice:secret1')
    expect(await (await client(udp, 'alice', 'wrong')).allocate()).toBe(401)
    expect(await (await client(udp, 'constructor', 'x')).allocate()).toBe(401)
    await event(server, 'authentication-failed')
    expect(events(server, 'authentication-failed').map(({ user }) => user)).toContain('alice')
  })

  it('refuses peers on this machine and in private ranges unless they are allowed', async () => {
    const server = Program.sallyport('serve', '--json', '--address', '127.0.0.1', '--port', '0', '--user', 'alice:secret1')
    programs.push(server)
    const { listening } = (await server.json('listening')) as unknown as Listening
    const alice = await client(listening[0] ?? '')
    await alice.allocate()
    expect(await alice.permit(Address.of('127.0.0.1', 9))).toBe(403)
    expect(await alice.permit(Address.of('10.0.0.1', 9))).toBe(403)
    expect(await event(server, 'refused')).toMatchObject({ user: 'alice', code: 403 })
  })

  it('makes relayed addresses in the ports asked for, and no more of them than a user may have', async () => {
    const { udp } = await start('--user', 'alice:secret1', '--relay-ports', '50100-50107', '--max-user-allocations', '2')
    const allocated = [await (await client(udp)).allocate(), await (await client(udp)).allocate()] as Address[]
    for (const { port } of allocated) expect(port >= 50_100 && port <= 50_107).toBe(true)
    expect(await (await client(udp)).allocate()).toBe(486)
  })

  it('serves TCP at the same port, and not with --no-tcp', async () => {
    const { at, udp } = await start('--user', 'alice:secret1')
    expect(at.tcp).toEqual([udp])
    const alice = await TurnClient.stream(at.tcp[0] ?? '', 'alice', 'secret1')
    clients.push(alice)
    await echoes(alice, (await alice.allocate()) as Address)
    const { at: without } = await start('--user', 'alice:secret1', '--no-tcp')
    expect(without.tcp).toEqual([])
  })
})

describe('serve for a client of coturn', requires({ commands: { turnutils_uclient: 'coturn' } }), () => {
  it.each([
    ['UDP', []],
    ['TCP', ['-t']],
  ])('relays between two of its allocations, over %s', async (_name, transport) => {
    const { udp } = await start('--user', 'alice:secret1')
    const [ip = '', port = ''] = udp.split(':')
    // Send indications: it draws channels from the range of RFC 5766, most of which RFC 8656 took away.
    const args = ['-s', '-y', '-u', 'alice', '-w', 'secret1', '-n', '5', '-m', '1', '-l', '100', ...transport, '-p', port, ip]
    const { stdout } = await promisify(execFile)('turnutils_uclient', args)
    expect(stdout).toContain('Total lost packets 0 (0.000000%)')
  })
})

describe('serve with secrets', () => {
  it('lets in whom a secret of the file, the environment or the command line made credentials for', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'secrets-'))
    try {
      const file = join(folder, 'secrets')
      writeFileSync(file, 'first of the file\nsecond of the file\n')
      const { udp } = await start('--secret-file', file, '--secret', 'of the command line')
      for (const secret of ['first of the file', 'second of the file', 'of the command line']) {
        const { username, password } = restCredentials({ secret, user: 'alice', now: Date.now() })
        expect(await (await client(udp, username, password)).allocate()).toBeInstanceOf(Address)
      }
      const { username, password } = restCredentials({ secret: 'another', user: 'alice', now: Date.now() })
      expect(await (await client(udp, username, password)).allocate()).toBe(401)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('takes what sallyport credentials makes', async () => {
    const { udp } = await start('--secret', 'between us')
    const maker = Program.sallyport('credentials', '--secret', 'between us', '--user', 'alice', '--json')
    const { username, password } = (await maker.json('username')) as { username: string; password: string }
    expect(await (await client(udp, username, password)).allocate()).toBeInstanceOf(Address)
    expect(await maker.exit).toBe(0)
  })
})

describe('serve with TLS', requires({ commands: { openssl: 'openssl' } }), () => {
  it('relays over TLS, and takes the certificate that the files have by SIGHUP', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tls-'))
    try {
      const [old, renewed] = [makeIdentity('old.test'), makeIdentity('new.test')]
      const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
      const write = ({ cert, key }: typeof old): void => {
        writeFileSync(certFile, cert)
        writeFileSync(keyFile, key)
      }
      write(old)
      const { server, at } = await start('--user', 'alice:secret1', '--tls-cert', certFile, '--tls-key', keyFile, '--tls-port', '0')
      const alice = await TurnClient.stream(at.tls[0] ?? '', 'alice', 'secret1', { serverName: 'old.test', ca: old.cert })
      clients.push(alice)
      await echoes(alice, (await alice.allocate()) as Address)
      writeFileSync(certFile, 'nonsense')
      server.kill('SIGHUP')
      await event(server, 'renewal-failed')
      write(renewed)
      server.kill('SIGHUP')
      await event(server, 'renewed')
      const bob = await TurnClient.stream(at.tls[0] ?? '', 'alice', 'secret1', { serverName: 'new.test', ca: renewed.cert })
      clients.push(bob)
      expect(await bob.allocate()).toBeInstanceOf(Address)
      expect(await alice.refresh(600)).toBeUndefined()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe('SIGTERM', () => {
  it('ends a relay that has no allocations', async () => {
    const { server } = await start('--user', 'alice:secret1')
    server.kill('SIGTERM')
    expect(await server.exit).toBe(0)
    expect(events(server, 'stopped')).toHaveLength(1)
  })

  it('lets allocations live on and makes no new ones (508), until the last one is gone', async () => {
    const { server, udp } = await start('--user', 'alice:secret1')
    const alice = await client(udp)
    const relayed = (await alice.allocate()) as Address
    server.kill('SIGTERM')
    expect(await event(server, 'draining')).toMatchObject({ allocations: 1, timeout: 3_600_000 })
    expect(await (await client(udp)).allocate()).toBe(508)
    await echoes(alice, relayed)
    expect(await alice.refresh(0)).toBeUndefined()
    expect(await server.exit).toBe(0)
  })

  it('gives them no more time than --drain-timeout', async () => {
    const { server, udp } = await start('--user', 'alice:secret1', '--drain-timeout', '0.1')
    await (await client(udp)).allocate()
    server.kill('SIGTERM')
    expect(await server.exit).toBe(0)
    expect(events(server, 'allocation-deleted')).toMatchObject([{ reason: 'relay-closed' }])
  })

  it.each(['SIGTERM', 'SIGINT'] as const)('is followed by the end at once on %s', async (second) => {
    const { server, udp } = await start('--user', 'alice:secret1')
    await (await client(udp)).allocate()
    server.kill('SIGTERM')
    await event(server, 'draining')
    server.kill(second)
    expect(await server.exit).toBe(0)
  })
})

it('SIGINT ends a relay with allocations at once', async () => {
  const { server, udp } = await start('--user', 'alice:secret1')
  await (await client(udp)).allocate()
  server.kill('SIGINT')
  expect(await server.exit).toBe(0)
})

it('for people it says where it listens, what clients need, and what happens', async () => {
  const server = Program.sallyport('serve', ...LAB, '--user', 'alice:secret1')
  programs.push(server)
  const line = await server.text('TURN relay and STUN server on')
  await server.text('Ctrl-C')
  const alice = await client(/127\.0\.0\.1:\d+/.exec(line)?.[0] ?? '')
  const relayed = (await alice.allocate()) as Address
  expect(await server.text(' has ')).toContain(`alice at ${alice.local.key} by udp has ${relayed.key}`)
  expect(server.lines.filter((one) => one.includes('for clients: turn:')).length).toBeGreaterThan(0)
  server.kill('SIGINT')
  expect(await server.exit).toBe(0)
  expect(server.lines.at(-1)).toBe('Stopped after 1 allocation, 0 B relayed.')
})

it('without users and secrets it is a STUN server, and says how to turn the relay on', async () => {
  const server = Program.sallyport('serve', '--address', '127.0.0.1', '--port', '0')
  programs.push(server)
  expect(await server.text('No relay')).toContain('--user')
  server.kill('SIGTERM')
  expect(await server.exit).toBe(0)
})
