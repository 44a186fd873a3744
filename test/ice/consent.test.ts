import { describe, expect, it } from 'vitest'
import { CONSENT_EXPIRY } from '../../src/ice/constants.ts'
import { remote, type Sent, Solo } from './solo.ts'

function connected(count = 1, seed = 1): Solo {
  const solo = new Solo({ seed }).start(Array.from({ length: count }, (_, i) => remote(`192.0.2.${i + 1}`)))
  return solo.answerAll(20).run(1_000)
}

const gaps = (sent: readonly Sent[]): number[] => sent.slice(1).map(({ at }, i) => at - (sent[i] as Sent).at)

describe('consent on the pair that carries data', () => {
  it('C56 is asked for every 4 to 6 s, never in step', () => {
    const solo = connected()
    const from = solo.checks.length
    solo.run(600_000)
    const between = gaps(solo.checks.slice(from))
    expect(Math.min(...between)).toBeGreaterThanOrEqual(4_000)
    expect(Math.max(...between)).toBeLessThanOrEqual(6_000 + 20)
    expect(Math.max(...between) - Math.min(...between)).toBeGreaterThan(1_000)
    expect(solo.kinds()).toEqual(['valid', 'selected'])
  })

  it('C56 expires 30 s after the last valid answer', () => {
    const solo = connected()
    solo.run(20_000)
    const last = solo.pair('192.0.2.1').lastResponseAt ?? 0
    solo.onCheck = () => {}
    solo.run(last + CONSENT_EXPIRY - solo.now - 1)
    expect(solo.agent.selected).toBeDefined()
    solo.run(1)
    expect(solo.agent.selected).toBeUndefined()
    expect(solo.events.slice(-2)).toMatchObject([
      { kind: 'lost', reason: 'consent expired' },
      { kind: 'selected', pair: undefined },
    ])
    const { length } = solo.checks
    solo.run(60_000)
    expect(solo.checks).toHaveLength(length)
  })

  it('C56 neither the checks of the peer nor anything but a valid answer prolongs it', () => {
    const solo = connected()
    solo.onCheck = () => {}
    for (let i = 0; i < 35; i++) solo.run(1_000).hear('192.0.2.1')
    expect(solo.events).toContainEqual(expect.objectContaining({ kind: 'lost', reason: 'consent expired' }))
  })

  it.each([1, 5])('C57 loss of %i questions does not end it', (lost) => {
    const solo = connected()
    let ignored = 0
    solo.onCheck = (sent) => {
      if (ignored++ < lost) return
      solo.clock.wake(solo.now + 20, () => void solo.answer(sent))
    }
    solo.run(120_000)
    expect(solo.kinds()).not.toContain('lost')
  })

  it('C57 an authentic 403 ends it at once', () => {
    const solo = connected()
    solo.onCheck = (sent) => void solo.clock.wake(solo.now + 20, () => void solo.refuse(sent, 403))
    solo.run(6_100)
    expect(solo.events.slice(-2)).toMatchObject([
      { kind: 'lost', reason: expect.stringContaining('403') },
      { kind: 'selected', pair: undefined },
    ])
  })

  it('C57 a 403 without integrity ends nothing', () => {
    const solo = connected()
    solo.onCheck = (sent) =>
      void solo.clock.wake(solo.now + 20, () => {
        solo.refuse(sent, 403, null)
        solo.answer(sent)
      })
    solo.run(60_000)
    expect(solo.kinds()).not.toContain('lost')
  })

  it.each([400, 420, 500])('C57 an authentic %i does not end a pair that works', (code) => {
    const solo = connected()
    solo.onCheck = (sent) => void solo.clock.wake(solo.now + 20, () => void solo.refuse(sent, code))
    solo.run(6_100)
    expect(solo.kinds()).not.toContain('lost')
  })

  it('C59 a pair that was lost is valid again with the first good answer', () => {
    const solo = connected()
    solo.onCheck = () => {}
    solo.run(40_000)
    solo.answerAll(20)
    solo.hear('192.0.2.1')
    solo.run(25)
    expect(solo.kinds().slice(-5)).toEqual(['lost', 'selected', 'heard', 'valid', 'selected'])
    expect(solo.agent.selected).toBeDefined()
  })
})

