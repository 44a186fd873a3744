import { describe, expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import type { RelayStatus } from '../../../src/relay/index.ts'
import { Attribute, type MessageWriter, Method } from '../../../src/stun/index.ts'
import { open, say, type Talker, texts } from '../../lab/talk.ts'
import { type Stage, setStage } from './stage.ts'
import { channelData, codeOf, TurnClient } from './turn-client.ts'

interface Scene extends Stage {
  readonly alice: TurnClient
  readonly relayed: Address
  readonly peer: Talker
}

async function scene(...parameters: Parameters<typeof setStage>): Promise<Scene> {
  const stage = await setStage(...parameters)
  const alice = await stage.client()
  return { ...stage, alice, relayed: await alice.relayed(), peer: await open(stage.lab.host('peer')) }
}

const drops = (stage: Stage): RelayStatus['counters']['drops'] => stage.relay.status().counters.drops

describe('CreatePermission', () => {
  it('RFC 8656 10.2: takes many peers at once, of which the port does not matter', async () => {
    const { alice, peer, relayed, lab, relay } = await scene()
    const other = await open(lab.host('other'))
    expect(codeOf(await alice.permit(peer.address.withPort(1), other.address))).toBe('success')
    expect(relay.status().permissions).toBe(2)
    for (const each of [peer, other]) say(each, relayed, 'hello')
    await lab.run(100)
    expect(alice.take().sort()).toEqual([`${peer.address.key} hello`, `${other.address.key} hello`].sort())
  })

  it('RFC 8656 10.2: without a peer, or with one that is malformed, is a bad request that installs nothing', async () => {
    const { alice, peer, relay } = await scene()
    expect(codeOf(await alice.permit())).toBe(400)
    const damaged = (writer: MessageWriter): unknown =>
      writer.address(Attribute.XorPeerAddress, peer.address).bytes(Attribute.XorPeerAddress, new Uint8Array(5))
    expect(codeOf(await alice.request(Method.CreatePermission, damaged))).toBe(400)
    expect(relay.status().permissions).toBe(0)
  })

  it('RFC 8656 10.2: with one denied peer is refused with 403, installs none of the others, and is logged with that peer', async () => {
    const { alice, peer, relay, events } = await scene({ peers: { private: true, deny: ['203.0.113.200/32'] } })
    const denied = Address.of('203.0.113.200', 99)
    for (const peers of [
      [peer.address, denied],
      [denied, peer.address],
    ]) {
      expect(codeOf(await alice.permit(...peers))).toBe(403)
      expect(relay.status().permissions).toBe(0)
    }
    expect(events.at(-1)).toMatchObject({ event: 'refused', method: 'CreatePermission', code: 403, user: 'alice', peer: denied.key })
  })

  it('RFC 8656 10.2: with a peer of a family that the allocation has not is refused with 443', async () => {
    const { alice } = await scene()
    expect(codeOf(await alice.permit(Address.of('2600::1', 1)))).toBe(443)
  })

  it('with more peers than an allocation may have is refused with 508, and what was permitted can be refreshed', async () => {
    const { alice, relay } = await scene({ quotas: { permissionsPerAllocation: 100 } })
    const peers = Array.from({ length: 100 }, (_, i) => Address.of(`198.18.1.${i}`, 1))
    expect(codeOf(await alice.permit(...peers.slice(0, 60)))).toBe('success')
    expect(codeOf(await alice.permit(...peers.slice(40)))).toBe('success')
    expect(codeOf(await alice.permit(...peers))).toBe('success')
    expect(codeOf(await alice.permit(Address.of('198.18.2.1', 1)))).toBe(508)
    expect(codeOf(await alice.bind(0x4000, Address.of('198.18.2.1', 1)))).toBe(508)
    expect(relay.status().permissions).toBe(100)
  })

  it('RFC 8656 9: a permission ends after 300 s unless it is refreshed', async () => {
    const { alice, peer, relayed, lab, relay } = await scene()
    await alice.permit(peer.address)
    await lab.run(290_000)
    await alice.permit(peer.address)
    await lab.run(290_000)
    say(peer, relayed, 'in time')
    await lab.run(100)
    expect(alice.take()).toHaveLength(1)
    await alice.refresh(600)
    await lab.run(10_000)
    say(peer, relayed, 'late')
    alice.say('late', peer.address)
    await lab.run(100)
    expect([alice.take(), texts(peer)]).toEqual([[], []])
    expect(relay.status()).toMatchObject({ permissions: 0, counters: { drops: { 'no-permission': 2 } } })
  })
})

describe('ChannelBind', () => {
  it.each([0x0000, 0x3fff, 0x7fff, 0x8000, 0xffff])('RFC 8656 12.2: channel %i is out of range', async (channel) => {
    const { alice, peer } = await scene()
    expect(codeOf(await alice.bind(channel, peer.address))).toBe(400)
  })

  it.each([0x4000, 0x4fff])('RFC 8656 12.2: channel %i is in range', async (channel) => {
    const { alice, peer } = await scene()
    expect(codeOf(await alice.bind(channel, peer.address))).toBe('success')
  })

  it('RFC 8656 12.2: of a channel that has another peer, or of a peer that has another channel, is a bad request', async () => {
    const { alice, peer, relay } = await scene()
    expect(codeOf(await alice.bind(0x4000, peer.address))).toBe('success')
    expect(codeOf(await alice.bind(0x4000, peer.address.withPort(1)))).toBe(400)
    expect(codeOf(await alice.bind(0x4001, peer.address))).toBe(400)
    expect(codeOf(await alice.bind(0x4000, peer.address))).toBe('success')
    expect(codeOf(await alice.bind(0x4001, peer.address.withPort(1)))).toBe('success')
    expect(relay.status()).toMatchObject({ channels: 2, permissions: 1 })
  })

  it('RFC 8656 12.2: without one of the two attributes is a bad request', async () => {
    const { alice, peer } = await scene()
    const { ChannelNumber, XorPeerAddress } = Attribute
    expect(codeOf(await alice.request(Method.ChannelBind, (writer) => writer.uint32(ChannelNumber, 0x40000000)))).toBe(400)
    expect(codeOf(await alice.request(Method.ChannelBind, (writer) => writer.address(XorPeerAddress, peer.address)))).toBe(400)
    const short = (writer: MessageWriter): unknown =>
      writer.bytes(ChannelNumber, Uint8Array.of(0x40, 0)).address(XorPeerAddress, peer.address)
    expect(codeOf(await alice.request(Method.ChannelBind, short))).toBe(400)
  })

  it('RFC 8656 12.2: to a denied peer is refused with 403, to one of another family with 443', async () => {
    const { alice } = await scene({ peers: {} })
    expect(codeOf(await alice.bind(0x4000, Address.of('10.0.0.1', 1)))).toBe(403)
    expect(codeOf(await alice.bind(0x4000, Address.of('2600::1', 1)))).toBe(443)
  })

  it('RFC 8656 12: lasts 600 s, and its permission 300 s; both are refreshed by it', async () => {
    const { alice, peer, relayed, lab, relay } = await scene()
    await alice.refresh(3600)
    await alice.bind(0x4000, peer.address)
    await lab.run(290_000)
    await alice.bind(0x4000, peer.address)
    await lab.run(290_000)
    say(peer, relayed, 'in time')
    await lab.run(20_000)
    expect(relay.status()).toMatchObject({ channels: 1, permissions: 0 })
    say(peer, relayed, 'without permission')
    alice.send(channelData(0x4000, 'still bound'))
    await lab.run(100)
    expect([alice.take(), texts(peer)]).toEqual([['4000 in time'], ['still bound']])
    await lab.run(300_000)
    expect(relay.status().channels).toBe(0)
    alice.send(channelData(0x4000, 'unbound'))
    await lab.run(100)
    expect([texts(peer), drops({ relay } as Stage)['no-channel']]).toEqual([['still bound'], 1])
    expect(codeOf(await alice.bind(0x4001, peer.address))).toBe('success')
  })
})

describe('application data', () => {
  it('RFC 8656 11.2, 11.3: without a permission is dropped and counted, both ways', async () => {
    const stage = await scene()
    const { alice, peer, relayed, lab } = stage
    alice.say('out', peer.address)
    say(peer, relayed, 'in')
    await lab.run(100)
    expect([texts(peer), alice.take()]).toEqual([[], []])
    expect(drops(stage)['no-permission']).toBe(2)
  })

  it('goes to several peers in turn, each under its channel or its address', async () => {
    const { alice, relayed, lab } = await scene()
    const peers = await Promise.all([0, 1, 2, 3].map((i) => open(lab.host(`peer${i}`))))
    for (const [i, peer] of peers.entries()) await (i < 2 ? alice.bind(0x4000 + i, peer.address) : alice.permit(peer.address))
    for (let round = 0; round < 3; round++) {
      for (const [i, peer] of peers.entries()) {
        if (i < 2) alice.send(channelData(0x4000 + i, `to ${i}`))
        else alice.say(`to ${i}`, peer.address)
        say(peer, relayed, `from ${i}`)
        await lab.run(100)
      }
    }
    for (const [i, peer] of peers.entries()) expect(texts(peer)).toEqual([`to ${i}`, `to ${i}`, `to ${i}`])
    const names = ['4000', '4001', peers[2]!.address.key, peers[3]!.address.key]
    expect(alice.take()).toEqual([0, 1, 2].flatMap(() => names.map((name, i) => `${name} from ${i}`)))
  })

  it('of no length is a datagram all the same, both ways', async () => {
    const { alice, peer, relayed, lab } = await scene()
    await alice.permit(peer.address)
    alice.say('', peer.address)
    say(peer, relayed, '')
    await lab.run(100)
    await alice.bind(0x4000, peer.address)
    alice.send(channelData(0x4000, ''))
    say(peer, relayed, '')
    await lab.run(100)
    expect([texts(peer), alice.take()]).toEqual([
      ['', ''],
      [`${peer.address.key} `, '4000 '],
    ])
  })

  it('RFC 8656 12.6: in ChannelData may be followed by padding, and never be shorter than it says', async () => {
    const stage = await scene()
    const { alice, peer, lab } = stage
    await alice.bind(0x4000, peer.address)
    alice.send(channelData(0x4000, 'five!', true))
    alice.send(channelData(0x4000, 'five!').subarray(0, 8))
    await lab.run(100)
    expect(texts(peer)).toEqual(['five!'])
    expect(stage.relay.status().counters.ignored.malformed).toBe(1)
  })

  it('RFC 8656 11.2: in a Send with an attribute that must be understood and is not, DONT-FRAGMENT too, is dropped', async () => {
    const stage = await scene()
    const { alice, peer, lab } = stage
    await alice.permit(peer.address)
    alice.say('unfragmented', peer.address, (writer) => writer.flag(Attribute.DontFragment))
    alice.say('unknown', peer.address, (writer) => writer.flag(0x7000))
    alice.say('optional', peer.address, (writer) => writer.flag(0xb000))
    await lab.run(100)
    expect(texts(peer)).toEqual(['optional'])
  })

  it('over an IPv6 relayed address goes both ways', async () => {
    const { lab, at6 } = await setStage()
    const alice = await TurnClient.udp(lab, lab.host('alice'), at6)
    const relayed = await alice.relayed((writer) => writer.uint32(Attribute.RequestedAddressFamily, 2 << 24))
    const peer = await open(lab.host('peer'), { family: 6 })
    await alice.permit(peer.address)
    alice.say('one', peer.address)
    alice.say('two', peer.address)
    say(peer, relayed, 'answer')
    await lab.run(100)
    expect([texts(peer), alice.take()]).toEqual([['one', 'two'], [`${peer.address.key} answer`]])
    expect(peer.heard[0]!.from.key).toBe(relayed.key)
  })

  it('above the bytes a second of a user or of the relay is dropped and counted', async () => {
    for (const quotas of [{ bytesPerSecond: 10_000 }, { bytesPerSecondPerUser: 10_000 }]) {
      const stage = await scene({ quotas })
      const { alice, peer, relayed, lab } = stage
      await alice.bind(0x4000, peer.address)
      const text = 'x'.repeat(1000)
      for (let i = 0; i < 8; i++) {
        alice.send(channelData(0x4000, text))
        say(peer, relayed, text)
      }
      await lab.run(50)
      expect(peer.heard.length + alice.take().length).toBe(10)
      expect(drops(stage).bandwidth).toBe(6)
      await lab.run(500)
      for (let i = 0; i < 8; i++) alice.send(channelData(0x4000, text))
      await lab.run(50)
      expect(drops(stage).bandwidth).toBe(6 + 3)
    }
  })

  it('above the bytes a second of a user stays dropped when the user makes another allocation', async () => {
    const stage = await scene({ quotas: { bytesPerSecondPerUser: 10_000 } })
    const { alice, peer, lab, relay } = stage
    const send = async (): Promise<void> => {
      await alice.permit(peer.address)
      for (let i = 0; i < 10; i++) alice.say('x'.repeat(1000), peer.address)
    }
    await send()
    const { data } = alice.write(Method.Refresh, (writer) => writer.uint32(Attribute.Lifetime, 0))
    await alice.exchange(data, 50)
    expect(relay.status().users).toBe(0)
    const allocate = alice.write(Method.Allocate, (writer) => writer.uint32(Attribute.RequestedTransport, 17 << 24))
    await alice.exchange(allocate.data, 50)
    await alice.exchange(alice.write(Method.CreatePermission, (writer) => writer.address(Attribute.XorPeerAddress, peer.address)).data, 50)
    for (let i = 0; i < 10; i++) alice.say('x'.repeat(1000), peer.address)
    await lab.run(50)
    expect(peer.heard.length).toBeLessThan(13)
    await alice.refresh(0)
    await lab.run(2000)
    expect(relay.status().users).toBe(0)
  })

  it('is counted, for the relay and in the log for the allocation', async () => {
    const { alice, peer, relayed, lab, relay, events } = await scene()
    await alice.bind(0x4000, peer.address)
    alice.send(channelData(0x4000, 'four'))
    alice.send(channelData(0x4000, 'fives'))
    say(peer, relayed, 'six...')
    await lab.run(100)
    await alice.refresh(0)
    const traffic = { packetsToPeers: 2, bytesToPeers: 9 }
    expect(relay.status().counters).toMatchObject({ ...traffic, packetsToClients: 1, bytesToClients: 6 })
    expect(events.at(-1)).toMatchObject({
      event: 'allocation-deleted',
      user: 'alice',
      client: alice.local.key,
      relayed: [relayed.key],
      reason: 'released',
      ...traffic,
      packetsToClient: 1,
      bytesToClient: 6,
    })
  })

  it('for a full socket is dropped until it has room, and counted', async () => {
    const { createLab } = await import('../../../src/lab/index.ts')
    const { createRelay } = await import('../../../src/relay/index.ts')
    const lab = createLab()
    const server = lab.host('relay', { sendQueue: { limit: 4, perMillisecond: 1 } })
    const relay = await createRelay({ network: server, users: { alice: 'wonder' }, peers: { private: true } })
    const alice = await TurnClient.udp(lab, lab.host('alice'), server.addresses[0]!.withPort(3478))
    const peer = await open(lab.host('peer'))
    const relayed = await alice.relayed()
    await alice.bind(0x4000, peer.address)
    for (let i = 0; i < 10; i++) {
      alice.send(channelData(0x4000, 'out'))
      say(peer, relayed, 'in')
    }
    await lab.run(1000)
    expect([peer.heard.length, alice.take().length, relay.status().counters.drops.queue]).toEqual([4, 4, 12])
    alice.send(channelData(0x4000, 'again'))
    await lab.run(100)
    expect(texts(peer).at(-1)).toBe('again')
  })
})

describe("the relay's own addresses", () => {
  it('are denied as peers, listeners and free ports alike, to permissions, channels and Send', async () => {
    for (const peers of [{}, { private: true }, { allow: ['203.0.113.0/24'] }]) {
      const { alice, at, relay } = await scene({ peers })
      expect(codeOf(await alice.permit(at))).toBe(403)
      expect(codeOf(await alice.bind(0x4000, at))).toBe(403)
      if ('private' in peers) continue
      expect(codeOf(await alice.permit(at.withPort(22)))).toBe(403)
      expect(codeOf(await alice.permit(at.withPort(0)))).toBe(403)
      expect(relay.status().permissions).toBe(0)
    }
  })

  it('let two clients meet that both reach nothing but this relay', async () => {
    const { client, lab, relay } = await setStage({ peers: {} })
    const [alice, bob] = [await client(), await client()]
    const [a, b] = [await alice.relayed(), await bob.relayed()]
    expect(codeOf(await alice.bind(0x4000, b))).toBe('success')
    expect(codeOf(await bob.permit(a))).toBe('success')
    alice.send(channelData(0x4000, 'to bob'))
    bob.say('to alice', a)
    await lab.run(100)
    expect([alice.take(), bob.take()]).toEqual([['4000 to alice'], [`${a.key} to bob`]])
    expect(relay.status().counters).toMatchObject({ packetsToPeers: 2, packetsToClients: 2 })
  })

  it('ask for a permission of the other side too', async () => {
    const stage = await setStage({ peers: {} })
    const [alice, bob] = [await stage.client(), await stage.client()]
    const [, b] = [await alice.relayed(), await bob.relayed()]
    await alice.permit(b)
    alice.say('to bob', b)
    await stage.lab.run(100)
    expect([bob.take(), drops(stage)['no-permission']]).toEqual([[], 1])
  })

  it('are no peers any more when the allocation there is gone, also to channels that stand and under a permission for another', async () => {
    const stage = await setStage({ peers: {} })
    const [alice, bob, carol] = [await stage.client(), await stage.client(), await stage.client()]
    const [, b] = [await alice.relayed(), await bob.relayed(), await carol.relayed()]
    await alice.bind(0x4000, b)
    await bob.refresh(0)
    alice.send(channelData(0x4000, 'to nobody'))
    alice.say('to the listener', stage.at)
    alice.say('to a port of the machine', stage.at.withPort(22))
    await stage.lab.run(100)
    expect(drops(stage)).toMatchObject({ 'no-allocation': 1, denied: 2 })
    expect(codeOf(await alice.permit(b))).toBe(403)
  })

  it('behind a NAT are told as the NAT has them, and meet by what is told', async () => {
    const external = '9.9.9.9'
    const { client, lab, relay, server } = await setStage({ peers: {}, relayAddresses: ['203.0.113.1'], externalAddresses: [external] })
    const [alice, bob] = [await client(), await client()]
    const [a, b] = [await alice.relayed(), await bob.relayed()]
    expect([a.ip, b.ip]).toEqual([external, external])
    await alice.permit(b)
    await bob.permit(a)
    alice.say('to bob', b)
    await lab.run(100)
    expect(bob.take()).toEqual([`${a.key} to bob`])
    const inside = server.addresses.find(({ family }) => family === 4)!
    expect(codeOf(await alice.permit(inside.withPort(b.port)))).toBe(403)
    expect(codeOf(await alice.permit(Address.of(external, 22)))).toBe(403)
    expect(relay.uris).toContain('turn:9.9.9.9?transport=udp')
  })

  it('of another worker are reached by its socket, under the addresses that are told', async () => {
    const external = '9.9.9.9'
    const live = new Set<string>()
    const ledger = { take: () => 'granted' as const, release: () => {}, relayed: (address: string) => live.has(address) }
    const { client, lab, server, at } = await setStage({
      peers: {},
      relayAddresses: ['203.0.113.1'],
      externalAddresses: [external],
      ledger,
    })
    const { createRelay } = await import('../../../src/relay/index.ts')
    await createRelay({
      network: server,
      port: 3479,
      users: { alice: 'wonder' },
      relayAddresses: ['203.0.113.1'],
      externalAddresses: [external],
      ledger,
    })
    const [alice, bob] = [await client(), await TurnClient.udp(lab, lab.host('bob'), at.withPort(3479))]
    const [a, b] = [await alice.relayed(), await bob.relayed()]
    expect(codeOf(await alice.permit(b))).toBe(403)
    live.add(a.key).add(b.key)
    expect(codeOf(await alice.permit(b))).toBe('success')
    await bob.bind(0x4000, a)
    alice.say('to bob', b)
    await lab.run(100)
    bob.send(channelData(0x4000, 'to alice'))
    await lab.run(100)
    expect([bob.take(), alice.take()]).toEqual([['4000 to bob'], [`${b.key} to alice`]])
  })

  it('multiply nothing when two allocations point at each other', async () => {
    const { client, lab, relay } = await setStage({ peers: {} })
    const [alice, bob] = [await client(), await client()]
    const [a, b] = [await alice.relayed(), await bob.relayed()]
    await alice.bind(0x4000, b)
    await bob.bind(0x4000, a)
    alice.send(channelData(0x4000, 'ping'))
    for (let i = 0; i < 10; i++) {
      await lab.run(100)
      for (const [client_, other] of [
        [alice, bob],
        [bob, alice],
      ] as const) {
        for (const text of client_.take()) client_.send(channelData(0x4000, text.slice(5)))
        expect(other.heard.length).toBeLessThanOrEqual(1)
      }
    }
    expect(relay.status().counters.packetsToPeers).toBeLessThanOrEqual(21)
  })
})
