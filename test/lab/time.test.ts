import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { HostClock, Scheduler } from '../../src/lab/clock.ts'
import { createLab } from '../../src/lab/index.ts'
import { SeededRandom } from '../../src/lab/random.ts'
import { open, say, texts } from './talk.ts'

describe('virtual time', () => {
  test('fires by time, and equal times in the order of scheduling, whatever was cancelled between', () => {
    const scheduler = new Scheduler()
    const clock = new HostClock(scheduler)
    const random = new SeededRandom(1, 'test')
    const expected: { at: number; i: number }[] = []
    const fired: number[] = []
    for (let i = 0; i < 2000; i++) {
      const at = random.below(50)
      const timer = clock.wake(at, () => fired.push(i))
      if (random.chance(0.3)) timer.cancel()
      else expected.push({ at, i })
    }
    scheduler.runTo(100)
    expect(fired).toEqual(expected.sort((a, b) => a.at - b.at || a.i - b.i).map(({ i }) => i))
    expect(scheduler.size).toBe(0)
  })

  test('does not go back for a time that has passed', () => {
    const lab = createLab()
    lab.advance(100)
    const seen: number[] = []
    lab.clock.wake(5, () => seen.push(lab.clock.now()))
    lab.advance(1)
    expect(seen).toEqual([100])
  })

  test('refuses what is not a time', () => {
    const lab = createLab()
    expect(() => lab.clock.wake(Number.NaN, () => {})).toThrow(RangeError)
    expect(() => lab.advance(-1)).toThrow(RangeError)
    expect(() => lab.run(Number.NaN)).toThrow(RangeError)
  })

  test('stands where advance has taken it, with everything up to then done', () => {
    const lab = createLab()
    const done: number[] = []
    for (const ms of [10, 20, 21]) lab.after(ms, () => done.push(ms))
    lab.advance(20)
    expect(done).toEqual([10, 20])
    expect(lab.clock.now()).toBe(20)
  })

  test('does not call what after has cancelled', () => {
    const lab = createLab()
    let called = false
    lab.after(10, () => {
      called = true
    })()
    lab.advance(20)
    expect(called).toBe(false)
  })
})

describe('run', () => {
  test('lets a chain of promises go on at the time at which it was set off', async () => {
    const lab = createLab()
    const times: number[] = []
    const sleep = (ms: number): Promise<void> => new Promise((resolve) => lab.after(ms, resolve))
    const chain = (async () => {
      for (let i = 0; i < 5; i++) {
        await sleep(10)
        for (let j = 0; j < 20; j++) await Promise.resolve()
        times.push(lab.clock.now())
      }
    })()
    lab.after(15, () => {})
    await lab.run(100)
    await chain
    expect(times).toEqual([10, 20, 30, 40, 50])
    expect(lab.clock.now()).toBe(100)
  })

  test('starts what was asked for just before it', async () => {
    const lab = createLab({ delay: 0 })
    const [a, b] = [lab.host('a'), await open(lab.host('b'))]
    void open(a).then((talker) => say(talker, b.address, 'x'))
    await lab.run(0.5)
    expect(texts(b)).toEqual(['x'])
  })

  test('lets promises settle between events of the same time, when one sets off the other', async () => {
    const lab = createLab()
    const order: string[] = []
    lab.after(5, () => {
      void Promise.resolve().then(() => order.push('settled'))
      lab.after(0, () => order.push('next'))
    })
    await lab.run(10)
    expect(order).toEqual(['settled', 'next'])
  })

  test('hands on what a callback throws', async () => {
    const lab = createLab()
    lab.after(5, () => {
      throw new Error('broken')
    })
    await expect(lab.run(10)).rejects.toThrow('broken')
    await lab.run(10)
  })

  test('may run twice at once', async () => {
    const lab = createLab()
    const done: number[] = []
    for (const ms of [10, 60, 120]) lab.after(ms, () => done.push(ms))
    await Promise.all([lab.run(50), lab.run(100)])
    expect(done).toEqual([10, 60])
    expect(lab.clock.now()).toBe(100)
  })

  test('waits in hold for work that the lab does not see', async () => {
    const lab = createLab()
    const order: string[] = []
    lab.after(10, () => {
      const work = readFile(new URL(import.meta.url)).then(() => order.push(`loaded at ${lab.clock.now()}`))
      void lab.hold(work)
    })
    lab.after(11, () => order.push('later'))
    await lab.run(20)
    expect(order).toEqual(['loaded at 10', 'later'])
  })
})

