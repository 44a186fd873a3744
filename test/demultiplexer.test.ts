import { beforeEach, describe, expect, it } from 'vitest'
import type { Base } from '../src/candidates/index.ts'
import { type DataReceiver, Demultiplexer } from '../src/demultiplexer.ts'
import { Address, Timers } from '../src/net/index.ts'
import { Transactions } from '../src/stun/index.ts'
import { ManualClock, SeededRandom } from './stun/manual-clock.ts'

const data = Uint8Array.of(0x80, 1, 2, 3)
const from = Address.of('192.0.2.1', 4000)

function base(id: number): Base {
  return { kind: 'host', id, address: Address.of('192.0.2.9', 5000 + id), links: [], rank: 0, hidden: false, send: () => true }
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
