import { describe, expect, it } from 'vitest'
import {
  type Candidate,
  createTraversal,
  nodeNetwork,
  parseCandidate,
  type Signal,
  type Traversal,
  type TraversalOptions,
} from '../../src/index.ts'
import { createLab, type Lab, type LabHost, type NatPreset } from '../../src/lab/index.ts'
import { createStunServer } from '../../src/stun/index.ts'
import { join, makePeer, meet, SERVER, say, serveStun } from './meeting.ts'

const OTHER = 'stun:other.example.net'
const DEAD = 'stun:dead.example.net'

async function servers(lab: Lab): Promise<void> {
  await serveStun(lab)
  await serveStun(lab, 'other.example.net')
  lab.dns.set('dead.example.net', ['198.51.100.1'])
}

/** A traversal that knows all it will. */
async function gathered(lab: Lab, network: LabHost, options: TraversalOptions = {}): Promise<Traversal> {
  const traversal = await createTraversal({ network, servers: [SERVER, OTHER], ...options })
  await lab.until(traversal.gathered)
  return traversal
}

function offered(traversal: Traversal): readonly Candidate[] {
  return traversal.status().candidates.map((line) => parseCandidate(line))
}

const typesOf = (traversal: Traversal): string[] => offered(traversal).map(({ type }) => type)

async function behind(nat: NatPreset): Promise<{ lab: Lab; traversal: Traversal }> {
  const lab = createLab()
  await servers(lab)
  return { lab, traversal: await gathered(lab, lab.host('a', { behind: lab.router('ra', { nat }) })) }
}

describe('what is offered', () => {
  it('C02 has a local preference of its own for each candidate of a type, over all sockets and servers', async () => {
    const lab = createLab()
    await servers(lab)
    const routers = ['ra', 'rb', 'rc'].map((name) => lab.router(name, { nat: 'symmetricRandom' }))
    const traversal = await gathered(lab, lab.host('a', { interfaces: routers.map((router) => ({ behind: router })) }))
    for (const type of ['host', 'srflx']) {
      const preferences = offered(traversal).flatMap((one) => (one.type === type ? [(one.priority >>> 8) & 0xffff] : []))
      expect(preferences).toHaveLength(type === 'host' ? 3 : 6)
      expect(new Set(preferences).size).toBe(preferences.length)
    }
    await traversal.close()
  })

  it('C03 has five addresses of each family at most, and the families take turns, in the checks as well', async () => {
    const lab = createLab({ families: [4, 6] })
    const a = await makePeer(lab.host('a', { interfaces: Array.from({ length: 8 }, () => ({})) }), 'b', { servers: [] })
    const families = [...offered(a.traversal)].sort((x, y) => y.priority - x.priority).map(({ address }) => address.family)
    expect(families).toEqual([6, 4, 6, 4, 6, 4, 6, 4, 6, 4])
    // A peer with as many addresses that never answers: whichever family works, its turn comes early.
    const candidates = families.map((family, i) => {
      const ip = family === 6 ? `2001:db8:ff::${i + 1}` : `198.51.100.${i + 1}`
      return `candidate:${i} 1 udp ${2_130_706_431 - 4_096 * i} ${ip} 9 typ host`
    })
    lab.trace.start()
    a.session.signal({ v: 1, ufrag: 'abcd', pwd: 'p'.repeat(22), candidates })
    await lab.run(50)
    const checked = lab.trace.records.filter(({ event }) => event === 'send').map(({ to }) => to.family)
    expect(checked.slice(0, 2).sort()).toEqual([4, 6])
    expect(checked.slice(0, 10).filter((family) => family === 4).length).toBeGreaterThanOrEqual(4)
    await a.traversal.close()
  })

  it('C05 C07 two servers behind a NAT that is the same to everybody give one server-reflexive candidate', async () => {
    const { traversal } = await behind('portRestricted')
    expect(typesOf(traversal)).toEqual(['host', 'srflx'])
    expect(traversal.status().nats).toEqual([{ from: traversal.status().sockets[0], mapping: 'shared' }])
    await traversal.close()
  })

  it('C07 behind a hard one they give two, and status and explain say so', async () => {
    const { lab, traversal } = await behind('symmetricSequential')
    expect(typesOf(traversal)).toEqual(['host', 'srflx', 'srflx'])
    const [from] = traversal.status().sockets
    expect(traversal.status().nats).toEqual([{ from, mapping: 'per-destination' }])
    const session = traversal.connect({ peer: 'b' })
    expect(session.explain().servers.at(-1)).toContain(`${from} is seen at another address by each server`)
    expect(String(session.explain())).toContain('hard')
    await lab.run(100)
    await traversal.close()
  })

  it('C07 one server alone does not tell', async () => {
    const lab = createLab()
    await servers(lab)
    const traversal = await gathered(lab, lab.host('a', { behind: lab.router('ra', { nat: 'symmetricRandom' }) }), { servers: [SERVER] })
    expect(traversal.status().nats).toMatchObject([{ mapping: undefined }])
    expect(traversal.connect({ peer: 'b' }).explain().servers.join()).not.toContain('hard')
    await traversal.close()
  })

  it.each([false, true])('C05 C06 without a NAT is the host candidate and no other; the socket on the wildcard: %s', async (wildcard) => {
    const lab = createLab()
    await servers(lab)
    const network = lab.host('a')
    const traversal = await gathered(lab, network, wildcard ? { socket: await network.bind({ family: 4 }) } : {})
    expect(typesOf(traversal)).toEqual(['host'])
    expect(traversal.status().servers.map(({ mapped }) => mapped?.split(':')[0])).toEqual([
      network.addresses[0]?.ip,
      network.addresses[0]?.ip,
    ])
    expect(traversal.status().nats).toMatchObject([{ mapping: 'none' }])
    await traversal.close()
  })
})

