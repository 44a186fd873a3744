import { describe, expect, it } from 'vitest'
import { CHANGE_WAIT, RENOMINATION_INTERVAL, RTT_MARGIN } from '../../src/ice/constants.ts'
import { Attribute } from '../../src/stun/index.ts'
import { remote, type Sent, Solo } from './solo.ts'

/** The peer answers after as long as `rtt` says at the time. */
function answering(solo: Solo, rtt: (sent: Sent) => number): Solo {
  solo.onCheck = (sent) => void solo.clock.wake(solo.now + rtt(sent), () => void solo.answer(sent))
  return solo
}

/** When the selected pair changed, the first time left out. */
function watched(solo: Solo): number[] {
  const changes: number[] = []
  solo.event = (event) => {
    if (event.kind === 'selected') changes.push(solo.now)
  }
  return changes
}

describe('C65 which of several valid pairs the controlling side prefers', () => {
  it('a direct one, at once, to a relayed one, whatever their round trips', () => {
    const solo = answering(new Solo(), ({ to }) => (to.ip === '198.51.100.1' ? 10 : 200)).start([remote('198.51.100.1', 6000, 'relay')])
    solo.run(1_000)
    expect(solo.agent.selected?.kind).toBe('relay')
    solo.tell((agent, now) => agent.addRemotes([remote('192.0.2.1')], now))
    solo.run(100)
    solo.hear('192.0.2.1')
    solo.run(99)
    expect(solo.agent.selected?.kind).toBe('relay')
    solo.run(2)
    expect(solo.agent.selected?.kind).toBe('direct')
    solo.run(600_000)
    expect(solo.agent.selected?.kind).toBe('direct')
  })

  it.each([
    ['once the peer has checked it, too: before, it may not take data there', 700],
    ['a second later, should the peer not check it', undefined],
  ])('a direct one that is valid %s', (_name, heardAfter) => {
    const solo = answering(new Solo(), () => 20).start([remote('198.51.100.1', 6000, 'relay')])
    solo.run(1_000)
    solo.tell((agent, now) => agent.addRemotes([remote('192.0.2.1')], now))
    solo.run(20 + (heardAfter ?? CHANGE_WAIT) - 5)
    expect([solo.pair('192.0.2.1')?.valid, solo.agent.selected?.kind]).toEqual([true, 'relay'])
    if (heardAfter !== undefined) solo.hear('192.0.2.1')
    solo.run(heardAfter === undefined ? 10 : 0)
    expect(solo.agent.selected?.kind).toBe('direct')
  })

  it('one that works at once, though unheard, when the one in use does not any more', () => {
    const solo = answering(new Solo(), () => 20).start([remote('198.51.100.1', 6000, 'relay')])
    solo.run(1_000)
    solo.tell((agent, now) => agent.addRemotes([remote('192.0.2.1')], now))
    solo.run(100)
    expect(solo.agent.selected?.kind).toBe('relay')
    solo.fail('198.51.100.1', 'ENETUNREACH')
    expect(solo.agent.selected?.kind).toBe('direct')
  })

  it.each([
    [RTT_MARGIN - 1, false],
    [RTT_MARGIN + 1, true],
  ])('of one kind, one that is faster by %i ms: %s', (gain, takesOver) => {
    const rtts: Record<string, number> = { '192.0.2.1': 100, '192.0.2.2': 100 - gain }
    const solo = answering(new Solo(), ({ to }) => rtts[to.ip] ?? 0)
    solo.start([remote('192.0.2.1', 6000, 'host', { priority: 2_000_000_000 })]).run(10_000)
    solo.tell((agent, now) => agent.addRemotes([remote('192.0.2.2', 6000, 'host', { priority: 1_000_000_000 })], now))
    solo.run(60_000)
    expect(solo.agent.selected?.to.ip).toBe(takesOver ? '192.0.2.2' : '192.0.2.1')
  })

  it('not another one before five seconds have passed, though the one in use is always the slower one', () => {
    const solo = new Solo()
    answering(solo, ({ to }) => (to.key === solo.agent.selected?.to.key ? 300 : 20)).start([remote('192.0.2.1'), remote('192.0.2.2')])
    solo.run(5_000)
    const changes = watched(solo)
    solo.run(1_200_000)
    expect(changes.length).toBeGreaterThan(10)
    const gaps = changes.slice(1).map((at, i) => at - (changes[i] as number))
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(RENOMINATION_INTERVAL)
  })

  it('not another one because a question of consent got lost now and then', () => {
    const solo = new Solo()
    let count = 0
    solo.onCheck = (sent) => void (count++ % 3 === 2 || solo.clock.wake(solo.now + 50, () => void solo.answer(sent)))
    solo.start([remote('192.0.2.1'), remote('192.0.2.2')]).run(10_000)
    const changes = watched(solo)
    solo.run(1_200_000)
    expect(changes).toEqual([])
  })

  it.each([true, false])('not another one when none of them answers any more, asked to look: %s', (questioned) => {
    const solo = answering(new Solo(), () => 50).start([1, 2, 3, 4].map((n) => remote(`192.0.2.${n}`)))
    solo.run(10_000)
    const changes = watched(solo)
    solo.onCheck = () => {}
    const { selected } = solo.agent
    if (questioned && selected !== undefined) solo.tell((agent, now) => agent.question(selected, now))
    solo.run(15_000)
    expect(changes).toEqual([])
  })

  it('and the one that is left stays valid, and is asked rarely', () => {
    const solo = answering(new Solo(), ({ to }) => (to.ip === '192.0.2.1' ? 200 : 20)).start([remote('192.0.2.1')])
    solo.run(10_000)
    const left = solo.agent.selected
    solo.tell((agent, now) => agent.addRemotes([remote('192.0.2.2')], now))
    solo.run(10_000)
    expect(solo.agent.selected?.to.ip).toBe('192.0.2.2')
    const before = solo.checksTo('192.0.2.1').length
    solo.run(600_000)
    expect(left).toMatchObject({ valid: true })
    const asked = solo.checksTo('192.0.2.1').length - before
    expect(asked).toBeGreaterThanOrEqual(600 / 18)
    expect(asked).toBeLessThanOrEqual(600 / 12 + 1)
  })
})

