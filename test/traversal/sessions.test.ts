import { describe, expect, it } from 'vitest'
import { createTraversal, type Path } from '../../src/index.ts'
import { createLab, type Lab } from '../../src/lab/index.ts'
import type { DatagramHandler } from '../../src/net/index.ts'
import { CountingNetwork } from './counting-network.ts'
import { join, makePeer, meet, type Peer, SERVER, say, serveStun } from './meeting.ts'

async function twoHomes(seed = 1): Promise<{ lab: Lab; a: Peer; b: Peer }> {
  const lab = createLab({ seed })
  await serveStun(lab)
  const a = await makePeer(lab.host('a', { behind: lab.router('ra') }), 'b')
  const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
  join(lab, a, b)
  return { lab, a, b }
}

describe('C70 fifty sessions over one traversal', () => {
  async function star(count: number): Promise<{ lab: Lab; hub: readonly Peer[]; spokes: readonly Peer[]; network: CountingNetwork }> {
    const lab = createLab({ seed: 9 })
    await serveStun(lab)
    const network = new CountingNetwork(lab.host('hub', { behind: lab.router('rh') }))
    const traversal = await createTraversal({ network, servers: [SERVER] })
    const hub: Peer[] = []
    const spokes: Peer[] = []
    for (let i = 0; i < count; i++) {
      const spoke = await makePeer(lab.host(`s${i}`, { behind: lab.router(`r${i}`) }), 'hub')
      const end = meet('hub', traversal, `s${i}`)
      join(lab, end, spoke)
      hub.push(end)
      spokes.push(spoke)
    }
    await lab.until(Promise.all([...hub, ...spokes].map(({ session }) => session.ready)), { within: 20_000 })
    await lab.run(1_000)
    return { lab, hub, spokes, network }
  }

  it('go over one socket, and every datagram reaches its session and no other', async () => {
    const { lab, hub, spokes, network } = await star(50)
    expect(network.sockets.size).toBe(1)
    spokes.forEach((spoke, i) => void say(spoke, `from ${i}`))
    hub.forEach((end, i) => void say(end, `to ${i}`))
    await lab.run(200)
    expect(hub.map(({ inbox }) => inbox)).toEqual(hub.map((_, i) => [`from ${i}`]))
    expect(spokes.map(({ inbox }) => inbox)).toEqual(spokes.map((_, i) => [`to ${i}`]))
  })

  it('closing one, by either side, disturbs none of the others', async () => {
    const { lab, hub, spokes } = await star(20)
    const states: string[] = []
    for (const { session } of hub.slice(2)) session.on('state', (state) => states.push(state))
    await hub[0]?.session.close()
    await spokes[1]?.session.close()
    await lab.run(40_000)
    expect(states).toEqual([])
    expect([hub[0]?.session.state, hub[1]?.session.state]).toEqual(['closed', 'idle'])
    spokes.slice(2).forEach((spoke, i) => void say(spoke, `again ${i}`))
    await lab.run(200)
    expect(hub.slice(2).map(({ inbox }) => inbox.at(-1))).toEqual(hub.slice(2).map((_, i) => `again ${i}`))
  })

  it('C25 their checks keep 5 ms apart, all of them together', async () => {
    const lab = createLab({ seed: 9 })
    const network = new CountingNetwork(lab.host('hub'))
    const traversal = await createTraversal({ network })
    lab.trace.start()
    for (let i = 0; i < 20; i++) {
      const candidates = Array.from({ length: 3 }, (_, n) => `candidate:${n + 1} 1 udp ${1_000 + n} 192.0.2.${i * 3 + n + 1} 9 typ host`)
      traversal.connect({ peer: `p${i}` }).signal({ v: 1, ufrag: `peer${i}`, pwd: 'p'.repeat(24), candidates })
    }
    await lab.run(3_000)
    const times = lab.trace.records.filter(({ at, event }) => at === 'hub' && event === 'send').map(({ time }) => time)
    expect(times.length).toBeGreaterThan(300)
    expect(Math.min(...times.slice(1).map((time, i) => time - (times[i] as number)))).toBeGreaterThan(4.999)
    // And every session has its turn: nobody waits for another to be done.
    const reached = new Set(
      lab.trace.records
        .filter(({ at, time }) => at === 'hub' && time < 400)
        .map(({ to }) => Math.floor((Number(to.ip.split('.')[3]) - 1) / 3)),
    )
    expect(reached.size).toBe(20)
    await traversal.close()
  })
})

