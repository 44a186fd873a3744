import { describe, expect, it } from 'vitest'
import type { Signal } from '../../src/index.ts'
import type { LabHost } from '../../src/lab/index.ts'
import { createLab, makePeer, type Peer, say, serveStun } from './meeting.ts'

/** Routers whose NAT lets an early packet of the peer push the host's own to another port, as Linux does when INPUT accepts. */
async function poisonable(seed: number): Promise<{ lab: ReturnType<typeof createLab>; a: Peer; b: Peer }> {
  const lab = createLab({ seed })
  await serveStun(lab)
  const a = await makePeer(lab.host('a', { behind: lab.router('ra', { nat: 'linux' }) }), 'b')
  const b = await makePeer(lab.host('b', { behind: lab.router('rb', { nat: 'linux' }) }), 'a')
  return { lab, a, b }
}

function carry(lab: ReturnType<typeof createLab>, from: Peer, to: Peer, delay: number): void {
  from.session.on('signal', (signal: Signal) => lab.after(delay, () => void to.session.signal(signal)))
}

describe('C84 punching without poisoning', () => {
  it.each([
    ['both at once', 20, 20],
    ['one side hears 25 ms later', 20, 45],
    ['one side hears 80 ms later', 20, 100],
    ['one side hears 280 ms later', 20, 300],
    ['slow signals both ways', 400, 400],
    ['the signals one way take a second', 20, 1_000],
  ])('two peers meet behind poisonable NATs: %s', async (_what, toA, toB) => {
    for (let seed = 1; seed <= 10; seed++) {
      const { lab, a, b } = await poisonable(seed)
      carry(lab, b, a, toA)
      carry(lab, a, b, toB)
      await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 15_000 })
      await a.traversal.close()
      await b.traversal.close()
    }
  })

  it('warm traversals, one of which is asked half a second later', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { lab, a, b } = await poisonable(seed)
      await lab.until(Promise.all([a.traversal.gathered, b.traversal.gathered]))
      carry(lab, b, a, 20)
      const late: Signal[] = []
      let asked = false
      a.session.on('signal', (signal) => void (asked ? lab.after(20, () => void b.session.signal(signal)) : late.push(signal)))
      await lab.run(500)
      asked = true
      for (const signal of late) b.session.signal(signal)
      await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 15_000 })
      await a.traversal.close()
      await b.traversal.close()
    }
  })

  /** Behind poisonable NATs and connected; something happens to b; then they have to meet again. */
  async function meetAgain(
    seed: number,
    happen: (lab: ReturnType<typeof createLab>, b: Peer, host: LabHost) => Promise<void>,
  ): Promise<void> {
    const lab = createLab({ seed })
    await serveStun(lab)
    const a = await makePeer(lab.host('a', { behind: lab.router('ra', { nat: 'linux' }) }), 'b')
    const host = lab.host('b', { behind: lab.router('rb', { nat: 'linux' }) })
    const b = await makePeer(host, 'a')
    carry(lab, b, a, 40)
    // By its own clock: what is for a sleeper waits until it wakes.
    a.session.on('signal', (signal) => host.clock.wake(host.clock.now() + 40, () => void b.session.signal(signal)))
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(2_000)
    await happen(lab, b, host)
    await lab.run(60_000)
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      say(from, `again from ${from.name}`)
      await lab.run(200)
      expect(to.inbox).toContain(`again from ${from.name}`)
    }
    await a.traversal.close()
    await b.traversal.close()
  }

  it.each([1, 2, 3])('a peer that roams to another poisonable NAT is met again, seed %i', (seed) =>
    meetAgain(seed, async (lab, _b, host) => host.moveTo(lab.router('rc', { nat: 'linux' }))),
  )

  it.each([1, 2, 3])('one that closed and opens again minutes later, seed %i', (seed) =>
    meetAgain(seed, async (lab, b) => {
      await b.session.close()
      await lab.run(200_000)
      b.traversal.connect({ peer: 'a' })
    }),
  )

  it.each([1, 2, 3])('one that slept for five minutes, seed %i', (seed) =>
    meetAgain(seed, async (lab, _b, host) => {
      host.suspend(300_000)
      await lab.run(300_000)
    }),
  )

  it('a code carried by hand a minute later', async () => {
    const { lab, a, b } = await poisonable(1)
    await lab.until(Promise.all([a.traversal.gathered, b.traversal.gathered]))
    const codeOf = (peer: Peer): Promise<Signal> => new Promise((resolve) => peer.session.once('signal', resolve))
    const [codeA, codeB] = await lab.until(Promise.all([codeOf(a), codeOf(b)]))
    a.session.signal(codeB)
    await lab.run(90_000)
    b.session.signal(codeA)
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 20_000 })
  })

  it('openers go no further than our own router', async () => {
    const { lab, a, b } = await poisonable(1)
    carry(lab, b, a, 20)
    await lab.until(b.traversal.gathered)
    // The peer never hears of us, so nothing ends the caution: whatever goes to its address dies on the way.
    lab.trace.start()
    await lab.run(1_000)
    const outside = b.session
      .explain()
      .localCandidates.join()
      .match(/203\.0\.113\.\d+/)?.[0]
    const toPeer = lab.trace.records.filter(({ to }) => to.ip === outside)
    expect(toPeer.some(({ at, event }) => at === 'ra' && event === 'forward')).toBe(true)
    expect(toPeer.filter(({ event }) => event === 'drop').map(({ at, reason }) => `${at} ${reason}`)).toEqual(
      expect.arrayContaining([expect.stringContaining('hop-limit')]),
    )
    expect(toPeer.filter(({ at }) => at === 'rb')).toEqual([])
  })
})
