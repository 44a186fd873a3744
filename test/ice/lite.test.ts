import { describe, expect, it } from 'vitest'
import { hostOf, remote, Solo, THEIRS } from './solo.ts'

const lite = (): Solo => new Solo({ lite: true }).start([remote('192.0.2.1')])

describe('C55 a lite agent', () => {
  it('C55 sends no check, whatever it is told and asked', () => {
    const solo = lite()
    solo.hear('192.0.2.1')
    solo.hear('192.0.2.1', { useCandidate: true, nomination: 1 })
    solo.hear('192.0.2.7')
    solo.run(120_000)
    expect(solo.checks).toEqual([])
    expect(solo.expected.size).toBe(0)
  })

  it('C55 answers a check with success and the observed address, and that alone makes no pair valid', () => {
    const solo = lite()
    expect(solo.hear('192.0.2.1')?.class).toBe('success')
    expect(solo.kinds()).toEqual(['heard'])
    expect(solo.agent.selected).toBeUndefined()
  })

  it('C55 takes a pair for valid, and selects it, when the peer nominates it', () => {
    const solo = lite()
    solo.hear('192.0.2.1', { useCandidate: true })
    expect(solo.kinds()).toEqual(['heard', 'valid', 'selected'])
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.1'))
  })

  it('C55 C53 follows the highest nomination value', () => {
    const solo = lite()
    solo.hear('192.0.2.1', { useCandidate: true, nomination: 2 })
    solo.hear('192.0.2.2', { useCandidate: true, nomination: 1 })
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.1'))
    solo.hear('192.0.2.2', { useCandidate: true, nomination: 3 })
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.2'))
  })

  it('C55 learns a peer-reflexive candidate from a check', () => {
    const solo = lite()
    solo.hear('198.51.100.9', { useCandidate: true })
    expect(solo.agent.selected?.remote.type).toBe('prflx')
  })

  it('C55 stays controlled, also toward a peer that claims to be', () => {
    const solo = lite()
    expect(solo.hear('192.0.2.1', { controlling: false, tieBreaker: 0n })?.class).toBe('success')
    expect(solo.agent.controlling).toBe(false)
    // Who is controlled nominates nothing.
    solo.hear('192.0.2.1', { controlling: false, useCandidate: true })
    expect(solo.agent.selected).toBeUndefined()
  })

  it('C55 C31 what does not prove itself changes nothing', () => {
    const solo = lite()
    solo.hear('192.0.2.1', { ufrag: 'somebody', useCandidate: true })
    expect(solo.events).toEqual([])
    expect(solo.sent).toEqual([])
  })

  it('C55 C36 a nomination that comes before the peer’s credentials counts when they are there', () => {
    const solo = new Solo({ lite: true })
    solo.tell((agent, now) => agent.addLocal(hostOf(solo.base), now))
    expect(solo.hear('192.0.2.1', { useCandidate: true })?.class).toBe('success')
    expect(solo.events.map(({ kind }) => kind)).toEqual(['early'])
    solo.meet()
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.1'))
  })

  it('C55 C56 a pair is good for 30 s after the last check, whatever the peer checked before', () => {
    const solo = lite()
    solo.hear('192.0.2.1', { useCandidate: true })
    solo.run(29_000)
    solo.hear('192.0.2.1')
    solo.run(29_999)
    expect(solo.agent.selected).toBeDefined()
    solo.run(1)
    expect(solo.events.at(-1)).toEqual({ kind: 'selected', pair: undefined })
  })

  it('C55 C42 a pair that the system refuses to send on ends at once', () => {
    const solo = lite()
    solo.hear('192.0.2.1', { useCandidate: true })
    solo.fail('192.0.2.1', 'ENETUNREACH')
    expect(solo.agent.selected).toBeUndefined()
  })

  it('C55 C17 a peer that nominates nothing is given up after 39.5 s, and no sooner', () => {
    const solo = lite()
    solo.run(39_499)
    expect(solo.kinds()).toEqual([])
    solo.run(1)
    expect(solo.kinds()).toEqual(['failed'])
  })

  it('C63 a base that is gone takes its pairs with it', () => {
    const solo = lite()
    solo.hear('192.0.2.1', { useCandidate: true })
    solo.tell((agent, now) => agent.removeBase(solo.base, 'gone', now))
    expect(solo.agent.selected).toBeUndefined()
    expect(solo.agent.pairs).toEqual([])
  })
})

describe('C54 a lite peer', () => {
  it('C54 of a lite agent is refused at once, with the reason', () => {
    const solo = new Solo({ lite: true })
    solo.tell((agent, now) => agent.setRemote({ ...THEIRS, renomination: false, lite: true }, undefined, now))
    expect(solo.events).toMatchObject([{ kind: 'failed', reason: expect.stringContaining('both sides are lite') }])
  })
})
