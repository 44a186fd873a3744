import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { createTraversal, type Signal } from '../../src/index.ts'
import { createLab } from '../../src/lab/index.ts'
import { Address } from '../../src/net/index.ts'
import { Attribute, IntegrityKey, Message, MessageWriter, Method } from '../../src/stun/index.ts'
import { SeededRandom } from '../stun/manual-clock.ts'
import { type Captured, capture, counted, type Scene, STRANGER, scene, state } from './scene.ts'

function mutate(data: Uint8Array, random: SeededRandom): Uint8Array {
  const length = random.below(8) === 0 ? random.below(data.length + 1) : data.length
  const mutant = new Uint8Array(length + (random.below(8) === 0 ? random.below(40) : 0))
  mutant.set(data.subarray(0, length))
  for (let n = 1 + random.below(4); n > 0 && mutant.length > 0; n--) mutant[random.below(mutant.length)] = random.next() & 0xff
  return mutant
}

/** With length and FINGERPRINT in order again: what is wrong with it shows only further in. */
function repair(data: Uint8Array): Uint8Array {
  const size = data.length & ~3
  if (size < 28) return data
  const repaired = data.slice(0, size)
  const view = new DataView(repaired.buffer)
  view.setUint16(2, size - 20)
  view.setUint32(size - 8, 0x8028_0004)
  view.setUint32(size - 4, (crc32(repaired.subarray(0, size - 8)) ^ 0x5354_554e) >>> 0)
  return repaired
}

/** Authentic messages are not bad input: a change behind the integrity leaves one so. */
function isAuthentic(data: Uint8Array, keys: readonly IntegrityKey[]): boolean {
  const message = Message.read(data)
  return message !== undefined && message.fingerprint() !== 'invalid' && keys.some((key) => message.integrity(key) === 'valid')
}

function keysOf({ said }: Scene): readonly IntegrityKey[] {
  return [said.a, said.b].map((signal) => IntegrityKey.shortTerm((signal as Signal).pwd))
}

/** A check of b's own to a, to be changed at will. */
function check(said: Scene['said'], more: (writer: MessageWriter) => MessageWriter = (writer) => writer): MessageWriter {
  const writer = new MessageWriter().start('request', Method.Binding, new Uint8Array(12).fill(7))
  writer.text(Attribute.Username, `${said.a?.ufrag}:${said.b?.ufrag}`).uint32(Attribute.Priority, 1_862_270_975)
  return more(writer)
}

describe('bad input', () => {
  it('every truncation of every message of a real meeting is dropped, counted and changes nothing, at any moment', async () => {
    const captured = await capture()
    expect(captured.filter(({ data }) => Message.read(data) !== undefined).length).toBeGreaterThan(4)
    // Just before each message came for the first time, when somebody waits for it; and when all is over.
    for (const moment of [...new Set(captured.map(({ time }) => time - 1)), 2_000]) {
      const { a } = await scene(moment)
      const before = state(a)
      for (const { data, from } of captured) {
        for (let length = 0; length < data.length; length++) a.handler.datagram(data.slice(0, length), from)
      }
      expect(state(a)).toBe(before)
      const countedBefore = counted(a)
      let inputs = 0
      for (const { data } of captured) {
        for (let length = 0; length < data.length; length++, inputs++) a.handler.datagram(data.slice(0, length), STRANGER)
      }
      expect(state(a)).toBe(before)
      expect(counted(a)).toBe(countedBefore + inputs)
    }
  })

  it('100,000 mutations change nothing, from the peer, the server and a stranger, and each is counted', async () => {
    const captured = await capture()
    const random = new SeededRandom(2026)
    const moments = [60, ...captured.slice(0, 3).map(({ time }) => time - 1), 2_000]
    let inputs = 0
    for (const moment of moments) {
      const stage = await scene(moment)
      const { a } = stage
      const keys = stage.said.b === undefined ? [] : keysOf(stage)
      const sources = [...new Set(captured.map(({ from }) => from)), STRANGER]
      const before = state(a)
      let here = 0
      for (let i = 0; i < 120_000 / moments.length; i++) {
        const { data } = captured[random.below(captured.length)] as Captured
        const broken = mutate(data, random)
        const mutant = random.below(2) === 0 ? broken : repair(broken)
        const message = Message.read(mutant)
        // Answers of STUN servers carry no integrity: what fits id and source is believed, so a mutation that keeps those is no test.
        const answer = message?.class === 'success' || message?.class === 'error'
        if ((answer && Message.read(data)?.has(Attribute.MessageIntegrity) === false) || isAuthentic(mutant, keys)) continue
        const from = sources[random.below(sources.length)] as Address
        const countedBefore = counted(a)
        a.handler.datagram(mutant, from)
        // Answers with an id that is waited for are counted by those who wait.
        if (from === STRANGER && !answer) expect(counted(a)).toBe(countedBefore + 1)
        here++
      }
      expect(state(a)).toBe(before)
      inputs += here
    }
    expect(inputs).toBeGreaterThanOrEqual(100_000)
  })

  it('a session that is bombarded all through its meeting connects as if nothing had been', async () => {
    const captured = await capture()
    const random = new SeededRandom(7)
    const stage = await scene(0)
    const { lab, a, b } = stage
    const bombard = (): void => {
      for (let i = 0; i < 200; i++) {
        const { data, from } = captured[random.below(captured.length)] as Captured
        const mutant = mutate(data, random)
        const message = Message.read(mutant)
        if (message === undefined || message.class !== 'success') a.handler.datagram(mutant, random.below(2) === 0 ? from : STRANGER)
      }
      if (a.session.state === 'connecting') lab.after(5, bombard)
    }
    bombard()
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 1_000 })
    expect(a.session.path).toMatchObject({ kind: 'direct', remote: { ip: b.session.path?.local.ip } })
  })
})

