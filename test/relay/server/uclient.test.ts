/** coturn's own client on our relay, over the sockets of this machine. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { nodeNetwork } from '../../../src/net/node/index.ts'
import { createRelay, type Relay, restCredentials } from '../../../src/relay/index.ts'
import { makeIdentity } from '../../net/tls-identity.ts'
import { requires } from '../../requirements.ts'

const SECRET = 'north'
const commands = { turnutils_uclient: 'coturn', turnutils_peer: 'coturn', openssl: 'openssl' }
const user = ['-u', 'alice', '-w', 'wonder']

describe('turnutils_uclient', { ...requires({ commands }), timeout: 120_000 }, () => {
  let relay: Relay
  let echo: ChildProcess | undefined
  let echoPort: number
  let ports: { readonly turn: number; readonly turns: number }

  beforeAll(async () => {
    const network = nodeNetwork()
    const probe = await network.bind({ family: 4, ip: '127.0.0.1' })
    echoPort = probe.local.port
    probe.close()
    relay = await createRelay({
      network,
      port: 0,
      tlsPort: 0,
      addresses: ['127.0.0.1'],
      users: { alice: 'wonder' },
      secrets: SECRET,
      tls: makeIdentity('relay.example'),
      peers: { private: true },
    })
    ports = { turn: relay.addresses.udp[0]!.port, turns: relay.addresses.tls[0]!.port }
    echo = spawn('turnutils_peer', ['-L', '127.0.0.1', '-p', String(echoPort)], { stdio: 'ignore' })
  })

  afterAll(async () => {
    echo?.kill()
    await relay?.close()
  })

  /** Twenty messages there and back through each of so many allocations. Returns how many came back of how many; all that it said, if none. */
  async function talk(allocations: number, ...how: readonly string[]): Promise<string> {
    const where = ['-e', '127.0.0.1', '-r', String(echoPort), '-n', '20', '-m', String(allocations), '-l', '171', '-c', '127.0.0.1']
    for (let i = 0; ; i++) {
      const output = await run('turnutils_uclient', [...how, ...where])
      // It draws channel numbers as RFC 5766 had them, up to 0x7fff, and ends when one is refused; a quarter of them is in range today.
      if (/channel bind: error 400/.test(output) && i < 100) continue
      const [, sent, received] = /start_mclient: tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/.exec(output) ?? []
      return sent === undefined ? output : `${received} of ${sent}`
    }
  }

  it.each([
    ['UDP', [], 'turn'],
    ['TCP', ['-t'], 'turn'],
    ['TLS', ['-t', '-S'], 'turns'],
  ] as const)('sends and gets everything over %s, by Send indications and by channels', async (_transport, how, port) => {
    const common = [...how, '-p', String(ports[port]), ...user]
    expect(await talk(2, ...common, '-s')).toBe('40 of 40')
    expect(await talk(1, ...common)).toBe('20 of 20')
  })

  it('is let in with credentials from the shared secret', async () => {
    const { username, password } = restCredentials({ secret: SECRET, user: 'carol', now: Date.now() })
    expect(await talk(1, '-s', '-p', String(ports.turn), '-u', username, '-w', password)).toBe('20 of 20')
  })

  it('is not let in with a wrong password', async () => {
    expect(await talk(1, '-s', '-p', String(ports.turn), '-u', 'alice', '-w', 'wrong')).toMatch(/Cannot complete Allocation/)
  })

  it('has no allocation any more once its connections are closed', async () => {
    for (let i = 0; i < 50 && relay.status().connections > 0; i++) await new Promise((resolve) => setTimeout(resolve, 100))
    expect(relay.status().allocationsByTransport).toMatchObject({ tcp: 0, tls: 0 })
  })
})

/** Runs to its end, or is killed after a minute. */
async function run(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += String(chunk)
    })
  }
  await once(child, 'close')
  return output
}
