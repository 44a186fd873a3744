import { describe, expect, it } from 'vitest'
import { createTraversal, type Session, type Signal } from '../../src/index.ts'
import { createLab, type Lab } from '../../src/lab/index.ts'
import { SeededRandom } from '../stun/manual-clock.ts'
import { join, makePeer, meet, type Peer, SERVER, say, serveStun } from './meeting.ts'

async function twoHomes(seed: number): Promise<{ lab: Lab; a: Peer; b: Peer }> {
  const lab = createLab({ seed })
  await serveStun(lab)
  const a = await makePeer(lab.host('a', { behind: lab.router('ra') }), 'b')
  const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
  return { lab, a, b }
}

async function connectedHomes(seed: number): ReturnType<typeof twoHomes> {
  const homes = await twoHomes(seed)
  const { lab, a, b } = homes
  join(lab, a, b)
  await lab.until(Promise.all([a.session.ready, b.session.ready]))
  return homes
}

async function closeAll(...peers: readonly Peer[]): Promise<void> {
  for (const { traversal } of peers) await traversal.close()
}

/** Data goes both ways now. */
async function expectData(lab: Lab, a: Peer, b: Peer, within = 200): Promise<void> {
  const text = `at ${lab.clock.now()}`
  say(a, `${text} from a`)
  say(b, `${text} from b`)
  await lab.run(within)
  expect(a.inbox).toContain(`${text} from b`)
  expect(b.inbox).toContain(`${text} from a`)
  expect([a.session.state, b.session.state]).toEqual(['connected', 'connected'])
}

/** A channel at its worst: any message may be lost, repeated, or late by seconds. */
function badChannel(lab: Lab, random: SeededRandom, { loss, copies, delay }: { loss: number; copies: number; delay: number }) {
  return (to: () => Session) =>
    (signal: Signal): void => {
      const text = JSON.stringify(signal)
      for (let n = 1 + random.below(copies); n > 0; n--) {
        if (random.below(1_000) < loss * 1_000) continue
        lab.after(20 + random.below(delay), () => expect(to().signal(JSON.parse(text) as Signal)).toBe(to().state !== 'closed'))
      }
    }
}

describe('C74 signals over a channel that loses 30 %, repeats, and delays each by up to four seconds', () => {
  it.each(Array.from({ length: 40 }, (_, i) => i + 1))('connect, seed %i', async (seed) => {
    const { lab, a, b } = await twoHomes(seed)
    const random = new SeededRandom(seed)
    const channel = badChannel(lab, random, { loss: 0.3, copies: 3, delay: 4_000 })
    a.session.on(
      'signal',
      channel(() => b.session),
    )
    b.session.on(
      'signal',
      channel(() => a.session),
    )
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 60_000 })
    await lab.run(10_000)
    await expectData(lab, a, b)
    await closeAll(a, b)
  })

  it.each(Array.from({ length: 40 }, (_, i) => i + 1))('survive restarts of either side at any time, seed %i', async (seed) => {
    const { lab, a, b } = await twoHomes(seed)
    const random = new SeededRandom(1_000 + seed)
    const channel = badChannel(lab, random, { loss: 0.3, copies: 3, delay: 3_000 })
    a.session.on(
      'signal',
      channel(() => b.session),
    )
    b.session.on(
      'signal',
      channel(() => a.session),
    )
    for (let n = 0; n < 4; n++) {
      await lab.run(random.below(6_000))
      const both = random.below(3)
      if (both !== 1) a.session.restart()
      if (both !== 0) b.session.restart()
    }
    await lab.run(60_000)
    await expectData(lab, a, b)
    await closeAll(a, b)
  })

  it.each(Array.from({ length: 40 }, (_, i) => i + 1))('find a peer again that left and came back, seed %i', async (seed) => {
    const { lab, a, b } = await twoHomes(seed)
    const random = new SeededRandom(2_000 + seed)
    const channel = badChannel(lab, random, { loss: 0.3, copies: 2, delay: 3_000 })
    let current = b
    const received = channel(() => current.session)
    a.session.on('signal', received)
    b.session.on(
      'signal',
      channel(() => a.session),
    )
    for (let n = 0; n < 3; n++) {
      await lab.run(random.below(8_000))
      // A crash: the process is gone without a word, and another one starts under the same name.
      if (random.below(2) === 0) current.session.removeAllListeners('signal')
      await current.traversal.close()
      current = await makePeer(lab.host(`b${n}`, { behind: lab.router(`rb${n}`) }), 'a')
      current.session.on(
        'signal',
        channel(() => a.session),
      )
    }
    await lab.run(90_000)
    await expectData(lab, a, current)
    await closeAll(a, current)
  })
})

