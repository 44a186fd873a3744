import { describe, expect, it } from 'vitest'
import { comparePairPriority, pairPriority } from '../../src/candidates/index.ts'
import { decideRole } from '../../src/ice/role.ts'
import { Attribute } from '../../src/stun/index.ts'
import { hostOf, OURS, remote, type Sent, Solo, THEIRS } from './solo.ts'

const LARGE = 2n ** 64n - 1n

describe('a role conflict in a check of the peer', () => {
  it('C43 both controlling: the larger tie-breaker stays and answers 487', () => {
    const solo = new Solo({ controlling: true, tieBreaker: 10n }).start([remote('192.0.2.1')])
    expect(solo.hear('192.0.2.1', { controlling: true, tieBreaker: 9n })?.errorCode()?.code).toBe(487)
    expect(solo.agent.controlling).toBe(true)
    expect(solo.pair('192.0.2.1').heard).toBe(false)
  })

  it('C43 both controlling: the smaller switches and still answers with success', () => {
    const solo = new Solo({ controlling: true, tieBreaker: 10n }).start([remote('192.0.2.1')])
    expect(solo.hear('192.0.2.1', { controlling: true, tieBreaker: 11n })?.class).toBe('success')
    expect(solo.agent.controlling).toBe(false)
    expect(solo.events).toContainEqual({ kind: 'role', controlling: false })
    expect(solo.pair('192.0.2.1').heard).toBe(true)
  })

  it('C44 both controlled: the larger becomes controlling and answers with success', () => {
    const solo = new Solo({ controlling: false, tieBreaker: 10n }).start()
    expect(solo.hear('192.0.2.1', { controlling: false, tieBreaker: 9n })?.class).toBe('success')
    expect(solo.agent.controlling).toBe(true)
  })

  it('C44 both controlled: the smaller stays and answers 487', () => {
    const solo = new Solo({ controlling: false, tieBreaker: 10n }).start()
    expect(solo.hear('192.0.2.1', { controlling: false, tieBreaker: LARGE })?.errorCode()?.code).toBe(487)
    expect(solo.agent.controlling).toBe(false)
  })

  it('C47 our own check, sent back to us, is no conflict with anybody', () => {
    for (const controlling of [true, false]) {
      const solo = new Solo({ controlling, tieBreaker: 10n }).start()
      expect(solo.hear('192.0.2.1', { controlling, tieBreaker: 10n })?.class).toBe('success')
      expect(solo.agent.controlling).toBe(controlling)
    }
  })

  it('C43 C44 before we know the peer by signal there is none: its check says which role is left for us', () => {
    for (const controlling of [true, false]) {
      const solo = new Solo({ controlling, tieBreaker: controlling ? LARGE : 0n })
      solo.tell((agent, now) => agent.addLocal(hostOf(solo.base), now))
      expect(solo.hear('192.0.2.1', { controlling, tieBreaker: 10n })?.class).toBe('success')
      expect(solo.agent.controlling).toBe(!controlling)
    }
  })

  it('C43 C44 of two ends exactly one gives in, for any two tie-breakers', () => {
    for (const [a, b] of [
      [1n, 2n],
      [0n, LARGE],
      [LARGE - 1n, LARGE],
      [2n ** 53n, 2n ** 53n + 1n],
    ] as const) {
      for (const controlling of [true, false]) {
        const content = { priority: 1, useCandidate: false, nomination: undefined, destination: undefined, senderControlling: controlling }
        expect(
          new Set([decideRole(controlling, a, { ...content, tieBreaker: b }), decideRole(controlling, b, { ...content, tieBreaker: a })]),
        ).toEqual(new Set(['switch', 'refuse']))
      }
    }
  })
})

