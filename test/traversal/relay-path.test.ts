/** What a session's user sees of a path over a relay. */
import { expect, it } from 'vitest'
import type { Path, Signal } from '../../src/index.ts'
import { createLab, join, SERVER, serveStun } from './meeting.ts'
import { relayedPeer, serveRelay, stream, turn } from './relays.ts'

const HARD = { nat: 'symmetricRandom' } as const

it('who waits for room on a stream to a relay that died is told of room on the next one', async () => {
  const lab = createLab({ seed: 1 })
  const one = await serveRelay(lab, 'one', { delay: 2 })
  await serveRelay(lab, 'two', { delay: 10 })
  const servers = [turn('one', '?transport=tcp'), turn('two', '?transport=tcp')]
  const a = await relayedPeer(lab.host('a', { behind: lab.router('ra', { blockUdp: true }) }), 'b', servers)
  const b = await relayedPeer(lab.host('b', { behind: lab.router('rb', { blockUdp: true }) }), 'a', servers)
  join(lab, a, b)
  await lab.until(Promise.all([a.session.ready, b.session.ready]))
  await lab.run(3_000)
  one.host.link.set({ loss: 1 })
  let drained = 0
  a.session.on('drain', () => drained++)
  let sent = 0
  while (a.session.send(new Uint8Array(1_000))) sent++
  expect(sent).toBeLessThan(1_000)
  await lab.run(10_000)
  expect(drained).toBe(1)
})

it('a datagram that is too long for the relay is lost, and the path is not', async () => {
  const lab = createLab({ seed: 2 })
  await serveRelay(lab, 'one')
  const relay = { only: true }
  const a = await relayedPeer(lab.host('a'), 'b', [turn('one')], { relay })
  const b = await relayedPeer(lab.host('b'), 'a', [turn('one')], { relay })
  join(lab, a, b)
  await lab.until(Promise.all([a.session.ready, b.session.ready]))
  await lab.run(1_000)
  const states: string[] = []
  for (const { session } of [a, b]) session.on('state', (state) => states.push(state))
  for (const bytes of [65_507, 65_480, 1_200]) {
    a.session.send(new Uint8Array(bytes))
    await lab.run(1_000)
  }
  expect(states).toEqual([])
  expect(b.session.status.received).toBe(1)
})

it('C40 a path from an address that the peer tells only later to be a relay’s is told anew, as a relayed one', async () => {
  const lab = createLab({ seed: 3 })
  await serveRelay(lab, 'one')
  await serveStun(lab)
  const [ra, hostB] = [lab.router('ra', HARD), lab.host('b')]
  const apart = [...ra.addresses, ...hostB.addresses].map(({ ip }) => ip)
  lab.filter(({ host, to }) => ((host === 'a' || host === 'b') && apart.includes(to.ip) ? 'drop' : 'pass'))
  const a = await relayedPeer(lab.host('a', { behind: ra }), 'b', [SERVER, turn('one')])
  const b = await relayedPeer(hostB, 'a', [SERVER])
  const paths: Path[] = []
  b.session.on('path', (path) => paths.push(path))
  const [endA, endB] = lab.channel<Signal>({ delay: 10 })
  a.session.on('signal', (signal) => {
    const late = signal.candidates.some((line) => line.includes('typ relay'))
    lab.after(late ? 5_000 : 0, () => endA.send(signal))
  })
  b.session.on('signal', (signal) => endB.send(signal))
  endA.onMessage((signal) => void a.session.signal(signal))
  endB.onMessage((signal) => void b.session.signal(signal))
  await lab.until(Promise.all([a.session.ready, b.session.ready]))
  await lab.run(10_000)
  expect(paths.map(({ kind, remote }) => [kind, remote.type])).toEqual([
    ['direct', 'prflx'],
    ['relay', 'relay'],
  ])
})

it('a relay that dies between agents that nominate once costs one change of path at either end, or two', async () => {
  const lab = createLab({ seed: 4 })
  const one = await serveRelay(lab, 'one', { delay: 5 })
  await serveRelay(lab, 'two', { delay: 10 })
  const servers = [turn('one'), turn('two')]
  const a = await relayedPeer(lab.host('a', { behind: lab.router('ra', HARD) }), 'b', servers)
  const b = await relayedPeer(lab.host('b', { behind: lab.router('rb', HARD) }), 'a', servers)
  const [endA, endB] = lab.channel<Signal>()
  // Neither knows that the other is one of ours.
  const plain = ({ v, ufrag, pwd, candidates }: Signal): Signal => ({ v, ufrag, pwd, candidates })
  a.session.on('signal', (signal) => endA.send(plain(signal)))
  b.session.on('signal', (signal) => endB.send(plain(signal)))
  endA.onMessage((signal) => void a.session.signal(signal))
  endB.onMessage((signal) => void b.session.signal(signal))
  await lab.until(Promise.all([a.session.ready, b.session.ready]))
  await lab.run(2_000)
  const flow = stream(lab, a, b)
  await lab.run(3_000)
  for (const { session } of [a, b]) expect(session.explain().pairs.filter(({ nominated }) => nominated)).toHaveLength(1)
  one.host.link.set({ loss: 1 })
  await lab.run(15_000)
  flow.stop()
  await lab.run(1_000)
  for (const end of ['a', 'b'] as const) {
    expect(flow.paths[end].length).toBeLessThanOrEqual(2)
    expect(flow.flow(end).longestGap).toBeLessThan(2_000)
  }
})

it.each([0.05, 0.2])('%d of the packets lost each way for five minutes are no reason to leave it', async (loss) => {
  const lab = createLab({ seed: 5 })
  for (const [i, name] of ['one', 'two', 'three'].entries()) await serveRelay(lab, name, { delay: 5 + 5 * i })
  const servers = ['one', 'two', 'three'].map((name) => turn(name))
  const host = lab.host('a', { behind: lab.router('ra', HARD) })
  const a = await relayedPeer(host, 'b', servers)
  const b = await relayedPeer(lab.host('b', { behind: lab.router('rb', HARD) }), 'a', servers)
  join(lab, a, b)
  await lab.until(Promise.all([a.session.ready, b.session.ready]))
  await lab.run(5_000)
  host.link.set({ loss })
  let changes = 0
  for (const { session } of [a, b]) session.on('path', () => changes++)
  for (let second = 0; second < 300; second++) {
    for (const { session } of [a, b]) session.send(new Uint8Array(100))
    await lab.run(1_000)
  }
  expect(changes).toBeLessThanOrEqual(4)
  expect([a.session.state, b.session.state]).toEqual(['connected', 'connected'])
})

it('a host that moves right after its relay proved to be there finds out at once that the allocation stayed behind', async () => {
  const lab = createLab({ seed: 3 })
  await serveRelay(lab, 'one')
  const host = lab.host('a', { behind: lab.router('ra', HARD) })
  const a = await relayedPeer(host, 'b', [turn('one')])
  const b = await relayedPeer(lab.host('b', { behind: lab.router('rb', HARD) }), 'a', [turn('one')])
  join(lab, a, b)
  await lab.until(Promise.all([a.session.ready, b.session.ready]))
  const [before] = a.traversal.status().relays
  host.moveTo(lab.router('elsewhere', HARD))
  await lab.run(1_500)
  const [after] = a.traversal.status().relays
  expect(after?.state).toBe('allocated')
  expect(after?.mapped).not.toBe(before?.mapped)
})