describe('C76 both ends call connect', () => {
  it.each([0, 1, 30, 600])('%i seconds apart', async (seconds) => {
    const lab = createLab()
    await serveStun(lab)
    const a = await makePeer(lab.host('a', { behind: lab.router('ra') }), 'b')
    const traversal = await createTraversal({ network: lab.host('b', { behind: lab.router('rb') }), servers: [SERVER] })
    // The channel holds nothing back for who is not there yet.
    let b: Peer | undefined
    a.session.on('signal', (signal) => lab.after(40, () => b?.session.signal(signal)))
    await lab.run(seconds * 1_000)
    b = meet('b', traversal, 'a')
    b.session.on('signal', (signal) => lab.after(40, () => a.session.signal(signal)))
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 2_000 })
    await expectData(lab, a, b)
    await closeAll(a, b)
  })

  it('and again, and get the same session', async () => {
    const { lab, a, b } = await twoHomes(1)
    join(lab, a, b)
    expect(a.traversal.connect({ peer: 'b' })).toBe(a.session)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    const path = a.session.path
    expect(a.traversal.connect({ peer: 'b' })).toBe(a.session)
    await lab.run(1_000)
    expect(a.session.path?.remote).toEqual(path?.remote)
    expect(a.session.explain().pairs.every(({ generation }) => generation === 1)).toBe(true)
    await closeAll(a, b)
  })

  it('where signals are pasted by hand: each side’s first one, minutes later, and no other', async () => {
    const { lab, a, b } = await twoHomes(1)
    const first: { a?: Signal; b?: Signal } = {}
    a.session.on('signal', (signal) => (first.a = signal))
    b.session.on('signal', (signal) => (first.b = signal))
    await lab.until(Promise.all([a.traversal.gathered, b.traversal.gathered]))
    await lab.run(100)
    const { a: ofA, b: ofB } = first
    await lab.run(120_000)
    b.session.signal(ofA as Signal)
    await lab.run(45_000)
    a.session.signal(ofB as Signal)
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 30_000 })
    await expectData(lab, a, b)
    await closeAll(a, b)
  })
})

/** Restarts at a moment of a new meeting each, on the sides named. */
async function restartAt(moment: number, cases: readonly string[]): Promise<void> {
  for (const who of cases) {
    const { lab, a, b } = await twoHomes(3)
    join(lab, a, b)
    await lab.run(moment)
    for (let n = who.endsWith('twice') ? 2 : 1; n > 0; n--) {
      if (who !== 'b') a.session.restart()
      if (who.startsWith('b')) b.session.restart()
      await lab.run(10)
    }
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 3_000 })
    await lab.run(8_000)
    await expectData(lab, a, b)
    await closeAll(a, b)
  }
}

