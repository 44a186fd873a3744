import { describe, expect, it } from 'vitest'
import { createTraversal, type Session, type Signal } from '../../src/index.ts'
import { createLab, type Lab } from '../../src/lab/index.ts'
import { join, makePeer, say } from './meeting.ts'

/** A session with another ICE agent, which tells its generations by user fragment alone and trickles candidate by candidate. */
async function withForeigner(): Promise<{ lab: Lab; session: Session; hear: (ufrag: string, ip: string) => boolean }> {
  const lab = createLab()
  const traversal = await createTraversal({ network: lab.host('a') })
  const session = traversal.connect({ peer: 'b' })
  const hear = (ufrag: string, ip: string): boolean =>
    session.signal({ v: 1, ufrag, pwd: 'p'.repeat(24), candidates: [`candidate:1 1 udp 2130706431 ${ip} 9 typ host`] })
  return { lab, session, hear }
}

const generationOf = (session: Session): number => Math.max(...session.explain().pairs.map(({ generation }) => generation))
const remotesOf = (session: Session): string[] => session.explain().remoteCandidates.map((line) => line.split(' ')[4] ?? '')

describe('C14 a late candidate', () => {
  it('of the present generation is used', async () => {
    const { session, hear } = await withForeigner()
    for (const n of [1, 2]) expect(hear('first', `192.0.2.${n}`)).toBe(true)
    expect(remotesOf(session)).toEqual(['192.0.2.1', '192.0.2.2'])
    expect(generationOf(session)).toBe(1)
  })

  it('of a generation that is over is ignored with a reason, and does not bring that one back', async () => {
    const { lab, session, hear } = await withForeigner()
    hear('first', '192.0.2.1')
    hear('second', '192.0.2.2')
    const generation = generationOf(session)
    for (let n = 0; n < 3; n++) {
      hear('first', '192.0.2.77')
      await lab.run(100)
    }
    expect(generationOf(session)).toBe(generation)
    expect(remotesOf(session)).toEqual(['192.0.2.2'])
    expect(session.explain().refused.join()).toContain('generation of the peer that is over')
    hear('second', '192.0.2.3')
    expect(remotesOf(session)).toEqual(['192.0.2.2', '192.0.2.3'])
    hear('third', '192.0.2.4')
    expect(remotesOf(session)).toEqual(['192.0.2.4'])
  })

  it('of our own kind comes with a signal that was overtaken, and is ignored with it', async () => {
    const lab = createLab()
    const a = await makePeer(lab.host('a'), 'b', { servers: [] })
    const b = await makePeer(lab.host('b'), 'a', { servers: [] })
    const said: Signal[] = []
    b.session.on('signal', (signal) => void said.push(signal))
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(1_000)
    const old = said.at(-1) as Signal
    b.session.restart()
    await lab.run(7_000)
    const before = a.session.explain()
    a.session.signal({ ...old, candidates: ['candidate:9 1 udp 2130706431 192.0.2.77 9 typ host'] })
    await lab.run(500)
    const after = a.session.explain()
    expect(after.remoteCandidates).toEqual(before.remoteCandidates)
    expect(after.pairs.map(({ generation }) => generation)).toEqual(before.pairs.map(({ generation }) => generation))
    say(b, 'still here')
    await lab.run(100)
    expect(a.inbox).toEqual(['still here'])
  })
})
