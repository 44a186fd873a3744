import { spawn } from 'node:child_process'
import { getEventListeners } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { createTraversal, type Session, type SessionEvents, type Traversal } from '../../src/index.ts'
import { createLab, type Lab } from '../../src/lab/index.ts'
import { requires } from '../requirements.ts'
import { CountingNetwork, NOTHING_LEFT } from './counting-network.ts'
import { join, meet, type Peer, SERVER, serveStun } from './meeting.ts'

interface Side extends Peer {
  readonly network: CountingNetwork
}

interface Pair {
  readonly lab: Lab
  readonly a: Side
  readonly b: Side
}

async function twoSides(): Promise<Pair> {
  const lab = createLab()
  await serveStun(lab)
  const side = async (name: string, to: string): Promise<Side> => {
    const network = new CountingNetwork(lab.host(name, { behind: lab.router(`r${name}`) }))
    const traversal = await createTraversal({ network, servers: [SERVER] })
    return { ...meet(name, traversal, to), network }
  }
  const [a, b] = [await side('a', 'b'), await side('b', 'a')]
  join(lab, a, b)
  return { lab, a, b }
}

async function closeAll(...sides: readonly Side[]): Promise<void> {
  for (const { traversal } of sides) await traversal.close()
}

/** Nothing is lent out, nothing happens any more, and nobody listens to the session. */
async function expectNothingLeft(lab: Lab, ...sides: readonly Side[]): Promise<void> {
  for (const { network, traversal } of sides) {
    expect(network.left).toEqual(NOTHING_LEFT)
    expect(traversal.status()).toMatchObject({ sockets: [], sessions: 0 })
  }
  const before = sides.map(({ network: { wakes, sends } }) => ({ wakes, sends }))
  await lab.run(120_000)
  expect(sides.map(({ network: { wakes, sends } }) => ({ wakes, sends }))).toEqual(before)
  for (const { network } of sides) expect(network.left).toEqual(NOTHING_LEFT)
}

/** Milliseconds into the life of two peers, by what is going on then: 40 ms to the server, 40 ms of signalling, 40 ms of checks. */
const MOMENTS: readonly (readonly [string, number])[] = [
  ['before anything', 0],
  ['while names are looked up', 20],
  ['during gathering', 60],
  ['with signals on their way', 100],
  ['during checks', 135],
  ['around the first path', 180],
  ['when connected', 400],
  ['with consent on its way', 5_500],
]

