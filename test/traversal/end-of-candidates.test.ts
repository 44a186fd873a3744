import { describe, expect, it } from 'vitest'
import { createLab } from '../../src/lab/index.ts'
import { makePeer, serveStun } from './meeting.ts'

const description = { v: 1, ufrag: 'theirsth', pwd: 't'.repeat(24) } as const
const line = (ip: string): string => `candidate:1 1 udp 2130706431 ${ip} 5000 typ host`

describe('C16 a candidate after the end of candidates', () => {
  it('C16 from another agent is refused with a reason, until it restarts', async () => {
    const lab = createLab()
    await serveStun(lab)
    const { session, traversal } = await makePeer(lab.host('a'), 'b')
    session.signal({ ...description, candidates: [line('203.0.113.1')] })
    session.signal({ ...description, candidates: [line('203.0.113.2')], end: true })
    expect(session.signal({ ...description, candidates: [line('203.0.113.3')] })).toBe(true)
    expect(session.explain().remoteCandidates).toHaveLength(2)
    expect(session.explain().refused).toEqual([expect.stringContaining('after the end of candidates')])
    session.signal({ ...description, ufrag: 'restarted', candidates: [line('203.0.113.3')] })
    expect(session.explain().remoteCandidates).toEqual([expect.stringContaining('203.0.113.3')])
    await traversal.close()
  })

  it('C16 from our own is taken: it roamed, and says everything anew', async () => {
    const lab = createLab()
    await serveStun(lab)
    const { session, traversal } = await makePeer(lab.host('a'), 'b')
    const ours = { ...description, id: '0123456789abcdef', end: true }
    session.signal({ ...ours, seq: 1, candidates: [line('203.0.113.1')] })
    session.signal({ ...ours, seq: 2, candidates: [line('203.0.113.2')] })
    expect(session.explain().remoteCandidates).toEqual([expect.stringContaining('203.0.113.2')])
    await traversal.close()
  })
})
