import { describe, expect, it } from 'vitest'
import type { SallyportError, Session, TraversalOptions } from '../../src/index.ts'
import type { Lab, NatPreset } from '../../src/lab/index.ts'
import { createLab, join, makePeer, type Peer, say, serveStun } from './meeting.ts'

interface Sides {
  readonly lab: Lab
  readonly a: Peer
  readonly b: Peer
  /** What `error` told on either side. */
  readonly errors: Readonly<Record<'a' | 'b', SallyportError[]>>
}

async function sides(nat: NatPreset, options: TraversalOptions = {}): Promise<Sides> {
  const lab = createLab({ seed: 5 })
  await serveStun(lab)
  const a = await makePeer(lab.host('a', { behind: lab.router('ra', { nat }) }), 'b', options)
  const b = await makePeer(lab.host('b', { behind: lab.router('rb', { nat }) }), 'a')
  return { lab, a, b, errors: { a: errorsOf(a.session), b: errorsOf(b.session) } }
}

function errorsOf(session: Session): SallyportError[] {
  const errors: SallyportError[] = []
  session.on('error', (error) => void errors.push(error as SallyportError))
  return errors
}

describe('a side that gives up before there was a path', () => {
  async function givenUp(): Promise<Sides> {
    const all = await sides('symmetricRandom')
    const { lab, a, b } = all
    join(lab, a, b)
    const controller = new AbortController()
    a.traversal.connect({ peer: 'b', signal: controller.signal })
    lab.after(5_000, () => controller.abort(new Error('enough')))
    await lab.run(5_200)
    return all
  }

  it('tells the other that there is no path since it stopped trying, with the report', async () => {
    const { lab, a, b, errors } = await givenUp()
    await expect(a.session.ready).rejects.toThrow('enough')
    expect(errors.a).toEqual([])
    expect(errors.b).toHaveLength(1)
    expect(errors.b[0]).toMatchObject({
      code: 'ERR_NO_PATH',
      message: 'no path to a: the peer stopped trying before there was one',
      report: { state: 'connecting', pairs: expect.arrayContaining([expect.objectContaining({ heard: false, answers: 0 })]) },
    })
    await expect(b.session.ready).rejects.toBe(errors.b[0])
    expect(b.session.state).toBe('idle')
    await lab.run(60_000)
    expect([a.session.state, b.session.state, errors.b.length]).toEqual(['closed', 'idle', 1])
  })

  it('finds the other ready when it tries again', async () => {
    const { lab, a, b } = await givenUp()
    a.traversal.connect({ peer: 'b' })
    await lab.run(200)
    expect([a.session.state, b.session.state]).toEqual(['connecting', 'connecting'])
  })
})

describe('a session that had a path', () => {
  it('was closed by the peer, also while there is none', async () => {
    const { lab, a, b, errors } = await sides('portRestricted')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    lab.filter(() => 'drop')
    await lab.run(40_000)
    expect(b.session.state).toBe('connecting')
    await a.session.close()
    await lab.run(200)
    expect(errors.b.map(({ code }) => code)).toEqual(['ERR_PEER_CLOSED'])
    expect(b.session.state).toBe('idle')
  })
})

it('a peer that leaves after the attempt failed ends nothing once more', async () => {
  const { lab, a, b, errors } = await sides('symmetricRandom')
  join(lab, a, b)
  await lab.run(60_000)
  await a.session.close()
  await lab.run(200)
  expect(errors.b.map(({ code }) => code)).toEqual(['ERR_NO_PATH'])
})

describe('explain', () => {
  it('tells that no signal of the peer’s has come', async () => {
    const { lab, a, b } = await sides('portRestricted')
    const [toB] = lab.channel()
    a.session.on('signal', (signal) => toB.send(signal))
    await lab.run(3_500)
    const { signals } = a.session.explain()
    expect(signals.received).toBe(0)
    // At first, with what the STUN server says, and after 1 and 3 seconds.
    expect(signals.sent).toBe(4)
    expect(String(a.session.explain())).toContain('\nNo signal of the peer’s has come: does your channel carry them?\n')
    // Nobody takes its signals.
    expect(b.session.explain().signals).toEqual({ sent: 0, received: 0 })
  })

  it('tells that from a peer without addresses, and so does the error', async () => {
    const { lab, a, b, errors } = await sides('portRestricted', { servers: [], hosts: { exclude: ['0.0.0.0/0'] } })
    join(lab, a, b)
    await lab.run(60_000)
    const text = String(b.session.explain())
    expect(text).toContain('\nThe peer has offered no addresses.\n')
    expect(text).not.toContain('No signal')
    expect(b.session.explain().signals.received).toBeGreaterThan(0)
    expect(errors.b[0]?.message).toBe('no path to a: no pair of candidates fits together. The peer has offered no addresses.')
  })

  it('counts the signals of the last attempt, and from nothing for the next', async () => {
    const { lab, a, b } = await sides('portRestricted')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    say(a, 'hello')
    await lab.run(1_000)
    await a.session.close()
    const { sent, received } = a.session.explain().signals
    expect(sent).toBeGreaterThan(1)
    expect(received).toBeGreaterThan(0)
    expect(String(a.session.explain())).not.toContain('No signal')
    b.session.removeAllListeners('signal')
    a.traversal.connect({ peer: 'b' })
    await lab.run(100)
    expect(a.session.explain().signals).toEqual({ sent: 1, received: 0 })
    // Opened by the peer's signal, which is the first of its attempt.
    expect(b.session.explain().signals).toEqual({ sent: 0, received: 1 })
  })
})
