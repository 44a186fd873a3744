import { describe, expect, it } from 'vitest'
import { createLab, join, makePeer, say, serveStun } from './meeting.ts'

describe('two traversals behind NATs', () => {
  it('meet on a direct path and carry data both ways', async () => {
    const lab = createLab()
    await serveStun(lab)
    const a = await makePeer(lab.host('a', { behind: lab.router('ra', { nat: 'portRestricted' }) }), 'b')
    const b = await makePeer(lab.host('b', { behind: lab.router('rb', { nat: 'portRestricted' }) }), 'a')
    join(lab, a, b)
    const [path] = await lab.until(Promise.all([a.session.ready, b.session.ready]))
    expect(path).toMatchObject({ kind: 'direct', local: { type: 'srflx' }, remote: { type: 'srflx' } })
    say(a, 'from a')
    say(b, 'from b')
    await lab.run(100)
    expect(a.inbox).toEqual(['from b'])
    expect(b.inbox).toEqual(['from a'])
    expect([a.session.explain().role, b.session.explain().role].sort()).toEqual(['controlled', 'controlling'])
    await a.traversal.close()
    await b.traversal.close()
  })

  it('queue what is sent before there is a path, and deliver it in order when there is one', async () => {
    const lab = createLab()
    await serveStun(lab)
    const a = await makePeer(lab.host('a'), 'b')
    const b = await makePeer(lab.host('b'), 'a')
    expect(say(a, 'one')).toBe(false)
    expect(say(a, 'two')).toBe(false)
    join(lab, a, b)
    await lab.until(a.session.ready)
    await lab.run(100)
    expect(b.inbox).toEqual(['one', 'two'])
  })

  it('the side that is closed tells the other, which goes idle', async () => {
    const lab = createLab()
    const a = await makePeer(lab.host('a'), 'b', { servers: [] })
    const b = await makePeer(lab.host('b'), 'a', { servers: [] })
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await a.session.close()
    await lab.run(200)
    expect(a.session.state).toBe('closed')
    expect(b.session.state).toBe('idle')
    await expect(b.session.ready).rejects.toMatchObject({ code: 'ERR_PEER_CLOSED' })
  })
})

it('a path is there before the first message, also when data overtook the answer that proves it', async () => {
  const lab = createLab({ jitter: 15, seed: 4 })
  await serveStun(lab)
  for (let round = 0; round < 20; round++) {
    const a = await makePeer(lab.host(`a${round}`, { behind: lab.router(`ra${round}`) }), 'b')
    // In the open: its check and its answer leave together, and ours to its check comes after our first datagram.
    const b = await makePeer(lab.host(`b${round}`), 'a')
    join(lab, a, b)
    const pathless: string[] = []
    for (const peer of [a, b]) {
      peer.session.on('message', () => {
        if (peer.session.path === undefined) pathless.push(peer.name)
      })
      peer.session.on('path', () => say(peer, `hello from ${peer.name}`))
    }
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(200)
    expect(pathless).toEqual([])
    expect(a.inbox).toEqual([`hello from b${round}`])
    expect(b.inbox).toEqual([`hello from a${round}`])
    await a.traversal.close()
    await b.traversal.close()
  }
})

describe('C83 a channel that gives back what was said on it', () => {
  it('connects nobody with itself', async () => {
    const lab = createLab()
    const a = await makePeer(lab.host('a'), 'b', { servers: [] })
    let own = 0
    a.session.on('signal', (signal) => {
      own++
      expect(a.session.signal(JSON.parse(JSON.stringify(signal)))).toBe(false)
    })
    await lab.run(10_000)
    expect(a.session.state).toBe('connecting')
    expect(own).toBeLessThan(10)
    expect(a.session.explain().refused[0]).toContain('our own')
    await a.session.close()
    await a.traversal.close()
  })

  it('and does not keep two peers from each other, nor start a storm', async () => {
    const lab = createLab()
    await serveStun(lab)
    const a = await makePeer(lab.host('a', { behind: lab.router('ra') }), 'b')
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
    let said = 0
    for (const { session } of [a, b]) {
      session.on('signal', (signal) => {
        said++
        for (const to of [a, b]) lab.after(20, () => void to.session.signal(signal))
      })
    }
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(60_000)
    expect(said).toBeLessThan(40)
    expect(a.session.explain().pairs.every(({ generation }) => generation === 1)).toBe(true)
  })
})

it('after a failure the explanation still says what was tried, and so does the report of the error', async () => {
  const lab = createLab()
  await serveStun(lab)
  const a = await makePeer(lab.host('a', { behind: lab.router('ra', { nat: 'symmetricRandom' }) }), 'b')
  const b = await makePeer(lab.host('b', { behind: lab.router('rb', { nat: 'portRestricted' }) }), 'a')
  join(lab, a, b)
  const error = await lab.until(
    a.session.ready.catch((reason: unknown) => reason),
    { within: 60_000 },
  )
  for (const text of [String(a.session.explain()), String((error as { report: unknown }).report)]) {
    expect(text).toMatch(/pairs tried:\n {2}host 192\.168\.1\.2:\d+ - \w+ \S+: no answer/)
    expect(text).toMatch(/We offer:\n {2}candidate:/)
    expect(text).toMatch(/The peer offers:\n {2}candidate:/)
    expect(text).toMatch(
      /Servers:\n {2}stun:stun\.example\.net \(203\.0\.113\.1:3478\) from 192\.168\.1\.2:\d+: sees us at 203\.0\.113\.2:\d+/,
    )
  }
})

it('what UDP cannot carry is a RangeError at the call', async () => {
  const lab = createLab()
  const a = await makePeer(lab.host('a'), 'b', { servers: [] })
  expect(() => a.session.send(new Uint8Array(65_508))).toThrow(RangeError)
})
