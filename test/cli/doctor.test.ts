import { describe, expect, it } from 'vitest'
import { findingsOf } from '../../src/cli/doctor/findings.ts'
import { page, report } from '../../src/cli/doctor/index.ts'
import { linesOf } from '../../src/cli/doctor/page.ts'
import { type ExamineOptions, examinePortMapping, type PortMappingFacts } from '../../src/cli/doctor/port-mapping.ts'
import type { Section } from '../../src/cli/doctor/section.ts'
import { colours } from '../../src/cli/format.ts'
import type { PortMappingOptions } from '../../src/lab/index.ts'
import { createStunServer } from '../../src/stun/index.ts'
import { CountingNetwork } from '../traversal/counting-network.ts'
import { type Home, home, speaking } from '../traversal/mapped.ts'
import { createLab, SERVER } from '../traversal/meeting.ts'
import { serveRelay, turn } from '../traversal/relays.ts'
import { Program } from './peers.ts'

const RELAY = [SERVER, turn('relay')]

function examine(at: Home, servers: ExamineOptions['servers'] = RELAY): Promise<Section<PortMappingFacts>> {
  return at.lab.until(examinePortMapping({ network: at.host, servers }))
}

async function examineHome(options: PortMappingOptions | boolean, servers?: ExamineOptions['servers']): Promise<Section<PortMappingFacts>> {
  const at = await home(options)
  const section = await examine(at, servers)
  // Whatever came of it.
  expect(at.router.portMapping?.mappings ?? []).toEqual([])
  return section
}

function codes({ findings }: Section<PortMappingFacts>): readonly string[] {
  return findings.map(({ code }) => code)
}

function textOf({ findings }: Section<PortMappingFacts>, code: string): string {
  return findings.find((finding) => finding.code === code)?.text ?? `no ${code}`
}