describe('a message that does not prove itself', () => {
  const foes: readonly (readonly [string, (said: Scene['said']) => Uint8Array])[] = [
    ['a check without integrity', (said) => check(said).fingerprint().finish().slice()],
    [
      'a check with the integrity of another password',
      (said) =>
        check(said, (w) => w.integrity(IntegrityKey.shortTerm('x'.repeat(24))))
          .fingerprint()
          .finish()
          .slice(),
    ],
    [
      'a nomination without integrity',
      (said) =>
        check(said, (w) => w.uint64(Attribute.IceControlling, 1n).flag(Attribute.UseCandidate))
          .fingerprint()
          .finish()
          .slice(),
    ],
    [
      'a role conflict without integrity, of either role',
      (said) =>
        check(said, (w) => w.uint64(Attribute.IceControlling, 2n ** 64n - 1n))
          .fingerprint()
          .finish()
          .slice(),
    ],
    [
      'the other role conflict without integrity',
      (said) =>
        check(said, (w) => w.uint64(Attribute.IceControlled, 0n))
          .fingerprint()
          .finish()
          .slice(),
    ],
    [
      'a check with the password of its sender',
      (said) =>
        check(said, (w) => w.integrity(IntegrityKey.shortTerm(said.b?.pwd ?? '')))
          .fingerprint()
          .finish()
          .slice(),
    ],
    [
      'a check that has its USERNAME behind the integrity',
      (said) =>
        new MessageWriter()
          .start('request', Method.Binding, new Uint8Array(12))
          .uint32(Attribute.Priority, 1)
          .integrity(IntegrityKey.shortTerm(said.a?.pwd ?? ''))
          .fingerprint()
          .finish()
          .slice(),
    ],
    [
      'a check with only SHA-256 integrity',
      (said) =>
        check(said, (w) => w.integritySha256(IntegrityKey.shortTerm(said.a?.pwd ?? '')))
          .fingerprint()
          .finish()
          .slice(),
    ],
    [
      'a check for a user fragment nobody has',
      (said) =>
        check({ ...said, a: { ...(said.a as Signal), ufrag: 'nobodyhere' } })
          .fingerprint()
          .finish()
          .slice(),
    ],
    [
      'C35 a Binding indication',
      () => new MessageWriter().start('indication', Method.Binding, new Uint8Array(12)).fingerprint().finish().slice(),
    ],
    ['an Allocate request', () => new MessageWriter().start('request', Method.Allocate, new Uint8Array(12)).fingerprint().finish().slice()],
    [
      'a success nobody waits for',
      () =>
        new MessageWriter()
          .start('success', Method.Binding, new Uint8Array(12))
          .address(Attribute.XorMappedAddress, STRANGER)
          .fingerprint()
          .finish()
          .slice(),
    ],
    [
      'an error nobody waits for',
      () =>
        new MessageWriter()
          .start('error', Method.Binding, new Uint8Array(12))
          .errorCode(487, 'Role Conflict')
          .fingerprint()
          .finish()
          .slice(),
    ],
  ]

  it.each(foes)('C31 changes nothing and is not answered: %s', async (_what, make) => {
    for (const moment of [130, 2_000]) {
      const { a, b, said } = await scene(moment)
      const from = Address.of(b.traversal.status().sockets[0]?.split(':')[0] ?? '', Number(b.traversal.status().sockets[0]?.split(':')[1]))
      const before = state(a)
      const countedBefore = counted(a)
      a.handler.datagram(make(said), STRANGER)
      expect(state(a)).toBe(before)
      expect(counted(a)).toBeGreaterThan(countedBefore)
      a.handler.datagram(make(said), from)
      expect(state(a)).toBe(before)
    }
  })

  it('C33 C32 an error or a success for a check on its way, without the peer’s integrity, changes nothing; the real answer counts', async () => {
    const { lab, a, b } = await scene(0)
    let forged = 0
    // Whatever check a sends is answered by somebody who saw it, before the peer's answer can be there.
    lab.filter(({ host, data, to }) => {
      const message = Message.read(data)
      if (host !== 'a' || message?.class !== 'request' || !message.has(Attribute.Username)) return undefined
      for (const kind of ['error', 'success'] as const) {
        const w = new MessageWriter().start(kind, Method.Binding, message.transactionId)
        if (kind === 'error') w.errorCode(487, 'Role Conflict')
        else w.address(Attribute.XorMappedAddress, STRANGER)
        const bytes = w
          .integrity(IntegrityKey.shortTerm('y'.repeat(24)))
          .fingerprint()
          .finish()
          .slice()
        lab.after(1, () => {
          const before = state(a)
          a.handler.datagram(bytes, to)
          expect(state(a)).toBe(before)
          forged++
        })
      }
      return undefined
    })
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 1_000 })
    expect(forged).toBeGreaterThan(0)
    expect(a.session.path?.local.ip).not.toBe(STRANGER.ip)
  })

  it('C58 data from an address that is no validated pair is not delivered', async () => {
    const { a } = await scene(2_000)
    a.handler.datagram(Uint8Array.of(1, 2, 3), STRANGER)
    expect(a.inbox).toEqual([])
    expect(a.traversal.status().dropped.stray).toBeGreaterThan(0)
  })

  it('C75 C35 from a validated address it is data, byte for byte', async () => {
    const { lab, a, b, said } = await scene(2_000)
    const got: Uint8Array[] = []
    a.session.on('message', (data) => got.push(data))
    const sent = [
      check(said).fingerprint().finish().slice(),
      check(said, (w) => w.integrity(IntegrityKey.shortTerm('z'.repeat(24))))
        .fingerprint()
        .finish()
        .slice(),
      new MessageWriter().start('success', Method.Binding, new Uint8Array(12)).fingerprint().finish().slice(),
      new MessageWriter()
        .start('request', Method.Binding, new Uint8Array(12))
        .fingerprint()
        .finish()
        .map((byte, i) => (i > 24 ? byte ^ 1 : byte)),
      Uint8Array.of(0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
      new Uint8Array(0),
    ]
    for (const data of sent) b.session.send(data)
    await lab.run(100)
    expect(got.map((data) => [...data])).toEqual(sent.map((data) => [...data]))
    expect(b.session.state).toBe('connected')
  })
})