describe('a 487 answer', () => {
  it.each([true, false])(
    'C45 makes us leave the role of that check, with a new tie-breaker, and check again at once; controlling: %s',
    (controlling) => {
      const solo = new Solo({ controlling, tieBreaker: 10n }).start([remote('192.0.2.1')]).run(20)
      solo.refuse(solo.checks[0] as Sent, 487)
      expect(solo.agent.controlling).toBe(!controlling)
      const { message, at } = solo.checks.at(-1) as Sent
      expect(at).toBe(20)
      const tie = message.uint64(controlling ? Attribute.IceControlled : Attribute.IceControlling)
      expect(tie).toBeDefined()
      expect(tie).not.toBe(10n)
    },
  )

  it('C45 a second one, to a check from before the switch, changes no role', () => {
    const solo = new Solo({ controlling: true }).start([remote('192.0.2.1'), remote('192.0.2.2')]).run(20)
    const [first, second] = solo.checks
    solo.refuse(first as Sent, 487)
    solo.refuse(second as Sent, 487)
    expect(solo.agent.controlling).toBe(false)
    solo.run(10)
    expect(solo.checks.at(-1)?.message.has(Attribute.IceControlled)).toBe(true)
  })

  it('C45 to every check does not make us check for ever', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    solo.onCheck = (sent) => void solo.clock.wake(solo.now + 1, () => void solo.refuse(sent, 487))
    solo.run(60_000)
    expect(solo.checks.length).toBeLessThan(30)
    expect(solo.kinds()).toContain('failed')
  })

  it('C45 nor on a pair that worked before', () => {
    const solo = new Solo()
      .start([remote('192.0.2.1')])
      .answerAll(5)
      .run(1_000)
    const before = solo.checks.length
    solo.onCheck = (sent) => void solo.clock.wake(solo.now + 1, () => void solo.refuse(sent, 487))
    solo.run(29_000)
    expect(solo.checks.length - before).toBeLessThan(80)
  })
})

describe('a change of role', () => {
  it('C46 computes all pair priorities anew', () => {
    const solo = new Solo({ controlling: true }).start([remote('192.0.2.1'), remote('192.0.2.2', 6000, 'srflx')])
    const before = solo.agent.pairs.map(({ priority }) => priority)
    solo.refuse(solo.checks[0] as Sent, 487)
    for (const pair of solo.agent.pairs) expect(pair.priority).toEqual(pairPriority(pair.remote.priority, pair.local.priority))
    expect(solo.agent.pairs.map(({ priority }) => priority)).not.toEqual(before)
  })

  it('what we nominated while we controlled is not followed when we do not', () => {
    const solo = new Solo({ controlling: true, tieBreaker: 10n }).start([remote('192.0.2.1'), remote('192.0.2.2')])
    solo.answerAll(5).run(500)
    const [first, second] = [solo.pair('192.0.2.1'), solo.pair('192.0.2.2')]
    expect([first.nominated, second.nominated].some((value) => value !== undefined)).toBe(true)
    const [ours, other] = first.nominated !== undefined ? [first, second] : [second, first]
    solo.hear(other.to.ip, { controlling: true, tieBreaker: 11n, useCandidate: true, nomination: 0 })
    expect(solo.agent.controlling).toBe(false)
    expect(ours.nominated).toBeUndefined()
    expect(solo.agent.selected).toBe(other)
  })

  it('C23 pair priorities are ordered exactly, for all 32-bit numbers', () => {
    const samples = [1, 2, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2_130_706_431, 1_694_498_815]
    const exact = (g: number, d: number): bigint => (BigInt(Math.min(g, d)) << 32n) + 2n * BigInt(Math.max(g, d)) + (g > d ? 1n : 0n)
    const pairs = samples.flatMap((g) => samples.map((d) => [g, d] as const))
    for (const [g, d] of pairs) {
      for (const [h, e] of pairs) {
        const [x, y] = [exact(g, d), exact(h, e)]
        expect(Math.sign(comparePairPriority(pairPriority(g, d), pairPriority(h, e)))).toBe(x === y ? 0 : x > y ? -1 : 1)
      }
    }
  })
})

