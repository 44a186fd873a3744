import { describe, expect, it } from 'vitest'
import { parseCandidate } from '../../src/candidates/index.ts'
import { createTraversal, type RelayPolicy } from '../../src/index.ts'
import type { Lab, Router } from '../../src/lab/index.ts'
import { createLab, join, meet, SERVER, say, serveStun } from './meeting.ts'
import { relayedPeer, type ServedRelay, serveRelay, startRelay, stream, turn, USER } from './relays.ts'

const HARD = { nat: 'symmetricRandom' } as const

async function hardPair(seed: number, servers = [turn('relay.example.net')]) {
  const lab = createLab({ seed })
  const relay = await serveRelay(lab, 'relay.example.net')
  const a = await relayedPeer(lab.host('a', { behind: lab.router('ra', HARD) }), 'b', servers)
  const b = await relayedPeer(lab.host('b', { behind: lab.router('rb', HARD) }), 'a', servers)
  join(lab, a, b)
  return { lab, relay, a, b }
}

describe('two peers behind hard NATs', () => {
  it('connect over a relay, and data goes both ways', async () => {
    const { lab, a, b } = await hardPair(1)
    const [pathA, pathB] = await lab.until(Promise.all([a.session.ready, b.session.ready]))
    expect([pathA.kind, pathB.kind]).toEqual(['relay', 'relay'])
    say(a, 'from a')
    say(b, 'from b')
    await lab.run(500)
    expect([a.inbox, b.inbox]).toEqual([['from b'], ['from a']])
  })

  it('leave nothing at the relay when they close', async () => {
    const { lab, relay, a, b } = await hardPair(2)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    expect(relay.relay.status().allocations).toBe(2)
    await a.traversal.close()
    await b.traversal.close()
    await lab.run(1_000)
    expect(relay.relay.status().allocations).toBe(0)
  })

  it('have one allocation each for all their sessions', async () => {
    const { lab, relay, a, b } = await hardPair(3)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    for (let i = 0; i < 10; i++) {
      const [x, y] = [meet('a', a.traversal, `b${i}`), meet('b', b.traversal, `a${i}`)]
      join(lab, x, y)
      // Two sessions between the same two addresses cannot be told apart, so these end; the allocations are what counts here.
      await lab.run(200)
    }
    expect(relay.relay.status().allocations).toBe(2)
  })
})

describe('a network without UDP', () => {
  const cases = [
    ['on one side', '', { blockUdp: true }, HARD],
    ['on both sides', '', { blockUdp: true }, { blockUdp: true }],
    ['on one side, over TLS', 's', { blockUdp: true }, HARD],
    ['on both sides, over TLS', 's', { blockUdp: true }, { blockUdp: true }],
  ] as const
  it.each(cases)('%s connects over a stream to the relay, without waiting for a time-out', async (_name, scheme, one, other) => {
    const lab = createLab({ seed: 4 })
    await serveRelay(lab, 'relay.example.net', { tls: { cert: '', key: '' } })
    const servers = [{ urls: `turn${scheme}:relay.example.net`, username: USER.username, credential: USER.password }]
    const a = await relayedPeer(lab.host('a', { behind: lab.router('ra', one) }), 'b', servers)
    const b = await relayedPeer(lab.host('b', { behind: lab.router('rb', other) }), 'a', servers)
    join(lab, a, b)
    const began = lab.clock.now()
    const paths = await lab.until(Promise.all([a.session.ready, b.session.ready]))
    expect(paths.map(({ kind }) => kind)).toEqual(['relay', 'relay'])
    expect(lab.clock.now() - began).toBeLessThan(1_500)
    const flow = stream(lab, a, b)
    await lab.run(2_000)
    flow.stop()
    await lab.run(500)
    expect([flow.flow('a').lost, flow.flow('b').lost]).toEqual([[], []])
  })
})

/** Milliseconds one way between the networks of the two peers and each relay; what goes between relays takes long. */
function distanceBetween(
  lab: Lab,
  routers: readonly Router[],
  relays: ReadonlyMap<string, ServedRelay>,
  distances: Readonly<Record<string, Readonly<Record<string, number>>>>,
): void {
  const nameAt = new Map([...relays].map(([name, { host }]) => [host.addresses[0]?.ip ?? '', name]))
  lab.filter(({ host, to }) => {
    const outside = routers.find((router) => host === router.name.replace('r', ''))?.addresses[0]?.ip
    const [relay, peer] = nameAt.has(to.ip) ? [nameAt.get(to.ip), outside] : [host, to.ip]
    const delay = distances[peer ?? '']?.[relay ?? '']
    return delay === undefined ? (relays.has(host) && nameAt.has(to.ip) ? { delay: 100 } : 'pass') : { delay }
  })
}