describe('an authentic message that makes no sense', () => {
  it('C34 is answered with 420 where it has an attribute that must be understood and is not', async () => {
    const { lab, a, b, said } = await scene(2_000)
    const from = b.session.path?.local as { ip: string; port: number }
    const before = state(a)
    const sends = a.network.sends
    lab.trace.clear()
    const key = IntegrityKey.shortTerm((said.a as Signal).pwd)
    a.handler.datagram(
      check(said, (w) => w.uint64(Attribute.IceControlled, 1n).uint32(0x7abc, 1).integrity(key))
        .fingerprint()
        .finish()
        .slice(),
      Address.of(from.ip, from.port),
    )
    expect(a.network.sends).toBe(sends + 1)
    const answer = Message.read(lab.trace.records.find(({ at, event }) => at === 'a' && event === 'send')?.data ?? new Uint8Array())
    expect(answer?.errorCode()?.code).toBe(420)
    expect(answer?.unknownAttributes()).toEqual([0x7abc])
    expect(answer?.integrity(key)).toBe('valid')
    expect(state(a)).toBe(before.replace(`"sends":${sends}`, `"sends":${sends + 1}`))
  })

  it.each<[string, (writer: MessageWriter) => MessageWriter]>([
    ['no role', (w) => w],
    ['a tie-breaker of four bytes', (w) => w.uint32(Attribute.IceControlled, 1)],
  ])('is answered with 400 where it has %s', async (_what, more) => {
    const { lab, a, said } = await scene(2_000)
    lab.trace.clear()
    const key = IntegrityKey.shortTerm((said.a as Signal).pwd)
    const before = JSON.stringify(a.session.explain().pairs)
    a.handler.datagram(
      check(said, (w) => more(w).integrity(key))
        .fingerprint()
        .finish()
        .slice(),
      STRANGER,
    )
    const answer = Message.read(lab.trace.records.find(({ at, event }) => at === 'a' && event === 'send')?.data ?? new Uint8Array())
    expect(answer?.errorCode()?.code).toBe(400)
    expect(JSON.stringify(a.session.explain().pairs)).toBe(before)
  })
})

