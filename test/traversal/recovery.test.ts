import { describe, expect, it } from 'vitest'
import { createTraversal, parseCandidate, type Session } from '../../src/index.ts'
import type { LabHost } from '../../src/lab/index.ts'
import { Address, type DatagramHandler } from '../../src/net/index.ts'
import { Message } from '../../src/stun/index.ts'
import { CountingNetwork } from './counting-network.ts'
import { createLab, join, makePeer, meet, type Peer, SERVER, say, serveStun } from './meeting.ts'

type Lab = ReturnType<typeof createLab>

interface Homes {
  readonly lab: Lab
  readonly a: Peer
  readonly b: Peer
  readonly host: LabHost
}

async function homes(seed = 1): Promise<Homes> {
  const lab = createLab({ seed })
  await serveStun(lab)
  const host = lab.host('a', { behind: lab.router('ra') })
  const a = await makePeer(host, 'b')
  const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
  join(lab, a, b)
  return { lab, a, b, host }
}

/** Everything that a session tells but its signals and messages, in order, with what is true in that moment. */
function told(session: Session): string[] {
  const events: string[] = []
  session.on('state', (state) => events.push(`state ${state}, ${session.path === undefined ? 'no path' : 'a path'}`))
  session.on('path', () => events.push(`path, ${session.state}`))
  session.on('drain', () => events.push(`drain, ${session.state}`))
  session.on('error', ({ message }) => events.push(`error ${message}`))
  return events
}

describe('C59 a network that is gone for forty seconds', () => {
  it.each([1, 2])('costs the path when consent runs out, and gives it back with the first answer after; seed %i', async (seed) => {
    const { lab, a, b, host } = await homes(seed)
    const events = [told(a.session), told(b.session)]
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(10_000)
    const expected = ['state connected, a path', 'path, connected']
    expect(events).toEqual([expected, expected])
    host.link.set({ loss: 1 })
    await lab.run(29_000 - 6_000)
    expect(events).toEqual([expected, expected])
    await lab.run(17_000)
    expected.push('state connecting, no path')
    expect(events).toEqual([expected, expected])
    const again = [a, b].map(({ session }) => session.ready)
    for (const peer of [a, b]) expect(say(peer, 'kept')).toBe(false)
    let answered = Number.POSITIVE_INFINITY
    lab.trace.start()
    host.link.set({ loss: 0 })
    await lab.until(Promise.all(again), { within: 20_000 })
    await lab.run(500)
    for (const { at, event, data, time } of lab.trace.records) {
      if (at === 'a' && event === 'receive' && Message.read(data)?.class === 'success' && data.length > 60)
        answered = Math.min(answered, time)
    }
    expected.push('state connected, a path', 'path, connected', 'drain, connected')
    expect(events).toEqual([expected, expected])
    const firstPath = a.session.explain().log.findLast(({ text }) => text.startsWith('path '))
    expect(firstPath?.at).toBeCloseTo(answered, 6)
    expect([a.inbox, b.inbox]).toEqual([['kept'], ['kept']])
  })
})

describe('C59 a network that passes nothing for half an hour, while signals still get through', () => {
  it.each<[string, (homes: Homes, on: boolean) => void]>([
    ['one access is dead', ({ host }, on) => host.link.set({ loss: on ? 1 : 0 })],
    ['UDP is blocked', ({ host }, on) => Object.assign(host.routers[0] ?? {}, { blockUdp: on })],
  ])('ends no session that was connected, and it is back within minutes without a call: %s', async (_what, set) => {
    const stage = await homes(3)
    const { lab, a, b } = stage
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    const events = [told(a.session), told(b.session)]
    set(stage, true)
    await lab.run(1_800_000)
    expect(events).toEqual([['state connecting, no path'], ['state connecting, no path']])
    // More and more rarely.
    const generations = [a, b].map(({ session }) => Math.max(...session.explain().pairs.map(({ generation }) => generation)))
    expect(Math.max(...generations)).toBeLessThan(25)
    set(stage, false)
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 360_000 })
    for (const peer of [a, b]) say(peer, `from ${peer.name}`)
    await lab.run(200)
    expect([a.inbox, b.inbox]).toEqual([['from b'], ['from a']])
  })
})

