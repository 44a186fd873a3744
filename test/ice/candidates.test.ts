import { describe, expect, it } from 'vitest'
import type { Candidate } from '../../src/candidates/index.ts'
import { MAX_PAIRS } from '../../src/ice/constants.ts'
import { Address } from '../../src/net/index.ts'
import { Attribute } from '../../src/stun/index.ts'
import { hostOf, makeBase, remote, Solo, THEIRS } from './solo.ts'

/** All that adding a candidate might have changed. */
function state(solo: Solo): unknown {
  const pairs = solo.agent.pairs.map((pair) => ({
    id: `${pair.base.id} ${pair.to.key}`,
    state: pair.state,
    priority: pair.priority,
    type: pair.remote.type,
    sent: pair.sent,
    next: pair.nextCheckAt,
    outstanding: pair.outstanding.map(({ key }) => key),
    nominated: pair.nominated,
    mapped: pair.mapped,
  }))
  return {
    pairs,
    sent: solo.sent.length,
    events: solo.events.length,
    selected: solo.agent.selected?.to.key,
    remotes: solo.agent.remoteCandidates,
  }
}

function add(solo: Solo, ...candidates: readonly Candidate[]): readonly string[] {
  return solo.tell((agent, now) => agent.addRemotes(candidates, now))
}

describe('C13 candidates and credentials of the peer', () => {
  it('connect when the candidates come first: they wait, and are checked in the moment in which the credentials come', () => {
    const solo = new Solo()
    solo.tell((agent, now) => agent.addLocal(hostOf(solo.base), now))
    expect(add(solo, remote('192.0.2.1'), remote('192.0.2.2'))).toEqual([])
    solo.answerAll(10).run(60_000)
    expect(solo.sent).toEqual([])
    expect(solo.events).toEqual([])
    solo.meet()
    expect(solo.checks.map(({ at, to, message }) => [at, to.ip, message.text(Attribute.Username)?.split(':')[0]])).toEqual([
      [60_000, '192.0.2.1', THEIRS.ufrag],
    ])
    solo.run(100)
    expect(solo.agent.selected).toBeDefined()
  })

  it.each([
    ['the credentials first', ['meet', 'local', 'remote']],
    ['our own candidates last', ['meet', 'remote', 'local']],
    ['the credentials last', ['remote', 'local', 'meet']],
    ['the credentials in between', ['local', 'meet', 'remote']],
  ] as const)('connect with %s', (_what, order) => {
    const solo = new Solo().answerAll(10)
    const steps = {
      meet: () => solo.meet(),
      local: () => solo.tell((agent, now) => agent.addLocal(hostOf(solo.base), now)),
      remote: () => add(solo, remote('192.0.2.1')),
    }
    for (const step of order) {
      steps[step]()
      solo.run(1_000)
    }
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.1'))
  })
})

describe('C15 a candidate of the peer’s that comes again', () => {
  it.each([
    ['while it is being checked', 120],
    ['when it is valid', 1_000],
    ['long after', 200_000],
  ])('%s changes nothing', (_what, moment) => {
    const solo = new Solo().start([remote('192.0.2.1'), remote('192.0.2.2')])
    solo.answerAll(200).run(moment)
    const before = state(solo)
    expect(add(solo, remote('192.0.2.1'), remote('192.0.2.2'), remote('192.0.2.1'))).toEqual([])
    // With another type and priority it still is the same address.
    expect(add(solo, remote('192.0.2.1', 6000, 'srflx'), remote('192.0.2.2', 6000, 'host', { priority: 2 ** 31 - 1 }))).toEqual([])
    expect(state(solo)).toEqual(before)
  })

  it('after its pair failed does not start it again', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    solo.fail('192.0.2.1', 'EPERM')
    const before = state(solo)
    add(solo, remote('192.0.2.1'))
    solo.run(1_000)
    expect(state(solo)).toEqual(before)
  })
})