describe('C72 the first valid pair is selected at once', () => {
  it.each(['host', 'srflx', 'relay', 'prflx'] as const)('also a %s one, in either role, with better ones still being checked', (type) => {
    for (const controlling of [true, false]) {
      const solo = new Solo({ controlling }).answerAll(20, ({ ip }) => ip === '198.51.100.1')
      solo.start([remote('192.0.2.1')])
      if (type === 'prflx') solo.hear('198.51.100.1')
      else solo.tell((agent, now) => agent.addRemotes([remote('198.51.100.1', 6000, type, { priority: 5 })], now))
      solo.run(30)
      expect(solo.agent.selected).toBe(solo.pair('198.51.100.1'))
      expect(solo.pair('192.0.2.1').state).toBe('in-progress')
      expect(solo.agent.selected?.remote.type).toBe(type)
    }
  })
})

describe('C82 a quiet session', () => {
  it('asks for consent and nothing else: 15 packets a minute on its path, 5 on each spare', () => {
    const solo = new Solo().start([1, 2, 3].map((n) => remote(`192.0.2.${n}`)))
    solo.answerAll(20).run(30_000)
    const before = solo.sent.length
    const { advances } = solo
    solo.run(3_600_000)
    const perMinute = (solo.sent.length - before) / 60
    expect(perMinute).toBeLessThanOrEqual(15 + 2 * 5)
    expect(perMinute).toBeGreaterThanOrEqual(10 + 2 * 3)
    // What was nominated is said again with them, and nothing else is.
    const nominations = solo.sent.slice(before).map(({ message }) => message.uint32(Attribute.Nomination))
    expect(new Set(nominations)).toEqual(new Set([1, undefined]))
    // Nor does it wake for anything else: for each packet once, and once when it would be too late for its answer.
    expect((solo.advances - advances) / 60).toBeLessThanOrEqual(2 * perMinute)
  })
})
