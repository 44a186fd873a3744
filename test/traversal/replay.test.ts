/** What somebody can do who has seen every datagram of a session and its peer: send them again, from anywhere, in any order. */
import { describe, expect, it, vi } from 'vitest'
import { createTraversal } from '../../src/index.ts'
import { Address } from '../../src/net/index.ts'
import { Attribute, IntegrityKey, Message, MessageWriter, Method } from '../../src/stun/index.ts'
import { join, meet, SERVER, say } from './meeting.ts'
import { capture, STRANGER, scene } from './scene.ts'

describe('messages that are sent again', () => {
  it('from where they came first change no path, no role and no state, and deliver nothing', async () => {
    const seen = await capture()
    const { lab, a } = await scene(2_000)
    const path = JSON.stringify({ ...a.session.path, rtt: 0 })
    const { role } = a.session.explain()
    const events: string[] = []
    a.session.on('path', () => events.push('path'))
    a.session.on('state', () => events.push('state'))
    for (let round = 0; round < 3; round++) {
      for (const { data, from } of round === 1 ? [...seen].reverse() : seen) a.handler.datagram(data.slice(), from)
      await lab.run(500)
    }
    expect(JSON.stringify({ ...a.session.path, rtt: 0 })).toBe(path)
    expect(a.session.explain().role).toBe(role)
    expect(events).toEqual([])
    expect(a.inbox).toEqual([])
  })

  it('from elsewhere make nothing valid there, and cost 200 checks and two a second at most, whoever is made to seem their source', async () => {
    const seen = await capture()
    const { lab, a } = await scene(2_000)
    const path = JSON.stringify({ ...a.session.path, rtt: 0 })
    lab.trace.clear()
    for (let round = 0; round < 100; round++) {
      for (const { data } of seen) a.handler.datagram(data.slice(), STRANGER)
      await lab.run(100)
    }
    await lab.run(10_000)
    expect(JSON.stringify({ ...a.session.path, rtt: 0 })).toBe(path)
    expect(a.session.explain().pairs.filter(({ valid, remote }) => valid && remote.address === STRANGER.key)).toEqual([])
    a.handler.datagram(Uint8Array.of(1, 2, 3), STRANGER)
    expect(a.inbox).toEqual([])
    const toStranger = lab.trace.records.filter(({ at, event, to }) => at === 'a' && event === 'send' && to.key === STRANGER.key)
    const kinds = toStranger.map(({ data }) => Message.read(data)?.class)
    // An answer for a check, never more; and our own checks within their budget.
    expect(kinds.filter((kind) => kind === 'success').length).toBeLessThanOrEqual(100 * seen.length)
    expect(kinds.filter((kind) => kind === 'request').length).toBeLessThanOrEqual(200 + 20 * 2)
  })
})