describe('what the doctor finds', () => {
  it('a mapping that packets come in through, where a relay sends one', async () => {
    const section = await examineHome(true)
    const [grant] = section.facts.trials[0]?.grants ?? []
    expect(grant).toMatchObject({ protocol: 'pcp', samePort: true, reach: 'public', verdict: 'proven', lifetime: 120_000 })
    expect(codes(section)).toEqual(['works'])
    expect(textOf(section, 'works')).toBe(`Port mapping works: packets from outside come in at ${grant?.external}, by PCP.`)
    expect(section.lines).toContain(`  PCP      ${grant?.external}, the same port, for 120 s, proven`)
    expect(section.lines.at(-1)).toMatch(/^turn:relay: sees us at .*, can send from outside$/)
  })

  it('the same by a STUN server with a second address', async () => {
    const at = await home(true)
    const server = at.lab.host('behaviour', { interfaces: [{}, {}] })
    const addresses = server.addresses.map(({ ip }) => ip)
    await createStunServer({ network: server, addresses })
    const section = await examine(at, [`stun:${addresses[0]}`])
    expect(codes(section)).toEqual(['works'])
    expect(section.facts.servers).toMatchObject([{ sends: true }])
  })

  it('that nothing can be proven without servers, and how it can be', async () => {
    const section = await examineHome(true, [])
    expect(section.facts.trials).toMatchObject([{ router: '192.168.1.1', grants: [{ verdict: 'unproven' }] }])
    expect(codes(section)).toEqual(['unproven'])
    expect(textOf(section, 'unproven')).toMatch(/nobody outside was asked.*--server turn:.*--turn-user.*RFC 5780/)
  })

  it('nor with servers that cannot send from outside, and why not', async () => {
    const section = await examineHome(true, [SERVER, { urls: 'turn:relay', username: 'ann', credential: 'wrong' }])
    expect(codes(section)).toEqual(['unproven'])
    expect(textOf(section, 'unproven')).toMatch(/stun:stun.example.net has no second address and turn:relay \(.*password.*\)/)
  })

  it('a router that maps and forwards nothing, by each protocol, within 20 s', async () => {
    const at = await home({ faults: { ghost: true } })
    const section = await examine(at)
    expect(at.lab.clock.now()).toBeLessThan(20_000)
    expect(codes(section)).toEqual(['not-forwarding', 'not-forwarding', 'not-forwarding'])
    expect(textOf(section, 'not-forwarding')).toMatch(
      /^192\.168\.1\.1 says that it maps .* by PCP, but nothing that is sent there comes in\.$/,
    )
    expect(section.lines.filter((line) => line.endsWith('forwards nothing'))).toHaveLength(3)
    expect(at.router.portMapping?.mappings).toEqual([])
  })

  it('a router of which one protocol forwards nothing and another one does', async () => {
    const section = await examineHome(speaking(['pcp', 'nat-pmp'], { faults: { ghost: ['pcp'] } }))
    expect(section.facts.trials[0]?.grants.map(({ protocol, verdict }) => [protocol, verdict])).toEqual([
      ['pcp', 'not-forwarding'],
      ['nat-pmp', 'proven'],
    ])
    expect(codes(section)).toEqual(['works', 'not-forwarding'])
  })

  it('a router that answers and maps nothing, with its reason', async () => {
    const section = await examineHome({ faults: { refused: true } })
    expect(codes(section)).toEqual(['refused'])
    expect(textOf(section, 'refused')).toMatch(/^192\.168\.1\.1 speaks PCP, NAT-PMP and UPnP, but maps nothing for this machine: ./)
  })

  it('that no router answers, within 6 s', async () => {
    const at = await home(false)
    const since = at.lab.clock.now()
    const section = await examine(at)
    expect(at.lab.clock.now() - since).toBeLessThan(6_000)
    expect(codes(section)).toEqual(['no-protocol'])
    expect(textOf(section, 'no-protocol')).toContain('Many have UPnP switched off: look for it in the router’s settings')
  })

  it('a carrier’s NAT behind the router', async () => {
    const at = await home(false)
    const behind = at.lab.router('carrier', { nat: 'symmetricRandom', lan: '100.64.0.0/24' })
    const router = at.lab.router('inner', { behind, nat: 'portRestricted', portMapping: speaking(['nat-pmp']) })
    const section = await examine({ ...at, router, host: at.lab.host('c', { behind: router }) })
    expect(codes(section)).toEqual(['not-forwarding', 'carrier-nat'])
    expect(textOf(section, 'carrier-nat')).toMatch(
      /^Your router’s own address is 100\.64\.0\.\d+: your provider’s NAT stands behind it, and no router/,
    )
    expect(textOf(section, 'carrier-nat')).not.toContain('all the same')
  })

  it('a second router at home that lets in whatever comes to where we send from', async () => {
    const at = await home(false)
    const behind = at.lab.router('modem', { nat: 'fullCone', lan: '10.0.0.0/24' })
    const router = at.lab.router('inner', { behind, nat: 'portRestricted', portMapping: speaking(['upnp']) })
    const section = await examine({ ...at, router, host: at.lab.host('c', { behind: router }) })
    expect(codes(section)).toEqual(['works', 'double-nat'])
    expect(textOf(section, 'double-nat')).toMatch(/10\.0\.0\.\d+, a private one: .*bridge mode.*Packets came in all the same/)
  })

  it('a router that is mistaken about its address', async () => {
    const section = await examineHome({ faults: { externalAddress: '203.0.113.99' } })
    expect(codes(section)).toContain('address-differs')
    expect(textOf(section, 'address-differs')).toMatch(/^192\.168\.1\.1 says that it has 203\.0\.113\.99 outside, but servers see/)
  })

  it('a port that is another one than ours', async () => {
    // From the same seed the second one draws the same port.
    const first = await examineHome(speaking(['pcp']))
    const port = Number(first.facts.trials[0]?.internal.split(':')[1])
    const section = await examineHome(speaking(['pcp'], { faults: { taken: [port] } }))
    expect(section.facts.trials[0]?.grants).toMatchObject([{ samePort: false, verdict: 'proven' }])
    expect(codes(section)).toEqual(['works', 'other-port'])
  })

  it('mappings that stand until they are deleted', async () => {
    const section = await examineHome(speaking(['upnp'], { faults: { permanentOnly: true } }))
    expect(section.facts.trials[0]?.grants).toMatchObject([{ lifetime: null }])
    expect(codes(section)).toEqual(['works', 'permanent'])
  })

  it('a connection to the internet that is down', async () => {
    const section = await examineHome(speaking(['upnp'], { upnp: { connections: [{ status: 'Disconnected' }] } }))
    expect(textOf(section, 'wan-down')).toContain('“Disconnected”')
  })

  it('that no router is there, or none is needed', async () => {
    const lab = createLab()
    const section = await lab.until(examinePortMapping({ network: lab.host('open'), servers: [] }))
    expect(codes(section)).toEqual(['public-address'])
    expect(section.lines).toEqual(['no router'])
    const lonely = createLab({ families: [6] })
    expect(codes(await lonely.until(examinePortMapping({ network: lonely.host('open'), servers: [] })))).toEqual(['no-router'])
  })

  it.each([
    [true, 'pinholes', 'by PCP and UPnP'],
    [false, 'no-pinholes', 'no router here opens its firewall'],
    [speaking(['upnp'], { faults: { refused: true } }), 'no-pinholes', 'no router here opens its firewall'],
  ] as const)('whether IPv6 firewalls open when they are asked: %j', async (portMapping, code, words) => {
    await home(false) // loads what is loaded on first use
    const lab = createLab({ families: [4, 6] })
    await serveRelay(lab, 'relay')
    const router = lab.router('home', { portMapping })
    const section = await examine({ lab, router, host: lab.host('a', { behind: router }) }, [turn('relay')])
    expect(textOf(section, code)).toContain(words)
  })
})