describe('two sessions toward one remote address', () => {
  it('never get each other’s datagrams, on either side', async () => {
    const lab = createLab({ seed: 2 })
    await serveStun(lab)
    const ta = await createTraversal({ network: lab.host('a', { behind: lab.router('ra') }), servers: [SERVER] })
    const tb = await createTraversal({ network: lab.host('b', { behind: lab.router('rb') }), servers: [SERVER] })
    const [a1, b1, a2, b2] = [meet('a1', ta, 'one'), meet('b1', tb, 'one'), meet('a2', ta, 'two'), meet('b2', tb, 'two')]
    join(lab, a1, b1)
    join(lab, a2, b2)
    for (let i = 0; i < 400; i++) {
      say(a1, 'one')
      say(b1, 'one')
      say(a2, 'two')
      say(b2, 'two')
      await lab.run(100)
    }
    for (const { inbox } of [a1, b1]) expect(new Set(inbox)).not.toContain('two')
    for (const { inbox } of [a2, b2]) expect(new Set(inbox)).not.toContain('one')
    // One of the two has the address, and works both ways.
    const working = [[a1, b1] as const, [a2, b2] as const].filter(([a, b]) => a.inbox.length > 300 && b.inbox.length > 300)
    expect(working).toHaveLength(1)
    await ta.close()
    await tb.close()
  })
})

describe('C77 a listener that throws', () => {
  it.each(['signal', 'state', 'path', 'message'] as const)('on %s disturbs nothing, and its error is told by `error`', async (event) => {
    const { lab, a, b } = await twoHomes()
    const errors: Error[] = []
    a.session.on('error', (error) => errors.push(error))
    a.session.on(event as 'state', () => {
      throw new Error(`listener of ${event}`)
    })
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 2_000 })
    say(b, 'one')
    say(b, 'two')
    say(a, 'three')
    await lab.run(500)
    expect(errors.length).toBeGreaterThan(0)
    expect(new Set(errors.map(({ message }) => message))).toEqual(new Set([`listener of ${event}`]))
    expect(a.inbox).toEqual(['one', 'two'])
    expect(b.inbox).toEqual(['three'])
    await a.traversal.close()
    await b.traversal.close()
    expect(a.session.state).toBe('closed')
  })

  it('on `error` itself is thrown where nobody of ours is in the way', async () => {
    const { lab, a, b } = await twoHomes()
    const thrown = new Promise((resolve) => process.once('uncaughtException', resolve))
    const others = process.listeners('uncaughtException').slice(0, -1)
    for (const other of others) process.off('uncaughtException', other)
    try {
      a.session.on('path', () => {
        throw new Error('of path')
      })
      a.session.on('error', () => {
        throw new Error('of error')
      })
      await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 2_000 })
      expect(await thrown).toMatchObject({ message: 'of error' })
    } finally {
      for (const other of others) process.on('uncaughtException', other)
    }
    await a.traversal.close()
    await b.traversal.close()
  })
})

describe('C63 a host that moves to another network', () => {
  it('has a path again within two seconds, without being told anything', async () => {
    const lab = createLab({ seed: 4 })
    await serveStun(lab)
    const host = lab.host('a', { behind: lab.router('home') })
    const a = await makePeer(host, 'b')
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    const mobile = lab.router('mobile')
    for (let n = 0; n < 4; n++) {
      await lab.run(7_000)
      const errors: unknown[] = []
      a.session.on('error', (error) => errors.push(error))
      host.moveTo(n % 2 === 0 ? mobile : lab.router(`wifi${n}`))
      await lab.run(2_000)
      expect([a.session.state, b.session.state]).toEqual(['connected', 'connected'])
      say(a, `a${n}`)
      say(b, `b${n}`)
      await lab.run(200)
      expect(a.inbox.at(-1)).toBe(`b${n}`)
      expect(b.inbox.at(-1)).toBe(`a${n}`)
      expect(errors).toEqual([])
    }
    await a.traversal.close()
    await b.traversal.close()
  })

  it('and back again into the same network', async () => {
    const lab = createLab({ seed: 4 })
    await serveStun(lab)
    const home = lab.router('home')
    const host = lab.host('a', { behind: home })
    const a = await makePeer(host, 'b')
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(1_000)
    host.removeInterface()
    await lab.run(10_000)
    expect(a.session.state).toBe('connecting')
    host.addInterface({ behind: home })
    await lab.run(4_000)
    say(b, 'back')
    await lab.run(200)
    expect(a.inbox).toEqual(['back'])
    await a.traversal.close()
    await b.traversal.close()
  })

  it('a second interface that goes takes only its own pairs along', async () => {
    const lab = createLab({ seed: 4 })
    await serveStun(lab)
    const host = lab.host('a', { interfaces: [{ behind: lab.router('wifi') }, { behind: lab.router('mobile') }] })
    const a = await makePeer(host, 'b')
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(3_000)
    const paths: Path[] = []
    const states: string[] = []
    a.session.on('path', (path) => paths.push(path))
    a.session.on('state', (state) => states.push(state))
    const unused = a.session.explain().pairs.find(({ valid, outcome }) => valid && outcome !== 'carries the data')
    expect(unused).toBeDefined()
    host.removeInterface('eth0')
    await lab.run(1_500)
    // Over to the other one, without a moment of no path.
    expect(paths.length).toBeGreaterThanOrEqual(1)
    expect(states).toEqual([])
    say(a, 'still here')
    say(b, 'me too')
    await lab.run(200)
    expect(a.inbox.at(-1)).toBe('me too')
    expect(b.inbox.at(-1)).toBe('still here')
    await a.traversal.close()
    await b.traversal.close()
  })
})