describe('nonsense from the signalling channel', () => {
  const nonsense: readonly unknown[] = [
    undefined,
    null,
    0,
    '',
    'signal',
    [],
    {},
    [[]],
    true,
    Number.NaN,
    Symbol('x'),
    10n,
    () => {},
    new Date(0),
    new Map(),
    new Uint8Array(9),
    { v: 1 },
    { v: { toString: null, valueOf: null } },
    { v: 1, ufrag: 'abcd', pwd: 'p'.repeat(22) },
    {
      v: 1,
      ufrag: 'abcd',
      pwd: 'p'.repeat(22),
      candidates: Array.from({ length: 10_000 }, () => 'candidate:1 1 udp 1 192.0.2.1 1 typ host'),
    },
    JSON.parse('{"__proto__":{"v":1},"ufrag":"abcd"}'),
    Object.create(null),
    { v: 1, ufrag: 'abcd', pwd: 'p'.repeat(22), candidates: [], seq: -1 },
  ]

  it('is refused with false, counted, and changes nothing, before and after there is a path', async () => {
    for (const moment of [0, 130, 2_000]) {
      const { a } = await scene(moment)
      const before = state(a)
      const { badSignals } = a.session.status
      for (const value of nonsense) expect(a.session.signal(value as Signal)).toBe(false)
      expect(state(a)).toBe(before)
      expect(a.session.status.badSignals).toBe(badSignals + nonsense.length)
    }
    expect(({} as { v?: unknown }).v).toBeUndefined()
  })

  it('C18 in the candidates of a signal costs only those candidates', async () => {
    const { lab, a, b, said } = await scene(130)
    const signal = said.b as Signal
    const candidates = [...Array.from({ length: 60 }, (_, i) => `candidate:${i} 1 tcp ${i} 192.0.2.1 0 typ nothing`), ...signal.candidates]
    a.session.signal({ ...signal, seq: 99, candidates: candidates as string[] })
    expect(a.session.explain().refused.length).toBeGreaterThanOrEqual(60)
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 1_000 })
  })

  it('a list of 128 addresses of other people costs them ten small packets each at most, and is tried within the pace', async () => {
    const { lab, a } = await scene(0)
    const candidates = Array.from({ length: 128 }, (_, i) => `candidate:${i} 1 udp ${2 ** 31 - 1 - i} 192.0.2.${i} 9 typ host`)
    const foe = a.traversal.connect({ peer: 'foe' })
    const sends = a.network.sends
    foe.signal({ v: 1, ufrag: 'foefoefoe', pwd: 'p'.repeat(24), candidates })
    lab.trace.clear()
    await lab.run(100_000)
    const to = new Map<string, number>()
    const times: number[] = []
    for (const {
      at,
      event,
      time,
      to: { key, ip },
    } of lab.trace.records) {
      if (at !== 'a' || event !== 'send' || !ip.startsWith('192.0.2.')) continue
      to.set(key, (to.get(key) ?? 0) + 1)
      times.push(time)
    }
    expect(to.size).toBeLessThanOrEqual(64)
    expect(Math.max(...to.values())).toBeLessThanOrEqual(10)
    expect(a.network.sends - sends).toBeGreaterThan(64)
    expect(Math.min(...times.slice(1).map((time, i) => time - (times[i] as number)))).toBeGreaterThan(4.999)
    expect(foe.state).toBe('idle')
    await expect(foe.ready).rejects.toMatchObject({ code: 'ERR_NO_PATH' })
  })
})

