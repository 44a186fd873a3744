import { describe, expect, test } from 'vitest'
import { createLab, type Lab, type LinkOptions } from '../../src/lab/index.ts'
import { open, say, type Talker, texts } from './talk.ts'

/** Two public hosts without delay; only `a` has the link under test. */
async function pair(link: LinkOptions, seed = 1): Promise<{ lab: Lab; a: Talker; b: Talker }> {
  const lab = createLab({ seed, delay: 0 })
  return { lab, a: await open(lab.host('a', { link })), b: await open(lab.host('b')) }
}

async function sendMany(link: LinkOptions, count: number, seed = 1): Promise<number[]> {
  const { lab, a, b } = await pair(link, seed)
  for (let i = 0; i < count; i++) {
    say(a, b.address, String(i))
    lab.advance(1)
  }
  lab.advance(10_000)
  return texts(b).map(Number)
}

describe('a link', () => {
  test("delays by half of the lab's delay on each side", async () => {
    const lab = createLab({ delay: 30 })
    const a = await open(lab.host('a'))
    const b = await open(lab.host('b', { link: { delay: 100 } }))
    say(a, b.address, 'x')
    lab.advance(200)
    expect(b.heard[0]?.time).toBe(115)
  })

  test('applies to both directions', async () => {
    const { lab, a, b } = await pair({ delay: 70 })
    say(b, a.address, 'x')
    lab.advance(200)
    expect(a.heard[0]?.time).toBe(70)
  })

  test('loses an even share of packets within four standard deviations', async () => {
    for (const loss of [0.05, 0.5]) {
      const arrived = await sendMany({ loss }, 10_000)
      const deviation = Math.sqrt(10_000 * loss * (1 - loss))
      expect(Math.abs(10_000 - arrived.length - 10_000 * loss)).toBeLessThan(4 * deviation)
    }
  })

  test('loses single packets evenly: what follows a loss is lost as often as anything', async () => {
    const arrived = new Set(await sendMany({ loss: 0.2 }, 10_000))
    let after = 0
    let both = 0
    for (let i = 0; i + 1 < 10_000; i++) {
      if (arrived.has(i)) continue
      after++
      if (!arrived.has(i + 1)) both++
    }
    expect(Math.abs(both / after - 0.2)).toBeLessThan(0.04)
  })

  test('loses in bursts of the mean length that Gilbert and Elliott give, and the share too', async () => {
    const arrived = new Set(await sendMany({ loss: { enter: 0.02, leave: 0.2 } }, 20_000))
    const bursts: number[] = []
    for (let i = 0, length = 0; i <= 20_000; i++) {
      if (i < 20_000 && !arrived.has(i)) length++
      else if (length > 0) {
        bursts.push(length)
        length = 0
      }
    }
    const mean = bursts.reduce((sum, length) => sum + length, 0) / bursts.length
    // Bursts of 1 / leave = 5 packets; a share of enter / (enter + leave) = 1/11.
    expect(Math.abs(mean - 5)).toBeLessThan(1)
    expect(Math.abs((20_000 - arrived.size) / 20_000 - 1 / 11)).toBeLessThan(0.02)
  })

  test('loses in the good state and spares in the bad one as it is told', async () => {
    expect(await sendMany({ loss: { enter: 0, leave: 1, good: 1 } }, 100)).toEqual([])
    expect((await sendMany({ loss: { enter: 1, leave: 0, bad: 0 } }, 100)).length).toBe(100)
  })

  test('is cut by a loss of 1 and whole again when told', async () => {
    const { lab, a, b } = await pair({})
    a.host.link.set({ loss: 1 })
    say(a, b.address, 'lost')
    lab.advance(1)
    a.host.link.set({ loss: 0 })
    say(a, b.address, 'arrives')
    lab.advance(1)
    expect(texts(b)).toEqual(['arrives'])
    expect(lab.trace.counters('a').drops).toEqual({ loss: 1 })
  })

  test('spreads delays evenly over the jitter, and keeps the order', async () => {
    const { lab, a, b } = await pair({ delay: 10, jitter: 50 })
    const sent: number[] = []
    for (let i = 0; i < 2000; i++) {
      sent.push(lab.clock.now())
      say(a, b.address, String(i))
      lab.advance(100)
    }
    const delays = b.heard.map(({ time, text }) => time - sent[Number(text)]!)
    expect(texts(b)).toEqual(sent.map((_, i) => String(i)))
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(10)
    expect(Math.max(...delays)).toBeLessThan(60)
    expect(Math.abs(delays.reduce((sum, delay) => sum + delay, 0) / delays.length - 35)).toBeLessThan(2)
  })

  test('keeps the order under jitter when packets come faster than it', async () => {
    const arrived = await sendMany({ jitter: 50 }, 1000)
    expect(arrived).toEqual([...arrived].sort((x, y) => x - y))
    expect(arrived.length).toBe(1000)
  })

  test('keeps the order of jitter on the way down by arrival, not by sending', async () => {
    const lab = createLab({ delay: 0 })
    const far = await open(lab.host('far', { link: { delay: 500 } }))
    const near = await open(lab.host('near'))
    const b = await open(lab.host('b', { link: { jitter: 5 } }))
    say(far, b.address, 'far')
    lab.advance(1)
    say(near, b.address, 'near')
    lab.advance(20)
    expect(texts(b)).toEqual(['near'])
    lab.advance(600)
    expect(texts(b)).toEqual(['near', 'far'])
  })

  test('lets later packets overtake the share that it reorders', async () => {
    const arrived = await sendMany({ reorder: 0.1, reorderDelay: 5 }, 5000)
    const overtaken = arrived.filter((n, i) => i > 0 && n < arrived[i - 1]!).length
    expect(arrived.length).toBe(5000)
    expect(overtaken).toBeGreaterThan(300)
    expect(overtaken).toBeLessThan(600)
  })

  test('doubles the share that it duplicates, each with memory of its own', async () => {
    const arrived = await sendMany({ duplicate: 0.25 }, 4000)
    expect(Math.abs(arrived.length - 5000)).toBeLessThan(120)
    expect(new Set(arrived).size).toBe(4000)
    const { lab, a, b } = await pair({ duplicate: 1 })
    const memories = new Set<ArrayBufferLike>()
    b.socket.handle({ datagram: (data) => memories.add(data.buffer), sendFailed() {}, drained() {}, lost() {} })
    say(a, b.address, 'twice')
    lab.advance(1)
    expect(memories.size).toBe(2)
  })

  test('drops what is longer than its MTU with the headers, on the way up and down', async () => {
    const { lab, a, b } = await pair({ mtu: 1280 })
    const longest = 'x'.repeat(1280 - 28)
    say(a, b.address, longest)
    say(a, b.address, `${longest}x`)
    say(b, a.address, longest)
    say(b, a.address, `${longest}x`)
    lab.advance(1)
    expect(texts(b)).toEqual([longest])
    expect(texts(a)).toEqual([longest])
    expect(lab.trace.counters('a').drops).toEqual({ mtu: 2 })
  })

  test('takes its time at a rate, and drops what would wait longer than its queue', async () => {
    // 100 bytes with headers at 8 kbit/s: 100 ms each.
    const { lab, a, b } = await pair({ rate: 8, queue: 250 })
    for (let i = 0; i < 5; i++) say(a, b.address, `${i}${'x'.repeat(71)}`)
    lab.advance(1000)
    expect(b.heard.map(({ time }) => time)).toEqual([100, 200, 300])
    expect(lab.trace.counters('a').drops).toEqual({ queue: 2 })
  })

  test('changes only what set names', async () => {
    const { a } = await pair({ delay: 10, jitter: 5 })
    a.host.link.set({ loss: 0.5 })
    expect(a.host.link.options).toMatchObject({ delay: 10, jitter: 5, loss: 0.5 })
  })

  test.each([
    [{ delay: -1 }, 'delay'],
    [{ loss: 1.5 }, 'loss'],
    [{ loss: { enter: 2, leave: 0 } }, 'enter'],
    [{ duplicate: Number.NaN }, 'duplicate'],
    [{ rate: 0 }, 'rate'],
  ] as const)('refuses %j with a RangeError that names the option', async (options, name) => {
    const { a } = await pair({})
    expect(() => a.host.link.set(options)).toThrow(RangeError)
    expect(() => a.host.link.set(options)).toThrow(name)
  })
})
