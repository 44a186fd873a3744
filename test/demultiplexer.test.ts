import { beforeEach, describe, expect, it } from 'vitest'
import type { Base } from '../src/candidates/index.ts'
import { type CheckReceiver, type DataReceiver, Demultiplexer } from '../src/demultiplexer.ts'
import type { Verdict } from '../src/ice/index.ts'
import { Address, type SendFailure, Timers } from '../src/net/index.ts'
import { Transactions } from '../src/stun/index.ts'
import { ManualClock, SeededRandom } from './stun/manual-clock.ts'

const data = Uint8Array.of(0x80, 1, 2, 3)
const from = Address.of('192.0.2.1', 4000)

function base(id: number): Base {
  return {
    kind: 'host',
    id,
    address: Address.of('192.0.2.9', 5000 + id),
    links: [],
    rank: 0,
    hidden: false,
    passive: false,
    retiringSince: Number.POSITIVE_INFINITY,
    expect: () => undefined,
    verify: () => undefined,
    send: () => true,
  }
}

const first = base(1)
const second = base(2)

class Receiver implements DataReceiver {
  readonly owner = this
  received = 0
  recognises(): boolean {
    return false
  }
  handleData(): void {
    this.received++
  }
  sendFailed(): void {}
}

let demultiplexer: Demultiplexer
let passedOn: number
let a: Receiver
let b: Receiver

beforeEach(() => {
  passedOn = 0
  a = new Receiver()
  b = new Receiver()
  const transactions = new Transactions(new Timers(new ManualClock()), new SeededRandom(1))
  demultiplexer = new Demultiplexer(transactions, () => {
    passedOn++
    return true
  })
})

/** Twice: the second time is answered from memory. */
function receive(on: Base = first, sender = from): void {
  demultiplexer.receive(on, data, sender)
  demultiplexer.receive(on, data, sender)
}

describe('data from an address', () => {
  it('is passed on while nobody has the address, and goes to whoever gets it', () => {
    receive()
    demultiplexer.claim(first, from, a)
    receive()
    expect([passedOn, a.received]).toEqual([2, 2])
  })

  it('C70 is remembered as another’s after that one gave the address back, and as nobody else’s by itself', () => {
    demultiplexer.claim(first, from, a)
    demultiplexer.release(first, from, a)
    expect(demultiplexer.wasAnothers(first, from, b.owner)).toBe(true)
    expect(demultiplexer.wasAnothers(first, from, a.owner)).toBe(false)
    expect(demultiplexer.wasAnothers(second, from, b.owner)).toBe(false)
  })

  it('goes to the next one who gets the address', () => {
    demultiplexer.claim(first, from, a)
    receive()
    demultiplexer.claim(first, from, b)
    receive()
    expect([a.received, b.received]).toEqual([2, 2])
  })

  it('is passed on once its owner has released the address', () => {
    demultiplexer.claim(first, from, a)
    receive()
    demultiplexer.release(first, from, a)
    receive()
    expect([a.received, passedOn]).toEqual([2, 2])
    expect(demultiplexer.ownerOf(first, from)).toBeUndefined()
  })

  it('is passed on once its base is gone', () => {
    demultiplexer.claim(first, from, a)
    receive()
    demultiplexer.removeBase(first)
    receive()
    expect([a.received, passedOn]).toEqual([2, 2])
  })

  it('is told apart by the base it came to, by its address, and not by which object that is', () => {
    demultiplexer.claim(first, from, a)
    demultiplexer.claim(second, from, b)
    receive(first)
    receive(second)
    receive(first, Address.of('192.0.2.1', 4000))
    receive(first, from.withPort(4001))
    receive(first)
    expect([a.received, b.received, passedOn]).toEqual([6, 2, 2])
  })
})

class Asker implements CheckReceiver {
  readonly refused: string[] = []
  handleRequest(): Verdict {
    return 'stranger'
  }
  handleResponse(): Verdict {
    return 'stranger'
  }
  sendFailed(on: Base, to: Address, failure: SendFailure): void {
    this.refused.push(`${on.id} ${to} ${failure}`)
  }
}

describe('an address that was given back', () => {
  it('was another’s for everybody but the one who had it last', () => {
    expect(demultiplexer.wasAnothers(first, from, a.owner)).toBe(false)
    demultiplexer.claim(first, from, a)
    demultiplexer.release(first, from, a)
    expect([a, b].map(({ owner }) => demultiplexer.wasAnothers(first, from, owner))).toEqual([false, true])
    expect(demultiplexer.wasAnothers(second, from, b.owner)).toBe(false)
    demultiplexer.claim(first, from, b)
    demultiplexer.release(first, from, b)
    expect([a, b].map(({ owner }) => demultiplexer.wasAnothers(first, from, owner))).toEqual([true, false])
  })

  it('is remembered until 1,024 others were given back after it, though it was known long before', () => {
    const giveBack = (address: Address): void => {
      demultiplexer.claim(first, address, a)
      demultiplexer.release(first, address, a)
    }
    const other = (index: number): Address => Address.of(`198.18.${index >> 8}.${index & 255}`, 1)
    giveBack(from)
    for (let i = 0; i < 1_000; i++) giveBack(other(i))
    giveBack(from)
    for (let i = 1_000; i < 2_023; i++) giveBack(other(i))
    expect(demultiplexer.wasAnothers(first, from, b.owner)).toBe(true)
    giveBack(other(2_023))
    expect(demultiplexer.wasAnothers(first, from, b.owner)).toBe(false)
  })
})

describe('a refusal of the system to send', () => {
  const elsewhere = Address.of('192.0.2.2', 4000)

  it('is for everybody who waits for an answer from that address on that base, and for nobody else', () => {
    const askers = [new Asker(), new Asker(), new Asker(), new Asker()] as const
    demultiplexer.expect('1', askers[0], first, from)
    demultiplexer.expect('2', askers[0], first, from)
    demultiplexer.expect('3', askers[1], first, from)
    demultiplexer.expect('4', askers[2], second, from)
    demultiplexer.expect('5', askers[3], first, elsewhere)
    demultiplexer.sendFailed(first, from, 'EHOSTUNREACH')
    expect(askers.map(({ refused }) => refused)).toEqual([[`1 ${from} EHOSTUNREACH`], [`1 ${from} EHOSTUNREACH`], [], []])
  })

  it('is for who waits until the last of its transactions is over', () => {
    const asker = new Asker()
    demultiplexer.expect('1', asker, first, from)
    demultiplexer.expect('2', asker, first, from)
    demultiplexer.forget('1')
    demultiplexer.forget('1')
    demultiplexer.sendFailed(first, from, 'EPERM')
    expect(asker.refused).toHaveLength(1)
    demultiplexer.forget('2')
    demultiplexer.sendFailed(first, from, 'EPERM')
    expect(asker.refused).toHaveLength(1)
    expect(demultiplexer.size).toBe(0)
  })
})