describe('relay.only', () => {
  it('tells the peer relayed addresses and nothing else', async () => {
    const lab = createLab({ seed: 5 })
    await serveRelay(lab, 'relay.example.net')
    const a = await relayedPeer(lab.host('a'), 'b', [turn('relay.example.net')], { relay: { only: true } })
    const b = await relayedPeer(lab.host('b'), 'a', [turn('relay.example.net')])
    const told: string[] = []
    a.session.on('signal', (signal) => void told.push(...signal.candidates))
    join(lab, a, b)
    const path = await lab.until(b.session.ready)
    expect(path).toMatchObject({ kind: 'relay', remote: { type: 'relay' } })
    expect(new Set(told.map((line) => parseCandidate(line).type))).toEqual(new Set(['relay']))
    expect(told.every((line) => line.includes('raddr 0.0.0.0 rport 9'))).toBe(true)
    expect(a.traversal.status().sockets).toEqual([])
  })
})

/** Two peers that can meet by relays only, and do; the first relay is the nearer one. */
async function overTwo(seed: number, relay: RelayPolicy = {}) {
  const lab = createLab({ seed })
  const first = await serveRelay(lab, 'one', { delay: 2 })
  const second = await serveRelay(lab, 'two', { delay: 10 })
  const servers = [turn('one'), turn('two')]
  const a = await relayedPeer(lab.host('a', { behind: lab.router('ra', HARD) }), 'b', servers, { relay })
  const b = await relayedPeer(lab.host('b', { behind: lab.router('rb', HARD) }), 'a', servers, { relay })
  join(lab, a, b)
  await lab.until(Promise.all([a.session.ready, b.session.ready]))
  return { lab, first, second, a, b }
}

