import { describe, expect, it } from 'vitest'
import { asPeerReflexive, comparePairPriority } from '../../src/candidates/index.ts'
import { CHECK_INTERVALS, CHECK_LIFETIME, HEARD_INTERVALS, MAX_PAIRS, PATIENCE } from '../../src/ice/constants.ts'
import { Address } from '../../src/net/index.ts'
import { Attribute, IntegrityKey, Message, MessageWriter, Method } from '../../src/stun/index.ts'
import { hostOf, makeBase, OURS, remote, Solo, THEIRS } from './solo.ts'

const THEIR_KEY = IntegrityKey.shortTerm(THEIRS.pwd)
const OUR_KEY = IntegrityKey.shortTerm(OURS.pwd)

describe('which pairs there are', () => {
  it('C20 a pair never crosses families', () => {
    const solo = new Solo().start([remote('2001:db8::1'), remote('192.0.2.1')])
    expect(solo.agent.pairs.map(({ to }) => to.ip)).toEqual(['192.0.2.1'])
  })

  it('C20 an IPv6 link-local address of the peer is reached through a link-local base only, with our zone', () => {
    const solo = new Solo()
    const [local, wide] = [makeBase('fe80::1%eth0'), makeBase('2001:db8::1')]
    for (const base of [local, wide]) solo.tell((agent, now) => agent.addLocal(hostOf(base), now))
    solo.meet()
    solo.tell((agent, now) => agent.addRemotes([remote('fe80::2')], now))
    expect(solo.agent.pairs.map(({ base, to }) => [base.id, to.key])).toEqual([[local.id, '[fe80::2%eth0]:6000']])
  })

  it('C20 loopback meets loopback only', () => {
    const solo = new Solo()
    const loopback = makeBase('127.0.0.1')
    solo.tell((agent, now) => agent.addLocal(hostOf(loopback), now))
    solo.start([remote('127.0.0.1'), remote('192.0.2.1')])
    expect(solo.agent.pairs.map(({ base, to }) => `${base.address.ip} ${to.ip}`).sort()).toEqual([
      '10.0.0.1 192.0.2.1',
      '127.0.0.1 127.0.0.1',
    ])
  })

  it('C21 C05 reflexive candidates of ours bring no pair of their own: checks leave from the base', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    const srflx = { ...hostOf(solo.base), type: 'srflx' as const, address: Address.of('198.51.100.1', 7000), related: solo.base.address }
    solo.tell((agent, now) => agent.addLocal(srflx, now))
    expect(solo.agent.pairs).toHaveLength(1)
    expect(solo.agent.pairs[0]?.local.type).toBe('host')
  })

  it('C15 a candidate that comes twice is one', () => {
    const solo = new Solo().start([remote('192.0.2.1'), remote('192.0.2.1')])
    expect(solo.tell((agent, now) => agent.addRemotes([remote('192.0.2.1', 6000, 'srflx')], now))).toEqual([])
    expect(solo.agent.pairs).toHaveLength(1)
    expect(solo.pair('192.0.2.1').remote.type).toBe('host')
  })

  it('C16 after the end of candidates another one is refused with a reason, and a known one is still no news', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    solo.hear('192.0.2.9')
    solo.tell((agent) => agent.endRemotes())
    const late = solo.tell((agent, now) =>
      agent.addRemotes([remote('192.0.2.1'), remote('192.0.2.9', 6000, 'srflx'), remote('192.0.2.2')], now),
    )
    expect(late).toEqual([expect.stringContaining('192.0.2.2:6000: it comes after the end of candidates')])
    expect(solo.agent.pairs.map(({ to }) => to.ip).sort()).toEqual(['192.0.2.1', '192.0.2.9'])
    // What checks show is no candidate that somebody signals.
    expect(solo.hear('192.0.2.3')?.class).toBe('success')
    expect(solo.pair('192.0.2.9').remote.type).toBe('srflx')
  })

  it('C24 there are 100 pairs at most; the lowest make room, but never one the peer is heard on', () => {
    const solo = new Solo()
    for (let i = 0; i < 3; i++) solo.tell((agent, now) => agent.addLocal(hostOf(makeBase(`10.0.0.${i + 10}`, i)), now))
    solo.tell((agent, now) => agent.addLocal(hostOf(solo.base), now))
    solo.meet()
    const low = remote('192.0.2.1', 6000, 'relay', { priority: 1 })
    solo.tell((agent, now) => agent.addRemotes([low], now))
    solo.hear('192.0.2.1')
    solo.tell((agent, now) =>
      agent.addRemotes(
        Array.from({ length: 40 }, (_, i) => remote(`192.0.2.${i + 2}`)),
        now,
      ),
    )
    expect(solo.agent.pairs).toHaveLength(MAX_PAIRS)
    expect(solo.agent.pairs.filter(({ to }) => to.ip === '192.0.2.1').map(({ base }) => base)).toContain(solo.base)
  })

  it('C24 what was asked over a pair that made room is not waited for any more, and its answer makes nothing valid', () => {
    const solo = new Solo()
    solo.start([remote('192.0.2.1', 6000, 'relay', { priority: 1 })])
    solo.run(1)
    const [check] = solo.checksTo('192.0.2.1')
    for (let i = 0; i < 3; i++) solo.tell((agent, now) => agent.addLocal(hostOf(makeBase(`10.0.0.${i + 10}`, i)), now))
    solo.tell((agent, now) =>
      agent.addRemotes(
        Array.from({ length: 60 }, (_, i) => remote(`192.0.2.${i + 2}`)),
        now,
      ),
    )
    expect(solo.agent.pairs.some(({ to, base }) => to.ip === '192.0.2.1' && base === solo.base)).toBe(false)
    expect(check && solo.expected.has(check.message.transactionKey)).toBe(false)
    expect(check && solo.answer(check)).toBe('stranger')
    expect(solo.kinds()).not.toContain('valid')
  })

  it('refuses more signalled candidates than 64, with a reason, and takes those all the same when as many were learnt from checks', () => {
    const solo = new Solo().start()
    for (let i = 0; i < 80; i++) solo.hear('203.0.113.1', {}, 1_000 + i)
    expect(solo.agent.remoteCandidates).toHaveLength(64)
    const many = Array.from({ length: 70 }, (_, i) => remote(`192.0.2.${i + 1}`))
    expect(solo.tell((agent, now) => agent.addRemotes(many, now))).toHaveLength(6)
    expect(solo.agent.remoteCandidates).toHaveLength(128)
  })
})

