import { describe, expect, it } from 'vitest'
import { CheckBudget, type CheckKind } from '../../src/ice/index.ts'
import { Address } from '../../src/net/index.ts'
import { remote, Solo } from './solo.ts'

const victim = Address.of('198.51.100.1', 5000)

function spend(budget: CheckBudget, to: Address, kind: CheckKind, now: number): number {
  let sent = 0
  while (budget.take(to, kind, now)) sent++
  return sent
}

describe('the budget of checks to addresses that never answer', () => {
  it('is 60 for an IP address whatever the port, and one more each five seconds', () => {
    const budget = new CheckBudget()
    expect(spend(budget, victim, 'ordinary', 0)).toBe(60)
    expect(spend(budget, victim.withPort(1), 'ordinary', 4_999)).toBe(0)
    expect(spend(budget, victim, 'ordinary', 5_000)).toBe(1)
    expect(spend(budget, victim, 'ordinary', 3_600_000)).toBe(60)
  })

  it('is 200 where the peer’s checks come from, and then two a second', () => {
    const budget = new CheckBudget()
    spend(budget, victim, 'ordinary', 0)
    expect(spend(budget, victim, 'heard', 0)).toBe(200)
    expect(spend(budget, victim, 'heard', 10_000)).toBe(20)
  })

  it('stays the larger one when another pair to the same address was not heard', () => {
    const budget = new CheckBudget()
    spend(budget, victim, 'heard', 0)
    expect(spend(budget, victim.withPort(1), 'ordinary', 0)).toBe(0)
    expect(spend(budget, victim, 'heard', 0)).toBe(0)
  })

  it('is another 60 for openers, and then one each three seconds', () => {
    const budget = new CheckBudget()
    spend(budget, victim, 'ordinary', 0)
    expect(spend(budget, victim, 'opener', 0)).toBe(60)
    expect(spend(budget, victim.withPort(1), 'opener', 60_000)).toBe(20)
    expect(spend(budget, victim, 'ordinary', 0)).toBe(0)
    budget.proven(victim)
    expect(spend(budget, victim, 'opener', 60_000)).toBe(60)
    budget.proven(victim)
    expect(budget.size).toBe(0)
  })

  it('is 1,000 for all addresses together, and then two a second', () => {
    const budget = new CheckBudget()
    let sent = 0
    for (let i = 0; i < 100; i++) sent += spend(budget, Address.of(`198.51.100.${i}`, 5000), 'ordinary', 0)
    expect(sent).toBe(1_000)
    expect(spend(budget, Address.of('203.0.113.1', 5000), 'ordinary', 5_000)).toBe(10)
  })

  it('starts anew for an address that answers', () => {
    const budget = new CheckBudget()
    spend(budget, victim, 'ordinary', 0)
    budget.proven(victim)
    expect(spend(budget, victim, 'ordinary', 0)).toBe(60)
  })

  it('forgets what is as good as new, and nothing else', () => {
    const budget = new CheckBudget()
    spend(budget, victim, 'ordinary', 0)
    for (let i = 0; i < 64; i++) budget.take(Address.of(`203.0.113.${i}`, 5000), 'ordinary', 0)
    expect(budget.size).toBe(65)
    budget.take(Address.of('192.0.2.1', 5000), 'ordinary', 5_000)
    expect(budget.size).toBe(2)
  })
})

describe('C41 a peer that forges the source of its own checks', () => {
  it('C41 makes us send 200 checks and two a second to who answers none, however often it is heard', () => {
    const solo = new Solo().start()
    for (let n = 0; n < 600; n++) {
      solo.hear('198.51.100.1')
      solo.run(100)
    }
    const sent = solo.checksTo('198.51.100.1').length
    expect(sent).toBeGreaterThan(200)
    expect(sent).toBeLessThanOrEqual(200 + 60 * 2)
    expect(solo.pair('198.51.100.1').reason).toMatch(/enough was sent/)
  })

  it('C41 and who does answer is checked as before', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    for (let n = 0; n < 600; n++) {
      solo.hear('198.51.100.1')
      solo.run(100)
    }
    solo.answerAll(20)
    solo.hear('192.0.2.1')
    solo.run(1_000)
    expect(solo.agent.selected).toBe(solo.pair('192.0.2.1'))
  })
})