describe('the doctor', () => {
  it('has a word for a router that answered and whose network went away before the trial', async () => {
    const { facts } = await examineHome(true)
    expect(findingsOf({ ...facts, trials: [] })).toEqual([
      { code: 'refused', text: expect.stringContaining('could not be used any more to try a mapping') },
    ])
  })

  it('tells what a router that maps nothing lacks, as it says in one protocol alone', async () => {
    const { facts } = await examineHome({ faults: { refused: true } })
    const failure = '192.168.1.1 has no public address'
    const routers = facts.routers.map((router) => ({
      ...router,
      protocols: router.protocols.map((one) =>
        one.protocol === 'nat-pmp'
          ? { protocol: one.protocol, answers: false as const, ms: 1, code: 'ERR_MAPPING_CAPACITY' as const, failure }
          : one,
      ),
    }))
    const [found] = findingsOf({ ...facts, routers })
    expect(found).toMatchObject({
      code: 'refused',
      text: expect.stringMatching(/ By NAT-PMP it says: 192\.168\.1\.1 has no public address\. Then .*another NAT/),
    })
    expect(findingsOf(facts)[0]?.text).not.toContain('it says')
  })

  it('keeps what a router says of itself off the terminal', async () => {
    const section = await examineHome(speaking(['upnp'], { upnp: { connections: [{ status: 'Down' }] } }), [])
    const [router] = section.facts.routers
    if (router === undefined) throw new Error('no router')
    const protocols = [
      { protocol: 'upnp', answers: true, ms: 1, model: '\u001b[2J', service: 'WANIPConnection:1', state: '\u001b]0;x\u0007' },
    ] as const
    const facts: PortMappingFacts = { ...section.facts, routers: [{ ...router, protocols }] }
    const told = page([{ title: 'Port mapping', facts, lines: linesOf(facts), findings: findingsOf(facts) }], colours(process.stdout))
    expect(told.join('')).toContain('\ufffd[2J')
    expect(told.join('')).toContain('“\ufffd]0;x\ufffd”')
    expect(told.join('')).not.toMatch(/\p{Cc}/u)
  })

  it('deletes its mapping when it is interrupted, and leaves nothing behind', async () => {
    const at = await home({ faults: { ghost: true } })
    const network = new CountingNetwork(at.host)
    const interrupted = new AbortController()
    const failed = examinePortMapping({ network, servers: RELAY, signal: interrupted.signal }).catch((error: unknown) => error)
    while (at.router.portMapping?.mappings.length === 0) await at.lab.run(10)
    interrupted.abort()
    expect(await at.lab.until(failed)).toBe(interrupted.signal.reason)
    expect(at.router.portMapping?.mappings).toEqual([])
    expect(network.left).toEqual({ timers: 0, sockets: 0, watchers: 0, lookups: 0 })
  })

  it('says what it is doing', async () => {
    const at = await home(true)
    const said: string[] = []
    await at.lab.until(examinePortMapping({ network: at.host, servers: RELAY, progress: (text) => said.push(text) }))
    expect(said).toEqual([
      'looking for routers',
      'asking 192.168.1.1 for port mapping protocols',
      'mapping a port, and waiting for a packet from outside',
    ])
  })

  it('has an object for programs, with the names that its help tells', async () => {
    const object = JSON.parse(JSON.stringify(report({ portMapping: await examineHome(true) }))) as unknown
    expect(object).toEqual({
      portMapping: {
        routers: [
          {
            interface: expect.any(String),
            family: 4,
            address: expect.stringMatching(/^192\.168\.1\./),
            router: '192.168.1.1',
            protocols: [
              { protocol: 'pcp', answers: true, ms: expect.any(Number) },
              expect.objectContaining({ protocol: 'nat-pmp', answers: true, reach: 'public' }),
              expect.objectContaining({ protocol: 'upnp', answers: true, state: 'Connected' }),
            ],
          },
        ],
        publicAddresses: [],
        trials: [
          {
            router: '192.168.1.1',
            internal: expect.any(String),
            grants: [
              {
                protocol: 'pcp',
                external: expect.any(String),
                samePort: true,
                lifetime: 120_000,
                reach: 'public',
                verdict: 'proven',
                proven: expect.any(String),
              },
            ],
          },
        ],
        servers: [
          { server: SERVER, sends: false, mapped: expect.any(String) },
          { server: 'turn:relay', sends: true, mapped: expect.any(String) },
        ],
      },
      findings: [{ code: 'works', text: expect.any(String) }],
    })
  })
})

describe('sallyport doctor', () => {
  it('prints a page, or one object with --json, and ends with 0 wherever it is', async () => {
    const [page, json] = [Program.sallyport('doctor'), Program.sallyport('doctor', '--json')]
    for (const program of [page, json]) program.end()
    expect(await Promise.all([page.exit, json.exit])).toEqual([0, 0])
    expect([page.errors, json.errors]).toEqual(['', '']) // no terminal, no progress
    expect(page.lines[0]).toBe('Port mapping')
    expect(page.lines).toContain('What it means')
    expect(json.lines).toHaveLength(1)
    expect(Object.keys(JSON.parse(json.lines[0] ?? '') as object)).toEqual(['portMapping', 'findings'])
  })
})
