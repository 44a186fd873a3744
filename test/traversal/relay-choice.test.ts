/** Which of the listed relays are used, and what is said of those that give nothing. */
import { describe, expect, it } from 'vitest'
import { parseCandidate } from '../../src/candidates/index.ts'
import { createTraversal, type SallyportError } from '../../src/index.ts'
import { createLab, join, meet, SERVER, serveStun } from './meeting.ts'
import { relayedPeer, serveRelay, turn, type USER } from './relays.ts'

const HARD = { nat: 'symmetricRandom' } as const

describe('which relays are used', () => {
  it('one that was down at the start is used as soon as it answers', async () => {
    const lab = createLab({ seed: 1 })
    const relay = await serveRelay(lab, 'one')
    relay.host.link.set({ loss: 1 })
    const a = await createTraversal({ network: lab.host('a'), servers: [turn('one')] })
    await lab.run(30_000)
    expect(a.status().relays).toMatchObject([{ state: 'down', failure: expect.stringContaining('cannot be reached') }])
    relay.host.link.set({ loss: 0 })
    await lab.run(15_000)
    expect(a.status().relays).toMatchObject([{ state: 'allocated', failure: undefined }])
  })

  it('one host that is listed under several URIs has one allocation, and another URI of it is used when the first fails', async () => {
    const lab = createLab({ seed: 2 })
    const relay = await serveRelay(lab, 'one', { users: { ann: 'secret', bob: 'secret' } })
    const bob = { urls: 'turn:one', username: 'bob', credential: 'secret' }
    const servers = [{ ...turn('one'), credential: 'wrong' }, bob, bob, turn('one', '?transport=tcp')]
    const a = await createTraversal({ network: lab.host('a'), servers })
    await lab.run(120_000)
    expect(a.status().relays.map(({ state }) => state)).toEqual(['down', 'allocated', 'reserve', 'reserve'])
    expect(relay.relay.status().allocations).toBe(1)
    expect(a.status().candidates.filter((line) => line.includes('typ relay'))).toHaveLength(1)
  })

  it.each([1, 2])('the one where two peers meet is kept for as long as they are, and none comes and goes, keep %i', async (keep) => {
    const lab = createLab({ seed: 3, delay: 0 })
    const created: string[] = []
    const log = ({ event }: { event: string }): void => void created.push(event)
    const names = ['near-a', 'middle', 'near-b']
    const hosts = new Map<string, string>()
    for (const name of names) hosts.set((await serveRelay(lab, name, { log })).host.addresses[0]?.ip ?? '', name)
    const far: Readonly<Record<string, readonly number[]>> = { a: [10, 20, 80], b: [80, 20, 10] }
    const [ra, rb] = [lab.router('ra', HARD), lab.router('rb', HARD)]
    const inside = new Map([ra, rb].map(({ addresses, name }) => [addresses[0]?.ip ?? '', name.slice(1)]))
    lab.filter(({ host, to }) => {
      const [peer, relay] = hosts.has(to.ip) ? [host, hosts.get(to.ip)] : [inside.get(to.ip), host]
      const delay = far[peer ?? '']?.[names.indexOf(relay ?? '')]
      return delay === undefined ? 'pass' : { delay }
    })
    const servers = names.map((name) => turn(name))
    const a = await relayedPeer(lab.host('a', { behind: ra }), 'b', servers, { relay: { keep } })
    const b = await relayedPeer(lab.host('b', { behind: rb }), 'a', servers, { relay: { keep } })
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(60_000)
    const before = created.length
    // Every one of these says how far the relays are once more.
    for (let i = 0; i < 3; i++) {
      a.session.restart()
      await lab.run(60_000)
    }
    expect(created.slice(before)).toEqual([])
    for (const { traversal } of [a, b]) expect(traversal.status().relays[1]?.state).toBe('allocated')
  })

  it('more than a signal may tell of are no reason to refuse it, and nobody is warned of', async () => {
    const lab = createLab({ seed: 4 })
    const warnings: Error[] = []
    const heed = (warning: Error): void => void warnings.push(warning)
    process.on('warning', heed)
    const servers = []
    for (let i = 0; i < 40; i++) {
      await serveRelay(lab, `r${i}`)
      servers.push(turn(`r${i}`))
    }
    const a = await relayedPeer(lab.host('a', { behind: lab.router('ra', HARD) }), 'b', servers)
    const b = await relayedPeer(lab.host('b', { behind: lab.router('rb', HARD) }), 'a', servers)
    let told = 0
    a.session.on('signal', ({ relays }) => {
      told = Math.max(told, relays?.length ?? 0)
    })
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(10_000)
    process.off('warning', heed)
    expect(told).toBe(32)
    expect([a, b].map(({ session }) => session.status.badSignals)).toEqual([0, 0])
    expect(warnings).toEqual([])
  })

  it('C02 the addresses of one allocation have priorities of their own, IPv6 first', async () => {
    const lab = createLab({ seed: 5, families: [4, 6] })
    await serveRelay(lab, 'one')
    const a = await createTraversal({ network: lab.host('a'), servers: [turn('one')] })
    await lab.run(2_000)
    const relayed = a
      .status()
      .candidates.map((line) => parseCandidate(line))
      .filter(({ type }) => type === 'relay')
    const [six, four] = [6, 4].map((family) => relayed.find(({ address }) => address.family === family)?.priority ?? 0)
    expect(relayed).toHaveLength(2)
    expect(six).toBeGreaterThan(four ?? 0)
  })

  it('relay.only does not tell how far the relays are', async () => {
    const lab = createLab({ seed: 6 })
    for (const name of ['one', 'two', 'three']) await serveRelay(lab, name)
    const servers = ['one', 'two', 'three'].map((name) => turn(name))
    const a = await relayedPeer(lab.host('a'), 'b', servers, { relay: { only: true } })
    const b = await relayedPeer(lab.host('b'), 'a', servers)
    const told: unknown[] = []
    a.session.on('signal', ({ relays }) => void told.push(relays))
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(5_000)
    expect(new Set(told)).toEqual(new Set([undefined]))
  })
})

