import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { makeIdentity } from '../net/tls-identity.ts'
import { requires } from '../requirements.ts'
import { carrySignals, jsonPeer, Program } from './peers.ts'

const peers: Program[] = []
const servers: Program[] = []

afterEach(async () => {
  for (const peer of peers) peer.end()
  await Promise.all(peers.splice(0).map((peer) => peer.exit))
  for (const server of servers) server.kill('SIGINT')
  for (const server of servers.splice(0)) expect(await server.exit).toBe(0)
})

interface Relay {
  readonly udp: string
  readonly tcp: string
  readonly tls: string
}

async function relay(...args: readonly string[]): Promise<Relay> {
  const server = Program.sallyport('serve', '--json', '--address', '127.0.0.1', '--port', '0', '--allow-private-peers', ...args)
  servers.push(server)
  const { listening, tcp, tls } = (await server.json('listening')) as unknown as Record<'listening' | 'tcp' | 'tls', string[]>
  return { udp: listening[0] ?? '', tcp: tcp[0] ?? '', tls: tls[0] ?? '' }
}

function pair(...args: readonly string[]): readonly [Program, Program] {
  const two = [jsonPeer(...args), jsonPeer(...args)] as const
  peers.push(...two)
  carrySignals(two[0], two[1])
  carrySignals(two[1], two[0])
  return two
}

async function expectRelayed(two: readonly [Program, Program]): Promise<void> {
  for (const peer of two) expect(await peer.json('done')).toMatchObject({ done: true, local: 'relay', remote: 'relay', direct: false })
}

describe('connect --turn', () => {
  it('carries data over the relay with --relay-only, and tells of our address there', async () => {
    const { udp } = await relay('--user', 'alice:secret1')
    const two = pair('--turn', udp, '--turn-user', 'alice', '--turn-pass', 'secret1', '--relay-only', '--events')
    await expectRelayed(two)
    const told = two[0].all('event').find(({ event }) => event === 'relay')
    expect(told).toMatchObject({ server: `turn:${udp}`, transport: 'udp', relayed: [expect.stringMatching(/^127\.0\.0\.1:\d+$/)] })
    const types = two[0].all('event').filter(({ event }) => event === 'candidate')
    expect(new Set(types.map(({ type }) => type))).toEqual(new Set(['relay']))
  })

  it('takes a URI, and TCP by it', async () => {
    const { tcp } = await relay('--user', 'alice:secret1')
    const uri = `turn:${tcp}?transport=tcp`
    const two = pair('--turn', uri, '--turn-user', 'alice', '--turn-pass', 'secret1', '--relay-only', '--events')
    await expectRelayed(two)
    expect(two[1].all('event').find(({ event }) => event === 'relay')).toMatchObject({ server: uri, transport: 'tcp' })
  })

  it('takes a user and a password for each of several relays', async () => {
    const [first, second] = [await relay('--user', 'alice:secret1'), await relay('--user', 'bob:secret2')]
    const relays = ['--turn', first.udp, '--turn', second.udp]
    const credentials = ['--turn-user', 'alice', '--turn-user', 'bob', '--turn-pass', 'secret1', '--turn-pass', 'secret2']
    const two = pair(...relays, ...credentials, '--relay-only', '--events')
    await expectRelayed(two)
    for (const { udp } of [first, second]) {
      await two[0].find((line) => {
        const told = JSON.parse(line) as Record<string, unknown>
        return told.event === 'relay' && told.server === `turn:${udp}` && told.relayed !== undefined ? told : undefined
      })
    }
  })

  it('goes direct where that works', async () => {
    const { udp } = await relay('--user', 'alice:secret1')
    for (const peer of pair('--turn', udp, '--turn-user', 'alice', '--turn-pass', 'secret1')) {
      expect(await peer.json('done')).toMatchObject({ direct: true })
    }
  })

  it('says why a relay does not let it in', async () => {
    const { udp } = await relay('--user', 'alice:secret1')
    const two = pair('--turn', udp, '--turn-user', 'alice', '--turn-pass', 'wrong', '--events')
    const failure = await two[0].find((line) => {
      const told = JSON.parse(line) as Record<string, unknown>
      return told.event === 'relay' ? told.failure : undefined
    })
    expect(failure).toContain('user name or password')
  })
})

describe('connect --turn over TLS', requires({ commands: { openssl: 'openssl' } }), () => {
  it('checks the certificate against --turn-ca', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tls-'))
    try {
      const { cert, key } = makeIdentity('relay.test')
      const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
      writeFileSync(certFile, cert)
      writeFileSync(keyFile, key)
      const { tls } = await relay('--user', 'alice:secret1', '--tls-cert', certFile, '--tls-key', keyFile, '--tls-port', '0')
      const common = ['--turn', `turns:${tls}`, '--turn-user', 'alice', '--turn-pass', 'secret1', '--relay-only', '--events']
      await expectRelayed(pair(...common, '--turn-ca', certFile))
      const [stranger] = pair(...common)
      const failure = await stranger.find((line) => {
        const told = JSON.parse(line) as Record<string, unknown>
        return told.event === 'relay' ? told.failure : undefined
      })
      expect(failure).toContain('certificate')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
