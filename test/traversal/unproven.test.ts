import { describe, expect, it } from 'vitest'
import { createTraversal, type Session, type Signal, type Traversal } from '../../src/index.ts'
import { Address, type DatagramHandler } from '../../src/net/index.ts'
import { Attribute, IntegrityKey, Message, MessageWriter, Method } from '../../src/stun/index.ts'
import { CountingNetwork } from './counting-network.ts'
import { createLab, join, makePeer, meet } from './meeting.ts'

type Lab = ReturnType<typeof createLab>

function fingerprinted(more: (writer: MessageWriter) => unknown = () => undefined): Uint8Array {
  const writer = new MessageWriter().start('indication', Method.Binding, new Uint8Array(12))
  more(writer)
  return writer.fingerprint().finish().slice()
}

describe('from the address of a connected peer', () => {
  async function connected() {
    const lab = createLab({ seed: 5 })
    const a = meet('a', await createTraversal({ network: lab.host('a') }), 'b')
    const b = await makePeer(lab.host('b'), 'a', { servers: [] })
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(2_000)
    return { lab, a, b }
  }

  it.each<[string, Uint8Array]>([
    ['C35 a Binding indication', fingerprinted()],
    ['C34 C35 a Binding indication with an attribute that must be understood', fingerprinted((writer) => writer.uint32(0x7abc, 1))],
  ])('%s is neither data nor answered, and changes nothing', async (_what, data) => {
    const { lab, a, b } = await connected()
    const before = JSON.stringify([a.session.explain().pairs, a.traversal.status().dropped, a.session.status.received])
    lab.trace.start()
    b.session.send(data)
    await lab.run(100)
    expect(a.inbox).toEqual([])
    expect(JSON.stringify([a.session.explain().pairs, a.traversal.status().dropped, a.session.status.received])).toBe(before)
    expect(lab.trace.records.filter(({ at, event }) => at === 'a' && event === 'send')).toEqual([])
  })

  it.each<[string, Uint8Array]>([
    ['without FINGERPRINT', new MessageWriter().start('indication', Method.Binding, new Uint8Array(12)).finish().slice()],
    ['with a wrong one', fingerprinted().map((byte, i) => (i === 24 ? byte ^ 1 : byte))],
  ])('C35 one %s is data', async (_what, data) => {
    const { lab, a, b } = await connected()
    b.session.send(data)
    await lab.run(100)
    expect(a.session.status.received).toBe(1)
  })

  it('C35 C56 indications do not keep consent alive', async () => {
    const { lab, a, b } = await connected()
    lab.filter(({ host, data }) => (host === 'b' && Message.read(data)?.class === 'success' ? 'drop' : undefined))
    for (let i = 0; i < 32; i++) {
      b.session.send(fingerprinted())
      await lab.run(1_000)
    }
    expect(a.session.state).toBe('connecting')
  })
})

describe('from an address of the peer’s that is not proven', () => {
  interface Stage {
    readonly lab: Lab
    readonly traversal: Traversal
    readonly session: Session
    readonly got: string[]
    readonly handler: DatagramHandler
    readonly signal: Signal
  }

  const THEIRS = { ufrag: 'theirs', pwd: 'p'.repeat(24) }
  const SIGNALLED = Address.of('192.0.2.1', 9)

  async function unanswered(): Promise<Stage> {
    const lab = createLab()
    const network = new CountingNetwork(lab.host('a'))
    const traversal = await createTraversal({ network })
    const session = traversal.connect({ peer: 'b' })
    const got: string[] = []
    session.on('message', (data) => got.push(new TextDecoder().decode(data)))
    const signal = await new Promise<Signal>((resolve) => session.once('signal', resolve))
    session.signal({ v: 1, ...THEIRS, candidates: ['candidate:1 1 udp 2130706431 192.0.2.1 9 typ host'] })
    const [handler] = network.handlers.values()
    return { lab, traversal, session, got, handler: handler as DatagramHandler, signal }
  }

  const text = (value: string): Uint8Array => new TextEncoder().encode(value)

  function check({ signal }: Stage): Uint8Array {
    return new MessageWriter()
      .start('request', Method.Binding, new Uint8Array(12))
      .text(Attribute.Username, `${signal.ufrag}:${THEIRS.ufrag}`)
      .uint32(Attribute.Priority, 1_862_270_975)
      .uint64(Attribute.IceControlled, 1n)
      .integrity(IntegrityKey.shortTerm(signal.pwd))
      .fingerprint()
      .finish()
      .slice()
  }

  it('C58 data is dropped and counted, though the address was signalled and is being checked', async () => {
    const { lab, traversal, got, handler } = await unanswered()
    await lab.run(100)
    for (let i = 0; i < 3; i++) handler.datagram(text(`${i}`), SIGNALLED)
    await lab.run(60_000)
    expect(got).toEqual([])
    expect(traversal.status().dropped.stray).toBe(3)
  })

  it('C58 data behind a check of the peer’s waits for our own check, and is dropped and counted when that is not answered', async () => {
    const stage = await unanswered()
    const { lab, session, got, handler } = stage
    handler.datagram(check(stage), SIGNALLED)
    for (let i = 0; i < 40; i++) handler.datagram(text(`${i}`), SIGNALLED)
    await lab.run(100_000)
    expect(got).toEqual([])
    expect(session.state).toBe('idle')
    expect(session.status.unproven).toBe(40)
  })

  it('C58 what waits for a pair that failed does not keep out what waits for another', async () => {
    const stage = await unanswered()
    const { lab, session, got, handler } = stage
    const other = Address.of('192.0.2.2', 9)
    handler.datagram(check(stage), SIGNALLED)
    for (let i = 0; i < 40; i++) handler.datagram(text(`${i}`), SIGNALLED)
    handler.sendFailed(SIGNALLED, 'EHOSTUNREACH')
    handler.datagram(check(stage), other)
    handler.datagram(text('mine'), other)
    // Now the second address answers.
    lab.trace.start()
    await lab.run(200)
    const asked = lab.trace.records.find(
      ({ event, to, data }) => event === 'send' && to.key === other.key && Message.read(data)?.class === 'request',
    )
    const answer = new MessageWriter()
      .start('success', Method.Binding, (Message.read(asked?.data ?? new Uint8Array()) as Message).transactionId)
      .address(Attribute.XorMappedAddress, asked?.from as Address)
      .integrity(IntegrityKey.shortTerm(THEIRS.pwd))
      .fingerprint()
      .finish()
      .slice()
    handler.datagram(answer, other)
    expect(session.state).toBe('connected')
    expect(got).toEqual(['mine'])
    expect(session.status.unproven).toBe(40)
  })

  it('C70 a check for a user fragment that nobody has is counted as such, and a forged one for one of ours is not', async () => {
    const stage = await unanswered()
    const { traversal, handler } = stage
    handler.datagram(check({ ...stage, signal: { ...stage.signal, ufrag: 'nobodyhere' } }), SIGNALLED)
    expect(traversal.status().dropped).toMatchObject({ unknownUfrag: 1, unauthenticated: 0 })
    handler.datagram(check({ ...stage, signal: { ...stage.signal, pwd: 'q'.repeat(24) } }), SIGNALLED)
    expect(traversal.status().dropped).toMatchObject({ unknownUfrag: 1, unauthenticated: 1 })
  })
})