describe('how it is gathered', () => {
  it('C08 a dead server costs a connection nothing, and gathering ends within nine seconds all the same', async () => {
    const connectedAt = async (list: readonly string[]): Promise<{ at: number; gatheredAt: number }> => {
      const lab = createLab()
      await servers(lab)
      const [a, b] = await Promise.all(
        ['a', 'b'].map((name) => makePeer(lab.host(name, { behind: lab.router(`r${name}`) }), name === 'a' ? 'b' : 'a', { servers: list })),
      )
      if (a === undefined || b === undefined) throw new Error('two peers were made')
      join(lab, a, b)
      await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 2_000 })
      const at = lab.clock.now()
      await lab.until(a.traversal.gathered)
      const gatheredAt = lab.clock.now()
      await a.traversal.close()
      await b.traversal.close()
      return { at, gatheredAt }
    }
    const alive = await connectedAt([SERVER, OTHER])
    const withDead = await connectedAt([SERVER, DEAD])
    expect(withDead.at).toBe(alive.at)
    expect(withDead.gatheredAt).toBeGreaterThan(1_000)
    expect(withDead.gatheredAt).toBeLessThan(9_100)
  })

  it('C09 a family without a route is done with at once, and does not hold up the end', async () => {
    const lab = createLab({ families: [4, 6] })
    await serveStun(lab)
    const host = lab.host('a', { interfaces: [{ families: [4] }, { behind: lab.segment('island', { families: [6] }) }] })
    const traversal = await createTraversal({ network: host, servers: [SERVER] })
    await lab.until(traversal.gathered, { within: 200 })
    const failures = traversal.status().servers.filter(({ failure }) => failure !== undefined)
    expect(failures).toMatchObject([{ from: expect.stringContaining('fd00:'), failure: 'ENETUNREACH' }])
    await traversal.close()
  })

  it('C11 each candidate is signalled in the moment in which it is known, the first ones at once', async () => {
    const lab = createLab()
    await servers(lab)
    lab.trace.start()
    const a = await makePeer(lab.host('a', { behind: lab.router('ra', { nat: 'symmetricRandom' }) }), 'b', { servers: [SERVER, OTHER] })
    const said: { at: number; types: string[] }[] = []
    a.session.on('signal', ({ candidates }) =>
      said.push({ at: lab.clock.now(), types: candidates.map((line) => parseCandidate(line).type) }),
    )
    await lab.run(900)
    const answers = lab.trace.records.filter(({ at, event }) => at === 'a' && event === 'receive').map(({ time }) => time)
    expect(answers).toHaveLength(2)
    expect(said).toEqual([
      { at: 0, types: ['host'] },
      { at: answers[0], types: ['host', 'srflx'] },
      { at: answers[1], types: ['host', 'srflx', 'srflx'] },
    ])
    await a.traversal.close()
  })

  it('C11 a connection does not wait for servers: neighbours meet while one is still asked', async () => {
    const lab = createLab()
    await servers(lab)
    const router = lab.router('home')
    const a = await makePeer(lab.host('a', { behind: router }), 'b', { servers: [DEAD] })
    const b = await makePeer(lab.host('b', { behind: router }), 'a', { servers: [DEAD] })
    join(lab, a, b, { delay: 10 })
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 50 })
    expect(a.traversal.status().servers).toMatchObject([{ mapped: undefined, failure: undefined }])
    await a.traversal.close()
    await b.traversal.close()
  })
})

