import { describe, expect, test } from 'vitest'
import { type ChannelOptions, createLab, type Lab } from '../../src/lab/index.ts'

interface Got {
  readonly message: number
  readonly time: number
}

function sendMany(options: ChannelOptions, count: number): { lab: Lab; got: Got[] } {
  const lab = createLab()
  const [a, b] = lab.channel<number>(options)
  const got: Got[] = []
  b.onMessage((message) => got.push({ message, time: lab.clock.now() }))
  for (let i = 0; i < count; i++) {
    a.send(i)
    lab.advance(1)
  }
  lab.advance(10_000)
  return { lab, got }
}

describe('a channel', () => {
  test("carries messages both ways after its delay, by default twice the lab's", () => {
    const lab = createLab({ delay: 15 })
    const [a, b] = lab.channel<string>()
    const times: [string, number][] = []
    b.onMessage((message) => b.send(`${message} yourself`))
    a.onMessage((message) => times.push([message, lab.clock.now()]))
    a.send('hello')
    lab.advance(100)
    expect(times).toEqual([['hello yourself', 60]])
  })

  test('copies what it carries', () => {
    const lab = createLab()
    const [a, b] = lab.channel<{ text: string; bytes: Uint8Array }>({ delay: 5 })
    const sent = { text: 'before', bytes: Uint8Array.of(1, 2) }
    const got: unknown[] = []
    b.onMessage((message) => got.push(message))
    a.send(sent)
    sent.text = 'after'
    sent.bytes.fill(9)
    lab.advance(5)
    expect(got).toEqual([{ text: 'before', bytes: Uint8Array.of(1, 2) }])
  })

  test('keeps what comes before anybody listens', () => {
    const lab = createLab()
    const [a, b] = lab.channel<number>()
    a.send(1)
    a.send(2)
    lab.advance(100)
    const got: number[] = []
    b.onMessage((message) => got.push(message))
    expect(got).toEqual([1, 2])
  })

  test('loses its share', () => {
    expect(Math.abs(sendMany({ loss: 0.3 }, 4000).got.length - 2800)).toBeLessThan(120)
  })

  test('doubles its share', () => {
    const { got } = sendMany({ duplicate: 0.25 }, 4000)
    expect(Math.abs(got.length - 5000)).toBeLessThan(120)
    expect(new Set(got.map(({ message }) => message)).size).toBe(4000)
  })

  test('lets others overtake the share that it reorders', () => {
    const { got } = sendMany({ delay: 5, reorder: 0.1 }, 2000)
    const late = got.filter(({ message }, i) => i > 0 && message < got[i - 1]!.message)
    expect(got.length).toBe(2000)
    expect(late.length).toBeGreaterThan(100)
    expect(late.length).toBeLessThan(280)
  })

  test('spreads its delay over the jitter and keeps the order', () => {
    const { got } = sendMany({ delay: 10, jitter: 100 }, 1000)
    expect(got.map(({ message }) => message)).toEqual(Array.from({ length: 1000 }, (_, i) => i))
    const delays = got.map(({ message, time }) => time - message)
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(10)
    expect(Math.max(...delays)).toBeLessThanOrEqual(110)
    expect(Math.max(...delays)).toBeGreaterThan(90)
  })
})
