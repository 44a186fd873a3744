import { describe, expect, it } from 'vitest'
import { type Base, type ReflexiveBinding, ReflexiveGatherer, type ReflexiveServer } from '../../src/candidates/index.ts'
import { Address, Pacer, Timers } from '../../src/net/index.ts'
import { Attribute, Message, MessageWriter, Method, Transactions } from '../../src/stun/index.ts'
import { makeBase } from '../ice/solo.ts'
import { ManualClock, SeededRandom } from '../stun/manual-clock.ts'

interface Asked {
  readonly at: number
  readonly base: Base
  readonly to: Address
  readonly message: Message
}

/** A gatherer whose servers are played by the test. */
class Scene {
  readonly clock: ManualClock = new ManualClock()
  readonly timers: Timers = new Timers(this.clock)
  readonly random: SeededRandom = new SeededRandom(1)
  readonly transactions: Transactions = new Transactions(this.timers, this.random)
  readonly pacer: Pacer = new Pacer(this.clock)
  readonly asked: Asked[] = []
  readonly changes: {
    readonly at: number
    readonly mapped: string | undefined
    readonly failure: string | undefined
    readonly binding: ReflexiveBinding
  }[] = []
  /** What each server does when asked; silence by default. */
  onAsk: (asked: Asked) => void = () => {}
  readonly gatherer: ReflexiveGatherer

  constructor() {
    this.gatherer = new ReflexiveGatherer({
      timers: this.timers,
      random: this.random,
      transactions: this.transactions,
      pacer: this.pacer,
      outlet: {
        send: (base, to, data) => {
          const asked = { at: this.clock.now(), base, to, message: Message.read(data.slice()) as Message }
          this.asked.push(asked)
          this.onAsk(asked)
        },
        changed: (binding) => {
          this.changes.push({ at: this.clock.now(), mapped: binding.mapped?.key, failure: binding.failure, binding })
        },
      },
    })
  }

  to(server: ReflexiveServer): Asked[] {
    return this.asked.filter(({ to }) => to.key === server.address.key)
  }

  answer({ to, message }: Asked, mapped: string | undefined, from: Address = to, port = 40_000): void {
    const writer = new MessageWriter().start('success', Method.Binding, message.transactionId)
    if (mapped !== undefined) writer.address(Attribute.XorMappedAddress, Address.of(mapped, port))
    this.transactions.receive(Message.read(writer.fingerprint().finish().slice()) as Message, from)
  }

  /** Servers answer after so many milliseconds with what `mapped` says; undefined is silence. */
  answerAll(rtt: number, mapped: (asked: Asked) => string | undefined): this {
    this.onAsk = (asked) => {
      const ip = mapped(asked)
      if (ip !== undefined) this.clock.wake(this.clock.now() + rtt, () => this.answer(asked, ip))
    }
    return this
  }
}

const server = (ip: string, port = 3_478): ReflexiveServer => ({ uri: `stun:${ip}`, address: Address.of(ip, port) })
const [alive, dead, other] = [server('192.0.2.1'), server('192.0.2.2'), server('192.0.2.3')]