describe('in which order pairs are checked', () => {
  it('C23 pairs of one likelihood in the order of their pair priority', () => {
    const candidates = [3, 1, 4, 1.5, 9, 2.6].map((n, i) =>
      remote(`192.0.2.${i + 1}`, 6000, 'host', { priority: Math.round(n * 1_000), foundation: `f${i}` }),
    )
    const solo = new Solo().start(candidates).run(40)
    const order = solo.checks.map(({ to }) => solo.pair(to.ip))
    expect(order).toHaveLength(6)
    expect([...order].sort((a, b) => comparePairPriority(a.priority, b.priority))).toEqual(order)
  })

  it('the same link first, then what is reachable from anywhere, then relays, then private addresses of other networks', () => {
    const solo = new Solo().start([
      remote('192.168.7.7'),
      remote('203.0.113.9', 6000, 'relay'),
      remote('203.0.113.5', 6000, 'srflx'),
      remote('10.0.0.44'),
    ])
    solo.run(30)
    expect(solo.checks.map(({ to }) => to.ip).slice(0, 4)).toEqual(['10.0.0.44', '203.0.113.5', '203.0.113.9', '192.168.7.7'])
  })

  it('C25 checks go out at least 5 ms apart, the first at once', () => {
    const solo = new Solo().start(Array.from({ length: 20 }, (_, i) => remote(`192.0.2.${i + 1}`))).run(2_000)
    const times = solo.checks.map(({ at }) => at)
    expect(times[0]).toBe(0)
    expect(times.length).toBeGreaterThan(80)
    expect(Math.min(...times.slice(1).map((time, i) => time - (times[i] as number)))).toBeGreaterThanOrEqual(5)
  })

  it('C20 of pairs that share a foundation one goes ahead, and the others follow when it had its chance', () => {
    const solo = new Solo().start([1, 2, 3].map((i) => remote(`192.0.2.${i}`, 6000, 'host', { foundation: 'same', priority: 1_000 - i })))
    expect(solo.agent.pairs.map(({ state }) => state)).toEqual(['in-progress', 'frozen', 'frozen'])
    solo.run(49)
    expect(solo.checks).toHaveLength(1)
    solo.run(70)
    expect(new Set(solo.checks.map(({ to }) => to.ip)).size).toBeGreaterThanOrEqual(2)
    solo.run(200)
    expect(new Set(solo.checks.map(({ to }) => to.ip)).size).toBe(3)
  })

  it('C73 a pair without an answer gets fresh checks, each a transaction of its own, ten in all at growing distances', () => {
    const solo = new Solo().start([remote('192.0.2.1')]).run(60_000)
    const times = solo.checks.map(({ at }) => at)
    expect(times).toHaveLength(10)
    expect(times.filter((at) => at <= 100)).toHaveLength(3)
    expect(times.slice(1).map((time, i) => time - (times[i] as number))).toEqual([...CHECK_INTERVALS])
    expect(new Set(solo.checks.map(({ message }) => message.transactionKey)).size).toBe(times.length)
  })

  it('C73 a pair on which the peer is heard is checked every 20 ms at first, then more rarely, and not for ever', () => {
    const solo = new Solo().start()
    solo.hear('198.51.100.7')
    solo.run(60_000)
    const times = solo.checks.map(({ at }) => at)
    expect(times.slice(1).map((time, i) => time - (times[i] as number))).toEqual([...HEARD_INTERVALS])
    expect(times.filter((at) => at <= 500)).toHaveLength(26)
    expect(times).toHaveLength(74)
    expect(new Set(solo.checks.map(({ message }) => message.transactionKey)).size).toBe(times.length)
  })

  it('C26 C73 but where the round trip is likely long, not twice before the answer to a check can be there that crossed the peer’s', () => {
    const solo = new Solo().start()
    solo.agent.expectRoundTrip(150)
    solo.hear('198.51.100.7')
    solo.run(400)
    expect(solo.checks.map(({ at }) => at)).toEqual([0, 90, 180, 270, 360])
  })

  it('C26 C73 and at least every 100 ms at first: what others take for an answer is a guess', () => {
    const solo = new Solo().start()
    solo.agent.expectRoundTrip(3_000)
    solo.hear('198.51.100.7')
    solo.run(400)
    expect(solo.checks.map(({ at }) => at)).toEqual([0, 100, 200, 300, 400])
  })

  it('C73 the guess does not slow down a pair on which the peer is not heard', () => {
    const solo = new Solo().start()
    solo.agent.expectRoundTrip(3_000)
    solo.tell((agent, now) => agent.addRemotes([remote('192.0.2.1')], now))
    solo.run(100)
    expect(solo.checks.map(({ at }) => at)).toEqual([0, 50, 100])
  })

  it('C25 C73 pairs that are checked so often leave slots to the others', () => {
    const solo = new Solo().start([remote('192.168.7.7')])
    for (let i = 0; i < 8; i++) solo.hear('198.51.100.7', {}, 7_000 + i)
    solo.run(400)
    expect(solo.checksTo('192.168.7.7').length).toBeGreaterThanOrEqual(4)
  })

  it('C26 once a round trip is known, no question is repeated before its answer can be there', () => {
    const solo = new Solo({ renomination: true }).start([remote('192.0.2.1')])
    solo.answerAll(300).run(2_000)
    const nominations = solo.checks.filter(({ message }) => message.has(Attribute.UseCandidate)).map(({ at }) => at)
    expect(nominations.slice(1).every((time, i) => time - (nominations[i] as number) >= 300)).toBe(true)
  })

  it('C27 a triggered check goes before ordinary ones, at the next slot', () => {
    const solo = new Solo().start(Array.from({ length: 20 }, (_, i) => remote(`192.0.2.${i + 1}`))).run(12)
    solo.hear('198.51.100.7')
    solo.run(4)
    expect(solo.checks.at(-1)?.to.ip).toBe('198.51.100.7')
  })

  it('C27 and at once when the pace allows', () => {
    const solo = new Solo().start().run(1_000)
    solo.hear('198.51.100.7')
    expect(solo.checksTo('198.51.100.7').map(({ at }) => at)).toEqual([1_000])
  })

  it('C28 a check of the peer on a pair in progress makes us check again at once', () => {
    const solo = new Solo().start([remote('192.0.2.1')]).run(900)
    const before = solo.checks.length
    solo.hear('192.0.2.1')
    expect(solo.checks).toHaveLength(before + 1)
    expect(solo.last.at).toBe(900)
  })

  it('C28 and on a failed pair revives it for a whole run of checks', () => {
    const solo = new Solo().start([remote('192.0.2.1')]).run(39_000)
    expect(solo.pair('192.0.2.1').state).toBe('failed')
    const before = solo.checks.length
    solo.hear('192.0.2.1')
    expect(solo.pair('192.0.2.1')).toMatchObject({ state: 'in-progress', reason: undefined })
    solo.run(20_000)
    expect(solo.checks.length - before).toBeGreaterThanOrEqual(10)
  })

  it('M1 pairs go on being checked when what was urgent is over before its slot came', () => {
    const solo = new Solo().start([remote('192.0.2.1'), remote('192.0.2.2'), remote('192.0.2.3')]).run(1)
    // The slots at 5 and 10 ms are taken by the others; the first pair is triggered, and answered before it gets one.
    solo.run(4)
    const [first] = solo.checks
    solo.hear('192.0.2.1')
    if (first !== undefined) solo.fail(first.to.ip, 'ENETUNREACH')
    solo.run(1_000)
    expect(solo.checksTo('192.0.2.2').length).toBeGreaterThanOrEqual(4)
    expect(solo.checksTo('192.0.2.3').length).toBeGreaterThanOrEqual(4)
  })

  it('never wakes for nothing: as many wakes as deadlines, also after everything failed', () => {
    const solo = new Solo().start([remote('192.0.2.1')]).run(39_400)
    expect(solo.advances).toBeLessThan(60)
    solo.run(600_000)
    expect(solo.advances).toBeLessThan(62)
    expect(solo.agent.deadline).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('what is in a check', () => {
  function firstCheck(solo: Solo): Message {
    return solo.start([remote('192.0.2.1')]).checks[0]?.message as Message
  }

  it('C29 PRIORITY is that of a peer-reflexive candidate of the same base', () => {
    const solo = new Solo()
    const { priority } = hostOf(solo.base)
    expect(firstCheck(solo).uint32(Attribute.Priority)).toBe(asPeerReflexive(priority))
    expect(asPeerReflexive(priority) >>> 24).toBe(110)
    expect(asPeerReflexive(priority) % 2 ** 24).toBe(priority % 2 ** 24)
  })

  it('C30 USERNAME is theirs:ours, and the key is their password', () => {
    const message = firstCheck(new Solo())
    expect(message.text(Attribute.Username)).toBe(`${THEIRS.ufrag}:${OURS.ufrag}`)
    expect(message.integrity(THEIR_KEY)).toBe('valid')
    expect(message.fingerprint()).toBe('valid')
  })

  it('the role goes with the tie-breaker', () => {
    expect(firstCheck(new Solo({ controlling: true, tieBreaker: 77n })).uint64(Attribute.IceControlling)).toBe(77n)
    const controlled = firstCheck(new Solo({ controlling: false, tieBreaker: 78n }))
    expect(controlled.uint64(Attribute.IceControlled)).toBe(78n)
    expect(controlled.has(Attribute.IceControlling)).toBe(false)
    expect(controlled.has(Attribute.UseCandidate)).toBe(false)
  })

  it('carries no nomination before the pair is known to work', () => {
    expect(firstCheck(new Solo()).has(Attribute.UseCandidate)).toBe(false)
  })
})

describe('a check of the peer', () => {
  it('C37 is answered with the address it came from, under our password, from the socket it came to', () => {
    const solo = new Solo().start()
    const answer = solo.hear('198.51.100.7', {}, 4_321)
    expect(answer?.class).toBe('success')
    expect(answer?.address(Attribute.XorMappedAddress)?.key).toBe('198.51.100.7:4321')
    expect(answer?.integrity(OUR_KEY)).toBe('valid')
    expect(answer?.fingerprint()).toBe('valid')
    expect(solo.sent.find(({ message }) => message.class === 'success')?.base).toBe(solo.base)
  })

  it('C38 from a new address teaches a peer-reflexive candidate with the priority it carries', () => {
    const solo = new Solo().start()
    solo.hear('198.51.100.7', { priority: 12_345 })
    expect(solo.pair('198.51.100.7').remote).toMatchObject({ type: 'prflx', priority: 12_345 })
    expect(solo.pair('198.51.100.7').heard).toBe(true)
  })

  it('C30 C31 without our user fragment’s password is as if it had not come', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    const data = new MessageWriter()
      .start('request', Method.Binding, new Uint8Array(12))
      .text(Attribute.Username, `${OURS.ufrag}:${THEIRS.ufrag}`)
      .uint32(Attribute.Priority, 5)
      .uint64(Attribute.IceControlling, 2n ** 64n - 1n)
      .flag(Attribute.UseCandidate)
      .integrity(THEIR_KEY)
      .fingerprint()
      .finish()
      .slice()
    const before = { sent: solo.sent.length, pairs: solo.agent.pairs.length }
    expect(solo.request(data, '198.51.100.7')).toBe('stranger')
    expect({ sent: solo.sent.length, pairs: solo.agent.pairs.length }).toEqual(before)
    expect(solo.agent.controlling).toBe(true)
  })

  it('C30 C62 with another sender than the one we know is not answered', () => {
    const solo = new Solo().start()
    expect(solo.hear('198.51.100.7', { ufrag: 'somebodyelse' })).toBeUndefined()
    expect(solo.agent.pairs).toHaveLength(0)
  })

  it('C34 with an unknown attribute that must be understood gets 420 with its name', () => {
    const solo = new Solo().start()
    const answer = solo.hear('198.51.100.7', { more: (w) => w.uint32(0x7f00, 1) })
    expect(answer?.errorCode()?.code).toBe(420)
    expect(answer?.unknownAttributes()).toEqual([0x7f00])
    expect(solo.agent.pairs).toHaveLength(0)
  })

  it('C34 with an unknown attribute that may be skipped is an ordinary one', () => {
    expect(new Solo().start().hear('198.51.100.7', { more: (w) => w.uint32(0xff00, 1) })?.class).toBe('success')
  })

  it('C18 with priority 0 gets 400', () => {
    expect(new Solo().start().hear('198.51.100.7', { priority: 0 })?.errorCode()?.code).toBe(400)
  })

  it('C36 that comes before we know its sender is answered at once, and checked back when we do', () => {
    const solo = new Solo()
    solo.tell((agent, now) => agent.addLocal(hostOf(solo.base), now))
    expect(solo.hear('198.51.100.7', { controlling: false })?.class).toBe('success')
    expect(solo.checks).toHaveLength(0)
    solo.run(500).meet()
    expect(solo.checksTo('198.51.100.7')).toHaveLength(1)
  })

  it('C36 is not kept for a sender that turns out to be another one', () => {
    const solo = new Solo()
    solo.tell((agent, now) => agent.addLocal(hostOf(solo.base), now))
    solo.hear('198.51.100.7', { controlling: false, ufrag: 'somebodyelse' })
    solo.meet()
    expect(solo.agent.pairs).toHaveLength(0)
  })

  it('C36 is remembered only so many times', () => {
    const solo = new Solo()
    solo.tell((agent, now) => agent.addLocal(hostOf(solo.base), now))
    for (let i = 0; i < 1_000; i++) solo.hear('198.51.100.7', { controlling: false }, 1_000 + i)
    solo.meet()
    expect(solo.agent.pairs).toHaveLength(32)
  })

  it('C36 takes one place however often it comes from one address, so that others have theirs', () => {
    const solo = new Solo()
    solo.tell((agent, now) => agent.addLocal(hostOf(solo.base), now))
    for (let i = 0; i < 40; i++) expect(solo.hear('198.51.100.7', { controlling: false })?.class).toBe('success')
    expect(solo.hear('198.51.100.8', { controlling: false })?.class).toBe('success')
    solo.meet()
    expect(solo.agent.pairs.map(({ to }) => to.ip).sort()).toEqual(['198.51.100.7', '198.51.100.8'])
  })

  it('C36 with a nomination counts as one, though checks without it come before and after', () => {
    const solo = new Solo({ controlling: false })
    solo.tell((agent, now) => agent.addLocal(hostOf(solo.base), now))
    for (const useCandidate of [false, true, false]) solo.hear('198.51.100.7', { useCandidate })
    solo.meet()
    solo.answerAll(20).run(1_000)
    expect(solo.pair('198.51.100.7').nominated).toBe(0)
  })

  it('C36 C70 that came early counts no more when another session has the address by then', () => {
    let free = true
    const solo = new Solo({ mayUse: () => free })
    solo.tell((agent, now) => agent.addLocal(hostOf(solo.base), now))
    expect(solo.hear('198.51.100.7', { controlling: false })?.class).toBe('success')
    expect(solo.events).toMatchObject([{ kind: 'early', to: { ip: '198.51.100.7' } }])
    free = false
    solo.meet()
    expect(solo.agent.pairs).toHaveLength(0)
  })

  it('from an address that another session has is not answered and changes nothing', () => {
    const solo = new Solo({ mayUse: () => false }).start()
    expect(solo.hear('198.51.100.7')).toBeUndefined()
    expect(solo.agent.pairs).toHaveLength(0)
  })
})

describe('C70 a pair that the peer was heard on and that goes before it was valid', () => {
  const heard = (): Solo => {
    const solo = new Solo().start([remote('192.0.2.1'), remote('192.0.2.2')])
    solo.hear('192.0.2.1')
    return solo
  }

  it('is told of as lost when the peer withdraws its address, so that nothing is kept for it', () => {
    const solo = heard()
    solo.tell((agent, now) => agent.withdrawRemotes([], now))
    expect(solo.events.filter(({ kind }) => kind === 'lost')).toMatchObject([{ pair: { to: { ip: '192.0.2.1' } } }])
    expect(solo.agent.pairs).toHaveLength(0)
  })

  it.each([false, true])('is told of as lost when its base goes; a lite agent: %s', (lite) => {
    const solo = lite ? new Solo({ lite }).start() : heard()
    if (lite) solo.hear('192.0.2.1')
    solo.tell((agent, now) => agent.removeBase(solo.base, 'gone', now))
    expect(solo.events.filter(({ kind }) => kind === 'lost')).toMatchObject([{ pair: { to: { ip: '192.0.2.1' } }, reason: 'gone' }])
  })

  it('and once valid is told of once', () => {
    const solo = heard()
    solo.answerAll(20).run(1_000)
    solo.tell((agent, now) => agent.removeBase(solo.base, 'gone', now))
    expect(solo.events.filter(({ kind }) => kind === 'lost')).toHaveLength(2)
  })
})

it('C70 an address whose data is another session’s is not even asked, and the report says why', () => {
  const solo = new Solo({ mayAsk: (_base, to) => to.ip !== '192.0.2.1' }).start([remote('192.0.2.1'), remote('192.0.2.2')])
  solo.run(1_000)
  expect(solo.checksTo('192.0.2.1')).toHaveLength(0)
  expect(solo.checksTo('192.0.2.2').length).toBeGreaterThan(1)
  expect(solo.pair('192.0.2.1')).toMatchObject({ state: 'failed', reason: 'another session uses this address' })
})

it('C70 an answer to a check from before the address was ours makes nothing valid, and it is asked again at once', () => {
  const solo = new Solo({ proves: (sentAt) => sentAt >= 60 }).answerAll(40).start([remote('192.0.2.1')])
  solo.run(59)
  expect(solo.kinds()).not.toContain('valid')
  solo.run(200)
  expect(solo.kinds()).toContain('valid')
})

describe('an answer', () => {
  function checked(options = {}): { solo: Solo; check: Solo['last'] } {
    const solo = new Solo(options).start([remote('192.0.2.1')])
    return { solo, check: solo.checks[0] as Solo['last'] }
  }

  it('C72 makes the pair valid and selects it at once', () => {
    const { solo, check } = checked()
    expect(solo.answer(check)).toBe('taken')
    expect(solo.pair('192.0.2.1')).toMatchObject({ state: 'succeeded', valid: true })
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.1'))
    expect(solo.kinds()).toEqual(['valid', 'selected'])
  })

  it('C32 with another transaction id is nobody’s', () => {
    const { solo, check } = checked()
    const data = check.message.data.slice()
    data[10] = (data[10] as number) ^ 1
    expect(solo.answer({ ...check, message: Message.read(data) as Message })).toBe('stranger')
  })

  it('C32 C33 with another password is nobody’s, and the check is still waited for', () => {
    const { solo, check } = checked()
    expect(solo.answer(check, { key: OUR_KEY })).toBe('stranger')
    expect(solo.refuse(check, 487, OUR_KEY)).toBe('stranger')
    expect(solo.refuse(check, 487, null)).toBe('stranger')
    expect(solo.agent.controlling).toBe(true)
    expect(solo.answer(check)).toBe('taken')
    expect(solo.agent.selected).toBeDefined()
  })

  it('C32 from another address than was asked validates nothing', () => {
    const { solo, check } = checked()
    solo.answer(check, { from: Address.of('192.0.2.99', 6000) })
    expect(solo.agent.selected).toBeUndefined()
    expect(solo.pair('192.0.2.1')).toMatchObject({ state: 'failed', reason: expect.stringContaining('192.0.2.99') })
  })

  it('C32 to another socket than asked validates nothing', () => {
    const { solo, check } = checked()
    solo.answer(check, { at: makeBase('10.0.0.2') })
    expect(solo.agent.selected).toBeUndefined()
  })

  it('C34 with an unknown attribute that must be understood fails the check', () => {
    const { solo, check } = checked()
    expect(solo.answer(check, { more: (w) => w.uint32(0x7f00, 1) })).toBe('taken')
    expect(solo.pair('192.0.2.1').state).toBe('failed')
  })

  it('without an address fails the pair, also when it was the last one', () => {
    const { solo, check } = checked()
    solo.answer(check, { mapped: null })
    expect(solo.pair('192.0.2.1')).toMatchObject({ state: 'failed', valid: false })
  })

  it('counts once', () => {
    const { solo, check } = checked()
    solo.answer(check)
    expect(solo.answer(check)).toBe('stranger')
    expect(solo.pair('192.0.2.1').received).toBe(1)
  })

  it('C26 gives the round trip of its own check, not of the first', () => {
    const { solo } = checked()
    solo.run(60)
    solo.answer(solo.checks[1] as Solo['last'])
    expect(solo.pair('192.0.2.1').rtt).toBe(10)
  })

  it('that comes when nobody waits any more, but for an earlier check of the pair, still counts', () => {
    const { solo, check } = checked()
    solo.run(11_000)
    expect(solo.answer(check)).toBe('taken')
    expect(solo.agent.selected).toBeDefined()
  })

  it('is not waited for longer than twelve seconds', () => {
    const { solo, check } = checked()
    solo.run(CHECK_LIFETIME)
    expect(solo.expected.has(check.message.transactionKey)).toBe(false)
    expect(solo.answer(check)).toBe('stranger')
  })

  it('C39 with an address of ours that we did not know makes a peer-reflexive local candidate of the priority we sent', () => {
    const { solo, check } = checked()
    solo.answer(check, { mapped: Address.of('203.0.113.77', 1_234) })
    expect(solo.pair('192.0.2.1').mapped).toMatchObject({
      type: 'prflx',
      address: { key: '203.0.113.77:1234' },
      priority: check.message.uint32(Attribute.Priority),
      base: solo.base,
    })
    expect(solo.pair('192.0.2.1').local.type).toBe('host')
  })

  it('C39 with a reflexive address that we know is that candidate', () => {
    const { solo, check } = checked()
    const srflx = { ...hostOf(solo.base), type: 'srflx' as const, address: Address.of('203.0.113.77', 1_234) }
    solo.tell((agent, now) => agent.addLocal(srflx, now))
    solo.answer(check, { mapped: srflx.address })
    expect(solo.pair('192.0.2.1').mapped).toBe(srflx)
  })
})

describe('what the system refuses', () => {
  it.each(['ENETUNREACH', 'EHOSTUNREACH', 'EPERM', 'EADDRNOTAVAIL'])('C42 %s ends that pair at once and no other', (failure) => {
    const solo = new Solo().start([remote('192.0.2.1'), remote('192.0.2.2')]).run(20)
    solo.fail('192.0.2.1', failure)
    expect(solo.pair('192.0.2.1')).toMatchObject({ state: 'failed', reason: failure })
    solo.run(2_000)
    expect(solo.checksTo('192.0.2.1')).toHaveLength(1)
    expect(solo.checksTo('192.0.2.2').length).toBeGreaterThan(4)
  })

  it.each(['ENOBUFS', 'ENOMEM', 'EINTR', 'ECONNREFUSED'])('C42 %s passes', (failure) => {
    const solo = new Solo().start([remote('192.0.2.1')]).run(20)
    solo.fail('192.0.2.1', failure)
    solo.answerAll(10).run(1_000)
    expect(solo.agent.selected).toBeDefined()
  })

  it('C42 on a pair nobody knows is nothing', () => {
    const solo = new Solo().start()
    expect(() => solo.fail('192.0.2.200', 'EPERM')).not.toThrow()
  })
})

describe('when nothing works', () => {
  it('C17 failure is said once, not before patience is over, and with the count of pairs', () => {
    const solo = new Solo().start([remote('192.0.2.1'), remote('192.0.2.2')])
    solo.run(PATIENCE - 1)
    expect(solo.kinds()).toEqual([])
    solo.run(1)
    expect(solo.events).toEqual([{ kind: 'failed', reason: 'none of 2 pairs answered' }])
    solo.run(100_000)
    expect(solo.events).toHaveLength(1)
  })

  it('C17 also without any candidate of the peer: a peer-reflexive one may still come', () => {
    const solo = new Solo().start()
    solo.run(PATIENCE - 1)
    expect(solo.events).toEqual([])
    solo.run(1)
    expect(solo.kinds()).toEqual(['failed'])
  })

  it('C17 but not while a pair is still being tried', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    solo.run(30_000)
    solo.tell((agent, now) => agent.addRemotes([remote('192.0.2.2')], now))
    solo.run(PATIENCE - 30_000 + 100)
    expect(solo.events).toEqual([])
    solo.run(60_000)
    expect(solo.kinds()).toEqual(['failed'])
  })

  it('C17 after that a check of the peer still connects', () => {
    const solo = new Solo().start([remote('192.0.2.1')]).run(50_000)
    solo.answerAll(10)
    solo.hear('192.0.2.1')
    solo.run(50)
    expect(solo.agent.selected).toBeDefined()
  })
})

describe('time that is no whole number', () => {
  it('never leaves a deadline that is reached and not met: (t + 12,000) - t may be less than 12,000', () => {
    for (const start of [0.1, 252_754.534_857_220_83, 1_234.567_89, 98_765.432_1, 1e9 / 3]) {
      const solo = new Solo()
      solo.run(start)
      solo.start([remote('192.0.2.1')])
      solo.run(120_000)
      expect(solo.advances).toBeLessThan(100)
      expect(solo.kinds()).toEqual(['failed'])
    }
  })
})

describe('C69 a closed agent', () => {
  it('waits for nothing, asks for nothing, says nothing', () => {
    const solo = new Solo().start([remote('192.0.2.1'), remote('192.0.2.2')]).run(20)
    const check = solo.checks[0] as Solo['last']
    expect(solo.expected.size).toBeGreaterThan(0)
    solo.tell((agent) => agent.close())
    expect(solo.expected.size).toBe(0)
    expect(solo.agent.deadline).toBe(Number.POSITIVE_INFINITY)
    const { length } = solo.sent
    expect(solo.answer(check)).toBe('stranger')
    expect(solo.hear('192.0.2.1')).toBeUndefined()
    solo.tell((agent, now) => agent.addRemotes([remote('192.0.2.9')], now))
    solo.tell((agent, now) => agent.addLocal(hostOf(makeBase('10.0.0.9')), now))
    solo.fail('192.0.2.1', 'EPERM')
    solo.run(100_000)
    expect(solo.sent).toHaveLength(length)
    expect(solo.events).toEqual([])
    expect(solo.clock.pending).toBe(0)
  })

  it('may be closed by what it says', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    const said: string[] = []
    solo.event = ({ kind }) => {
      said.push(kind)
      solo.agent.close()
    }
    solo.answer(solo.checks[0] as Solo['last'])
    expect(said).toEqual(['valid'])
    solo.run(100_000)
    expect(solo.expected.size).toBe(0)
  })
})