describe('until', () => {
  test('stops at the time at which the promise settles, and gives its value', async () => {
    const lab = createLab()
    const promise = new Promise<string>((resolve) => lab.after(123, () => resolve('done')))
    lab.after(200, () => {})
    expect(await lab.until(promise)).toBe('done')
    expect(lab.clock.now()).toBe(123)
  })

  test('rejects with what the promise rejects with', async () => {
    const lab = createLab()
    await expect(lab.until(Promise.reject(new Error('no')))).rejects.toThrow('no')
  })

  test('rejects when nothing is scheduled any more', async () => {
    const lab = createLab()
    lab.after(7, () => {})
    await expect(lab.until(new Promise(() => {}))).rejects.toThrow(/nothing is scheduled after 7 ms/)
  })

  test('rejects when its time is over, and stands there', async () => {
    const lab = createLab()
    const tick = (): void => void lab.after(10, tick)
    tick()
    await expect(lab.until(new Promise(() => {}), { within: 95 })).rejects.toThrow(/still pending after 95 ms/)
    expect(lab.clock.now()).toBe(95)
  })

  test('may wait for several at once', async () => {
    const lab = createLab()
    const delayed = (ms: number): Promise<number> => new Promise((resolve) => lab.after(ms, () => resolve(ms)))
    expect(await Promise.all([lab.until(delayed(30)), lab.until(delayed(10))])).toEqual([30, 10])
  })

  test('sees code that waits for run itself', async () => {
    const lab = createLab()
    const play = async (): Promise<number> => {
      await lab.run(40)
      return lab.clock.now()
    }
    lab.after(1000, () => {})
    expect(await lab.until(play())).toBe(40)
  })
})

describe('seeded chance', () => {
  test('repeats for a seed and a name, and for nothing else', () => {
    const draw = (seed: number, name: string): number[] => {
      const random = new SeededRandom(seed, name)
      return Array.from({ length: 8 }, () => random.uint32())
    }
    expect(draw(1, 'a')).toEqual(draw(1, 'a'))
    expect(draw(1, 'a')).not.toEqual(draw(2, 'a'))
    expect(draw(1, 'a')).not.toEqual(draw(1, 'b'))
  })

  test('has even bits and bytes, by chi-square', () => {
    const bytes = new SeededRandom(3, 'bytes').bytes(256_000)
    const counts = new Float64Array(256)
    for (const byte of bytes) counts[byte]! += 1
    const chi = counts.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)
    // 255 degrees of freedom: mean 255, standard deviation 22.6.
    expect(Math.abs(chi - 255)).toBeLessThan(4 * 22.6)
  })

  test('draws nothing for what is certain', () => {
    const [drawn, other] = [new SeededRandom(1, 'x'), new SeededRandom(1, 'x')]
    expect([drawn.chance(0), drawn.chance(1)]).toEqual([false, true])
    expect(drawn.uint32()).toBe(other.uint32())
  })
})

test('five thousand hosts behind routers talk to one server within one run', async () => {
  const lab = createLab()
  const server = await open(lab.host('server'))
  for (let i = 0; i < 5000; i++) {
    const talker = await open(lab.host(`host ${i}`, { behind: lab.router(`router ${i}`) }))
    say(talker, server.address, 'x')
  }
  await lab.run(100)
  expect(new Set(server.heard.map(({ from }) => from.key)).size).toBe(5000)
})
