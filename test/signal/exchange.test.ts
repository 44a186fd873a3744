import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SignalExchange } from '../../src/signal/exchange.ts'
import type { Signal } from '../../src/signal/index.ts'
import { SeededRandom } from '../stun/manual-clock.ts'

const content = { ufrag: 'abcd', pwd: 'p'.repeat(22), candidates: [] }

function exchange(seed: number): SignalExchange {
  return new SignalExchange(new SeededRandom(seed))
}

function say(from: SignalExchange, change = true): Signal {
  return from.compose(content, change)
}

describe('an exchange of signals', () => {
  it('gives each incarnation an id of its own, 64 bits as hex', () => {
    expect(exchange(1).id).toMatch(/^[0-9a-f]{16}$/)
    expect(exchange(1).id).not.toBe(exchange(2).id)
  })

  it('counts changes from 1 and repeats with the same number', () => {
    const a = exchange(1)
    expect([say(a).seq, say(a, false).seq, say(a).seq]).toEqual([1, 1, 2])
  })

  it('asks to be told until its last change was acknowledged', () => {
    const [a, b] = [exchange(1), exchange(2)]
    const first = say(a)
    expect(first.ask).toBe(true)
    expect(a.heard).toBe(false)
    expect(b.receive(first)).toEqual({ news: true, incarnation: false, answer: true })
    a.receive(say(b))
    expect(a.heard).toBe(true)
    expect(say(a, false)).not.toHaveProperty('ask')
    expect(say(a).ask).toBe(true)
  })

  it('C74 a repeated signal is no news, but is answered when it asks', () => {
    const [a, b] = [exchange(1), exchange(2)]
    const signal = say(a)
    b.receive(signal)
    expect(b.receive(signal)).toEqual({ news: false, incarnation: false, answer: true })
  })

  it('C74 an overtaken signal is no news', () => {
    const [a, b] = [exchange(1), exchange(2)]
    const [first, second] = [say(a), say(a)]
    expect(b.receive(second).news).toBe(true)
    expect(b.receive(first).news).toBe(false)
  })

  it('an acknowledgement of more than was ever said counts as one of all that was', () => {
    const [a, b] = [exchange(1), exchange(2)]
    say(a)
    a.receive({ ...say(b), to: a.id, ack: Number.MAX_SAFE_INTEGER })
    expect(a.heard).toBe(true)
    say(a)
    expect(a.heard).toBe(false)
  })

  it('an acknowledgement that is meant for an earlier incarnation of ours is none', () => {
    const [old, a, b] = [exchange(1), exchange(2), exchange(3)]
    b.receive(say(old))
    say(a)
    a.receive(say(b))
    expect(a.heard).toBe(false)
  })

  it('tells a new incarnation of the peer from the first one', () => {
    const [a, b1, b2] = [exchange(1), exchange(2), exchange(3)]
    expect(a.receive(say(b1)).incarnation).toBe(false)
    expect(a.receive(say(b2))).toMatchObject({ news: true, incarnation: true })
  })

  it('C74 a late repeat of an earlier incarnation changes nothing', () => {
    const [a, b1, b2] = [exchange(1), exchange(2), exchange(3)]
    const late = say(b1)
    a.receive(late)
    a.receive(say(b2))
    expect(a.receive(late)).toMatchObject({ news: false, incarnation: false })
    expect(say(a).to).toBe(b2.id)
  })

  it('C74 the end of an earlier incarnation, overtaken by the start of the next, ends nothing', () => {
    const [a, b1, b2] = [exchange(1), exchange(2), exchange(3)]
    a.receive(say(b1))
    a.receive(say(b2))
    expect(a.receive({ ...say(b1), bye: true })).toEqual({ news: false, incarnation: false, answer: false })
    expect(say(a).to).toBe(b2.id)
    expect(a.receive(say(b2))).toMatchObject({ news: true, incarnation: false })
  })

  it('C74 the end of an incarnation that never was heard of ends nothing', () => {
    const [a, b1, b2] = [exchange(1), exchange(2), exchange(3)]
    expect(a.receive({ ...say(b1), bye: true }).news).toBe(false)
    expect(a.receive(say(b2))).toMatchObject({ news: true, incarnation: false })
  })

  it('C74 a late change of an earlier incarnation takes over only until the living one has learnt of it', () => {
    const [a, b1, b2] = [exchange(1), exchange(2), exchange(3)]
    a.receive(say(b1))
    const late = say(b1)
    a.receive(say(b2))
    b2.receive(say(a))
    expect(a.receive(late).incarnation).toBe(true)
    // The living one repeats itself and is not believed, but it is answered, and so learns that we speak to somebody else.
    expect(a.receive({ ...say(b2, false), ask: true })).toEqual({ news: false, incarnation: false, answer: true })
    expect(b2.mistaken).toBe(false)
    b2.receive(say(a, false))
    expect(b2.mistaken).toBe(true)
    expect(a.receive(say(b2, true))).toMatchObject({ news: true, incarnation: true })
    b2.receive(say(a, false))
    expect(b2.mistaken).toBe(false)
  })

  it('a description without an id, from another ICE agent, is always news', () => {
    const a = exchange(1)
    const foreign: Signal = { v: 1, ...content }
    expect(a.receive(foreign)).toEqual({ news: true, incarnation: false, answer: false })
    expect(a.receive(foreign).news).toBe(true)
  })

  it('remembers only so many earlier incarnations, however many there were', () => {
    const a = exchange(1)
    const signals = Array.from({ length: 100 }, (_, i) => say(exchange(100 + i)))
    for (const signal of signals) a.receive(signal)
    // The last ones are known for what they are, the first ones are forgotten.
    expect(a.receive(signals[98] as Signal).news).toBe(false)
    expect(a.receive(signals[0] as Signal).news).toBe(true)
  })

  it('C74 both ends hear each other whatever is lost, repeated and reordered, once a last round gets through', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ ab: fc.boolean(), change: fc.boolean(), copies: fc.nat(2), at: fc.nat(20) })), (steps) => {
        const [a, b] = [exchange(1), exchange(2)]
        const wire: { at: number; ab: boolean; signal: Signal }[] = []
        steps.forEach(({ ab, change, copies, at }, i) => {
          const signal = say(ab ? a : b, change || i === 0)
          for (let n = 0; n < copies; n++) wire.push({ at: i + at * n, ab, signal })
        })
        wire.sort((x, y) => x.at - y.at)
        let [newestA, newestB] = [0, 0]
        for (const { ab, signal } of wire) {
          const { news } = (ab ? b : a).receive(signal)
          const { seq = 0 } = signal
          // Exactly what is newer than all before it is news; the very first is in any case.
          const newest = ab ? newestA : newestB
          if (newest > 0) expect(news).toBe(seq > newest)
          if (ab) newestA = Math.max(newestA, seq)
          else newestB = Math.max(newestB, seq)
        }
        b.receive(say(a))
        a.receive(say(b))
        b.receive(say(a, false))
        expect([a.heard, b.heard]).toEqual([true, true])
      }),
    )
  })
})