describe('a relay that gives nothing', () => {
  const never = new Promise<typeof USER>(() => {})
  it.each([
    ['a wrong password', { username: 'ann', password: 'wrong' }, 'refuses user name or password: 401'],
    ['a callback that throws', () => Promise.reject(new Error('the vault is closed')), 'no credentials: the vault is closed'],
    ['a callback that never answers', () => never, 'no credentials within 15 s'],
    ['a callback that gives nonsense', () => ({ user: 'ann' }) as never, 'credentials are not { username, password }'],
  ])('is named in the error, in the status and in the explanation: %s', async (_name, credentials, words) => {
    const lab = createLab({ seed: 7 })
    await serveRelay(lab, 'one')
    const a = await relayedPeer(lab.host('a', { behind: lab.router('ra', HARD) }), 'b', ['turn:one'], { credentials })
    const b = await relayedPeer(lab.host('b', { behind: lab.router('rb', HARD) }), 'a', ['turn:one'], { credentials })
    join(lab, a, b)
    b.session.ready.catch(() => {})
    const error = await lab.until(a.session.ready.then(undefined, (reason: SallyportError) => reason))
    expect(error).toMatchObject({ code: 'ERR_NO_PATH', message: expect.stringContaining(words) })
    expect(a.traversal.status().relays).toMatchObject([{ state: 'down', failure: expect.stringContaining(words) }])
    expect(String(a.session.explain())).toContain(words)
  })

  it('because its name has no address yet is looked up again, and at once when the network changes', async () => {
    const lab = createLab({ seed: 8 })
    await serveStun(lab)
    const host = lab.host('a', { behind: lab.router('ra', HARD) })
    const a = await relayedPeer(host, 'b', [turn('one'), SERVER])
    const b = await relayedPeer(lab.host('b', { behind: lab.router('rb', HARD) }), 'a', [SERVER])
    join(lab, a, b)
    b.session.ready.catch(() => {})
    const error = await lab.until(a.session.ready.then(undefined, (reason: SallyportError) => reason))
    expect(error).toMatchObject({ code: 'ERR_NO_PATH', message: expect.stringContaining('turn:one: no address is known for one') })
    await lab.run(600_000)
    await serveRelay(lab, 'one')
    host.addInterface({ behind: lab.router('other') })
    await lab.run(1_000)
    expect(a.traversal.status().relays).toMatchObject([{ state: 'allocated' }])
    const c = await createTraversal({ network: lab.host('c'), servers: [turn('two')] })
    await lab.run(12_000)
    await serveRelay(lab, 'two')
    await lab.run(15_000)
    expect(c.status().relays).toMatchObject([{ state: 'allocated' }])
    expect(meet('c', c, 'd').session.state).toBe('connecting')
  })
})