describe('C56 when consent has run out', () => {
  it('nothing of the application is sent any more, though the peer still sends', async () => {
    const { lab, a, b } = await homes()
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(5_000)
    // Our questions get lost, or their answers; the peer’s data comes through.
    lab.filter(({ host, data }) => (host === 'b' && Message.read(data)?.class === 'success' ? 'drop' : undefined))
    for (let i = 0; i < 36; i++) {
      say(b, 'still talking')
      await lab.run(1_000)
    }
    expect(a.session.path).toBeUndefined()
    lab.trace.start()
    expect(say(a, 'nobody wants this')).toBe(false)
    await lab.run(5_000)
    const sent = lab.trace.records.filter(({ at, event }) => at === 'a' && event === 'send')
    expect(sent.every(({ data }) => Message.read(data) !== undefined)).toBe(true)
  })
})

describe('C62 a check of a generation that is over', () => {
  it('is answered under its own password while that generation lives on, then dropped, and never reaches the new one', async () => {
    const lab = createLab({ seed: 2 })
    await serveStun(lab)
    lab.trace.start()
    const network = new CountingNetwork(lab.host('a'))
    const a = meet('a', await createTraversal({ network, servers: [SERVER] }), 'b')
    const b = await makePeer(lab.host('b'), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(500)
    const old = lab.trace.records.find(({ at, event, data }) => {
      return at === 'a' && event === 'receive' && Message.read(data)?.class === 'request'
    })
    const [handler] = network.handlers.values()
    const replay = (): { answers: number; unknown: number } => {
      const before = lab.trace.records.length
      const { unknownUfrag } = a.traversal.status().dropped
      // From where nobody is: the new generation would learn this address if it took the check.
      ;(handler as DatagramHandler).datagram((old?.data ?? new Uint8Array()).slice(), Address.of('203.0.113.99', 5_000))
      const answers = lab.trace.records
        .slice(before)
        .filter(({ event, data }) => event === 'send' && Message.read(data)?.class === 'success')
      return { answers: answers.length, unknown: a.traversal.status().dropped.unknownUfrag - unknownUfrag }
    }
    a.session.restart()
    b.session.restart()
    await lab.run(1_000)
    expect(replay()).toEqual({ answers: 1, unknown: 0 })
    const withOld = a.session.explain().pairs.filter(({ remote }) => remote.address.startsWith('203.0.113.99'))
    expect(withOld.map(({ generation }) => generation)).toEqual([1])
    await lab.run(10_000)
    expect(replay()).toEqual({ answers: 0, unknown: 1 })
    expect(a.session.explain().pairs.filter(({ remote }) => remote.address.startsWith('203.0.113.99'))).toEqual([])
    expect(a.session.state).toBe('connected')
  })
})

describe('C63 interfaces that come and go', () => {
  it('end their pairs in the moment in which they are gone, and the spare carries on in it', async () => {
    const lab = createLab({ seed: 4 })
    await serveStun(lab)
    const host = lab.host('a', { interfaces: [{ behind: lab.router('wifi') }, { behind: lab.router('mobile') }] })
    const a = await makePeer(host, 'b')
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(5_000)
    const [first = '', second = ''] = host.addresses.map(({ ip }) => ip)
    const used = a.session.explain().pairs.find(({ outcome }) => outcome === 'carries the data')
    expect(used).toBeDefined()
    host.removeInterface('eth0')
    await lab.run(0)
    expect(a.traversal.status().candidates.join()).not.toContain(first)
    expect(a.traversal.status().candidates.join()).toContain(second)
    expect(a.session.explain().pairs.some(({ valid }) => valid)).toBe(true)
    expect(a.session.state).toBe('connected')
    say(a, 'at once')
    await lab.run(100)
    expect(b.inbox).toEqual(['at once'])
  })

  it('are offered in the moment in which they are there', async () => {
    const { lab, a, b, host } = await homes()
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(5_000)
    const said: { at: number; hosts: number }[] = []
    a.session.on('signal', ({ candidates }) => {
      said.push({ at: lab.clock.now(), hosts: candidates.filter((line) => parseCandidate(line).type === 'host').length })
    })
    const now = lab.clock.now()
    host.addInterface({ behind: lab.router('cable') })
    await lab.run(0)
    expect(said).toEqual([{ at: now, hosts: 2 }])
  })

  it('may all be gone for hours: that is no failure, and the first new one connects', async () => {
    const { lab, a, b, host } = await homes()
    const events = told(a.session)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(5_000)
    host.removeInterface()
    await lab.run(0)
    expect(a.session.state).toBe('connecting')
    await lab.run(2 * 3_600_000)
    expect(events.filter((text) => text.startsWith('error'))).toEqual([])
    expect(a.session.state).toBe('connecting')
    host.addInterface({ behind: lab.router('new') })
    await lab.run(3_000)
    expect(a.session.state).toBe('connected')
    say(b, 'back')
    await lab.run(100)
    expect(a.inbox).toEqual(['back'])
  })

  it('and after a move the old addresses are never offered again', async () => {
    const { lab, a, b, host } = await homes()
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(2_000)
    const old = a.traversal.status().candidates.map((line) => parseCandidate(line).address.key)
    const said: string[] = []
    a.session.on('signal', (signal) => said.push(JSON.stringify(signal)))
    host.moveTo(lab.router('elsewhere'))
    await lab.run(5_000)
    a.session.restart()
    await lab.run(60_000)
    expect(said.length).toBeGreaterThan(1)
    for (const key of old) expect(said.join()).not.toContain(key.replace(':', ' '))
    expect(a.session.state).toBe('connected')
  })
})

describe('C40 an address that a check showed before it was signalled', () => {
  it('gives one path, which is never lost or told again when its name comes', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const lab = createLab({ seed })
      await serveStun(lab)
      const a = await makePeer(lab.host('a'), 'b')
      const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
      const events = told(a.session)
      // b's signal with what the server saw comes long after its checks.
      b.session.on('signal', (signal) => {
        const early = signal.candidates.filter((line) => !line.includes('srflx'))
        lab.after(20, () => void a.session.signal({ ...signal, seq: (signal.seq ?? 0) * 2 - 1, candidates: early }))
        if (early.length < signal.candidates.length)
          lab.after(3_000, () => void a.session.signal({ ...signal, seq: (signal.seq ?? 0) * 2 }))
      })
      a.session.on('signal', (signal) => lab.after(20, () => void b.session.signal(signal)))
      await lab.until(a.session.ready, { within: 2_000 })
      expect(a.session.path?.remote.type).toBe('prflx')
      const pair = a.session.explain().pairs.find(({ outcome }) => outcome === 'carries the data')
      await lab.run(2_900)
      const { path } = a.session
      await lab.run(5_000)
      expect(a.session.path).toMatchObject({ remote: { ...path?.remote, type: 'srflx' }, local: path?.local })
      expect(a.session.explain().pairs.find(({ outcome }) => outcome === 'carries the data')?.remote.address).toBe(pair?.remote.address)
      expect(events).toEqual(['state connected, a path', 'path, connected'])
      await a.traversal.close()
      await b.traversal.close()
    }
  })
})

describe('C77 a listener of `drain` that throws', () => {
  it('does not stop the datagrams that wait, nor the session', async () => {
    const { lab, a, b } = await homes()
    const errors: string[] = []
    a.session.on('error', ({ message }) => errors.push(message))
    a.session.on('drain', () => {
      throw new Error('of drain')
    })
    for (let i = 0; i < 10; i++) say(a, `${i}`)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(200)
    expect(errors).toEqual(['of drain'])
    expect(b.inbox).toEqual(Array.from({ length: 10 }, (_, i) => `${i}`))
  })
})