describe('messages of another session', () => {
  it('change nothing in this one, from either peer’s address', async () => {
    const { lab, a, b, said } = await scene(2_000)
    const third = meet('c', await createTraversal({ network: lab.host('c'), servers: [SERVER] }), 'a')
    const other = { ...a, session: a.traversal.connect({ peer: 'c' }), inbox: [] as string[] }
    other.session.on('message', (data) => other.inbox.push(new TextDecoder().decode(data)))
    const signals: Record<string, { ufrag: string; pwd: string }> = {}
    third.session.on('signal', (signal) => (signals.c = signal))
    other.session.on('signal', (signal) => (signals.other = signal))
    join(lab, other, third)
    await lab.until(Promise.all([other.session.ready, third.session.ready]))
    await lab.run(2_000)
    const report = (): string =>
      JSON.stringify([
        a.session.path?.remote,
        other.session.path?.remote,
        a.session.explain().pairs.length,
        other.session.explain().pairs.length,
      ])
    const before = report()
    // Checks that name one session and are signed for the other, and honest ones of one session from the address of the other's peer.
    const forged = (receiver: string, sender: string, pwd: string): Uint8Array =>
      new MessageWriter()
        .start('request', Method.Binding, new Uint8Array(12))
        .text(Attribute.Username, `${receiver}:${sender}`)
        .uint32(Attribute.Priority, 1)
        .uint64(Attribute.IceControlling, 1n)
        .flag(Attribute.UseCandidate)
        .integrity(IntegrityKey.shortTerm(pwd))
        .fingerprint()
        .finish()
        .slice()
    const addressOf = (peer: typeof b): Address => {
      const [ip = '', port = ''] = (peer.traversal.status().sockets[0] ?? '').split(':')
      return Address.of(ip, Number(port))
    }
    const [ours, theirs] = [signals.other, signals.c]
    if (ours === undefined || theirs === undefined || said.a === undefined || said.b === undefined) throw new Error('no signals')
    for (const from of [addressOf(b), addressOf(third), STRANGER]) {
      a.handler.datagram(forged(said.a.ufrag, said.b.ufrag, ours.pwd), from)
      a.handler.datagram(forged(ours.ufrag, theirs.ufrag, said.a.pwd), from)
      a.handler.datagram(forged(said.a.ufrag, theirs.ufrag, said.a.pwd), from)
    }
    expect(report()).toBe(before)
    a.inbox.length = other.inbox.length = 0
    say(b, 'for the first')
    say(third, 'for the second')
    await lab.run(200)
    expect(a.inbox.filter((text) => text.startsWith('for'))).toEqual(['for the first'])
    expect(other.inbox.filter((text) => text.startsWith('for'))).toEqual(['for the second'])
  })
})

describe('work before a message has proved itself', () => {
  /** Tags computed while something is done. */
  function tags(act: () => void): number {
    const spies = [vi.spyOn(IntegrityKey.prototype, 'tagSha1'), vi.spyOn(IntegrityKey.prototype, 'tagSha256')]
    act()
    const count = spies.reduce((sum, { mock }) => sum + mock.calls.length, 0)
    for (const spy of spies) spy.mockRestore()
    return count
  }

  const request = (username: string, attributes = 0): Uint8Array => {
    const writer = new MessageWriter().start('request', Method.Binding, new Uint8Array(12)).text(Attribute.Username, username)
    for (let i = 0; i < attributes; i++) writer.bytes(0x8100 + i, new Uint8Array(4))
    return writer
      .integrity(IntegrityKey.shortTerm('w'.repeat(24)))
      .fingerprint()
      .finish()
      .slice()
  }

  it.each([1, 300])('is one tag for a check with a known user fragment and none for an unknown one, with %i sessions', async (sessions) => {
    const { a, said } = await scene(2_000)
    for (let i = 1; i < sessions; i++) a.traversal.connect({ peer: `peer ${i}` })
    const ufrag = said.a?.ufrag ?? ''
    const cost = (data: Uint8Array): number => tags(() => a.handler.datagram(data, STRANGER))
    expect(cost(request(`${ufrag}:somebody`))).toBe(1)
    expect(cost(request(`${ufrag}:${said.b?.ufrag}`, 80))).toBe(1)
    expect(cost(request('nobody:somebody'))).toBe(0)
    expect(cost(new Uint8Array(1_200))).toBe(0)
    const success = new MessageWriter().start('success', Method.Binding, new Uint8Array(12)).fingerprint().finish().slice()
    expect(cost(success)).toBe(0)
  })

  it('is at most one tag for each generation of the session whose peer’s address a made-up answer seems to come from', async () => {
    const { a, b } = await scene(2_000)
    const [ip = '', port = ''] = (b.traversal.status().sockets[0] ?? '').split(':')
    const answer = new MessageWriter()
      .start('success', Method.Binding, new Uint8Array(12))
      .integrity(IntegrityKey.shortTerm('w'.repeat(24)))
      .fingerprint()
      .finish()
      .slice()
    expect(tags(() => a.handler.datagram(answer, Address.of(ip, Number(port))))).toBe(1)
  })
})
