import { describe, expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import type { Ledger } from '../../../src/relay/index.ts'
import { Attribute, LongTermCredential, Message, type MessageWriter, Method } from '../../../src/stun/index.ts'
import { open, say, texts } from '../../lab/talk.ts'
import { setStage } from './stage.ts'
import { channelData, codeOf, TurnClient, UDP } from './turn-client.ts'

it('a client gets a relayed address, permits a peer, binds a channel, and talks both ways', async () => {
  const { lab, server, relay, client, events } = await setStage()
  const alice = await client()
  const response = await alice.allocate()
  const relayed = response.address(Attribute.XorRelayedAddress)!
  expect(relayed.ip).toBe(server.addresses[0]!.ip)
  expect(response.address(Attribute.XorMappedAddress)?.key).toBe(alice.local.key)
  expect(response.uint32(Attribute.Lifetime)).toBe(600)
  const peer = await open(lab.host('peer'))
  expect((await alice.permit(peer.address)).class).toBe('success')
  alice.say('by indication', peer.address)
  await lab.run(100)
  say(peer, relayed, 'answer')
  await lab.run(100)
  expect(texts(peer)).toEqual(['by indication'])
  expect(peer.heard[0]!.from.key).toBe(relayed.key)
  expect(alice.take()).toEqual([`${peer.address.key} answer`])
  expect((await alice.bind(0x4000, peer.address)).class).toBe('success')
  alice.send(channelData(0x4000, 'by channel'))
  await lab.run(100)
  say(peer, relayed, 'again')
  await lab.run(100)
  expect(texts(peer)).toEqual(['by indication', 'by channel'])
  expect(alice.take()).toEqual(['4000 again'])
  expect((await alice.refresh(0)).class).toBe('success')
  expect(relay.status().allocations).toBe(0)
  expect(events.map(({ event }) => event)).toEqual(['allocation-created', 'allocation-deleted'])
  await relay.close()
})

describe('Allocate', () => {
  it('RFC 8656 7.2: without REQUESTED-TRANSPORT is a bad request, with another than UDP is refused with 442', async () => {
    const { client } = await setStage()
    const alice = await client()
    expect(codeOf(await alice.request(Method.Allocate, (writer) => writer.uint32(Attribute.Lifetime, 600)))).toBe(400)
    const tcp = await alice.request(Method.Allocate, (writer) => writer.uint32(Attribute.RequestedTransport, 6 << 24))
    expect(codeOf(tcp)).toBe(442)
    const short = await alice.request(Method.Allocate, (writer) => writer.bytes(Attribute.RequestedTransport, Uint8Array.of(17, 0)))
    expect(codeOf(short)).toBe(400)
  })

  it('RFC 8656 7.2: with DONT-FRAGMENT is refused with 420, which names it', async () => {
    const { client } = await setStage()
    const response = await (await client()).allocate((writer) => writer.flag(Attribute.DontFragment))
    expect([codeOf(response), response.unknownAttributes()]).toEqual([420, [Attribute.DontFragment]])
  })

  it.each([
    [undefined, 600],
    [60, 600],
    [0, 600],
    [1200, 1200],
    [100_000, 3600],
    [0xffff_ffff, 3600],
  ])('RFC 8656 7.2: for %s seconds is granted %i', async (asked, granted) => {
    const { client } = await setStage()
    const response = await (await client()).allocate((writer) => asked !== undefined && writer.uint32(Attribute.Lifetime, asked))
    expect(response.uint32(Attribute.Lifetime)).toBe(granted)
  })

  it('RFC 8656 7.2: that comes again has the same answer, and another one on the 5-tuple is refused with 437', async () => {
    const { client, relay } = await setStage()
    const alice = await client()
    const first = await alice.allocate()
    const again = await alice.exchange(alice.last)
    expect(again?.data).toEqual(first.data)
    expect(codeOf(await alice.allocate())).toBe(437)
    expect(relay.status().allocations).toBe(1)
  })

  it('that comes again while its sockets are made is made once', async () => {
    const { client, lab, relay } = await setStage({ authenticate: () => new Promise((resolve) => setImmediate(() => resolve('wonder'))) })
    const alice = await client()
    alice.credential = new LongTermCredential('carol', 'wonder')
    await alice
      .exchange(alice.write(Method.Allocate, (writer) => writer.uint32(Attribute.RequestedTransport, UDP)).data)
      .then((challenge) => {
        alice.credential.react(challenge!, alice.write(Method.Allocate).attempt!)
      })
    const { data } = alice.write(Method.Allocate, (writer) => writer.uint32(Attribute.RequestedTransport, UDP))
    for (let i = 0; i < 5; i++) alice.send(data)
    await lab.run(1000)
    expect(relay.status()).toMatchObject({ allocations: 1, counters: { allocationsCreated: 1, successes: 1 } })
    expect(new Set(alice.heard.map((response) => Buffer.from(response).toString('hex'))).size).toBe(1)
    expect(alice.heard).toHaveLength(5)
  })

  it('with the requests and the data that follow it in one flight is served with them', async () => {
    const { client, lab, at } = await setStage()
    const alice = await client()
    const peer = await open(lab.host('peer'))
    await alice.request(Method.Refresh, (writer) => writer.uint32(Attribute.Lifetime, 0))
    alice.send(alice.write(Method.Allocate, (writer) => writer.uint32(Attribute.RequestedTransport, UDP)).data)
    const channel = (writer: MessageWriter): unknown =>
      writer.uint32(Attribute.ChannelNumber, 0x40000000).address(Attribute.XorPeerAddress, peer.address)
    alice.send(alice.write(Method.ChannelBind, channel).data)
    alice.send(channelData(0x4000, 'early'))
    await lab.run(1000)
    expect(alice.heard.map((data) => Message.read(data)!.class)).toEqual(['success', 'success'])
    expect([texts(peer), peer.heard[0]?.from.ip]).toEqual([['early'], at.ip])
  })

  it('draws ports from the range, at random, and is refused with 508 when none is left', async () => {
    const { client } = await setStage({ ports: { min: 50_000, max: 50_003 } })
    const ports: number[] = []
    for (let i = 0; i < 4; i++) ports.push((await (await client()).relayed()).port)
    expect([...ports].sort()).toEqual([50_000, 50_001, 50_002, 50_003])
    expect(codeOf(await (await client()).allocate())).toBe(508)
  })

  it('passes over ports that other programs have', async () => {
    const { client, server } = await setStage({ ports: { min: 50_000, max: 50_001 } })
    await server.bind({ family: 4, ip: server.addresses[0]!.ip, port: 50_000 })
    expect((await (await client()).relayed()).port).toBe(50_001)
  })

  it('of two relays with different chance draws different ports', async () => {
    const [one, other] = [await setStage({}, { seed: 1 }), await setStage({}, { seed: 2 })]
    expect((await (await one.client()).relayed()).port).not.toBe((await (await other.client()).relayed()).port)
  })
})

describe('address families', () => {
  const families = (response: Message): string[] => response.addresses(Attribute.XorRelayedAddress).map(({ ip }) => ip)
  const six = (writer: MessageWriter): unknown => writer.uint32(Attribute.RequestedAddressFamily, 2 << 24)
  const both = (writer: MessageWriter): unknown => writer.uint32(Attribute.AdditionalAddressFamily, 2 << 24)

  it('RFC 8656 7.2: IPv6 is given to who asks for it, over IPv4', async () => {
    const { client, at6 } = await setStage()
    expect(families(await (await client()).allocate(six))).toEqual([at6.ip])
  })

  it('RFC 8656 7.2: both are given to who asks for both', async () => {
    const { client, at, at6 } = await setStage()
    expect(families(await (await client()).allocate(both))).toEqual([at.ip, at6.ip])
  })

  it('RFC 8656 7.2: one that there is not, or that nobody knows, is refused with 440', async () => {
    const { client } = await setStage({}, { families: [4] })
    expect(codeOf(await (await client()).allocate(six))).toBe(440)
    const third = (writer: MessageWriter): unknown => writer.uint32(Attribute.RequestedAddressFamily, 3 << 24)
    expect(codeOf(await (await client()).allocate(third))).toBe(440)
  })

  it('RFC 8656 7.2: of two, the one that there is not is told in ADDRESS-ERROR-CODE', async () => {
    const { client, at } = await setStage({}, { families: [4] })
    const response = await (await client()).allocate(both)
    expect(families(response)).toEqual([at.ip])
    expect([...response.value(Attribute.AddressErrorCode)!]).toEqual([2, 0, 4, 40])
  })

  it('RFC 8656 7.2: attributes that exclude each other, or say what cannot be additional, are bad requests', async () => {
    const { client } = await setStage()
    const alice = await client()
    const builds: ((writer: MessageWriter) => unknown)[] = [
      (writer) => writer.uint32(Attribute.RequestedAddressFamily, 1 << 24).uint32(Attribute.AdditionalAddressFamily, 2 << 24),
      (writer) => writer.uint32(Attribute.AdditionalAddressFamily, 1 << 24),
      (writer) => writer.bytes(Attribute.EvenPort, Uint8Array.of(0x80)).uint32(Attribute.AdditionalAddressFamily, 2 << 24),
      (writer) => writer.bytes(Attribute.RequestedAddressFamily, Uint8Array.of(1)),
      (writer) => writer.bytes(Attribute.ReservationToken, new Uint8Array(8)).bytes(Attribute.EvenPort, Uint8Array.of(0)),
      (writer) => writer.bytes(Attribute.ReservationToken, new Uint8Array(8)).uint32(Attribute.RequestedAddressFamily, 1 << 24),
      (writer) => writer.bytes(Attribute.ReservationToken, new Uint8Array(7)),
      (writer) => writer.bytes(Attribute.Lifetime, new Uint8Array(2)),
    ]
    for (const build of builds) expect(codeOf(await alice.allocate(build))).toBe(400)
  })

  it('RFC 8656 8.2: Refresh with 0 and a family gives up that one alone; with one that is not there it is refused with 443', async () => {
    const { client, relay, lab } = await setStage()
    const alice = await client()
    await alice.allocate(both)
    expect(codeOf(await alice.refresh(0, six))).toBe('success')
    expect(relay.status().allocations).toBe(1)
    expect(codeOf(await alice.refresh(600, six))).toBe(443)
    expect(codeOf(await alice.permit(Address.of('2600::1', 1)))).toBe(443)
    expect(codeOf(await alice.permit((await open(lab.host('peer'))).address))).toBe('success')
    expect(codeOf(await alice.refresh(0, (writer) => writer.uint32(Attribute.RequestedAddressFamily, 1 << 24)))).toBe('success')
    expect(relay.status().allocations).toBe(0)
  })

  it('a client over IPv6 is served', async () => {
    const { lab, at6 } = await setStage()
    const alice = await TurnClient.udp(lab, lab.host('alice'), at6)
    expect((await alice.allocate(six)).address(Attribute.XorMappedAddress)?.key).toBe(alice.local.key)
  })
})

describe('EVEN-PORT and RESERVATION-TOKEN', () => {
  const even = (bits: number) => (writer: MessageWriter) => writer.bytes(Attribute.EvenPort, Uint8Array.of(bits))
  const token = (value: Uint8Array) => (writer: MessageWriter) => writer.bytes(Attribute.ReservationToken, value)

  it('RFC 8656 7.2: without the R bit the port is even, and nothing is reserved', async () => {
    const { client, relay } = await setStage()
    for (let i = 0; i < 8; i++) {
      const response = await (await client()).allocate(even(0))
      expect(response.address(Attribute.XorRelayedAddress)!.port % 2).toBe(0)
      expect(response.has(Attribute.ReservationToken)).toBe(false)
    }
    expect(relay.status().reservations).toBe(0)
  })

  it('RFC 8656 7.2: with it the next port is kept for who has the token, once', async () => {
    const { client, relay } = await setStage()
    const response = await (await client()).allocate(even(0x80))
    const kept = response.value(Attribute.ReservationToken)!
    expect([kept.length, relay.status().reservations]).toEqual([8, 1])
    const second = await (await client()).relayed(token(kept))
    expect(second.port).toBe(response.address(Attribute.XorRelayedAddress)!.port + 1)
    expect(relay.status()).toMatchObject({ reservations: 0, allocations: 2 })
    expect(codeOf(await (await client()).allocate(token(kept)))).toBe(508)
  })

  it('the token of another user is as good as none', async () => {
    const { client } = await setStage()
    const kept = (await (await client()).allocate(even(0x80))).value(Attribute.ReservationToken)!
    const bob = await client()
    bob.credential = new LongTermCredential('bob', 'builder')
    expect(codeOf(await bob.allocate(token(kept)))).toBe(508)
  })

  it('a reservation ends after 30 s, gives its port and its place in the quota back', async () => {
    const { client, lab, relay } = await setStage({ quotas: { allocationsPerUser: 2 }, ports: { min: 50_000, max: 50_001 } })
    const alice = await client()
    const kept = (await alice.allocate(even(0x80))).value(Attribute.ReservationToken)!
    expect(codeOf(await (await client()).allocate())).toBe(486)
    await lab.run(31_000)
    expect(relay.status().reservations).toBe(0)
    expect(codeOf(await (await client()).allocate(token(kept)))).toBe(508)
    expect((await (await client()).relayed()).port).toBe(50_001)
  })

  it('pairs made and given up again and again leave nothing behind', async () => {
    const { client, relay, lab } = await setStage({ ports: { min: 50_000, max: 50_009 } })
    const alice = await client()
    for (let i = 0; i < 20; i++) {
      expect(codeOf(await alice.allocate(even(i % 2 === 0 ? 0x80 : 0)))).toBe('success')
      expect(codeOf(await alice.refresh(0))).toBe('success')
      if (i % 2 === 0) await lab.run(31_000)
    }
    expect(relay.status()).toMatchObject({ allocations: 0, reservations: 0, users: 0 })
  })
})

describe('quotas', () => {
  it('RFC 8656 7.2: one allocation more than a user may have is refused with 486, and one ended makes room', async () => {
    const { client } = await setStage({ quotas: { allocationsPerUser: 2 } })
    const [one, two, three] = [await client(), await client(), await client()]
    for (const each of [one, two]) expect(codeOf(await each.allocate())).toBe('success')
    expect(codeOf(await three.allocate())).toBe(486)
    const bob = await client()
    bob.credential = new LongTermCredential('bob', 'builder')
    expect(codeOf(await bob.allocate())).toBe('success')
    await one.refresh(0)
    expect(codeOf(await three.allocate())).toBe('success')
  })

  it('RFC 8656 7.2: one more than the relay may have is refused with 508', async () => {
    const { client } = await setStage({ quotas: { allocations: 1 } })
    expect(codeOf(await (await client()).allocate())).toBe('success')
    expect(codeOf(await (await client()).allocate())).toBe(508)
  })

  it('an allocation that ended by itself makes room too', async () => {
    const { client, lab, events } = await setStage({ quotas: { allocations: 1 } })
    await (await client()).allocate()
    await lab.run(601_000)
    expect(codeOf(await (await client()).allocate())).toBe('success')
    expect(events.find(({ event }) => event === 'allocation-deleted')).toMatchObject({ reason: 'expired', age: 600_000 })
  })

  it('are asked of a ledger that others share, and given back to it once', async () => {
    const taken: string[] = []
    const ledger: Ledger = {
      take: async (user) => (taken.push(user) > 1 ? 'user-quota' : 'granted'),
      release: (user) => void taken.splice(taken.indexOf(user), 1),
    }
    const { client, relay } = await setStage({ ledger })
    const [one, two] = [await client(), await client()]
    expect(codeOf(await one.allocate())).toBe('success')
    expect(codeOf(await two.allocate())).toBe(486)
    taken.pop()
    await one.refresh(0)
    expect(taken).toEqual([])
    expect(relay.status().allocations).toBe(0)
  })

  it.each<[string, Ledger['take']]>([
    ['that never answers', () => new Promise(() => {})],
    ['that fails', () => Promise.reject(new Error('down'))],
  ])('of a ledger %s are full', async (_what, take) => {
    const { client, lab, relay, events } = await setStage({ ledger: { take, release: () => {} } })
    const alice = await client()
    await alice.request(Method.Refresh, (writer) => writer.uint32(Attribute.Lifetime, 0))
    alice.send(alice.write(Method.Allocate, (writer) => writer.uint32(Attribute.RequestedTransport, UDP)).data)
    await lab.run(11_000)
    expect(alice.heard.map((data) => codeOf(Message.read(data)))).toEqual([508])
    expect(relay.status().allocations).toBe(0)
    expect(events.some((event) => event.event === 'warning' && event.subject === 'ledger')).toBe(true)
  })

  it('of a ledger that grants too late are given back', async () => {
    let granted: (verdict: 'granted') => void = () => {}
    let released = 0
    const ledger: Ledger = { take: () => new Promise((resolve) => (granted = resolve)), release: () => void released++ }
    const { client, lab } = await setStage({ ledger })
    const alice = await client()
    await alice.request(Method.Refresh, (writer) => writer.uint32(Attribute.Lifetime, 0))
    alice.send(alice.write(Method.Allocate, (writer) => writer.uint32(Attribute.RequestedTransport, UDP)).data)
    await lab.run(11_000)
    granted('granted')
    await lab.run(1)
    expect(released).toBe(1)
  })
})

describe('Refresh', () => {
  it('RFC 8656 8.2: keeps an allocation, and without it the allocation ends when it was said to', async () => {
    const { client, lab, relay } = await setStage()
    const alice = await client()
    await alice.allocate()
    await lab.run(500_000)
    expect((await alice.refresh(1200)).uint32(Attribute.Lifetime)).toBe(1200)
    await lab.run(1_195_000)
    expect(relay.status().allocations).toBe(1)
    await lab.run(6000)
    expect(relay.status().allocations).toBe(0)
    expect(codeOf(await alice.refresh(600))).toBe(437)
  })

  it('RFC 8656 8.2: with 0 ends it at once; the relayed address is free again', async () => {
    const { client, relay, server } = await setStage()
    const alice = await client()
    const relayed = await alice.relayed()
    expect((await alice.refresh(0)).uint32(Attribute.Lifetime)).toBe(0)
    expect(relay.status().allocations).toBe(0)
    await expect(server.bind({ family: 4, ip: relayed.ip, port: relayed.port })).resolves.toBeDefined()
    expect(codeOf(await alice.allocate())).toBe('success')
  })

  it('that is malformed is a bad request', async () => {
    const { client } = await setStage()
    const alice = await client()
    await alice.allocate()
    expect(codeOf(await alice.request(Method.Refresh, (writer) => writer.bytes(Attribute.Lifetime, new Uint8Array(3))))).toBe(400)
    const family = (writer: MessageWriter): unknown => writer.bytes(Attribute.RequestedAddressFamily, new Uint8Array(3))
    expect(codeOf(await alice.refresh(600, family))).toBe(400)
  })
})
