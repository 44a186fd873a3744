import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Clock, type Timer, Timers } from '../../src/net/index.ts'

/** Time that goes on when told to; keeps account of what was asked of it. */
class HandClock implements Clock {
  time = 1000
  armed = 0
  readonly #wakes = new Map<object, { readonly at: number; readonly callback: () => void }>()

  now(): number {
    return this.time
  }

  wallTime(): number {
    return this.time
  }

  wake(at: number, callback: () => void): Timer {
    this.armed++
    const key = {}
    this.#wakes.set(key, { at, callback })
    return { cancel: () => void this.#wakes.delete(key) }
  }

  get pending(): number {
    return this.#wakes.size
  }

  /** Sets the time, then wakes what is due, once. */
  advanceTo(time: number): void {
    this.time = time
    for (const [key, { at, callback }] of [...this.#wakes]) {
      if (at > time || !this.#wakes.delete(key)) continue
      callback()
    }
  }
}

function make() {
  const clock = new HandClock()
  return { clock, timers: new Timers(clock), log: [] as string[] }
}

describe('timers', () => {
  it('run at their time and not before', () => {
    const { clock, timers, log } = make()
    timers.at(1010, () => log.push('a'))
    clock.advanceTo(1009)
    expect(log).toEqual([])
    clock.advanceTo(1010)
    expect(log).toEqual(['a'])
    expect(timers.size).toBe(0)
  })

  it('run once', () => {
    const { clock, timers, log } = make()
    timers.after(10, () => log.push('a'))
    clock.advanceTo(1010)
    clock.advanceTo(2000)
    expect(log).toEqual(['a'])
    expect(clock.pending).toBe(0)
  })

  it('run in the order of their times, and equal times in the order they were set', () => {
    const { clock, timers, log } = make()
    for (const [at, name] of [
      [1020, 'c'],
      [1010, 'a'],
      [1020, 'd'],
      [1010, 'b'],
    ] as const)
      timers.at(at, () => log.push(name))
    clock.advanceTo(1020)
    expect(log).toEqual(['a', 'b', 'c', 'd'])
  })

  it('do not run once cancelled, however often', () => {
    const { clock, timers, log } = make()
    const timer = timers.at(1010, () => log.push('a'))
    timers.at(1010, () => log.push('b'))
    timer.cancel()
    timer.cancel()
    clock.advanceTo(1010)
    expect(log).toEqual(['b'])
  })

  it('may be cancelled after they ran, which touches no other', () => {
    const { clock, timers, log } = make()
    const timer = timers.at(1010, () => log.push('a'))
    clock.advanceTo(1010)
    timers.at(1020, () => log.push('b'))
    timer.cancel()
    clock.advanceTo(1020)
    expect(log).toEqual(['a', 'b'])
  })

  it('that are cancelled by one of the same round do not run', () => {
    const { clock, timers, log } = make()
    timers.at(1010, () => second.cancel())
    const second = timers.at(1010, () => log.push('second'))
    clock.advanceTo(1010)
    expect(log).toEqual([])
  })

  it('set for now by one of the same round wait for the next: they cannot starve the event loop', () => {
    const { clock, timers, log } = make()
    const again = (): void => {
      log.push('again')
      if (log.length < 100) timers.after(0, again)
    }
    timers.after(0, again)
    clock.advanceTo(1000)
    expect(log).toHaveLength(1)
    clock.advanceTo(1000)
    expect(log).toHaveLength(2)
  })

  it('set for the past by one of the same round come first in the next', () => {
    const { clock, timers, log } = make()
    timers.at(1010, () => timers.at(1005, () => log.push('past')))
    timers.at(1500, () => log.push('due'))
    clock.advanceTo(1500)
    clock.advanceTo(1500)
    expect(log).toEqual(['past', 'due'])
  })

  it('go on after one of them throws', () => {
    const { clock, timers, log } = make()
    timers.at(1010, () => {
      throw new Error('mine')
    })
    timers.at(1010, () => log.push('b'))
    expect(() => clock.advanceTo(1010)).toThrow('mine')
    clock.advanceTo(1010)
    expect(log).toEqual(['b'])
  })

  it('are all dropped by clear, which leaves the clock alone too', () => {
    const { clock, timers, log } = make()
    const timer = timers.at(1010, () => log.push('a'))
    timers.at(1020, () => log.push('b'))
    timers.clear()
    expect([timers.size, clock.pending]).toEqual([0, 0])
    timer.cancel()
    timers.at(1030, () => log.push('c'))
    clock.advanceTo(1030)
    expect(log).toEqual(['c'])
  })

  it('cost one wake however many there are', () => {
    const { clock, timers } = make()
    for (let i = 0; i < 10_000; i++) timers.at(2000 + i, () => {})
    expect([clock.armed, clock.pending]).toEqual([1, 1])
  })

  it('set earlier than all others move the wake', () => {
    const { clock, timers, log } = make()
    timers.at(2000, () => log.push('late'))
    timers.at(1001, () => log.push('early'))
    expect(clock.pending).toBe(1)
    clock.advanceTo(1001)
    expect(log).toEqual(['early'])
  })

  it('behave as a sorted list does, whatever is set and cancelled', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), delay: fc.integer({ min: 0, max: 50 }) }),
      fc.record({ kind: fc.constant('cancel' as const), which: fc.nat(200) }),
      fc.record({ kind: fc.constant('advance' as const), by: fc.integer({ min: 0, max: 30 }) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const { clock, timers } = make()
        const ran: number[] = []
        const model: { id: number; at: number; live: boolean }[] = []
        const expected: number[] = []
        const set: Timer[] = []
        for (const now of steps) {
          if (now.kind === 'set') {
            const id = set.length
            model.push({ id, at: clock.time + now.delay, live: true })
            set.push(timers.at(clock.time + now.delay, () => ran.push(id)))
          } else if (now.kind === 'cancel') {
            set[now.which]?.cancel()
            const entry = model[now.which]
            if (entry !== undefined) entry.live = false
          } else {
            const time = clock.time + now.by
            const due = model.filter((entry) => entry.live && entry.at <= time).sort((a, b) => a.at - b.at || a.id - b.id)
            for (const entry of due) {
              entry.live = false
              expected.push(entry.id)
            }
            clock.advanceTo(time)
          }
          expect(ran).toEqual(expected)
          expect(timers.size).toBe(model.filter((entry) => entry.live).length)
        }
      }),
      { numRuns: 200 },
    )
  })
})