describe('asking STUN servers', () => {
  it('every base asks every server of its family at once, within the pace', () => {
    const scene = new Scene()
    for (const base of [makeBase('10.0.0.1'), makeBase('10.0.0.2'), makeBase('2001:db8::1', 0, 64)]) scene.gatherer.addBase(base)
    for (const one of [alive, other, server('2001:db8::53')]) scene.gatherer.addServer(one)
    scene.clock.advance(40)
    expect(scene.asked.map(({ base, to }) => `${base.address.ip} ${to.ip}`).sort()).toEqual([
      '10.0.0.1 192.0.2.1',
      '10.0.0.1 192.0.2.3',
      '10.0.0.2 192.0.2.1',
      '10.0.0.2 192.0.2.3',
      '2001:db8::1 2001:db8::53',
    ])
    expect(scene.asked.map(({ at }) => at)).toEqual([0, 5, 10, 15, 20])
  })

  it('a request is a Binding request with FINGERPRINT and nothing that tells who we are', () => {
    const scene = new Scene()
    scene.gatherer.addBase(makeBase('10.0.0.1'))
    scene.gatherer.addServer(alive)
    const { message } = scene.asked[0] as Asked
    expect(message).toMatchObject({ class: 'request', method: Method.Binding })
    expect(message.fingerprint()).toBe('valid')
    expect(message.data).toHaveLength(28)
  })

  it('says what it learnt at once, with the round trip', () => {
    const scene = new Scene().answerAll(30, () => '203.0.113.5')
    scene.gatherer.addBase(makeBase('10.0.0.1'))
    scene.gatherer.addServer(alive)
    scene.clock.advance(100)
    expect(scene.changes).toHaveLength(1)
    expect(scene.changes[0]).toMatchObject({ at: 30, mapped: '203.0.113.5:40000', binding: { rtt: 30, pending: false } })
  })

  it('C07 two servers behind a hard NAT give two addresses, and both are told', () => {
    const scene = new Scene().answerAll(30, ({ to }) => (to.ip === alive.address.ip ? '203.0.113.5' : '203.0.113.6'))
    scene.gatherer.addBase(makeBase('10.0.0.1'))
    scene.gatherer.addServer(alive)
    scene.gatherer.addServer(other)
    scene.clock.advance(100)
    expect(scene.gatherer.bindings.map(({ mapped }) => mapped?.ip)).toEqual(['203.0.113.5', '203.0.113.6'])
  })

  it('C08 a request is sent again, each time as a transaction of its own, until there is an answer', () => {
    const scene = new Scene()
    scene.gatherer.addBase(makeBase('10.0.0.1'))
    scene.gatherer.addServer(alive)
    scene.clock.advance(1_000)
    const times = scene.asked.map(({ at }) => at)
    expect(times.slice(0, 5)).toEqual([0, 50, 100, 175, 275])
    expect(new Set(scene.asked.map(({ message }) => message.transactionKey)).size).toBe(times.length)
    // An answer to any of them counts.
    scene.answer(scene.asked[0] as Asked, '203.0.113.5')
    expect(scene.changes[0]?.mapped).toBe('203.0.113.5:40000')
    scene.clock.advance(5_000)
    expect(scene.asked).toHaveLength(times.length)
  })

  it('C08 twelve requests in all, most of them in the first second', () => {
    const scene = new Scene()
    scene.gatherer.addBase(makeBase('10.0.0.1'))
    scene.gatherer.addServer(dead)
    scene.clock.advance(9_000)
    expect(scene.asked).toHaveLength(12)
    expect(scene.asked.filter(({ at }) => at <= 1_000)).toHaveLength(8)
    expect(scene.changes.map(({ failure }) => failure)).toEqual(['no answer'])
    expect(scene.transactions.size).toBe(0)
  })

  it('C25 every request waits for its slot of the pace, also those that ask anew', () => {
    const scene = new Scene()
    for (let i = 0; i < 6; i++) scene.gatherer.addBase(makeBase(`10.0.0.${i + 1}`))
    for (const one of [alive, dead, other]) scene.gatherer.addServer(one)
    scene.clock.advance(5_000)
    const times = scene.asked.map(({ at }) => at)
    expect(times.length).toBeGreaterThan(150)
    expect(Math.min(...times.slice(1).map((time, i) => time - (times[i] as number)))).toBeGreaterThanOrEqual(5)
  })

  it('an answer takes back the request that waits for its slot', () => {
    const scene = new Scene()
    scene.gatherer.addBase(makeBase('10.0.0.1'))
    scene.gatherer.addServer(alive)
    scene.clock.advance(48)
    // Someone else has the slot at 50 ms.
    scene.pacer.request({ paced: () => true })
    scene.clock.advance(3)
    expect(scene.asked).toHaveLength(1)
    scene.answer(scene.asked[0] as Asked, '203.0.113.5')
    scene.clock.advance(5_000)
    expect(scene.asked).toHaveLength(1)
  })

  it('C08 a dead server delays neither the others nor the end by more than its own nine seconds', () => {
    const scene = new Scene().answerAll(30, ({ to }) => (to.ip === dead.address.ip ? undefined : '203.0.113.5'))
    scene.gatherer.addBase(makeBase('10.0.0.1'))
    scene.gatherer.addServer(dead)
    scene.gatherer.addServer(alive)
    scene.clock.advance(40)
    expect(scene.changes.map(({ mapped }) => mapped)).toEqual(['203.0.113.5:40000'])
    expect(scene.gatherer.pending).toBe(true)
    scene.clock.advance(10_000)
    expect(scene.gatherer.pending).toBe(false)
    expect(scene.gatherer.bindings.find((b) => b.server === dead)?.failure).toBe('no answer')
  })

  it('C08 a dead server is asked again later, more and more rarely, and may come to life', () => {
    const scene = new Scene()
    scene.gatherer.addBase(makeBase('10.0.0.1'))
    scene.gatherer.addServer(alive)
    scene.clock.advance(3_600_000)
    const inTheLastHalfHour = scene.asked.filter(({ at }) => at > 1_800_000).length
    expect(inTheLastHalfHour).toBeGreaterThan(5)
    expect(inTheLastHalfHour).toBeLessThan(100)
    scene.answerAll(30, () => '203.0.113.5')
    scene.clock.advance(400_000)
    expect(scene.gatherer.bindings[0]).toMatchObject({ failure: undefined, mapped: { ip: '203.0.113.5' } })
  })

  it('a doubt about a base has its servers asked at once, and an address that changed is told', () => {
    const scene = new Scene().answerAll(30, () => '203.0.113.5')
    const [doubted, sure] = [makeBase('10.0.0.1'), makeBase('10.0.0.2')]
    for (const base of [doubted, sure]) scene.gatherer.addBase(base)
    for (const one of [alive, other]) scene.gatherer.addServer(one)
    scene.clock.advance(10_000)
    const before = scene.asked.length
    scene.answerAll(30, () => '203.0.113.9')
    scene.gatherer.verify(doubted)
    scene.clock.advance(40)
    expect(scene.asked.slice(before).map(({ base, to }) => [base, to])).toEqual([
      [doubted, alive.address],
      [doubted, other.address],
    ])
    expect(scene.changes.slice(-2).map(({ mapped }) => mapped)).toEqual(['203.0.113.9:40000', '203.0.113.9:40000'])
  })

  it('any number of doubts has them asked every five seconds, and no keep-alive in between', () => {
    const scene = new Scene().answerAll(30, () => '203.0.113.5')
    const base = makeBase('10.0.0.1')
    scene.gatherer.addBase(base)
    scene.gatherer.addServer(alive)
    scene.clock.advance(10_000)
    const before = scene.asked.length
    for (let i = 0; i < 450; i++) {
      scene.gatherer.verify(base)
      scene.clock.advance(100)
    }
    const times = scene.asked.slice(before).map(({ at }) => at - 10_000)
    expect(times).toEqual([0, 5_000, 10_000, 15_000, 20_000, 25_000, 30_000, 35_000, 40_000, 45_000])
    scene.clock.advance(60_000)
    expect(scene.asked.length - before - times.length).toBeLessThanOrEqual(4)
  })

  it.each(['ENETUNREACH', 'EHOSTUNREACH', 'EPERM'])('C09 %s is the end of it at once', (failure) => {
    const scene = new Scene()
    const base = makeBase('10.0.0.1')
    scene.gatherer.addBase(base)
    scene.gatherer.addServer(alive)
    scene.gatherer.sendFailed(base, alive.address, failure)
    expect(scene.gatherer.pending).toBe(false)
    expect(scene.changes).toMatchObject([{ at: 0, failure }])
    scene.clock.advance(2_000)
    expect(scene.asked).toHaveLength(1)
  })

  it('C10 the mapping is kept by a question within every 22 s, and one that stays the same is no news', () => {
    const scene = new Scene().answerAll(30, () => '203.0.113.5')
    scene.gatherer.addBase(makeBase('10.0.0.1'))
    scene.gatherer.addServer(alive)
    scene.clock.advance(600_000)
    const gaps = scene.asked.slice(1).map(({ at }, i) => at - (scene.asked[i] as Asked).at)
    expect(Math.max(...gaps)).toBeLessThanOrEqual(22_100)
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(15_000)
    expect(scene.changes).toHaveLength(1)
  })

  it('C10 a mapping that changed is told', () => {
    let ip = '203.0.113.5'
    const scene = new Scene().answerAll(30, () => ip)
    scene.gatherer.addBase(makeBase('10.0.0.1'))
    scene.gatherer.addServer(alive)
    scene.clock.advance(1_000)
    ip = '203.0.113.99'
    scene.clock.advance(25_000)
    expect(scene.changes.map(({ mapped }) => mapped)).toEqual(['203.0.113.5:40000', '203.0.113.99:40000'])
  })

  it('asks again at once when told that the network changed', () => {
    const scene = new Scene().answerAll(30, () => '203.0.113.5')
    scene.gatherer.addBase(makeBase('10.0.0.1'))
    scene.gatherer.addServer(alive)
    scene.clock.advance(1_000)
    scene.gatherer.refresh()
    expect(scene.asked.at(-1)?.at).toBe(1_000)
    scene.clock.advance(600_000)
    // And did not start a second round of questions beside the first.
    expect(scene.asked.length).toBeLessThan(42)
  })
})