describe('C60 C61 a restart', () => {
  it('keeps data flowing: not a datagram is lost or doubled on a network that loses none', async () => {
    const { lab, a, b } = await connectedHomes(1)
    await lab.run(500)
    const states: string[] = []
    for (const { session } of [a, b]) session.on('state', (state) => states.push(state))
    for (let i = 0; i < 300; i++) {
      if (i === 20) a.session.restart()
      if (i === 120) b.session.restart()
      if (i === 200) {
        a.session.restart()
        b.session.restart()
      }
      say(a, `a${i}`)
      say(b, `b${i}`)
      await lab.run(20)
    }
    // The last generation is kept for five seconds, for what may still come over it.
    await lab.run(6_000)
    expect(states).toEqual([])
    expect([...a.inbox].sort()).toEqual(Array.from({ length: 300 }, (_, i) => `b${i}`).sort())
    expect([...b.inbox].sort()).toEqual(Array.from({ length: 300 }, (_, i) => `a${i}`).sort())
    expect(new Set(a.session.explain().pairs.map(({ generation }) => generation)).size).toBe(1)
    await closeAll(a, b)
  })

  it.each([
    ['while gathering', 30],
    ['while the first signals are on their way', 90],
  ])('%s, of both at once, ends connected', (_when, moment) => restartAt(moment, ['both', 'both twice']))

  it.each([
    ['while gathering', 30],
    ['while checks are on their way', 170],
    ['right after the first path', 215],
  ])('%s, of one side, both, or twice quickly, ends connected', (_when, moment) =>
    restartAt(moment, moment < 50 ? ['a', 'b', 'a twice'] : ['a', 'b', 'both', 'a twice', 'both twice']),
  )

  it('while the first signals are on their way, of one side, leaves that side able to hear', () => restartAt(90, ['a', 'b', 'a twice']))

  it('loses nothing of a thousand datagrams a second', async () => {
    const { lab, a, b } = await connectedHomes(1)
    await lab.run(500)
    a.session.restart()
    for (let i = 0; i < 1_000; i++) {
      say(a, `a${i}`)
      say(b, `b${i}`)
      await lab.run(1)
    }
    await lab.run(500)
    expect([a.inbox.length, b.inbox.length]).toEqual([1_000, 1_000])
    await closeAll(a, b)
  })

  it('C61 that finds no path is tried again, and the last generation carries the data meanwhile', async () => {
    const { lab, a, b } = await connectedHomes(1)
    // Only the checks of the new credentials are lost.
    let ufrag = ''
    a.session.once('signal', (signal) => (ufrag = signal.ufrag))
    const stop = lab.filter(({ data }) => (Buffer.from(data).includes(ufrag) ? 'drop' : 'pass'))
    a.session.restart()
    for (let second = 0; second < 60; second++) {
      await lab.run(1_000)
      say(b, `${second}`)
    }
    expect(a.session.path?.remote.port).toBe(b.session.path?.local.port)
    stop()
    await lab.run(60_000)
    expect(a.inbox).toEqual(Array.from({ length: 60 }, (_, second) => `${second}`))
    for (const { session } of [a, b]) {
      expect(session.state).toBe('connected')
      expect(session.explain().pairs.some(({ generation }) => generation === 1)).toBe(false)
    }
    await closeAll(a, b)
  })

  it('C61 that finds no path is tried again also when the last generation changes its path just then', async () => {
    const lab = createLab({ seed: 1 })
    await serveStun(lab)
    const [first, second] = [lab.router('r1'), lab.router('r2')]
    const host = lab.host('a', { interfaces: [{ behind: first }, { behind: second }] })
    const a = await makePeer(host, 'b')
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(20_000)
    let ufrag = ''
    a.session.once('signal', (signal) => (ufrag = signal.ufrag))
    const stop = lab.filter(({ data }) => (Buffer.from(data).includes(ufrag) ? 'drop' : 'pass'))
    a.session.restart()
    const gaveUp = ({ session }: Peer): boolean => session.explain().log.some(({ text }) => text.startsWith('none of'))
    for (let waited = 0; waited < 60_000 && ![a, b].every(gaveUp); waited += 50) await lab.run(50)
    expect([a, b].map(gaveUp)).toEqual([true, true])
    const changed: number[] = []
    for (const { session } of [a, b]) session.on('path', () => changed.push(session.explain().pairs.at(-1)?.generation ?? 0))
    host.removeInterface(a.session.path?.local.ip === first.addresses[0]?.ip ? 'eth0' : 'eth1')
    await lab.run(500)
    expect(changed).toEqual([2, 2])
    stop()
    await lab.run(60_000)
    for (const { session } of [a, b]) {
      expect(session.state).toBe('connected')
      expect(session.explain().pairs.every(({ generation }) => generation > 2)).toBe(true)
    }
    await closeAll(a, b)
  })

  it('C62 answers checks of the last generation with nothing that the new one would take', async () => {
    const { lab, a, b } = await connectedHomes(4)
    for (let n = 0; n < 20; n++) {
      a.session.restart()
      b.session.restart()
      await lab.run(300)
    }
    await lab.run(10_000)
    await expectData(lab, a, b)
    const { dropped } = a.traversal.status()
    expect(dropped.unauthenticated).toBe(0)
    await closeAll(a, b)
  })
})

describe('a session that is closed', () => {
  it('opens again with connect, on one side, and the other follows', async () => {
    const { lab, a, b } = await connectedHomes(1)
    for (let n = 0; n < 3; n++) {
      await a.session.close()
      await lab.run(500)
      expect(b.session.state).toBe('idle')
      expect(a.traversal.connect({ peer: 'b' })).toBe(a.session)
      await lab.until(a.session.ready, { within: 3_000 })
      await lab.run(500)
      await expectData(lab, a, b)
    }
    await closeAll(a, b)
  })

  it('opens again before the other side heard that it was closed', async () => {
    const { lab, a, b } = await connectedHomes(1)
    await a.session.close()
    a.traversal.connect({ peer: 'b' })
    await lab.until(a.session.ready, { within: 3_000 })
    await lab.run(8_000)
    await expectData(lab, a, b)
    await closeAll(a, b)
  })

  it('and both at once open again', async () => {
    const { lab, a, b } = await connectedHomes(1)
    await a.session.close()
    await b.session.close()
    a.traversal.connect({ peer: 'b' })
    b.traversal.connect({ peer: 'a' })
    await lab.run(12_000)
    await expectData(lab, a, b)
    await closeAll(a, b)
  })
})
