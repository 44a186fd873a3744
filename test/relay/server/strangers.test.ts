import { describe, expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import { Strangers } from '../../../src/relay/server/strangers.ts'
import { Attribute, Message, MessageWriter, Method } from '../../../src/stun/index.ts'
import { SeededRandom } from '../../stun/manual-clock.ts'
import { setStage } from './stage.ts'
import { codeOf, UDP } from './turn-client.ts'

const ip = (text: string): Address => Address.of(text, 1)

describe('answers to strangers', () => {
  const strangers = (): Strangers => new Strangers({ perSecond: 20, burst: 50 }, new SeededRandom(1))

  function admitted(some: Strangers, source: string, times: number, now: number): number {
    let count = 0
    for (let i = 0; i < times; i++) if (some.admit(ip(source), now)) count++
    return count
  }

  it('are fifty at once for one source, then twenty a second', () => {
    const some = strangers()
    expect(admitted(some, '1.2.3.4', 1000, 5000)).toBe(50)
    expect(admitted(some, '1.2.3.4', 1000, 6000)).toBe(20)
    expect(admitted(some, '1.2.3.4', 1000, 6050)).toBe(1)
    expect(admitted(some, '1.2.3.4', 1000, 600_000)).toBe(50)
  })

  it('are counted for an IPv6 /64 together, and for no other', () => {
    const some = strangers()
    expect(admitted(some, '2600:1:2:3::1', 40, 0)).toBe(40)
    expect(admitted(some, '2600:1:2:3:ffff::2', 40, 0)).toBe(10)
    expect(admitted(some, '2600:1:2:4::1', 40, 0)).toBe(40)
  })

  it('to others go on while one source floods', () => {
    const some = strangers()
    admitted(some, '1.2.3.4', 100_000, 0)
    for (let i = 0; i < 100; i++) expect(admitted(some, `5.6.7.${i}`, 1, 0)).toBe(1)
  })

  it('of all sources together are never more than came in, but for a little', () => {
    const some = strangers()
    let [heard, answered] = [0, 0]
    for (let i = 0; i < 100_000; i++) {
      some.heard(28)
      heard += 28
      if (!some.admit(ip(`${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.9`), 0)) continue
      some.answered(100)
      answered += 100
    }
    expect(answered).toBeGreaterThan(heard / 2)
    expect(answered).toBeLessThanOrEqual(heard + 32_768 + 100)
  })

  it('without a bound are without any', () => {
    const some = new Strangers({ perSecond: Number.POSITIVE_INFINITY, burst: 1 }, new SeededRandom(1))
    for (let i = 0; i < 1000; i++) some.answered(1000)
    expect(admitted(some, '1.2.3.4', 1000, 0)).toBe(1000)
  })
})

function allocate(id: number, ...more: ((writer: MessageWriter) => unknown)[]): Uint8Array {
  const writer = new MessageWriter().start('request', Method.Allocate, new Uint8Array(12).fill(id))
  writer.uint32(Attribute.RequestedTransport, UDP)
  for (const one of more) one(writer)
  return writer.finish().slice()
}

describe('a relay', () => {
  it('answers the first Allocate as shortly as it can: no SOFTWARE, no reason, no FINGERPRINT', async () => {
    const { client } = await setStage()
    const alice = await client()
    const response = (await alice.exchange(allocate(1)))!
    expect(response.errorCode()).toEqual({ code: 401, reason: '' })
    expect([response.has(Attribute.Software), response.has(Attribute.Fingerprint)]).toEqual([false, false])
    expect(response.text(Attribute.Nonce)).toHaveLength(30)
    expect(response.data.length).toBe(92)
  })

  it('RFC 8489 7: adds FINGERPRINT for who sent one', async () => {
    const { client } = await setStage()
    const alice = await client()
    const response = await alice.exchange(allocate(1, (writer) => writer.fingerprint()))
    expect(response?.fingerprint()).toBe('valid')
  })

  it('says more bytes than it hears to no flood', async () => {
    const { client, lab, relay } = await setStage()
    const flooder = await client()
    for (let i = 0; i < 10_000; i++) {
      flooder.send(allocate(i & 255))
      if (i % 10 === 0) await lab.run(1)
    }
    await lab.run(1000)
    const out = flooder.heard.reduce((sum, data) => sum + data.length, 0)
    expect(out).toBeLessThan(10_000 * 28)
    expect(flooder.heard.length).toBeGreaterThanOrEqual(50)
    expect(flooder.heard.length).toBeLessThanOrEqual(50 + 20 * 3)
    expect(relay.status().counters.ignored.limited).toBe(10_000 - flooder.heard.length)
  })

  it('serves another client while one floods', async () => {
    const { client, relay } = await setStage()
    const [flooder, alice] = [await client(), await client()]
    for (let i = 0; i < 5000; i++) flooder.send(allocate(i & 255))
    expect((await alice.allocate()).class).toBe('success')
    expect(relay.status().allocations).toBe(1)
  })

  it('bounds what it says of stale nonces, bad requests and Binding by the same measure', async () => {
    const { client, lab } = await setStage()
    const alice = await client()
    const stale = allocate(1, (writer) => {
      writer.text(Attribute.Username, 'alice').text(Attribute.Realm, 'sallyport').text(Attribute.Nonce, 'x')
      writer.bytes(Attribute.MessageIntegrity, new Uint8Array(20))
    })
    const bad = allocate(1, (writer) => writer.bytes(Attribute.MessageIntegrity, new Uint8Array(20)))
    const binding = new MessageWriter().start('request', Method.Binding, new Uint8Array(12)).finish().slice()
    const codes = new Map<unknown, number>()
    for (const data of [stale, bad, binding]) for (let i = 0; i < 20; i++) alice.send(data)
    await lab.run(100)
    for (const data of alice.heard) {
      const code = codeOf(Message.read(data)!)
      codes.set(code, (codes.get(code) ?? 0) + 1)
    }
    expect([...codes]).toEqual([
      [438, 20],
      [400, 20],
      ['success', 10],
    ])
  })

  it('answers nothing to a request that is shorter than any Allocate', async () => {
    const { client, relay } = await setStage()
    const alice = await client()
    const bare = new MessageWriter().start('request', Method.Allocate, new Uint8Array(12)).finish()
    expect(await alice.exchange(bare)).toBeUndefined()
    expect(relay.status().counters.ignored.unexpected).toBe(1)
  })

  it('answers no response, no indication, no ChannelData, no method it does not know, and nothing damaged', async () => {
    const { client, lab, relay } = await setStage()
    const alice = await client()
    const id = new Uint8Array(12)
    for (const kind of ['success', 'error', 'indication'] as const) {
      for (const method of [Method.Binding, Method.Allocate, Method.Refresh, Method.Send, Method.Data]) {
        alice.send(new MessageWriter().start(kind, method, id).uint32(Attribute.Lifetime, 1).finish())
      }
    }
    for (const method of [Method.Connect, Method.ConnectionBind, 0x0ff]) {
      alice.send(new MessageWriter().start('request', method, id).uint32(Attribute.Lifetime, 1).finish())
    }
    alice.send(Uint8Array.of(0x40, 0, 0, 4, 1, 2, 3, 4))
    alice.send(Uint8Array.of(0x40))
    alice.send(Uint8Array.of(0xff, 1, 2))
    alice.send(new Uint8Array(0))
    alice.send(allocate(1).subarray(0, 24))
    const wrong = allocate(1, (writer) => writer.fingerprint())
    wrong[wrong.length - 1]! ^= 1
    alice.send(wrong)
    await lab.run(1000)
    expect(alice.heard).toEqual([])
    const { ignored } = relay.status().counters
    expect(ignored.unexpected + ignored.malformed).toBe(15 + 3 + 6)
  })
})