describe('C12 what is to stay hidden', () => {
  /** All that left this host, as far as the network saw it, and all that was signalled. */
  function watch(lab: Lab, host: LabHost, session: { on(event: 'signal', listener: (signal: Signal) => void): unknown }) {
    const signals: string[] = []
    session.on('signal', (signal) => void signals.push(JSON.stringify(signal)))
    lab.trace.start()
    return {
      signals,
      sent: () => lab.trace.records.filter(({ at, event }) => at === host.name && event === 'send'),
    }
  }

  it.each<[string, (names: readonly string[], ips: readonly string[]) => TraversalOptions['hosts']]>([
    ['an excluded interface', (names) => ({ exclude: [names[1] ?? ''] })],
    ['a range', (_names, ips) => ({ exclude: [`${ips[1]}/32`] })],
    ['an address that is not accepted', (_names, ips) => ({ accept: ({ address }) => address.ip !== ips[1] })],
    ['all but the best', () => ({ limit: 1 })],
  ])('%s is neither signalled nor sent from', async (_what, policy) => {
    const lab = createLab()
    await servers(lab)
    const host = lab.host('a', { interfaces: [{ behind: lab.router('wifi') }, { behind: lab.router('vpn') }] })
    const ips = host.addresses.map(({ ip }) => ip)
    const traversal = await createTraversal({ network: host, servers: [SERVER, OTHER], hosts: policy(['eth0', 'eth1'], ips) ?? {} })
    const a = meet('a', traversal, 'b')
    const { signals, sent } = watch(lab, host, a.session)
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 2_000 })
    await lab.run(5_000)
    expect(signals.at(-1)).toContain(ips[0])
    expect(signals.join()).not.toContain(ips[1])
    expect(new Set(sent().map(({ from }) => from.ip))).toEqual(new Set([ips[0]]))
    await traversal.close()
    await b.traversal.close()
  })

  it('a family is neither signalled nor sent from', async () => {
    const lab = createLab({ families: [4, 6] })
    await servers(lab)
    const host = lab.host('a', { behind: lab.router('ra') })
    const a = meet('a', await createTraversal({ network: host, servers: [SERVER], hosts: { families: [4] } }), 'b')
    const { signals, sent } = watch(lab, host, a.session)
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 2_000 })
    await lab.run(3_000)
    expect(
      signals.flatMap((text) => (JSON.parse(text) as Signal).candidates).every((line) => parseCandidate(line).address.family === 4),
    ).toBe(true)
    expect(sent().every(({ from }) => from.family === 4)).toBe(true)
    await a.traversal.close()
    await b.traversal.close()
  })

  it('an address behind the caller’s own socket on the wildcard is not signalled, not even as a related one', async () => {
    const lab = createLab()
    await servers(lab)
    const host = lab.host('a', { interfaces: [{ behind: lab.router('wifi') }, { behind: lab.router('vpn') }] })
    const [first, second] = host.addresses.map(({ ip }) => ip)
    const socket = await host.bind({ family: 4 })
    const traversal = await gathered(lab, host, { socket, hosts: { exclude: [`${first}/32`] } })
    // The system chose the first interface to ask from, whatever we offer.
    const lines = traversal.status().candidates.join()
    expect(lines).toContain(second)
    expect(lines).toContain('typ srflx')
    expect(lines).not.toContain(first)
    await traversal.close()
  })

  /** Two neighbours; the one that hides has told the other only what a server saw of it. */
  async function neighbours(hairpin: boolean) {
    const lab = createLab()
    await servers(lab)
    const router = lab.router('home', { hairpin })
    const host = lab.host('a', { behind: router })
    const a = meet('a', await createTraversal({ network: host, servers: [SERVER], hosts: { offer: false } }), 'b')
    const seen = watch(lab, host, a.session)
    const b = await makePeer(lab.host('b', { behind: router }), 'a')
    join(lab, a, b)
    return { lab, a, b, ...seen, own: host.addresses[0]?.ip ?? '', neighbour: b.traversal.status().sockets[0]?.split(':')[0] }
  }

  it('all of our own addresses, with offer: false: peers hear what a server saw, and are not checked where a packet would tell', async () => {
    const { lab, a, b, signals, sent, own, neighbour } = await neighbours(true)
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 3_000 })
    await lab.run(10_000)
    say(a, 'from nowhere')
    await lab.run(100)
    expect(b.inbox).toEqual(['from nowhere'])
    expect(signals.join()).not.toContain(own)
    expect(signals.at(-1)).toContain('typ srflx raddr 0.0.0.0 rport 9')
    expect(sent().filter(({ to }) => to.ip === neighbour)).toEqual([])
    // Nor has the peer found out by itself.
    expect(JSON.stringify(b.session.explain())).not.toContain(own)
    expect(a.session.explain().notOffered).toEqual(expect.arrayContaining([expect.stringMatching(`^${own}:\\d+: hidden by hosts.offer`)]))
    await a.traversal.close()
    await b.traversal.close()
  })

  it('also from a neighbour that guesses the address: it gets no answer', async () => {
    const { lab, a, b, signals, sent, own, neighbour } = await neighbours(false)
    const port = a.traversal.status().sockets[0]?.split(':')[1]
    for (const restart of [false, true]) {
      if (restart) a.session.restart()
      await lab.run(500)
      const truth = JSON.parse(signals.at(-1) ?? '') as Signal
      // What b would have been told had it been offered; a may not have heard of b's last generation yet.
      b.session.signal({ ...truth, seq: (truth.seq ?? 0) + 50, candidates: [`candidate:1 1 udp 2130706431 ${own} ${port} typ host`] })
      if (!restart) b.session.restart()
      await lab.run(3_000)
      expect(b.session.explain().pairs.find(({ remote }) => remote.address === `${own}:${port}`)?.checksSent).toBeGreaterThan(0)
      expect(sent().filter(({ to }) => to.ip === neighbour)).toEqual([])
      expect(b.session.state).toBe('connecting')
    }
    await a.traversal.close()
    await b.traversal.close()
  })

  it('and through a NAT the one that hides meets who is elsewhere, as ever', async () => {
    const lab = createLab()
    await servers(lab)
    const a = await makePeer(lab.host('a', { behind: lab.router('ra') }), 'b', { hosts: { offer: false } })
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a', { hosts: { offer: false } })
    join(lab, a, b)
    const [path] = await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 1_000 })
    expect(path).toMatchObject({ local: { type: 'srflx' }, remote: { type: 'srflx' } })
    await a.traversal.close()
    await b.traversal.close()
  })

  it('offer: false on a public address offers that address as the servers see it', async () => {
    const lab = createLab()
    await servers(lab)
    // Next to the peer, where packets carry the address; but the servers see no other.
    const centre = lab.router('centre', { nat: false, firewall: false, lan: '198.51.100.0/24' })
    const host = lab.host('a', { behind: centre })
    const a = meet('a', await createTraversal({ network: host, servers: [SERVER], hosts: { offer: false } }), 'b')
    const b = await makePeer(lab.host('b', { behind: centre }), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 1_000 })
    expect(offered(a.traversal)).toMatchObject([{ type: 'srflx', address: { ip: host.addresses[0]?.ip } }])
    await a.traversal.close()
    await b.traversal.close()
  })

  it('offer: false without servers is a mistake that is named', async () => {
    await expect(createTraversal({ network: createLab().host('a'), hosts: { offer: false } })).rejects.toThrow(/hosts\.offer/)
  })
})

it('asks a STUN server that runs in the same process, on the operating system', async () => {
  const server = await createStunServer({ network: nodeNetwork(), port: 0, addresses: ['127.0.0.1'] })
  const traversal = await createTraversal({ servers: [`stun:${server.addresses[0]}`], hosts: { loopback: true, families: [4] } })
  await traversal.gathered
  expect(server.counters.successes).toBeGreaterThan(0)
  expect(traversal.status().servers.map(({ mapped }) => mapped)).toContainEqual(expect.stringMatching(/^127\.0\.0\.1:/))
  await traversal.close()
  await server.close()
})
