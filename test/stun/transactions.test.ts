import { beforeEach, describe, expect, it } from 'vitest'
import { Address, Timers } from '../../src/net/index.ts'
import type { Outcome, RetransmissionSchedule, TransactionRequest } from '../../src/stun/index.ts'
import { Message, MessageWriter, Method, Transactions } from '../../src/stun/index.ts'
import { ManualClock, SeededRandom } from './manual-clock.ts'

const SERVER = Address.of('192.0.2.1', 3478)
const STRANGER = Address.of('192.0.2.2', 3478)
const FRESH: RetransmissionSchedule = { initial: 50, factor: 2, count: 3, last: 400, fresh: true }

let clock: ManualClock
let transactions: Transactions
let sent: { at: number; data: Uint8Array; id: string }[]
let outcomes: Outcome[]
const writer = new MessageWriter()

beforeEach(() => {
  clock = new ManualClock()
  transactions = new Transactions(new Timers(clock), new SeededRandom(1))
  sent = []
  outcomes = []
})

function request(more: Partial<TransactionRequest> = {}): TransactionRequest {
  return {
    build: (id) => writer.start('request', Method.Binding, id).finish(),
    send: (data) => sent.push({ at: clock.now(), data, id: Message.read(data)!.transactionKey }),
    done: (outcome) => outcomes.push(outcome),
    ...more,
  }
}

function answer(index: number, messageClass: 'success' | 'error' | 'request' | 'indication' = 'success'): Message {
  const id = Message.read(sent[index]!.data)!.transactionId
  return Message.read(new MessageWriter().start(messageClass, Method.Binding, id).finish())!
}

describe('a request that nobody answers', () => {
  it('RFC 8489 6.2.1: is sent at 0, 500, 1500, 3500, 7500, 15500 and 31500 ms and given up at 39500 ms', () => {
    transactions.start(request())
    clock.advance(39_499)
    expect(sent.map(({ at }) => at)).toEqual([0, 500, 1500, 3500, 7500, 15500, 31500])
    expect(outcomes).toEqual([])
    clock.advance(1)
    expect(outcomes).toEqual([{ kind: 'timeout' }])
    clock.advance(100_000)
    expect([sent.length, outcomes.length, transactions.size, clock.pending]).toEqual([7, 1, 0, 0])
  })

  it('RFC 8489 6.2.1: keeps its id and its bytes from send to send, though the writer went on to other messages', () => {
    transactions.start(request())
    const first = [...sent[0]!.data]
    writer.start('indication', Method.Data, new Uint8Array(12)).text(0x8022, 'something longer').finish()
    clock.advance(500)
    expect([...sent[1]!.data]).toEqual(first)
  })

  it('has a new id and is built anew for each send when the schedule says fresh', () => {
    transactions.start(request({ schedule: FRESH }))
    clock.advance(549)
    expect(sent.map(({ at }) => at)).toEqual([0, 50, 150])
    expect(new Set(sent.map(({ id }) => id)).size).toBe(3)
    expect(outcomes).toEqual([])
    clock.advance(1)
    expect(outcomes).toEqual([{ kind: 'timeout' }])
  })

  it('C64 sends once, not many times, when the machine slept through several deadlines', () => {
    transactions.start(request())
    clock.sleep(20_000)
    expect(sent.length).toBe(2)
    expect(outcomes).toEqual([])
  })
})