describe('nomination as the controlled side', () => {
  function controlled(count = 2): Solo {
    const ips = Array.from({ length: count }, (_, i) => remote(`192.0.2.${i + 1}`, 6000, 'host', { priority: 2_000_000_000 - i * 1_000 }))
    return new Solo({ controlling: false }).start(ips)
  }

  it('C48 USE-CANDIDATE before our own check succeeds is remembered, and counts when it does', () => {
    const solo = controlled()
    solo.hear('192.0.2.2', { useCandidate: true })
    expect(solo.agent.selected).toBeUndefined()
    solo.answerAll(10).run(600)
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.2'))
    expect(solo.pair('192.0.2.1').valid).toBe(true)
  })

  it('C48 on a pair that works already it counts at once', () => {
    const solo = controlled().answerAll(10).run(500)
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.1'))
    solo.hear('192.0.2.2', { useCandidate: true })
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.2'))
  })

  it('C50 before any nomination the best valid pair carries data', () => {
    const solo = controlled()
      .answerAll(10, ({ ip }) => ip === '192.0.2.2')
      .run(300)
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.2'))
  })

  it.each([[['1', '2']], [['2', '1']]])('C52 of several aggressive nominations the highest priority wins, in the order %s', (order) => {
    const solo = controlled().answerAll(10).run(500)
    for (const n of order) solo.hear(`192.0.2.${n}`, { useCandidate: true })
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.1'))
  })

  it.each([[[1, 2]], [[2, 1]]])('C53 of several nomination values the highest wins, whatever the order of arrival: %s', (values) => {
    const solo = controlled().answerAll(10).run(500)
    for (const value of values) solo.hear(`192.0.2.${value}`, { useCandidate: true, nomination: value })
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.2'))
  })

  it('C53 a nomination value of the wrong length is a nomination without one', () => {
    const solo = controlled().answerAll(10).run(500)
    solo.hear('192.0.2.2', { useCandidate: true, nomination: 7 })
    solo.hear('192.0.2.1', { useCandidate: true, more: (w) => w.bytes(Attribute.Nomination, new Uint8Array(3)) })
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.2'))
  })

  it('C53 one value on two pairs is that of the last one said, so that a check that somebody sends again misleads for a moment only', () => {
    const solo = new Solo({ controlling: false }).start([remote('192.0.2.1', 6000, 'srflx'), remote('192.0.2.2')])
    solo.answerAll(20)
    solo.hear('192.0.2.1', { useCandidate: true, nomination: 1 })
    solo.hear('192.0.2.2')
    solo.run(100)
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.1'))
    // The same nomination, from where the peer did not say it.
    solo.hear('192.0.2.2', { useCandidate: true, nomination: 1 })
    solo.run(4_000)
    solo.hear('192.0.2.1', { useCandidate: true, nomination: 1 })
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.1'))
  })

  it('C53 a nominated pair that dies gives way to the next', () => {
    const solo = controlled().answerAll(10).run(500)
    solo.hear('192.0.2.1', { useCandidate: true, nomination: 1 })
    solo.hear('192.0.2.2', { useCandidate: true, nomination: 2 })
    solo.fail('192.0.2.2', 'ENETUNREACH')
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.1'))
    expect(solo.kinds().slice(-2)).toEqual(['lost', 'selected'])
  })

  it('C49 USE-CANDIDATE at the controlling side is refused', () => {
    const solo = new Solo({ controlling: true }).start([remote('192.0.2.1')])
    // From a peer that says it is controlled, and so has nothing to nominate.
    expect(solo.hear('192.0.2.1', { controlling: false, useCandidate: true })?.errorCode()?.code).toBe(400)
    expect(solo.pair('192.0.2.1').nominated).toBeUndefined()
  })
})

