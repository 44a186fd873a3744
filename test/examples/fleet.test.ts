/** docs/scaling.md on this machine: two coturns behind one secret, the credentials service, two peers; then a relay dies under load. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { createTraversal } from '../../src/index.ts'
import { restCredentials } from '../../src/relay/index.ts'
import { carrySignals, type Line, Program } from '../cli/peers.ts'
import { type Certificate, makeCertificate } from '../relay/coturn.ts'
import { requires } from '../requirements.ts'
import { type Credentials, FleetMember, permissions, tryOut } from './fleet.ts'

const NEEDS = requires({
  commands: { turnserver: 'coturn', turnadmin: 'coturn', turnutils_uclient: 'coturn', openssl: 'openssl' },
})
const TOKEN = 'the token of ann'
const POLLING = { timeout: 20_000 }
const A_PORTS = [21_000, 21_999] as const
const B_PORTS = [22_000, 22_999] as const

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function member(secret: string, ports: readonly [number, number], certificate?: Certificate): Promise<FleetMember> {
  const one = await FleetMember.start(secret, ports, certificate)
  ends.push(() => one.remove())
  return one
}

interface Service {
  readonly url: string
  setSecrets(...secrets: readonly string[]): void
  ask(token?: string): Promise<{ readonly status: number; readonly body: Credentials & { readonly ttl: number; readonly uris: string[] } }>
}

async function serveCredentials(secret: string, members: readonly FleetMember[]): Promise<Service> {
  const folder = mkdtempSync(join(tmpdir(), 'credentials-'))
  const file = (name: string, ...lines: readonly string[]): string => {
    writeFileSync(join(folder, name), `# ${name}\n${lines.join('\n')}\n`)
    return join(folder, name)
  }
  const files = [
    ...['--secrets', file('secrets', secret)],
    ...['--tokens', file('tokens', `${createHash('sha256').update(TOKEN).digest('hex')} ann`)],
    ...['--servers', file('servers', ...members.map(({ uri }) => uri))],
  ]
  const program = new Program(example('credentials.js'), ['--port', '0', ...files])
  ends.push(async () => {
    program.kill('SIGKILL')
    await program.exit
    rmSync(folder, { recursive: true })
  })
  const url = (await program.text('Credentials at')).replace('Credentials at ', '')
  return {
    url,
    setSecrets: (...secrets) => void file('secrets', ...secrets),
    ask: async (token = TOKEN) => {
      const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } })
      return { status: response.status, body: (await response.json()) as Credentials & { ttl: number; uris: string[] } }
    },
  }
}

function example(name: string): string {
  return fileURLToPath(new URL(`../../examples/fleet/${name}`, import.meta.url))
}

describe('examples/fleet', NEEDS, () => {
  it('lets those in at either relay whom the credentials service knows, over UDP, TCP and TLS', async () => {
    const certificate = makeCertificate()
    ends.push(certificate.remove)
    const [a, b] = await Promise.all([member('north', A_PORTS, certificate), member('north', B_PORTS, certificate)])
    const service = await serveCredentials('north', [a, b])
    expect((await service.ask('another token')).status).toBe(401)
    const { status, body } = await service.ask()
    expect([status, body.ttl, body.uris]).toEqual([200, 3600, [a.uri, b.uri]])
    const results = await Promise.all([a, b].flatMap((one) => [[], ['-t']].map((args) => tryOut(one, body, ...args))))
    for (const { sent, received, said } of results) expect([sent, received], said).toEqual([40, 40])
    // By TLS coturn's client never gets on in this version; ours does.
    const servers = [a, b].map(({ tlsPort }) => `turns:127.0.0.1:${tlsPort}`)
    await using traversal = await createTraversal({ servers, credentials: body, relay: { only: true, ca: certificate.ca } })
    await expect
      .poll(() => traversal.status().relays.map(({ state, transport }) => [state, transport]), POLLING)
      .toEqual([
        ['allocated', 'tls'],
        ['allocated', 'tls'],
      ])
  })

  it('takes the old and the new secret while one replaces the other, and no restart is needed', async () => {
    const a = await member('old', A_PORTS)
    const service = await serveCredentials('old', [a])
    const before = (await service.ask()).body
    const allowed = async (who: Credentials): Promise<boolean> => {
      const { received, said } = await tryOut(a, who)
      expect(said).toMatch(received === 0 ? /Cannot complete Allocation/ : /tot_recv_msgs=40/)
      return received > 0
    }
    expect(await allowed(restCredentials({ secret: 'new', user: 'ann', now: Date.now() }))).toBe(false)
    await a.addSecret('new')
    service.setSecrets('new', 'old')
    const after = (await service.ask()).body
    expect(await Promise.all([before, after].map(allowed))).toEqual([true, true])
    await a.removeSecret('old')
    expect(await Promise.all([before, after].map(allowed))).toEqual([false, true])
  })

  it('reaches what is public and nothing else, however it is spelt', async () => {
    const a = await member('north', A_PORTS)
    const who = restCredentials({ secret: 'north', user: 'ann', now: Date.now() })
    const refused = [
      ...['0.0.0.0', '0.1.2.0', '10.0.0.0', '10.255.255.255', '100.64.0.0', '100.127.0.1', '127.0.0.2', '169.254.169.254', '172.16.0.0'],
      ...['172.31.255.0', '192.0.0.8', '192.0.2.0', '192.168.1.1', '198.18.0.0', '198.19.255.0', '198.51.100.0', '203.0.113.255'],
      ...['224.0.0.1', '239.255.255.255', '240.0.0.0', '255.255.255.255'],
      ...['::', '::1', '::10.0.0.0', '::127.0.0.1', '::ffff:10.0.0.0', '::ffff:127.0.0.1', '::ffff:8.8.8.8', '::ffff:0:10.0.0.1'],
      ...['64:ff9b::a00:0', '64:ff9b::7f00:1', '64:ff9b:1::1', '100::1', '2001::1', '2001:db8::', '2002:a00::', '2002:7f00:1::1', 'fc00::'],
      ...['fdff:ffff::1', 'fe80::1', 'fec0::1', 'ff02::1'],
    ]
    const reached = [
      '8.8.8.8',
      '1.0.0.0',
      '100.63.255.255',
      '100.128.0.0',
      '172.32.0.0',
      '198.20.0.0',
      '2001:4860:4860::8888',
      '2400::',
      '2a00::1',
    ]
    const codes = await permissions(a, who, [...refused, ...reached])
    expect([...codes].filter(([peer, code]) => (code === 403) !== refused.includes(peer))).toEqual([])
    expect(codes.size).toBe(refused.length + reached.length)
  })

  describe('with data flowing both ways over its relays', () => {
    const parse = (line: string): Line => JSON.parse(line) as Line

    interface Meeting {
      readonly a: FleetMember
      readonly b: FleetMember
      readonly peers: readonly [Program, Program]
    }

    /** Two peers that send 300 datagrams a second, each with an allocation at both relays. */
    async function meet(): Promise<Meeting> {
      const [a, b] = await Promise.all([member('north', A_PORTS), member('north', B_PORTS)])
      const service = await serveCredentials('north', [a, b])
      const peer = (): Program => {
        const one = new Program(example('peer.js'), ['--service', service.url, '--only', '--rate', '300'], { TOKEN })
        ends.push(async () => {
          one.kill('SIGKILL')
          await one.exit
        })
        return one
      }
      const peers = [peer(), peer()] as const
      carrySignals(peers[0], peers[1])
      carrySignals(peers[1], peers[0])
      await Promise.all(peers.map((one) => one.find((line) => Number(parse(line).received) > 300 || undefined)))
      await Promise.all(peers.map(bothAllocated))
      return { a, b, peers }
    }

    function bothAllocated(peer: Program): Promise<unknown> {
      return peer.find((line) => {
        const { relays = [] } = parse(line) as { readonly relays?: readonly Line[] }
        return (relays.length === 2 && relays.every(({ state }) => state === 'allocated')) || undefined
      })
    }

    /** Which relay of its own a peer sends from, and which of the other's it sends to. */
    function inUse(peer: Program, { a, b }: Meeting): readonly (FleetMember | undefined)[] {
      const { kind, local, remote } = peer.all('kind').at(-1) as Line
      expect(kind).toBe('relay')
      return [local, remote].map((end) => [a, b].find((one) => one.has(end as { readonly port: number })))
    }

    /** Milliseconds without data, the most from now until it flows again. */
    function longestGap(peer: Program): Promise<number> {
      const [before, has] = [peer.all('longestGap').length, Number(peer.all('longestGap').at(-1)?.received)]
      let seen = 0
      let longest = 0
      return peer.find((line) => {
        const { longestGap: gap, received } = parse(line)
        if (gap === undefined || ++seen <= before) return undefined
        longest = Math.max(longest, Number(gap))
        // A report may be of the time before, or of the end of the silence: the one after a whole second with data is meant.
        return seen > before + 2 && Number(gap) < 250 && Number(received) > has ? longest : undefined
      })
    }

    /** Lets something happen, and waits until both peers have data again; none of them may have been without for long. */
    async function withData(what: string, { peers }: Meeting, happens: () => unknown): Promise<void> {
      const gaps = Promise.all(peers.map(longestGap))
      await happens()
      const both = await gaps
      console.log(`${what}: ${both.join(' and ')} ms without data`)
      for (const gap of both) expect(gap).toBeLessThan(10_000)
    }

    it.each([
      ['is killed', 'SIGKILL'],
      ['falls silent', 'SIGSTOP'],
    ] as const)('goes on at the other one when the one in use %s', { timeout: 60_000 }, async (what, signal) => {
      const meeting = await meet()
      const [dying] = inUse(meeting.peers[0], meeting)
      const other = dying === meeting.a ? meeting.b : meeting.a
      await withData(`A relay ${what}`, meeting, () => dying?.signal(signal))
      for (const peer of meeting.peers) expect(inUse(peer, meeting)).toEqual([other, other])
      expect(meeting.peers.map(({ errors }) => errors)).toEqual(['', ''])
    })

    it('can have them all restarted, one by one', { timeout: 90_000 }, async () => {
      const meeting = await meet()
      for (const one of [meeting.a, meeting.b, meeting.a]) {
        await withData('A relay is restarted', meeting, async () => {
          await one.kill()
          await one.start()
        })
      }
      for (const peer of meeting.peers) peer.end()
      expect(await Promise.all(meeting.peers.map(({ exit }) => exit))).toEqual([0, 0])
      expect(meeting.peers.map(({ errors }) => errors)).toEqual(['', ''])
    })
  })
})