describe('two questions without an answer', () => {
  it.each([
    ['what carries data', 12_500],
    ['a spare', 30_500],
  ])('have our side of the pair show that it still works: %s', (which, within) => {
    const solo = connected(2).run(20_000)
    const { selected, pairs } = solo.agent
    const silent = pairs.find((pair) => pair.valid && (pair === selected) === (which === 'what carries data'))
    const verified: number[] = []
    solo.base.verify = () => void verified.push(solo.now)
    solo.onCheck = (sent) => void (sent.to === silent?.to || solo.clock.wake(solo.now + 20, () => solo.answer(sent)))
    const from = solo.checks.length
    solo.run(within)
    const asked = solo.checks.slice(from).filter(({ to }) => to === silent?.to)
    expect(verified[0]).toBe(asked[1]?.at)
  })
})

describe('consent on a spare pair', () => {
  it('is asked for more rarely, and soon again when there was no answer', () => {
    const solo = connected(2)
    solo.run(10_000)
    const spare = solo.agent.pairs.find((pair) => pair !== solo.agent.selected && pair.valid)
    const from = solo.checks.length
    solo.run(300_000)
    const between = gaps(solo.checks.slice(from).filter(({ to }) => to === spare?.to))
    expect(Math.min(...between)).toBeGreaterThanOrEqual(12_000)
    expect(Math.max(...between)).toBeLessThanOrEqual(18_100)
    expect(spare?.valid).toBe(true)
  })

  it('comes to the pace of the selected one within 6 s of being selected', () => {
    const solo = connected(2)
    solo.run(30_000)
    const before = solo.agent.selected
    solo.fail(before?.to.ip ?? '', 'ENETUNREACH')
    const { now } = solo
    const from = solo.checks.length
    solo.run(60_000)
    const asked = solo.checks.slice(from).filter(({ to }) => to === solo.agent.selected?.to)
    expect((asked[0]?.at ?? Number.POSITIVE_INFINITY) - now).toBeLessThanOrEqual(6_000)
    expect(Math.max(...gaps(asked))).toBeLessThanOrEqual(6_020)
  })
})

describe('C64 a process that slept', () => {
  it.each([10_000, 25_000])('for %i ms keeps its path when the peer still answers', (sleep) => {
    const solo = connected(2).run(20_000)
    const before = solo.checks.length
    solo.clock.sleep(sleep)
    solo.run(2_000)
    expect(solo.kinds()).not.toContain('lost')
    expect(solo.checks.length - before).toBeLessThanOrEqual(6)
    solo.run(60_000)
    expect(solo.kinds()).not.toContain('lost')
  })

  it('and finds out within 30 s when the peer does not', () => {
    const solo = connected().run(20_000)
    solo.onCheck = () => {}
    solo.clock.sleep(20_000)
    solo.run(30_000)
    expect(solo.kinds()).toContain('lost')
  })

  it.each([60_000, 3_600_000, 86_400_000])(
    'for %i ms has no consent left (RFC 7675 5.1), and sends nothing where NATs have forgotten it',
    (sleep) => {
      const solo = connected().run(20_000)
      const before = solo.checks.length
      solo.clock.sleep(sleep)
      solo.run(100)
      expect(solo.kinds()).toContain('lost')
      expect(solo.kinds()).not.toContain('failed')
      expect(solo.checks.length).toBe(before)
    },
  )

  it('while it was connecting neither gives up nor floods', () => {
    const solo = new Solo().start(Array.from({ length: 10 }, (_, i) => remote(`192.0.2.${i + 1}`))).run(300)
    const before = solo.checks.length
    solo.clock.sleep(3_600_000)
    solo.run(200)
    expect(solo.kinds()).not.toContain('failed')
    // No more than the pace lets through.
    expect(solo.checks.length - before).toBeLessThanOrEqual(42)
    solo.answerAll(20).run(15_000)
    expect(solo.agent.selected).toBeDefined()
  })
})

describe('the round trip of a pair', () => {
  it('falls fast and rises slowly: an answer can only be late', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    solo.answerAll(80).run(1_000)
    const { rtt: first = 0 } = solo.pair('192.0.2.1')
    expect(first).toBe(80)
    solo.answerAll(20).run(30_000)
    expect(solo.pair('192.0.2.1').rtt).toBeLessThan(22)
    solo.answerAll(100).run(6_000)
    expect(solo.pair('192.0.2.1').rtt).toBeGreaterThan(25)
    expect(solo.pair('192.0.2.1').rtt).toBeLessThan(45)
  })
})
