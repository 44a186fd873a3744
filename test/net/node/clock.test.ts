import { describe, expect, it, vi } from 'vitest'
import { nodeClock, type TimeSources } from '../../../src/net/node/clock.ts'

/** A machine whose three clocks go as told. */
class Machine implements TimeSources {
  #monotonic = 5000
  #wall = 1_700_000_000_000
  #boot = 9000

  monotonic(): number {
    return this.#monotonic
  }

  wall(): number {
    return this.#wall
  }

  sinceBoot(): number {
    return this.#boot
  }

  pass(milliseconds: number): void {
    this.#monotonic += milliseconds
    this.#wall += milliseconds
    this.#boot += milliseconds
  }

  sleep(milliseconds: number): void {
    this.#wall += milliseconds
    this.#boot += milliseconds
  }

  setDate(milliseconds: number): void {
    this.#wall += milliseconds
  }
}

describe('the real clock', () => {
  it('counts the time that passes', () => {
    const machine = new Machine()
    const clock = nodeClock(machine)
    const start = clock.now()
    machine.pass(250)
    expect(clock.now() - start).toBe(250)
  })

  it('C64: jumps forward over a sleep, once', () => {
    const machine = new Machine()
    const clock = nodeClock(machine)
    const start = clock.now()
    machine.sleep(3_600_000)
    expect(clock.now() - start).toBe(3_600_000)
    machine.pass(10)
    expect(clock.now() - start).toBe(3_600_010)
    machine.sleep(60_000)
    expect(clock.now() - start).toBe(3_660_010)
  })

  it('stays where it is when somebody sets the date, either way', () => {
    const machine = new Machine()
    const clock = nodeClock(machine)
    const start = clock.now()
    machine.setDate(86_400_000)
    expect(clock.now() - start).toBe(0)
    machine.setDate(-2 * 86_400_000)
    expect(clock.now() - start).toBe(0)
    machine.sleep(5000)
    expect(clock.now() - start).toBe(5000)
  })

  it('never steps back', () => {
    const machine = new Machine()
    const clock = nodeClock(machine)
    let last = clock.now()
    for (const step of [() => machine.sleep(2000), () => machine.setDate(-5000), () => machine.pass(1), () => machine.setDate(5000)]) {
      step()
      expect(clock.now()).toBeGreaterThanOrEqual(last)
      last = clock.now()
    }
  })

  it('gives wall time as it is', () => {
    const machine = new Machine()
    expect(nodeClock(machine).wallTime()).toBe(machine.wall())
  })
})

describe('a wake', () => {
  it('that setTimeout fires early waits for its time', () => {
    vi.useFakeTimers()
    try {
      const machine = new Machine()
      const clock = nodeClock(machine)
      let woken = 0
      clock.wake(clock.now() + 10, () => woken++)
      machine.pass(9.5)
      vi.advanceTimersByTime(10)
      expect(woken).toBe(0)
      machine.pass(0.5)
      vi.advanceTimersByTime(1)
      expect(woken).toBe(1)
    } finally {
      vi.useRealTimers()
    }
  })

  it('further off than setTimeout reaches comes neither at once nor early', () => {
    vi.useFakeTimers()
    try {
      const machine = new Machine()
      const clock = nodeClock(machine)
      const far = 2 ** 31 + 1000
      let woken = 0
      clock.wake(clock.now() + far, () => woken++)
      machine.pass(2 ** 31 - 1)
      vi.advanceTimersByTime(2 ** 31 - 1)
      expect(woken).toBe(0)
      machine.pass(1001)
      vi.advanceTimersByTime(1001)
      expect(woken).toBe(1)
    } finally {
      vi.useRealTimers()
    }
  })

  it('for no time at all does not come', () => {
    vi.useFakeTimers()
    try {
      const clock = nodeClock(new Machine())
      clock.wake(Number.POSITIVE_INFINITY, () => expect.fail('woken'))
      vi.advanceTimersByTime(2 ** 31)
      expect(vi.getTimerCount()).toBe(1)
    } finally {
      vi.useRealTimers()
    }
  })
})
