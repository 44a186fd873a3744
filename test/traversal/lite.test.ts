import { describe, expect, it } from 'vitest'
import { createTraversal, type Signal } from '../../src/index.ts'
import { createLab, type Lab, type LabHost } from '../../src/lab/index.ts'
import { Attribute, Message } from '../../src/stun/index.ts'
import { join, makePeer, type Peer, say, serveStun } from './meeting.ts'

/** A full agent behind a NAT and a lite one on the open internet, with the requests that the lite one sent. */
async function server(seed: number): Promise<{ lab: Lab; home: Peer; host: LabHost; open: Peer; requests: () => number }> {
  const lab = createLab({ seed })
  await serveStun(lab)
  const host = lab.host('home', { behind: lab.router('router') })
  const home = await makePeer(host, 'open')
  const open = await makePeer(lab.host('open'), 'home', { lite: true, servers: [] })
  lab.trace.start()
  const requests = (): number =>
    lab.trace.records.filter(({ event, at, data }) => event === 'send' && at === 'open' && Message.read(data)?.class === 'request').length
  return { lab, home, host, open, requests }
}

/** As an SDP would have it: without what only our own agents say. */
function foreign({ v, ufrag, pwd, candidates, lite, end }: Signal): Signal {
  return { v, ufrag, pwd, candidates, ...(lite === undefined ? {} : { lite }), ...(end === undefined ? {} : { end }) }
}

async function expectData(lab: Lab, a: Peer, b: Peer): Promise<void> {
  say(a, 'from a')
  say(b, 'from b')
  await lab.run(300)
  expect(a.inbox).toContain('from b')
  expect(b.inbox).toContain('from a')
}

describe('a lite side', () => {
  it.each([1, 2, 3, 4])('C55 C54 meets a full one, which controls whatever the tie-breakers say, seed %i', async (seed) => {
    const { lab, home, open, requests } = await server(seed)
    join(lab, home, open)
    await lab.until(Promise.all([home.session.ready, open.session.ready]))
    expect([home.session.explain().role, open.session.explain().role]).toEqual(['controlling', 'controlled'])
    await expectData(lab, home, open)
    await lab.run(120_000)
    await expectData(lab, home, open)
    expect(requests()).toBe(0)
    await home.traversal.close()
    await open.traversal.close()
  })

  it('C54 another agent’s lite side is met with one regular nomination', async () => {
    const { lab, home, open, requests } = await server(1)
    const values: (number | undefined)[] = []
    home.session.on('signal', (signal) => lab.after(20, () => void open.session.signal(signal)))
    open.session.on('signal', (signal) => lab.after(20, () => void home.session.signal(foreign(signal))))
    await lab.until(Promise.all([home.session.ready, open.session.ready]))
    await expectData(lab, home, open)
    for (const { data } of lab.trace.records) {
      const message = Message.read(data)
      if (message?.has(Attribute.UseCandidate) === true) values.push(message.uint32(Attribute.Nomination))
    }
    expect(values.length).toBeGreaterThan(0)
    expect(values.every((value) => value === undefined)).toBe(true)
    expect(requests()).toBe(0)
    await home.traversal.close()
    await open.traversal.close()
  })

  it('C55 C59 loses a peer that is silent for 30 s, and meets it again when it is back', async () => {
    const { lab, home, open, host } = await server(2)
    join(lab, home, open)
    await lab.until(Promise.all([home.session.ready, open.session.ready]))
    await lab.run(10_000)
    host.suspend(60_000)
    await lab.run(35_000)
    expect(open.session.state).toBe('connecting')
    await lab.run(60_000)
    await expectData(lab, home, open)
    await home.traversal.close()
    await open.traversal.close()
  })

  it('C54 two lite sides both learn at once that neither would check', async () => {
    const lab = createLab({ seed: 1 })
    const peers = []
    for (const name of ['a', 'b']) peers.push(await makePeer(lab.host(name), 'other', { lite: true, servers: [] }))
    const [a, b] = peers as [Peer, Peer]
    const failures = [a, b].map(({ session }) => session.ready.catch((error) => error))
    join(lab, a, b)
    const errors = await lab.until(Promise.all(failures), { within: 1_000 })
    for (const error of errors)
      expect(error).toMatchObject({ code: 'ERR_NO_PATH', message: expect.stringContaining('both sides are lite') })
    await lab.run(60_000)
    expect([a.session.state, b.session.state]).toEqual(['idle', 'idle'])
    await a.traversal.close()
    await b.traversal.close()
  })

  it('is refused with servers, and with anything but true or false', async () => {
    await expect(createTraversal({ lite: true, servers: ['stun:192.0.2.1'] })).rejects.toThrow(/option lite/)
    await expect(createTraversal({ lite: 'yes' as unknown as boolean })).rejects.toThrow(/option lite/)
  })
})