describe('C69 nothing is left after close', () => {
  describe.each(MOMENTS)('%s', (_what, moment) => {
    it('when the session is closed before its traversal', async () => {
      const { lab, a, b } = await twoSides()
      await lab.run(moment)
      await a.session.close()
      await b.session.close()
      await closeAll(a, b)
      await expectNothingLeft(lab, a, b)
    })

    it('when the traversal is closed with the session open', async () => {
      const { lab, a, b } = await twoSides()
      await lab.run(moment)
      await closeAll(a, b)
      await expectNothingLeft(lab, a, b)
      expect([a.session.state, b.session.state]).toEqual(['closed', 'closed'])
    })

    it('on the side that closes alone, whatever the other goes on sending', async () => {
      const { lab, a, b } = await twoSides()
      await lab.run(moment)
      await closeAll(a)
      await expectNothingLeft(lab, a)
      await closeAll(b)
      await expectNothingLeft(lab, b)
    })

    it('when everything is closed twice, in both orders', async () => {
      const { lab, a, b } = await twoSides()
      await lab.run(moment)
      await Promise.all([a.session.close(), a.session.close(), a.traversal.close(), a.traversal.close(), a.session.close()])
      await Promise.all([b.traversal.close(), b.session.close(), b.traversal.close()])
      await expectNothingLeft(lab, a, b)
    })

    it('when the last session of a traversal is closed, but the keeping of its own mappings', async () => {
      const { lab, a, b } = await twoSides()
      await lab.run(moment)
      const sessions = [a.session, b.session]
      for (const session of sessions) await session.close()
      await lab.run(60_000)
      expect([a.traversal.status().sessions, b.traversal.status().sessions]).toEqual([0, 0])
      // One deadline per traversal at most: the next question to the STUN server.
      expect(a.network.timers.size).toBeLessThanOrEqual(1)
      expect(b.network.timers.size).toBeLessThanOrEqual(1)
      await closeAll(a, b)
      await expectNothingLeft(lab, a, b)
    })

    it('when an AbortSignal ends the attempt', async () => {
      const lab = createLab()
      await serveStun(lab)
      const network = new CountingNetwork(lab.host('a'))
      const traversal = await createTraversal({ network, servers: [SERVER] })
      const abort = new AbortController()
      const session = traversal.connect({ peer: 'nobody', signal: abort.signal })
      await lab.run(moment)
      const reason = new Error('enough')
      abort.abort(reason)
      await expect(session.ready).rejects.toBe(reason)
      expect(session.state).toBe('closed')
      expect(getEventListeners(abort.signal, 'abort')).toEqual([])
      await traversal.close()
      await expectNothingLeft(lab, { name: 'a', traversal, session, inbox: [], network })
    })
  })

  it.each(['signal', 'state', 'path', 'message'] as const)('when a listener of %s closes the session', async (event) => {
    const { lab, a, b } = await twoSides()
    let calls = 0
    on(a.session, event, () => {
      calls++
      void a.session.close()
    })
    await lab.run(100)
    b.session.send(Uint8Array.of(1))
    await lab.run(5_000)
    expect(a.session.state).toBe('closed')
    expect(calls).toBeGreaterThan(0)
    // Closing says bye, which is one more signal; it must not go round and round.
    expect(calls).toBeLessThanOrEqual(3)
    await closeAll(a, b)
    await expectNothingLeft(lab, a, b)
  })

  it.each(['signal', 'state', 'path', 'message'] as const)('when a listener of %s closes the traversal', async (event) => {
    const { lab, a, b } = await twoSides()
    on(a.session, event, () => void a.traversal.close())
    await lab.run(100)
    b.session.send(Uint8Array.of(1))
    await lab.run(5_000)
    expect(a.session.state).toBe('closed')
    await expectNothingLeft(lab, a)
    await closeAll(b)
    await expectNothingLeft(lab, b)
  })

  it('and a closed session is silent: its last word was the change of state', async () => {
    const { lab, a, b } = await twoSides()
    const heard: string[] = []
    for (const event of ['signal', 'state', 'path', 'message', 'drain', 'error'] as const) {
      on(a.session, event, () => heard.push(`${event} ${a.session.state}`))
    }
    a.session.on('state', (state) => {
      if (state === 'connected') void a.session.close()
    })
    await lab.run(5_000)
    expect(heard.at(-1)).toBe('state closed')
    expect(heard.filter((entry) => entry.endsWith('closed'))).toEqual(['state closed'])
    await closeAll(a, b)
  })

  it('when binding is still under way on one of two interfaces', async () => {
    const lab = createLab({ families: [4, 6] })
    const host = lab.host('a')
    const network = new CountingNetwork(host)
    const traversal = await createTraversal({ network })
    host.addInterface({ behind: lab.router('r') })
    await Promise.resolve()
    await traversal.close()
    await lab.run(1_000)
    expect(network.left).toEqual(NOTHING_LEFT)
  })

  it('when interfaces come and go around the close', async () => {
    const { lab, a, b } = await twoSides()
    const host = lab.host('roamer')
    const network = new CountingNetwork(host)
    const traversal = await createTraversal({ network, servers: [SERVER] })
    traversal.connect({ peer: 'x' })
    await lab.run(200)
    host.moveTo(lab.router('elsewhere'))
    const closing = traversal.close()
    host.moveTo(lab.router('further'))
    await closing
    await lab.run(1_000)
    expect(network.left).toEqual(NOTHING_LEFT)
    await closeAll(a, b)
  })

  it('when createTraversal fails for a port that is taken', async () => {
    const lab = createLab()
    const host = lab.host('a')
    await host.bind({ family: 4, port: 4000 })
    const network = new CountingNetwork(host)
    await expect(createTraversal({ network, port: 4000, servers: [SERVER] })).rejects.toMatchObject({ code: 'ERR_BIND' })
    await lab.run(60_000)
    expect(network.left).toEqual(NOTHING_LEFT)
  })

  it('when sessions open and close a hundred times over one traversal', async () => {
    const { lab, a, b } = await twoSides()
    await lab.run(1_000)
    const timers = a.network.timers.size
    for (let i = 0; i < 100; i++) {
      const session = a.traversal.connect({ peer: `p${i}` })
      session.on('signal', () => {})
      await lab.run(50)
      await session.close()
    }
    await lab.run(1_000)
    expect(a.traversal.status().sessions).toBe(1)
    expect(a.network.timers.size).toBeLessThanOrEqual(timers)
    await closeAll(a, b)
    await expectNothingLeft(lab, a, b)
  })

  it('by `await using`', async () => {
    const lab = createLab()
    const network = new CountingNetwork(lab.host('a'))
    {
      await using traversal: Traversal = await createTraversal({ network })
      await using session: Session = traversal.connect({ peer: 'b' })
      expect(session.state).toBe('connecting')
      await lab.run(100)
    }
    await lab.run(1_000)
    expect(network.left).toEqual(NOTHING_LEFT)
  })
})

const LIBRARY = new URL('../../dist/index.js', import.meta.url)

describe('a process', requires({ also: { 'the built library (npm run build)': existsSync(fileURLToPath(LIBRARY)) } }), () => {
  it.each([
    ['after its traversals were closed', 'await a.close(); await b.close()'],
    ['after session and traversal were closed in turn', 'await s.close(); await a.close(); await t.close(); await b.close()'],
  ])('C69 exits by itself %s', async (_when, closing) => {
    const program = `
      import { createTraversal } from ${JSON.stringify(LIBRARY.href)}
      const options = { hosts: { loopback: true, include: ['127.0.0.1'] }, servers: ['stun:127.0.0.1:9'] }
      const [a, b] = [await createTraversal(options), await createTraversal(options)]
      const [s, t] = [a.connect({ peer: 'b' }), b.connect({ peer: 'a' })]
      s.on('signal', (signal) => setImmediate(() => t.signal(signal)))
      t.on('signal', (signal) => setImmediate(() => s.signal(signal)))
      await Promise.all([s.ready, t.ready])
      const got = new Promise((resolve) => t.once('message', resolve))
      s.send(Buffer.from('hello'))
      console.log(String(await got))
      ${closing}
      console.log('closed')`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.on('data', (data) => (output += String(data)))
    // The test's own time limit is the judge of a process that stays.
    const code = await new Promise((resolve) => child.once('exit', resolve))
    expect(output).toBe('hello\nclosed\n')
    expect(code).toBe(0)
  })
})

function on<K extends keyof SessionEvents>(session: Session, event: K, listener: () => void): void {
  ;(session.on as (event: K, listener: () => void) => Session)(event, listener)
}
