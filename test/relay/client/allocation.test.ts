import { describe, expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import { encodeChannelData } from '../../../src/relay/channel-data.ts'
import { Attribute, MessageWriter, Method } from '../../../src/stun/index.ts'
import { open, texts } from '../../lab/talk.ts'
import { Scene } from './scene.ts'

const MINUTE = 60_000
const peerIp = (n: number): string => `198.18.7.${n}`

/** A Data indication, as a server sends it. */
function dataIndication(from: Address, data: Uint8Array): Uint8Array {
  const writer = new MessageWriter().start('indication', Method.Data, new Uint8Array(12))
  return writer.address(Attribute.XorPeerAddress, from).bytes(Attribute.Data, data).finish().slice()
}

describe('an allocation', () => {
  it('stands after two round trips, with the relayed address and our own as the server sees it', async () => {
    const scene = await Scene.open()
    scene.client.start()
    scene.client.allocate()
    await scene.run(500)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
    expect(scene.told.map(({ at }) => at)).toEqual([40, 80])
    const { allocation } = scene
    expect(allocation.relayed.map(({ ip }) => ip)).toEqual([scene.server.address.ip])
    expect(allocation.mapped.ip).toBe(scene.host.addresses[0]!.ip)
    expect(allocation.server.key).toBe(scene.server.address.key)
    expect([scene.client.rtt, scene.client.transport]).toEqual([40, 'udp'])
    expect(allocation.status()).toMatchObject({ transport: 'udp', permissions: 0, channels: 0, rtt: 40 })
  })

  it('carries data both ways: Send indications first, ChannelData once the channel stands', async () => {
    const scene = await Scene.allocated()
    for (const text of ['one', 'two', 'three']) {
      scene.send(text)
      await scene.run(200)
    }
    expect(texts(scene.peer)).toEqual(['one', 'two', 'three'])
    expect(scene.server.relayedOut).toEqual(['indication', 'channel', 'channel'])
    expect(scene.peer.heard[0]!.from.key).toBe(scene.allocation.relayed[0]!.key)
    scene.answer('back')
    await scene.run(100)
    expect(scene.heard).toMatchObject([{ text: 'back', from: { key: scene.peer.address.key } }])
    expect(scene.allocation.counters).toMatchObject({ sent: 3, sentBytes: 11, received: 1, receivedBytes: 4, indications: 1, dropped: 0 })
  })

  it('asks for an IPv6 relayed address, or for one of each family, where that is wanted', async () => {
    for (const families of [[6], [4, 6]] as const) {
      const scene = await Scene.allocated({ lab: { families: [4, 6] }, client: { families } })
      expect(scene.allocation.relayed.map(({ family }) => family)).toEqual(families)
    }
  })

  it('of one family cannot reach the other, and says so without asking the server', async () => {
    const scene = await Scene.allocated()
    expect(scene.send('x', true, Address.of('2001:db8::9', 9))).toBe(true)
    scene.allocation.expect(Address.of('2001:db8::9', 9))
    await scene.run(500)
    expect(scene.failures).toMatchObject([{ to: { ip: '2001:db8::9' }, failure: 'ENETUNREACH' }])
    expect(scene.server.asks(Method.CreatePermission)).toEqual([])
  })

  it('of a family that was not wanted is refused, and given back', async () => {
    const scene = await Scene.open({ client: { families: [6] } })
    // As a server does that does not know REQUESTED-ADDRESS-FAMILY.
    scene.server.script = ({ method, authenticated, client }) => {
      if (method !== Method.Allocate || !authenticated) return 'honest'
      const relayed = scene.server.address.withPort(50_000)
      return { success: (w) => void w.address(Attribute.XorRelayedAddress, relayed).address(Attribute.XorMappedAddress, client) }
    }
    scene.client.start()
    scene.client.allocate()
    await scene.run(200)
    expect(scene.last('failed').error.code).toBe('ERR_RELAY_FAMILY')
    expect(scene.server.asks(Method.Refresh).map(({ message }) => message.uint32(Attribute.Lifetime))).toEqual([0])
  })

  it('cannot send more than a datagram holds, before a channel and after, and never throws', async () => {
    const scene = await Scene.allocated()
    for (const length of [65_456, 65_457, 70_000]) scene.allocation.send(new Uint8Array(length), scene.peer.address, true)
    await scene.run(500)
    scene.allocation.send(new Uint8Array(70_000), scene.peer.address, true)
    await scene.run(500)
    expect(scene.failures.map(({ failure }) => failure)).toEqual(['EMSGSIZE', 'EMSGSIZE', 'EMSGSIZE'])
    expect(scene.peer.heard.map(({ text }) => text.length)).toEqual([65_456])
  })

  it('without its addresses is refused', async () => {
    const scene = await Scene.open()
    scene.server.script = ({ method, authenticated, client }) =>
      method === Method.Allocate && authenticated ? { success: (w) => void w.address(Attribute.XorMappedAddress, client) } : 'honest'
    scene.client.start()
    scene.client.allocate()
    await scene.run(200)
    expect(scene.last('failed').error.code).toBe('ERR_RELAY_REFUSED')
  })

  it('passes on what comes over channels and in Data indications, as it is and without a copy', async () => {
    const scene = await Scene.allocated()
    scene.send('x')
    await scene.run(300)
    scene.server.inject(encodeChannelData(0x4000, Uint8Array.of(), false))
    scene.server.inject(dataIndication(scene.peer.address, new TextEncoder().encode('odd')))
    await scene.run(100)
    expect(scene.heard.map(({ text }) => text)).toEqual(['', 'odd'])
  })

  it('drops, and counts, what no permission was given for, channels that nobody bound, and what is malformed', async () => {
    const scene = await Scene.allocated()
    scene.send('x')
    await scene.run(300)
    const stranger = Address.of('192.0.2.1', 9)
    scene.server.inject(dataIndication(stranger, Uint8Array.of(1)))
    scene.server.inject(encodeChannelData(0x4777, Uint8Array.of(1), false))
    scene.server.inject(Uint8Array.of(0x40, 0, 0, 9, 1))
    scene.server.inject(Uint8Array.of(1, 2, 3))
    scene.server.inject(new MessageWriter().start('indication', Method.Data, new Uint8Array(12)).finish().slice())
    scene.server.inject(new MessageWriter().start('success', Method.Refresh, new Uint8Array(12)).finish().slice())
    await scene.run(100)
    expect(scene.heard).toEqual([])
    expect(scene.allocation.counters.dropped).toBe(6)
  })

  it('tells when the queue is full, and when it has room again', async () => {
    const scene = await Scene.allocated({ server: { transports: ['tcp'] }, uri: 'turn:relay.test?transport=tcp' })
    scene.send('x')
    await scene.run(500)
    const large = new Uint8Array(1_200)
    let taken = 0
    while (scene.allocation.send(large, scene.peer.address, true)) taken++
    expect(taken).toBeGreaterThan(10)
    // Late data is worth nothing: while the stream is full it is dropped, not queued without end.
    for (let i = 0; i < 1_000; i++) expect(scene.allocation.send(large, scene.peer.address, true)).toBe(false)
    expect(scene.drained).toBe(0)
    await scene.run(5_000)
    expect(scene.drained).toBe(1)
    expect(scene.peer.heard.length).toBe(taken + 2)
    expect(scene.allocation.send(large, scene.peer.address, true)).toBe(true)
  })
})

describe('C67 permissions', () => {
  it('that are expected in one turn are asked for in one request', async () => {
    const scene = await Scene.allocated()
    for (let i = 1; i <= 10; i++) scene.allocation.expect(Address.of(peerIp(i), 1_000 + i))
    scene.allocation.expect(Address.of(peerIp(1), 5))
    await scene.run(200)
    const [asked, ...more] = scene.server.asks(Method.CreatePermission)
    expect(more).toEqual([])
    expect(asked!.message.addresses(Attribute.XorPeerAddress).map(({ ip }) => ip)).toEqual(
      Array.from({ length: 10 }, (_, i) => peerIp(i + 1)),
    )
    expect(scene.allocation.status().permissions).toBe(10)
  })

  it('more of them than fit one request go in several, one after the other', async () => {
    const scene = await Scene.allocated()
    for (let i = 1; i <= 60; i++) scene.allocation.expect(Address.of(peerIp(i), 1))
    await scene.run(200)
    expect(scene.server.asks(Method.CreatePermission).map(({ message }) => message.addresses(Attribute.XorPeerAddress).length)).toEqual([
      25, 25, 10,
    ])
    expect(scene.allocation.status().permissions).toBe(60)
  })

  it('let a few datagrams wait for them, which then go in order, copied', async () => {
    const scene = await Scene.allocated()
    const data = new TextEncoder().encode('a')
    for (let i = 0; i < 10; i++) {
      data[0] = 97 + i
      scene.allocation.send(data, scene.peer.address, false)
    }
    await scene.run(200)
    expect(texts(scene.peer)).toEqual([...'abcdefgh'])
    expect(scene.allocation.counters.dropped).toBe(2)
    // Checks alone are not worth a channel.
    expect(scene.server.asks(Method.ChannelBind)).toEqual([])
  })

  it('that the server forbids are told as EACCES, and spoil nothing for the others of their request', async () => {
    const scene = await Scene.allocated()
    const bad = Address.of(peerIp(2), 9)
    scene.server.script = ({ method, message }) => {
      const hit = message.addresses(Attribute.XorPeerAddress).some(({ ip }) => ip === bad.ip)
      return method === Method.CreatePermission && hit ? { code: 403 } : 'honest'
    }
    for (let i = 1; i <= 3; i++) scene.allocation.expect(Address.of(peerIp(i), 9))
    scene.send('to nobody', false, bad)
    scene.send('to nobody', false, bad)
    scene.send('hello', false)
    await scene.run(1_000)
    expect(texts(scene.peer)).toEqual(['hello'])
    expect(scene.failures).toMatchObject([{ to: { key: bad.key }, failure: 'EACCES' }])
    expect(scene.allocation.status().permissions).toBe(3)
    // It is not asked for again at once.
    const before = scene.server.asks(Method.CreatePermission).length
    scene.send('again', false, bad)
    await scene.run(1_000)
    expect(scene.failures).toHaveLength(2)
    expect(scene.server.asks(Method.CreatePermission)).toHaveLength(before)
    await scene.run(MINUTE)
    scene.send('later', false, bad)
    await scene.run(1_000)
    expect(scene.server.asks(Method.CreatePermission)).toHaveLength(before + 1)
  })

  it('of a server that refuses batches are asked for one by one from then on', async () => {
    const scene = await Scene.allocated()
    scene.server.script = ({ method, message }) =>
      method === Method.CreatePermission && message.addresses(Attribute.XorPeerAddress).length > 1 ? { code: 508 } : 'honest'
    for (let i = 1; i <= 3; i++) scene.allocation.expect(Address.of(peerIp(i), 9))
    await scene.run(1_000)
    for (let i = 4; i <= 5; i++) scene.allocation.expect(Address.of(peerIp(i), 9))
    await scene.run(1_000)
    expect(scene.server.asks(Method.CreatePermission).map(({ message }) => message.addresses(Attribute.XorPeerAddress).length)).toEqual([
      3, 1, 1, 1, 1, 1,
    ])
    expect(scene.allocation.status().permissions).toBe(5)
  })

  it('where the server has no room are told as a shortage, which passes', async () => {
    const scene = await Scene.allocated()
    scene.server.script = ({ method }) => (method === Method.CreatePermission ? { code: 508 } : 'honest')
    scene.send('x', false)
    await scene.run(500)
    expect(scene.failures).toMatchObject([{ failure: 'ENOBUFS' }])
  })

  it('are refreshed before their five minutes are over, all that are used in one request', async () => {
    const scene = await Scene.allocated()
    const peers = [1, 2, 3].map((n) => Address.of(peerIp(n), 9))
    for (let i = 0; i < 60; i++) {
      for (const peer of peers) scene.send('x', false, peer)
      await scene.run(15_000)
    }
    const asked = scene.server.authentic(Method.CreatePermission)
    expect(asked.map(({ message }) => message.addresses(Attribute.XorPeerAddress).length)).toEqual([3, 3, 3, 3])
    for (const [i, { at }] of asked.slice(1).entries()) {
      expect(at - asked[i]!.at).toBeGreaterThanOrEqual(225_000)
      expect(at - asked[i]!.at).toBeLessThanOrEqual(241_000)
    }
  })

  it('of peers that are not used any more are left to expire, and asked for again when they are', async () => {
    const scene = await Scene.allocated()
    const granted = (): number => scene.server.authentic(Method.CreatePermission).length
    scene.send('x', false)
    await scene.run(20 * MINUTE)
    expect(granted()).toBe(1)
    expect(scene.allocation.status().permissions).toBe(0)
    scene.send('y', false)
    await scene.run(500)
    expect(granted()).toBe(2)
    expect(texts(scene.peer)).toEqual(['x', 'y'])
  })

  it('of peers that only send to us are kept, too', async () => {
    const scene = await Scene.allocated()
    scene.send('x', false)
    for (let i = 0; i < 40; i++) {
      await scene.run(30_000)
      scene.answer('still here')
    }
    await scene.run(100)
    expect(scene.heard).toHaveLength(40)
  })
})

describe('C67 channels', () => {
  it('have numbers from 0x4000 on, one for each peer that application data goes to', async () => {
    const scene = await Scene.allocated()
    const other = await open(scene.lab.host('other'))
    scene.send('a')
    scene.send('b', true, other.address)
    scene.send('c', true, other.address)
    await scene.run(500)
    const asked = scene.server.asks(Method.ChannelBind)
    expect(asked.map(({ message }) => (message.uint32(Attribute.ChannelNumber)! >>> 16).toString(16))).toEqual(['4000', '4001'])
    expect(texts(other)).toEqual(['b', 'c'])
  })

  it('are bound again before ten minutes are over while they are used, and data goes on over them', async () => {
    const scene = await Scene.allocated()
    for (let i = 0; i < 100; i++) {
      scene.send(`${i}`)
      await scene.run(15_000)
    }
    const asked = scene.server.authentic(Method.ChannelBind)
    expect(asked.length).toBeGreaterThanOrEqual(5)
    for (const [i, { at, message }] of asked.slice(1).entries()) {
      expect(message.uint32(Attribute.ChannelNumber)! >>> 16).toBe(0x4000)
      expect(at - asked[i]!.at).toBeGreaterThanOrEqual(4 * MINUTE)
      expect(at - asked[i]!.at).toBeLessThanOrEqual(5 * MINUTE)
    }
    expect(texts(scene.peer)).toHaveLength(100)
    expect(scene.allocation.counters.indications).toBe(1)
  })

  it('that are not used any more are not sent over after their time, and their numbers rest before they are given again', async () => {
    const scene = await Scene.allocated()
    scene.send('a')
    await scene.run(11 * MINUTE)
    expect(scene.server.asks(Method.ChannelBind)).toHaveLength(1)
    const other = await open(scene.lab.host('other'))
    scene.send('b', true, other.address)
    scene.send('c')
    await scene.run(500)
    // The same peer may have its own again.
    expect(scene.server.channelNumbers).toEqual([0x4000, 0x4001, 0x4000])
    expect(texts(scene.peer)).toEqual(['a', 'c'])
    expect(scene.server.relayedOut).toEqual(['indication', 'indication', 'indication'])
  })

  it('whose number the server has given to somebody else: another number, and Send indications meanwhile', async () => {
    const scene = await Scene.allocated()
    scene.server.script = ({ method, message }) =>
      method === Method.ChannelBind && message.uint32(Attribute.ChannelNumber)! >>> 16 === 0x4000 ? { code: 400 } : 'honest'
    scene.send('a')
    await scene.run(10)
    scene.send('b')
    await scene.run(500)
    scene.send('c')
    await scene.run(500)
    expect(scene.server.channelNumbers).toEqual([0x4000, 0x4001])
    expect(texts(scene.peer)).toEqual(['a', 'b', 'c'])
    expect(scene.server.relayedOut).toEqual(['indication', 'indication', 'channel'])
  })

  it('that are refused twice are not asked for again for a while: Send indications do', async () => {
    const scene = await Scene.allocated()
    scene.server.script = ({ method }) => (method === Method.ChannelBind ? { code: 400 } : 'honest')
    for (let i = 0; i < 20; i++) {
      scene.send(`${i}`)
      await scene.run(1_000)
    }
    expect(scene.server.asks(Method.ChannelBind)).toHaveLength(2)
    expect(texts(scene.peer)).toHaveLength(20)
    expect(scene.server.relayedOut.every((kind) => kind === 'indication')).toBe(true)
  })

  it('whose request nobody answers are asked for again under the same number, which is right in both cases', async () => {
    const scene = await Scene.allocated()
    let silent = true
    scene.server.script = ({ method }) => (method === Method.ChannelBind && silent ? 'silence' : 'honest')
    for (let i = 0; i < 30; i++) {
      scene.send(`${i}`)
      await scene.run(500)
    }
    silent = false
    for (let i = 0; i < 20; i++) {
      scene.send(`${i}`)
      await scene.run(500)
    }
    const numbers = scene.server.channelNumbers
    expect(new Set(numbers)).toEqual(new Set([0x4000]))
    expect(texts(scene.peer)).toHaveLength(50)
    expect(scene.server.relayedOut.at(-1)).toBe('channel')
    expect(scene.whats()).toEqual(['measured', 'allocated'])
  })

  it('are worth it also for a peer whose application data only comes', async () => {
    const scene = await Scene.allocated()
    scene.send('check', false)
    await scene.run(200)
    scene.answer('data')
    await scene.run(200)
    expect(scene.server.asks(Method.ChannelBind)).toHaveLength(1)
  })

  it('all 4096 of them taken: Send indications do for the next peer', async () => {
    const scene = await Scene.allocated()
    scene.allocation.expect(Address.of('198.18.9.9', 1))
    await scene.run(500)
    for (let i = 0; i < 4_097; i++) scene.send('x', true, Address.of('198.18.9.9', 1 + i))
    await scene.run(10 * MINUTE)
    const numbers = new Set(scene.server.channelNumbers)
    expect(scene.server.relayedOut).toHaveLength(4_097)
    expect([numbers.size, Math.min(...numbers), Math.max(...numbers)]).toEqual([4_096, 0x4000, 0x4fff])
    expect(scene.whats()).toEqual(['measured', 'allocated'])
  }, 60_000)
})

describe('C67 the life of an allocation', () => {
  it('is prolonged at about half of it, for as long as it is wanted', async () => {
    const scene = await Scene.allocated()
    await scene.run(60 * MINUTE)
    // The nonce is good for ten minutes; what is asked under a stale one is asked again at once.
    const refreshes = scene.server.authentic(Method.Refresh)
    expect(refreshes.length).toBeGreaterThanOrEqual(10)
    for (const [i, { at }] of refreshes.entries()) {
      const gap = at - (refreshes[i - 1]?.at ?? scene.last('allocated').at)
      expect(gap).toBeGreaterThanOrEqual(270_000)
      expect(gap).toBeLessThanOrEqual(331_000)
    }
    expect(scene.whats()).toEqual(['measured', 'allocated'])
  })

  it('is prolonged in time where the server gives it a short one', async () => {
    const scene = await Scene.allocated({ server: { lifetimeSeconds: 60 } })
    await scene.run(10 * MINUTE)
    expect(scene.server.asks(Method.Refresh).length).toBeGreaterThan(15)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
  })

  it('survives refreshes that are lost, and ends when the server does not answer any more', async () => {
    const scene = await Scene.allocated()
    let first: number | undefined
    scene.server.script = ({ method, at }) => {
      if (method !== Method.Refresh) return 'honest'
      first ??= at
      return at < first + 8_000 ? 'silence' : 'honest'
    }
    await scene.run(8 * MINUTE)
    expect(scene.server.asks(Method.Refresh).length).toBeGreaterThan(6)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
    scene.server.script = ({ method }) => (method === Method.Refresh ? 'silence' : 'honest')
    await scene.run(6 * MINUTE)
    expect(scene.last('lost').error.code).toBe('ERR_RELAY_LOST')
    expect(scene.whats().slice(0, 5)).toEqual(['measured', 'allocated', 'lost', 'measured', 'allocated'])
  })

  it('survives refreshes that the server cannot do just now', async () => {
    const scene = await Scene.allocated()
    let tries = 0
    scene.server.script = ({ method }) => (method === Method.Refresh && tries++ < 5 ? { code: 500 } : 'honest')
    await scene.run(20 * MINUTE)
    expect(tries).toBeGreaterThan(6)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
  })

  it('is over when nothing prolonged it until its end', async () => {
    const scene = await Scene.allocated()
    scene.server.script = ({ method }) => (method === Method.Refresh ? { code: 500 } : 'honest')
    await scene.run(599_000 - scene.allocation.age)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
    await scene.run(2_000)
    expect(scene.whats()).toEqual(['measured', 'allocated', 'lost', 'measured', 'allocated'])
  })

  it('ends with a Refresh of 0 when it is given back, repeated until the server has heard it', async () => {
    const scene = await Scene.allocated()
    let drop = 2
    scene.server.script = ({ method }) => (method === Method.Refresh && drop-- > 0 ? 'silence' : 'honest')
    const { allocation } = scene
    scene.client.release()
    expect(scene.client.allocation).toBeUndefined()
    await scene.run(2_000)
    expect(scene.server.allocations.size).toBe(0)
    expect(scene.server.asks(Method.Refresh).map(({ message }) => message.uint32(Attribute.Lifetime))).toEqual([0, 0, 0])
    expect(allocation.alive).toBe(false)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
  })

  it('ends with one Refresh of 0 when the client is closed, and nothing is left', async () => {
    const scene = await Scene.allocated()
    scene.send('x')
    await scene.run(500)
    scene.client.close()
    scene.client.close()
    expect(scene.timers.size).toBe(0)
    await scene.run(500)
    expect(scene.server.allocations.size).toBe(0)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
  })
})
