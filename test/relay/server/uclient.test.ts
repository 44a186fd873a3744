/** Whom the relay lets in of those who come with coturn's client. What they can do then is in test/interop/uclient.test.ts. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { nodeNetwork } from '../../../src/net/node/index.ts'
import { createRelay, type Relay, restCredentials } from '../../../src/relay/index.ts'
import { requires } from '../../requirements.ts'

const SECRET = 'north'
const commands = { turnutils_uclient: 'coturn', turnutils_peer: 'coturn' }

describe('turnutils_uclient', { ...requires({ commands }), timeout: 120_000 }, () => {
  let relay: Relay
  let echo: ChildProcess | undefined
  let echoPort: number
  let port: string

  beforeAll(async () => {
    const network = nodeNetwork()
    const probe = await network.bind({ family: 4, ip: '127.0.0.1' })
    echoPort = probe.local.port
    probe.close()
    relay = await createRelay({
      network,
      port: 0,
      addresses: ['127.0.0.1'],
      users: { alice: 'wonder' },
      secrets: SECRET,
      peers: { private: true },
    })
    port = String(relay.addresses.udp[0]!.port)
    echo = spawn('turnutils_peer', ['-L', '127.0.0.1', '-p', String(echoPort)], { stdio: 'ignore' })
  })

  afterAll(async () => {
    echo?.kill()
    await relay?.close()
  })

  /** Twenty messages there and back through an allocation. Returns how many came back of how many; all that it said, if none. */
  async function talk(...how: readonly string[]): Promise<string> {
    const where = ['-e', '127.0.0.1', '-r', String(echoPort), '-n', '20', '-m', '1', '-l', '171', '-c', '127.0.0.1']
    const output = await run('turnutils_uclient', [...how, ...where])
    const [, sent, received] = /start_mclient: tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/.exec(output) ?? []
    return sent === undefined ? output : `${received} of ${sent}`
  }

  it('is let in with credentials from the shared secret', async () => {
    const { username, password } = restCredentials({ secret: SECRET, user: 'carol', now: Date.now() })
    expect(await talk('-s', '-p', port, '-u', username, '-w', password)).toBe('20 of 20')
  })

  it('is let in as a user of the list', async () => {
    expect(await talk('-s', '-p', port, '-u', 'alice', '-w', 'wonder')).toBe('20 of 20')
  })

  it('is not let in with a wrong password', async () => {
    expect(await talk('-s', '-p', port, '-u', 'alice', '-w', 'wrong')).toMatch(/Cannot complete Allocation/)
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
