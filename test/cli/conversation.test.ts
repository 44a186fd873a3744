import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Conversation } from '../../src/cli/conversation.ts'

interface Side {
  readonly conversation: Conversation
  readonly sent: string[]
  readonly heard: string[]
  done: number
}

function side(text = 'hello'): Side {
  const made: Side = {
    conversation: new Conversation(text, {
      send: (data) => void made.sent.push(Buffer.from(data).toString()),
      done: () => void made.done++,
      heard: (words) => void made.heard.push(words),
    }),
    sent: [],
    heard: [],
    done: 0,
  }
  return made
}

function deliver(from: Side, to: Side): void {
  for (const text of from.sent.splice(0)) to.conversation.receive(Buffer.from(text))
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('a conversation over the path', () => {
  it('is done on each side when its ping was answered and one of the peer came', () => {
    const [a, b] = [side('from a'), side('from b')]
    a.conversation.start()
    b.conversation.start()
    deliver(a, b)
    expect(b.done).toBe(0)
    deliver(b, a)
    deliver(a, b)
    expect([a.done, b.done]).toEqual([1, 1])
    expect([a.heard, b.heard]).toEqual([['from b'], ['from a']])
  })

  it('is not done by answers alone', () => {
    const [a, b] = [side(), side()]
    a.conversation.start()
    deliver(a, b)
    deliver(b, a)
    expect(a.done).toBe(0)
    expect(a.conversation.progress).toContain('nothing of its own')
  })

  it('survives loss: it asks again every 200 ms, and every second once it is done', () => {
    const [a, b] = [side(), side()]
    a.conversation.start()
    b.conversation.start()
    a.sent.length = b.sent.length = 0 // lost
    vi.advanceTimersByTime(200)
    deliver(a, b)
    deliver(b, a)
    deliver(a, b)
    expect([a.done, b.done]).toEqual([1, 1])
    vi.advanceTimersByTime(200)
    a.sent.length = 0
    vi.advanceTimersByTime(2_000)
    expect(a.sent).toHaveLength(2)
  })

  it('is done with a peer that merely echoes, without an echo of the echo', () => {
    const a = side()
    a.conversation.start()
    const [ping = ''] = a.sent.splice(0)
    a.conversation.receive(Buffer.from(ping))
    expect(a.done).toBe(1)
    const [pong = ''] = a.sent.splice(0)
    a.conversation.receive(Buffer.from(pong))
    expect(a.sent).toEqual([])
  })

  it('answers any datagram with what it holds, up to a size', () => {
    const a = side()
    a.conversation.receive(Buffer.from('what is this'))
    a.conversation.receive(Buffer.alloc(5_000, 'x'))
    expect(a.sent[0]).toBe('pong what is this')
    expect(a.sent[1]).toHaveLength(1_200)
  })

  it('does not take an answer to somebody else for its own', () => {
    const a = side()
    a.conversation.start()
    a.conversation.receive(Buffer.from('pong ping 000000000000 1 hello'))
    a.conversation.receive(Buffer.from('ping 000000000000 1 hello'))
    expect(a.done).toBe(0)
    expect(a.conversation.progress).toContain('does not answer')
  })

  it('leaves no timer once it is stopped', () => {
    const a = side()
    a.conversation.start()
    a.conversation.start()
    a.conversation.stop()
    expect(vi.getTimerCount()).toBe(0)
  })
})
