/** How checks go on when packets are lost, and that they do not when nothing is. */
import { describe, expect, it } from 'vitest'
import type { PacketView } from '../../src/lab/index.ts'
import { createLab, join, makePeer, type Peer, serveStun } from './meeting.ts'

async function behindNats(delay: number): Promise<{ lab: ReturnType<typeof createLab>; a: Peer; b: Peer }> {
  const lab = createLab({ seed: 1, delay })
  await serveStun(lab)
  const a = await makePeer(lab.host('a', { behind: lab.router('ra') }), 'b')
  const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
  return { lab, a, b }
}

function isAnswerToCheck({ data, from }: PacketView): boolean {
  return data[0] === 1 && data[1] === 1 && from.port !== 3478
}

describe('a side that hears the peer and gets no answers', () => {
  it.each([0, 7, 14, 21, 28, 35, 42])(
    'C73 has a path soon after they come through again, though the peer has one and asks nothing: %i ms',
    async (more) => {
      const { lab, a, b } = await behindNats(20)
      join(lab, a, b, { delay: 20 })
      const put = lab.filter((packet) => (packet.host === 'b' && isAnswerToCheck(packet) ? 'drop' : 'pass'))
      await lab.until(b.session.ready)
      await lab.run(300 + more)
      expect(a.session.path).toBeUndefined()
      put()
      // The next check within 0.6 of a round trip, and its answer.
      await lab.run(24 + 41)
      expect(a.session.path?.kind).toBe('direct')
    },
  )
})

describe('a long round trip', () => {
  it('C26 without loss costs few checks: how far the servers are tells how long to wait', async () => {
    const { lab, a, b } = await behindNats(150)
    join(lab, a, b, { delay: 150 })
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(1_000)
    for (const { session } of [a, b]) {
      const used = session.explain().pairs.find(({ outcome }) => outcome === 'carries the data')
      expect(used?.checksSent).toBeLessThanOrEqual(8)
    }
  })
})
