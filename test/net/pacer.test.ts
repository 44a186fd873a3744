import { describe, expect, it } from 'vitest'
import { type Paced, Pacer, pacerOf } from '../../src/net/index.ts'
import { ManualClock } from '../stun/manual-clock.ts'

class Asker implements Paced {
  /** What is left to send. */
  left: number
  readonly #name: string
  readonly #log: string[]
  readonly #again: (asker: Asker) => void

  constructor(name: string, log: string[], left = 1, again: (asker: Asker) => void = () => {}) {
    this.#name = name
    this.#log = log
    this.left = left
    this.#again = again
  }

  paced(now: number): boolean {
    if (this.left <= 0) return false
    this.left--
    this.#log.push(`${this.#name} ${now}`)
    if (this.left > 0) this.#again(this)
    return true
  }
}

function scene(): { clock: ManualClock; pacer: Pacer; log: string[]; asker: (name: string, left?: number, urgent?: boolean) => Asker } {
  const clock = new ManualClock()
  const pacer = new Pacer(clock)
  const log: string[] = []
  const asker = (name: string, left = 1, urgent = false): Asker => new Asker(name, log, left, (self) => pacer.request(self, urgent))
  return { clock, pacer, log, asker }
}

describe('C25 the pace of a process (RFC 8445 14.2)', () => {
  it('gives a free slot at once and the next ones 5 ms apart', () => {
    const { clock, pacer, log, asker } = scene()
    for (const name of ['a', 'b', 'c']) pacer.request(asker(name))
    clock.advance(100)
    expect(log).toEqual(['a 0', 'b 5', 'c 10'])
  })

  it('is free again 5 ms after the last slot, however long ago', () => {
    const { clock, pacer, log, asker } = scene()
    pacer.request(asker('a'))
    clock.advance(1_000)
    pacer.request(asker('b'))
    pacer.request(asker('c'))
    clock.advance(4)
    expect(log).toEqual(['a 0', 'b 1000'])
  })

  it('takes turns between those who always have more', () => {
    const { clock, pacer, log, asker } = scene()
    for (const name of ['a', 'b', 'c']) pacer.request(asker(name, 10))
    clock.advance(40)
    // The first had asked again before the others came.
    expect(log.map((entry) => entry[0]).join('')).toBe('aabcabcab')
  })

  it('asking twice is asking once', () => {
    const { clock, pacer, log, asker } = scene()
    const a = asker('a', 2)
    a.left = 5
    const quiet = new Asker('q', log, 5)
    pacer.request(quiet)
    pacer.request(quiet)
    pacer.request(quiet)
    clock.advance(100)
    expect(log).toEqual(['q 0', 'q 5'])
  })

  it('C27 the urgent go first', () => {
    const { clock, pacer, log, asker } = scene()
    pacer.request(asker('first'))
    pacer.request(asker('a'))
    pacer.request(asker('b'))
    pacer.request(asker('urgent'), true)
    clock.advance(100)
    expect(log).toEqual(['first 0', 'urgent 5', 'a 10', 'b 15'])
  })

  it('but cannot keep the others waiting for ever', () => {
    const { clock, pacer, log, asker } = scene()
    pacer.request(asker('u', 1_000, true), true)
    pacer.request(asker('a', 1_000))
    clock.advance(1_000)
    const others = log.filter((entry) => entry.startsWith('a')).length
    expect(others).toBeGreaterThanOrEqual(45)
    expect(log.length - others).toBeGreaterThan(140)
  })

  it('a slot that is not used goes to the next at once', () => {
    const { clock, pacer, log, asker } = scene()
    pacer.request(asker('a'))
    pacer.request(asker('nothing', 0))
    pacer.request(asker('nothing', 0))
    pacer.request(asker('b'))
    clock.advance(5)
    expect(log).toEqual(['a 0', 'b 5'])
  })

  it('who withdraws gets no slot, and nothing is left behind', () => {
    const { clock, pacer, log, asker } = scene()
    pacer.request(asker('a'))
    const b = asker('b')
    pacer.request(b)
    pacer.request(b, true)
    pacer.withdraw(b)
    expect(clock.pending).toBe(0)
    clock.advance(100)
    expect(log).toEqual(['a 0'])
  })

  it('who withdraws takes no other’s slot along', () => {
    const { clock, pacer, log, asker } = scene()
    pacer.request(asker('a'))
    const b = asker('b')
    pacer.request(b)
    pacer.request(asker('c'))
    pacer.withdraw(b)
    clock.advance(100)
    expect(log).toEqual(['a 0', 'c 5'])
  })

  it('an asker that throws costs nobody else anything', () => {
    const { clock, pacer, log, asker } = scene()
    pacer.request(asker('a'))
    pacer.request({
      paced() {
        throw new Error('broken')
      },
    })
    pacer.request(asker('b'))
    pacer.request(asker('c'))
    expect(() => clock.advance(5)).toThrow('broken')
    clock.advance(100)
    expect(log).toEqual(['a 0', 'b 5', 'c 10'])
  })

  it('after a sleep gives one slot at once, not all that were missed', () => {
    const { clock, pacer, log, asker } = scene()
    pacer.request(asker('a', 100))
    clock.sleep(3_600_000)
    clock.advance(20)
    expect(log).toHaveLength(6)
  })

  it('is one for each clock', () => {
    const [one, two] = [new ManualClock(), new ManualClock()]
    expect(pacerOf(one)).toBe(pacerOf(one))
    expect(pacerOf(one)).not.toBe(pacerOf(two))
  })
})