describe('an answer that is none', () => {
  function asked(): Scene {
    const scene = new Scene()
    scene.gatherer.addBase(makeBase('10.0.0.1'))
    scene.gatherer.addServer(alive)
    return scene
  }

  it('from another address is not heard', () => {
    const scene = asked()
    scene.answer(scene.asked[0] as Asked, '203.0.113.66', other.address)
    scene.answer(scene.asked[0] as Asked, '203.0.113.66', alive.address.withPort(1))
    expect(scene.changes).toEqual([])
    scene.answer(scene.asked[0] as Asked, '203.0.113.5')
    expect(scene.changes).toMatchObject([{ mapped: '203.0.113.5:40000' }])
  })

  it.each<[string, string | undefined, number]>([
    ['without an address', undefined, 1],
    ['with port 0', '203.0.113.5', 0],
    ['of the other family', '2001:db8::9', 1],
  ])('%s is a failure', (_what, ip, port) => {
    const scene = asked()
    scene.answer(scene.asked[0] as Asked, ip, alive.address, port)
    expect(scene.changes).toMatchObject([{ mapped: undefined, failure: 'answer without an address' }])
  })

  it('that is an error is a failure with its code', () => {
    const scene = asked()
    const { message } = scene.asked[0] as Asked
    const error = new MessageWriter().start('error', Method.Binding, message.transactionId).errorCode(500, 'Server Error')
    scene.transactions.receive(Message.read(error.fingerprint().finish().slice()) as Message, alive.address)
    expect(scene.changes).toMatchObject([{ failure: 'error 500 Server Error' }])
  })
})