describe('a response', () => {
  it('ends the transaction with its round trip, once', () => {
    transactions.start(request())
    clock.advance(37)
    const message = answer(0)
    expect(transactions.receive(message, SERVER)).toBe(true)
    expect(outcomes).toEqual([{ kind: 'response', message, from: SERVER, rtt: 37 }])
    expect(transactions.receive(message, SERVER)).toBe(false)
    clock.advance(60_000)
    expect([sent.length, outcomes.length, transactions.size]).toEqual([1, 1, 0])
  })

  it('may be an error response', () => {
    transactions.start(request())
    expect(transactions.receive(answer(0, 'error'), SERVER)).toBe(true)
    expect(outcomes[0]?.kind).toBe('response')
  })

  it('to an earlier one of several fresh ids counts, with the round trip of that id, and ends all of them', () => {
    transactions.start(request({ schedule: FRESH }))
    clock.advance(160)
    const [late, other] = [answer(1), answer(2)]
    expect(transactions.receive(late, SERVER)).toBe(true)
    expect(outcomes).toMatchObject([{ kind: 'response', rtt: 110 }])
    expect(transactions.receive(other, SERVER)).toBe(false)
    clock.advance(10_000)
    expect([sent.length, outcomes.length]).toEqual([3, 1])
  })

  it('still counts during the wait after the final send', () => {
    transactions.start(request())
    clock.advance(39_400)
    expect(transactions.receive(answer(6), SERVER)).toBe(true)
    expect(outcomes[0]?.kind).toBe('response')
  })

  it('with an id that nobody asked under is not taken', () => {
    transactions.start(request())
    const message = Message.read(new MessageWriter().start('success', Method.Binding, new Uint8Array(12)).finish())!
    expect(transactions.receive(message, SERVER)).toBe(false)
    expect(outcomes).toEqual([])
  })

  it('is not what comes back when our own request is reflected to us', () => {
    transactions.start(request())
    expect(transactions.receive(answer(0, 'request'), SERVER)).toBe(false)
    expect(transactions.receive(answer(0, 'indication'), SERVER)).toBe(false)
    expect(transactions.size).toBe(1)
  })

  it('C32 RFC 8489 9.1.4: refused by accept is counted, changes nothing, and the true one is still waited for', () => {
    transactions.start(request({ accept: (_message, from) => from.equals(SERVER) }))
    expect(transactions.receive(answer(0), STRANGER)).toBe(true)
    expect([transactions.refused, outcomes.length, transactions.size]).toEqual([1, 0, 1])
    clock.advance(500)
    expect(sent.length).toBe(2)
    expect(transactions.receive(answer(0), SERVER)).toBe(true)
    expect(outcomes[0]?.kind).toBe('response')
  })

  it('that arrives from within send, as on a network without delay, leaves no timer behind', () => {
    transactions.start(
      request({
        send: (data) => {
          const id = Message.read(data)!.transactionId
          transactions.receive(Message.read(new MessageWriter().start('success', Method.Binding, id).finish())!, SERVER)
        },
      }),
    )
    expect([outcomes.length, transactions.size, clock.pending]).toEqual([1, 0, 0])
  })

  it('may start the next transaction from within done', () => {
    transactions.start(request({ done: () => void transactions.start(request()) }))
    transactions.receive(answer(0), SERVER)
    expect([sent.length, transactions.size]).toEqual([2, 1])
  })
})

describe('cancelling', () => {
  it('stops sending, calls nothing, and may be repeated', () => {
    const transaction = transactions.start(request())
    transaction.cancel()
    transaction.cancel()
    clock.advance(60_000)
    expect(transactions.receive(answer(0), SERVER)).toBe(false)
    expect([sent.length, outcomes.length, transactions.size, clock.pending]).toEqual([1, 0, 0, 0])
  })

  it('from within accept means that done is not called', () => {
    const transaction = transactions.start(
      request({
        accept: () => {
          transaction.cancel()
          return true
        },
      }),
    )
    transactions.receive(answer(0), SERVER)
    expect([outcomes.length, transactions.size]).toEqual([0, 0])
  })

  it('after the end does not count the next transaction out', () => {
    const transaction = transactions.start(request())
    transactions.receive(answer(0), SERVER)
    transactions.start(request())
    transaction.cancel()
    expect(transactions.size).toBe(1)
  })

  it('of everything leaves neither ids nor timers', () => {
    for (let i = 0; i < 5; i++) transactions.start(request({ schedule: FRESH }))
    clock.advance(60)
    transactions.clear()
    clock.advance(60_000)
    expect([sent.length, outcomes.length, transactions.size, clock.pending]).toEqual([10, 0, 0, 0])
    expect(transactions.receive(answer(0), SERVER)).toBe(false)
  })
})

it('refuses a schedule that makes no sense, and names what is wrong with it', () => {
  expect(() => transactions.start(request({ schedule: { ...FRESH, count: 0 } }))).toThrow(/schedule\.count/)
  expect(() => transactions.start(request({ schedule: { ...FRESH, initial: Number.NaN } }))).toThrow(/schedule\.initial/)
  expect(() => transactions.start(request({ schedule: { ...FRESH, last: -1 } }))).toThrow(RangeError)
  expect(transactions.size).toBe(0)
})