describe('C22 two pairs that turn out to be one', () => {
  it('by a server-reflexive candidate of ours: the pair of its base stays as it is, at any moment', () => {
    for (const moment of [0, 60, 1_000]) {
      const solo = new Solo().start([remote('192.0.2.1')])
      solo.answerAll(200).run(moment)
      const before = state(solo)
      const srflx = { ...hostOf(solo.base), type: 'srflx' as const, address: Address.of('198.51.100.1', 7_000), related: solo.base.address }
      solo.tell((agent, now) => agent.addLocal(srflx, now))
      // What is still in progress is encouraged to go on; all else is as it was.
      if (solo.pair('192.0.2.1').valid) expect(state(solo)).toEqual(before)
      expect(solo.agent.pairs).toHaveLength(1)
      solo.run(2_000)
      expect(solo.pair('192.0.2.1').nominated).toBeDefined()
      expect(solo.kinds()).toEqual(['valid', 'selected'])
    }
  })

  it('by a signalled candidate that a check had shown: the check on its way still counts, for the better label', () => {
    const solo = new Solo().start()
    solo.hear('192.0.2.1', { priority: 7 })
    const [check] = solo.checks
    const pair = solo.pair('192.0.2.1')
    add(solo, remote('192.0.2.1', 6000, 'srflx'))
    expect(solo.pair('192.0.2.1')).toBe(pair)
    expect(pair.outstanding.map(({ key }) => key)).toEqual([check?.message.transactionKey])
    expect(pair.heard).toBe(true)
    if (check !== undefined) expect(solo.answer(check)).toBe('taken')
    expect(solo.agent.selected).toBe(pair)
    expect(pair.remote.type).toBe('srflx')
  })

  it('and as the controlled side a nomination that waits for our check survives the change', () => {
    const solo = new Solo({ controlling: false }).start([remote('192.0.2.9', 6000, 'host', { priority: 2_130_706_431 })])
    solo.hear('192.0.2.1', { useCandidate: true, priority: 7 })
    add(solo, remote('192.0.2.1', 6000, 'srflx'))
    solo.answerAll(10).run(500)
    expect(solo.pair('192.0.2.9').valid).toBe(true)
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.1'))
  })

  it('by the same address from two sockets they are not: each base has its own', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    solo.tell((agent, now) => agent.addLocal(hostOf(makeBase('10.0.0.2')), now))
    expect(solo.agent.pairs).toHaveLength(2)
  })
})

describe('C24 a full check list', () => {
  it('never drops the pair that carries data, nor another valid one, however low they are', () => {
    const low = [1, 2].map((n) => remote(`198.51.100.${n}`, 6000, 'relay', { priority: n }))
    const solo = new Solo().start(low)
    solo.answerAll(10, ({ ip }) => ip.startsWith('198.')).run(1_000)
    const { selected } = solo.agent
    for (let i = 0; i < 5; i++) solo.tell((agent, now) => agent.addLocal(hostOf(makeBase(`10.0.0.${i + 10}`, i)), now))
    add(solo, ...Array.from({ length: 60 }, (_, i) => remote(`192.0.2.${i + 1}`)))
    solo.run(2_000)
    expect(solo.agent.pairs).toHaveLength(MAX_PAIRS)
    expect(low.map(({ address }) => solo.pair(address.ip).valid)).toEqual([true, true])
    expect(solo.agent.selected).toBe(selected)
    expect(solo.kinds()).not.toContain('lost')
  })
})

describe('a candidate that is withdrawn', () => {
  it('while it worked, and is offered again after it failed, is checked again, and can be withdrawn again', () => {
    const solo = new Solo()
    let answers = true
    solo.onCheck = (sent) => void (answers && solo.clock.wake(solo.now + 20, () => void solo.answer(sent)))
    solo.start([remote('192.0.2.1')])
    solo.run(1_000)
    for (let i = 0; i < 2; i++) {
      expect(solo.pair('192.0.2.1')?.valid).toBe(true)
      answers = false
      solo.tell((agent, now) => agent.withdrawRemotes([], now))
      solo.run(5_000)
      expect(solo.pair('192.0.2.1')?.state).toBe('failed')
      answers = true
      solo.tell((agent, now) => agent.addRemotes([remote('192.0.2.1')], now))
      solo.run(1_000)
    }
    expect(solo.pair('192.0.2.1')?.valid).toBe(true)
  })

  it('C81 and offered again is tried like a new one', () => {
    const solo = new Solo().start([remote('192.0.2.1'), remote('192.0.2.2')])
    solo.run(100)
    solo.tell((agent, now) => agent.withdrawRemotes([remote('192.0.2.2')], now))
    expect(solo.agent.pairs.map(({ to }) => to.ip)).toEqual(['192.0.2.2'])
    const { length } = solo.checksTo('192.0.2.1')
    solo.run(10_000)
    expect(solo.checksTo('192.0.2.1')).toHaveLength(length)
    solo.answerAll(10)
    add(solo, remote('192.0.2.1'))
    solo.run(100)
    expect(solo.pair('192.0.2.1').valid).toBe(true)
  })

  it('C81 while it carries data goes on carrying it when it is offered again and still answers', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    solo.answerAll(10).run(1_000)
    solo.tell((agent, now) => agent.withdrawRemotes([], now))
    add(solo, remote('192.0.2.1'))
    solo.run(60_000)
    expect(solo.kinds()).toEqual(['valid', 'selected'])
    expect(solo.agent.pairs).toHaveLength(1)
  })

  it('C81 and does not answer any more is lost within seconds, not when consent runs out', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    solo.answerAll(10).run(1_000)
    solo.onCheck = () => {}
    solo.tell((agent, now) => agent.withdrawRemotes([], now))
    solo.run(3_000)
    expect(solo.kinds()).toContain('lost')
  })
})