describe('nomination as the controlling side', () => {
  const nominations = (solo: Solo): readonly Sent[] => solo.checks.filter(({ message }) => message.has(Attribute.UseCandidate))

  it('toward our own kind the first valid pair is nominated at once, with a value', () => {
    const solo = new Solo()
      .answerAll(40)
      .start([remote('192.0.2.1')])
      .run(41)
    expect(nominations(solo).map(({ at, message }) => [at, message.uint32(Attribute.Nomination)])).toEqual([[40, 1]])
  })

  it('toward our own kind a better one is nominated later, with a higher value', () => {
    const solo = new Solo()
      .start([remote('198.51.100.1', 6000, 'relay')])
      .answerAll(40)
      .run(200)
    expect(solo.agent.selected?.kind).toBe('relay')
    solo.tell((agent, now) => agent.addRemotes([remote('192.0.2.1', 6000, 'srflx')], now))
    solo.run(100)
    solo.hear('192.0.2.1')
    solo.run(100)
    expect(solo.agent.selected?.kind).toBe('direct')
    expect(nominations(solo).map(({ message }) => message.uint32(Attribute.Nomination))).toEqual([1, 2])
  })

  it('toward a foreign agent there is one nomination, without a value', () => {
    const solo = new Solo({ renomination: false })
      .start([remote('192.0.2.1'), remote('192.0.2.2')])
      .answerAll(40)
      .run(10_000)
    const nominated = nominations(solo)
    expect(new Set(nominated.map(({ to }) => to.ip)).size).toBe(1)
    expect(nominated.every(({ message }) => !message.has(Attribute.Nomination))).toBe(true)
  })

  it('toward a foreign agent it waits for a better pair that is in flight, 150 ms at most', () => {
    const slow = new Solo({ renomination: false }).start([
      remote('192.0.2.1', 6000, 'host', { priority: 2_100_000_000 }),
      remote('192.0.2.2', 6000, 'srflx', { priority: 1_000 }),
    ])
    slow.answerAll(20, ({ ip }) => ip === '192.0.2.2').run(25)
    expect(slow.agent.selected).toBe(slow.pair('192.0.2.2'))
    expect(nominations(slow)).toHaveLength(0)
    slow.run(160)
    expect(nominations(slow)[0]?.to.ip).toBe('192.0.2.2')
  })

  it('and not a moment when none better is', () => {
    const solo = new Solo({ renomination: false })
      .answerAll(20)
      .start([remote('192.0.2.1')])
      .run(21)
    expect(nominations(solo).map(({ at }) => at)).toEqual([20])
  })

  it('C51 a nomination that is lost is said again, and data goes on meanwhile', () => {
    for (const renomination of [true, false]) {
      const solo = new Solo({ renomination }).start([remote('192.0.2.1')])
      let lost = 0
      solo.onCheck = (sent) => {
        if (sent.message.has(Attribute.UseCandidate) && lost++ < 5) return
        solo.clock.wake(solo.now + 20, () => void solo.answer(sent))
      }
      solo.run(3_000)
      expect(solo.pair('192.0.2.1').nominated).toBeDefined()
      expect(solo.kinds()).toEqual(['valid', 'selected'])
      const { length } = nominations(solo)
      solo.run(2_000)
      expect(nominations(solo)).toHaveLength(length)
    }
  })

  it('C53 is said again with every later question, for a peer that began anew with the same credentials or sees another address', () => {
    const solo = new Solo().answerAll(20).start([remote('192.0.2.1')])
    solo.run(60_000)
    const questions = solo.checks.slice(2)
    expect(questions.length).toBeGreaterThan(8)
    expect(questions.map(({ message }) => message.uint32(Attribute.Nomination))).toEqual(questions.map(() => 1))
  })

  it('toward a foreign agent it is over when it was heard', () => {
    const solo = new Solo({ renomination: false }).answerAll(20).start([remote('192.0.2.1')])
    solo.run(60_000)
    expect(nominations(solo)).toHaveLength(1)
  })

  it('of a pair that dies, another is nominated in its place', () => {
    const solo = new Solo()
      .start([remote('192.0.2.1'), remote('192.0.2.2')])
      .answerAll(10)
      .run(500)
    const first = solo.agent.selected
    solo.fail(first?.to.ip ?? '', 'ENETUNREACH')
    solo.run(100)
    expect(solo.agent.selected).not.toBe(first)
    expect(solo.agent.selected?.nominated).toBeGreaterThan(1)
  })

  it('does not go to and fro between pairs of like round trips', () => {
    const solo = new Solo().start([remote('192.0.2.1'), remote('192.0.2.2')])
    let flip = 0
    solo.onCheck = (sent) => void solo.clock.wake(solo.now + 20 + (flip++ % 2) * 8, () => void solo.answer(sent))
    solo.run(300_000)
    expect(solo.kinds().filter((kind) => kind === 'selected').length).toBeLessThanOrEqual(2)
  })
})

describe('C40 a peer-reflexive candidate that is signalled later', () => {
  it('takes the better label in place: the pair, its state, its nomination and its figures stay', () => {
    const solo = new Solo().start().answerAll(10)
    solo.hear('192.0.2.1', { priority: 7 })
    solo.run(200)
    const pair = solo.pair('192.0.2.1')
    expect(pair.remote.type).toBe('prflx')
    const { rtt, sent, nominated } = pair
    const events = solo.events.length
    solo.tell((agent, now) => agent.addRemotes([remote('192.0.2.1', 6000, 'srflx')], now))
    expect(solo.pair('192.0.2.1')).toBe(pair)
    expect(pair).toMatchObject({ state: 'succeeded', rtt, sent, nominated, remote: { type: 'srflx' } })
    expect(pair.priority).toEqual(pairPriority(pair.local.priority, pair.remote.priority))
    expect(solo.agent.selected).toBe(pair)
    expect(solo.events).toHaveLength(events)
  })

  it('C41 a flood of checks from made-up ports costs a bounded number of pairs and candidates', () => {
    const solo = new Solo()
      .start([remote('192.0.2.1')])
      .answerAll(10, ({ ip }) => ip === '192.0.2.1')
      .run(500)
    for (let port = 1; port < 3_000; port++) solo.hear('203.0.113.66', {}, port)
    expect(solo.agent.pairs.length).toBeLessThanOrEqual(100)
    expect(solo.agent.remoteCandidates.length).toBeLessThanOrEqual(65)
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.1'))
    expect(solo.expected.size).toBeLessThan(500)
  })
})

describe('C30 the two user fragments', () => {
  it('are each other’s mirror image on the two ends', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    expect(solo.checks[0]?.message.text(Attribute.Username)?.split(':')).toEqual([THEIRS.ufrag, OURS.ufrag])
  })
})