describe('options that make no sense', () => {
  const network = createLab().host('a')
  const badOptions: readonly (readonly [string, object, RegExp])[] = [
    ['an unknown one', { server: [] }, /option server is not known/],
    ['servers as a text', { servers: 'stun:a' }, /option servers/],
    ['servers as null', { servers: null }, /option servers/],
    ['a server that is no text', { servers: [5] }, /option servers\[0\]/],
    ['a server that is no URI', { servers: ['stun:a', 'nonsense'] }, /option servers\[1\]/],
    ['a server by http', { servers: ['http://a'] }, /option servers\[0\]/],
    ['a server of port 0', { servers: ['stun:a:0'] }, /option servers\[0\]/],
    ['a server of port 65536', { servers: ['stun:a:65536'] }, /option servers\[0\]/],
    ['hosts as a list', { hosts: [] }, /hosts/],
    ['hosts as null', { hosts: null }, /hosts/],
    ['an unknown hosts option', { hosts: { only: [] } }, /hosts\.only/],
    ['hosts.loopback as text', { hosts: { loopback: 'yes' } }, /hosts\.loopback/],
    ['hosts.linkLocal as number', { hosts: { linkLocal: 1 } }, /hosts\.linkLocal/],
    ['hosts.include as text', { hosts: { include: 'eth0' } }, /hosts\.include/],
    ['hosts.include with a range that is none', { hosts: { include: ['10.0.0.0/99'] } }, /hosts\.include/],
    ['hosts.exclude with a number', { hosts: { exclude: [4] } }, /hosts\.exclude/],
    ['hosts.accept as text', { hosts: { accept: 'all' } }, /hosts\.accept/],
    ['hosts.families with 5', { hosts: { families: [5] } }, /hosts\.families/],
    ['hosts.limit of 0', { hosts: { limit: 0 } }, /hosts\.limit/],
    ['a negative port', { port: -1 }, /option port/],
    ['a port of 65536', { port: 65_536 }, /option port/],
    ['a port with a fraction', { port: 1.5 }, /option port/],
    ['a port as text', { port: '80' }, /option port/],
    ['a port that is NaN', { port: Number.NaN }, /option port/],
    ['a socket that is none', { socket: {} }, /option socket/],
    ['a socket that is null', { socket: null }, /option socket/],
    ['a socket that is a number', { socket: 7 }, /option socket/],
    ['a network that is none', { network: {} }, /option network/],
    ['a network that is a text', { network: 'lab' }, /option network/],
  ]

  it.each(badOptions)('createTraversal: %s is a TypeError that names the option', async (_what, options, message) => {
    const error = await createTraversal({ ...('network' in options ? {} : { network }), ...options }).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toMatch(message)
  })

  // A10
  it('createTraversal: a network that is null is a TypeError that names the option', async () => {
    await expect(createTraversal({ network: null } as never)).rejects.toThrow(/option network/)
  })

  it.each([null, 5, 'text', true])('createTraversal: %s in place of options is a TypeError', async (options) => {
    await expect(createTraversal(options as never)).rejects.toThrow(TypeError)
  })

  it.each([
    ['no peer', {}, /option peer/],
    ['an empty peer', { peer: '' }, /option peer/],
    ['a peer that is a number', { peer: 7 }, /option peer/],
    ['a peer that is null', { peer: null }, /option peer/],
    ['a signal that is none', { peer: 'b', signal: {} }, /option signal/],
    ['a signal that is null', { peer: 'b', signal: null }, /option signal/],
  ])('connect: %s is a TypeError that names the option, and leaves no session', async (_what, options, message) => {
    const traversal = await createTraversal({ network })
    expect(() => traversal.connect(options as never)).toThrow(TypeError)
    expect(() => traversal.connect(options as never)).toThrow(message)
    expect(traversal.status().sessions).toBe(0)
    await traversal.close()
  })

  // A10
  it.each([
    ['nothing', undefined, /option/],
    ['null', null, /option/],
    ['an unknown option', { peer: 'b', timeout: 5 }, /option timeout/],
  ])('connect: %s is a TypeError that names the option', async (_what, options, message) => {
    const traversal = await createTraversal({ network })
    try {
      expect(() => traversal.connect(options as never)).toThrow(message)
    } finally {
      await traversal.close()
    }
  })

  it('connect: with a signal that is aborted already throws its reason and leaves no session', async () => {
    const traversal = await createTraversal({ network })
    const reason = new Error('too late')
    expect(() => traversal.connect({ peer: 'b', signal: AbortSignal.abort(reason) })).toThrow(reason)
    expect(traversal.status().sessions).toBe(0)
    await traversal.close()
    expect(() => traversal.connect({ peer: 'b' })).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }))
  })

  // A11
  it.each(['text', 5, null, [1, 2]])('send: %s is a TypeError at the call, with a path or without', async (data) => {
    const traversal = await createTraversal({ network })
    try {
      expect(() => traversal.connect({ peer: 'b' }).send(data as never)).toThrow(TypeError)
    } finally {
      await traversal.close()
    }
  })
})