describe('C64 a host that sleeps', () => {
  it.each([5_000, 60_000, 3_600_000])('for %i ms is connected again soon after it woke, without a flood', async (sleep) => {
    const lab = createLab({ seed: 6 })
    await serveStun(lab)
    const host = lab.host('a', { behind: lab.router('ra') })
    const network = new CountingNetwork(host)
    const a = meet('a', await createTraversal({ network, servers: [SERVER] }), 'b')
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(10_000)
    host.suspend(sleep)
    await lab.run(sleep)
    const sends = network.sends
    await lab.run(1_000)
    expect(network.sends - sends).toBeLessThan(250)
    await lab.run(45_000)
    say(a, 'awake')
    say(b, 'good morning')
    await lab.run(200)
    expect(a.inbox).toEqual(['good morning'])
    expect(b.inbox).toEqual(['awake'])
    await a.traversal.close()
    await b.traversal.close()
  })
})

describe('a socket of the caller’s own', () => {
  it('of the DatagramSocket shape carries everything', async () => {
    const lab = createLab({ seed: 3 })
    await serveStun(lab)
    const host = lab.host('a', { behind: lab.router('ra') })
    const socket = await host.bind({ family: 4, port: 7_000 })
    const traversal = await createTraversal({ network: host, servers: [SERVER], socket })
    expect(traversal.status().sockets).toEqual(['0.0.0.0:7000'])
    const a = meet('a', traversal, 'b')
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 2_000 })
    expect(b.session.path?.remote).toMatchObject({ port: 7_000 })
    say(a, 'x')
    say(b, 'y')
    await lab.run(200)
    expect([a.inbox, b.inbox]).toEqual([['y'], ['x']])
    await traversal.close()
    await b.traversal.close()
  })
})

describe('a full send queue', () => {
  it('makes send say false, tells once by `drain`, and remembers nothing per datagram', async () => {
    const lab = createLab({ seed: 3 })
    await serveStun(lab)
    const a = await makePeer(lab.host('a', { sendQueue: { limit: 50, perMillisecond: 5 } }), 'b')
    const b = await makePeer(lab.host('b'), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    let drains = 0
    a.session.on('drain', () => drains++)
    let refused = 0
    for (let i = 0; i < 200; i++) if (!say(a, `${i}`)) refused++
    // The library's own checks may stand in the queue as well.
    expect(refused).toBeGreaterThan(150)
    await lab.run(500)
    expect(drains).toBe(1)
    expect(b.inbox).toEqual(Array.from({ length: 200 }, (_, i) => `${i}`))
    await a.traversal.close()
    await b.traversal.close()
  })

  it('C69 a socket’s handler does nothing any more after close', async () => {
    const lab = createLab({ seed: 3 })
    const network = new CountingNetwork(lab.host('a'))
    const traversal = await createTraversal({ network })
    const session = traversal.connect({ peer: 'b' })
    const [handler] = network.handlers.values() as Iterable<DatagramHandler>
    await traversal.close()
    const from = lab.host('x').addresses[0]?.withPort(9)
    if (handler === undefined || from === undefined) throw new Error('there was no socket')
    expect(() => {
      handler.datagram(Uint8Array.of(1, 2, 3), from)
      handler.sendFailed(from, 'EPERM')
      handler.drained()
      handler.lost(new Error('gone'))
    }).not.toThrow()
    await lab.run(1_000)
    expect(network.left).toEqual({ timers: 0, sockets: 0, watchers: 0, lookups: 0 })
    expect(session.state).toBe('closed')
  })
})
