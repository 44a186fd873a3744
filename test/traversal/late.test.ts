import { expect, it } from 'vitest'
import { createLab, join, makePeer, say, serveStun } from './meeting.ts'

it.each([45, 300, 1_200])(
  'C76 a peer that takes our signal %i s after it was given still connects, with the same credentials',
  async (seconds) => {
    const lab = createLab()
    await serveStun(lab)
    const a = await makePeer(lab.host('a', { behind: lab.router('ra', { nat: 'portRestricted' }) }), 'b')
    const b = await makePeer(lab.host('b', { behind: lab.router('rb', { nat: 'portRestricted' }) }), 'a')
    await lab.until(Promise.all([a.traversal.gathered, b.traversal.gathered]))
    // Somebody carries one code at once, and the other one later.
    const codeOf = (peer: typeof a): Promise<string> =>
      new Promise((resolve) => peer.session.once('signal', (s) => resolve(JSON.stringify(s))))
    const [codeA, codeB] = await lab.until(Promise.all([codeOf(a), codeOf(b)]))
    a.session.signal(JSON.parse(codeB))
    await lab.run(seconds * 1_000)
    expect(a.session.state).toBe('connecting')
    b.session.signal(JSON.parse(codeA))
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 20_000 })
    say(a, 'at last')
    await lab.run(100)
    expect(b.inbox).toEqual(['at last'])
  },
)

it('C17 a peer that knows of us and never answers is given up, but not before 39.5 s (RFC 8863)', async () => {
  const lab = createLab()
  await serveStun(lab)
  const a = await makePeer(lab.host('a', { behind: lab.router('ra', { nat: 'symmetricRandom' }) }), 'b')
  const b = await makePeer(lab.host('b', { behind: lab.router('rb', { nat: 'symmetricRandom' }) }), 'a')
  join(lab, a, b)
  await lab.run(39_000)
  expect(a.session.state).toBe('connecting')
  const failure = await lab.until(
    a.session.ready.catch((error: unknown) => error),
    { within: 60_000 },
  )
  expect(failure).toMatchObject({ code: 'ERR_NO_PATH' })
  expect(a.session.state).toBe('idle')
})