describe('several relays', () => {
  it('the one with the shortest way between the two peers wins, which need not be the nearest of either', async () => {
    const lab = createLab({ seed: 6, delay: 0 })
    const names = ['near-a', 'next-to-a', 'middle', 'next-to-b', 'near-b']
    const relays = new Map<string, ServedRelay>()
    for (const name of names) relays.set(name, await serveRelay(lab, name))
    const servers = names.map((name) => turn(name))
    const [ra, rb] = [lab.router('ra', HARD), lab.router('rb', HARD)]
    const distances = {
      [ra.addresses[0]?.ip ?? '']: { 'near-a': 10, 'next-to-a': 12, middle: 20, 'next-to-b': 70, 'near-b': 80 },
      [rb.addresses[0]?.ip ?? '']: { 'near-a': 80, 'next-to-a': 70, middle: 20, 'next-to-b': 12, 'near-b': 10 },
    }
    distanceBetween(lab, [ra, rb], relays, distances)
    const a = await relayedPeer(lab.host('a', { behind: ra }), 'b', servers)
    const b = await relayedPeer(lab.host('b', { behind: rb }), 'a', servers)
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(10_000)
    for (const { session } of [a, b]) expect(session.path?.rtt).toBeLessThan(85)
    const at = relays.get('middle')?.host.addresses[0]?.ip
    const ends = [a, b].flatMap(({ session }) => [session.path?.local, session.path?.remote])
    expect(ends.some((end) => end?.type === 'relay' && end.ip === at)).toBe(true)
  })

  it('a dead one is replaced within two seconds under load', async () => {
    const { lab, first, a, b } = await overTwo(7)
    const flow = stream(lab, a, b)
    await lab.run(3_000)
    first.host.link.set({ loss: 1 })
    await lab.run(5_000)
    flow.stop()
    await lab.run(1_000)
    for (const end of ['a', 'b'] as const) {
      expect(flow.flow(end).longestGap).toBeLessThan(2_000)
      expect(flow.flow(end).longestGap).toBeGreaterThan(100)
    }
    expect(flow.paths.a.length).toBeGreaterThan(0)
  })

  it('a dead one is replaced within two seconds also where no second allocation was kept', async () => {
    const { lab, first, a, b } = await overTwo(8, { keep: 1 })
    const flow = stream(lab, a, b)
    await lab.run(3_000)
    first.host.link.set({ loss: 1 })
    await lab.run(5_000)
    flow.stop()
    await lab.run(1_000)
    for (const end of ['a', 'b'] as const) expect(flow.flow(end).longestGap).toBeLessThan(2_000)
  })

  it.each([0, 5_000, 60_000])(
    'a dead one is replaced within three seconds also where the other has lost its allocations, %i ms before',
    async (before) => {
      const lab = createLab({ seed: 12 })
      const first = await serveRelay(lab, 'one', { delay: 2 })
      const second = await serveRelay(lab, 'two', { delay: 10 })
      const servers = [turn('one'), turn('two')]
      const a = await relayedPeer(lab.host('a', { behind: lab.router('ra', HARD) }), 'b', servers)
      const b = await relayedPeer(lab.host('b', { behind: lab.router('rb', HARD) }), 'a', servers)
      join(lab, a, b)
      await lab.until(Promise.all([a.session.ready, b.session.ready]))
      const flow = stream(lab, a, b)
      await lab.run(3_000)
      await second.relay.close()
      second.relay = await startRelay(second.host)
      await lab.run(before)
      first.host.link.set({ loss: 1 })
      await lab.run(5_000)
      flow.stop()
      await lab.run(1_000)
      for (const end of ['a', 'b'] as const) expect(flow.flow(end).longestGap).toBeLessThan(3_000)
    },
  )

  it('is not noticed when it dies while a direct path carries the data', async () => {
    const lab = createLab({ seed: 9 })
    const one = await serveRelay(lab, 'one')
    const a = await relayedPeer(lab.host('a', { behind: lab.router('ra') }), 'b', [turn('one')])
    const b = await relayedPeer(lab.host('b', { behind: lab.router('rb') }), 'a', [turn('one')])
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(2_000)
    expect(a.session.path?.kind).toBe('direct')
    const flow = stream(lab, a, b)
    await lab.run(1_000)
    one.host.link.set({ loss: 1 })
    await lab.run(60_000)
    flow.stop()
    await lab.run(1_000)
    for (const end of ['a', 'b'] as const) expect(flow.flow(end)).toMatchObject({ lost: [], doubled: [] })
    expect([flow.paths.a, flow.paths.b]).toEqual([[], []])
  })

  it('that starts again gives a new allocation, and the session goes on', async () => {
    const { lab, relay, a, b } = await hardPair(10)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    const flow = stream(lab, a, b)
    await lab.run(1_000)
    await relay.relay.close()
    relay.relay = await startRelay(relay.host)
    await lab.run(6_000)
    flow.stop()
    await lab.run(1_000)
    for (const end of ['a', 'b'] as const) expect(flow.flow(end).longestGap).toBeLessThan(2_000)
    expect([a.session.state, b.session.state]).toEqual(['connected', 'connected'])
  })
})

describe('credentials that expire', () => {
  it('are asked for again in time, and nothing is lost when the allocation is replaced', async () => {
    const lab = createLab({ seed: 11 })
    const asked: number[] = []
    await serveStun(lab)
    await serveRelay(lab, 'one', { users: undefined, authenticate: (name: string) => `password of ${name}` } as never)
    const credentials = () => {
      asked.push(lab.clock.now())
      const username = `ann-${asked.length}`
      return { username, password: `password of ${username}`, expiresAt: lab.clock.wallTime() + 20_000 }
    }
    const a = await createTraversal({
      network: lab.host('a', { behind: lab.router('ra', HARD) }),
      servers: ['turn:one'],
      credentials,
    })
    const peerA = meet('a', a, 'b')
    const b = await relayedPeer(lab.host('b', { behind: lab.router('rb', HARD) }), 'a', [SERVER])
    join(lab, peerA, b)
    await lab.until(Promise.all([peerA.session.ready, b.session.ready]))
    const flow = stream(lab, peerA, b)
    await lab.run(60_000)
    flow.stop()
    await lab.run(1_000)
    expect(asked.length).toBeGreaterThanOrEqual(4)
    expect(flow.flow('a')).toMatchObject({ lost: [], doubled: [] })
    expect(flow.flow('b')).toMatchObject({ lost: [], doubled: [] })
  })
})