describe('which base asks whom', () => {
  it.each([
    ['127.0.0.1', '192.0.2.1', false],
    ['10.0.0.1', '127.0.0.1', false],
    ['127.0.0.1', '127.0.0.1', true],
    ['fe80::1%eth0', '2001:db8::53', false],
    ['0.0.0.0', '192.0.2.1', true],
    ['10.0.0.1', '2001:db8::53', false],
  ])('%s asks %s: %s', (ip, to, asks) => {
    const scene = new Scene()
    scene.gatherer.addBase(makeBase(ip, 0, 64 > 32 && ip.includes(':') ? 64 : 8))
    scene.gatherer.addServer(server(to))
    scene.clock.advance(20)
    expect(scene.asked.length > 0).toBe(asks)
    expect(scene.gatherer.pending).toBe(asks)
  })

  it('a server that is configured twice is asked once', () => {
    const scene = new Scene().answerAll(1, () => '203.0.113.5')
    scene.gatherer.addBase(makeBase('10.0.0.1'))
    scene.gatherer.addServer(alive)
    scene.gatherer.addServer({ ...alive, uri: 'stun:another.name' })
    scene.clock.advance(50)
    expect(scene.asked).toHaveLength(1)
  })
})

describe('C69 the end', () => {
  it('of a base takes its questions along and leaves the others', () => {
    const scene = new Scene()
    const [one, two] = [makeBase('10.0.0.1'), makeBase('10.0.0.2')]
    for (const base of [one, two]) scene.gatherer.addBase(base)
    scene.gatherer.addServer(alive)
    scene.clock.advance(20)
    scene.gatherer.removeBase(one)
    const before = scene.asked.length
    scene.clock.advance(60_000)
    expect(scene.asked.slice(before).every(({ base }) => base === two)).toBe(true)
    expect(scene.asked.length).toBeGreaterThan(before)
    expect(scene.gatherer.bindings.map(({ base }) => base)).toEqual([two])
  })

  it.each([0, 3, 50, 500, 20_000])('of it all leaves neither timer nor transaction, after %i ms', (milliseconds) => {
    const scene = new Scene()
    for (let i = 1; i < 5; i++) scene.gatherer.addBase(makeBase(`10.0.0.${i}`))
    for (const one of [alive, dead, other]) scene.gatherer.addServer(one)
    scene.clock.advance(milliseconds)
    scene.gatherer.close()
    expect(scene.transactions.size).toBe(0)
    expect(scene.timers.size).toBe(0)
    const { length } = scene.asked
    scene.clock.advance(600_000)
    expect(scene.asked).toHaveLength(length)
    expect(scene.clock.pending).toBe(0)
  })
})
