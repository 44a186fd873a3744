import { describe, expect, it } from 'vitest'
import type { Stream } from '../../../src/net/index.ts'
import { Attribute, LongTermCredential, Message, MessageWriter, Method } from '../../../src/stun/index.ts'
import { open, say, texts } from '../../lab/talk.ts'
import { type Stage, setStage } from './stage.ts'
import { channelData, codeOf, TurnClient } from './turn-client.ts'

const connect = (stage: Stage, name = 'alice'): Promise<TurnClient> => TurnClient.tcp(stage.lab, stage.lab.host(name), stage.at)

describe('a client over TCP', () => {
  it('is served like one over UDP, with its frames padded', async () => {
    const stage = await setStage()
    const { lab, relay } = stage
    const alice = await connect(stage)
    const peer = await open(lab.host('peer'))
    const response = await alice.allocate()
    expect(response.address(Attribute.XorMappedAddress)?.key).toBe(alice.local.key)
    const relayed = response.address(Attribute.XorRelayedAddress)!
    await alice.permit(peer.address)
    alice.say('indication', peer.address)
    say(peer, relayed, 'odd length!')
    await lab.run(200)
    await alice.bind(0x4001, peer.address)
    alice.send(channelData(0x4001, 'channel', true))
    say(peer, relayed, 'five!')
    say(peer, relayed, 'and on')
    await lab.run(200)
    expect(texts(peer)).toEqual(['indication', 'channel'])
    expect(alice.take()).toEqual([`${peer.address.key} odd length!`, '4001 five!', '4001 and on'])
    expect(relay.status()).toMatchObject({ connections: 1, allocationsByTransport: { udp: 0, tcp: 1, tls: 0 } })
  })

  it('over TLS too, which on the lab is the bytes as they are', async () => {
    const stage = await setStage({ tls: { cert: 'c', key: 'k' } })
    const alice = await TurnClient.tcp(stage.lab, stage.lab.host('alice'), stage.at.withPort(5349))
    expect(codeOf(await alice.allocate())).toBe('success')
    expect(stage.relay.status().allocationsByTransport.tls).toBe(1)
    expect(stage.relay.uris).toContain('turns:203.0.113.1?transport=tcp')
  })

  it('may send its bytes one by one, and many requests in one piece', async () => {
    const stage = await setStage()
    const { lab } = stage
    const alice = await connect(stage)
    await alice.allocate()
    const { data } = alice.write(Method.Refresh)
    for (const byte of data) alice.send(Uint8Array.of(byte))
    await lab.run(1000)
    const all = [1, 2, 3].map(() => alice.write(Method.Refresh).data)
    alice.send(Uint8Array.from(all.flatMap((part) => [...part])))
    await lab.run(1000)
    expect(alice.heard.map((response) => codeOf(Message.read(response)))).toEqual(['success', 'success', 'success', 'success'])
  })

  it('is answered a Binding', async () => {
    const alice = await connect(await setStage())
    const { data } = alice.write(Method.Binding, () => {}, false)
    expect((await alice.exchange(data))?.address(Attribute.XorMappedAddress)?.key).toBe(alice.local.key)
  })

  it('that sends what is no frame is disconnected, with its allocation', async () => {
    const stage = await setStage()
    const alice = await connect(stage)
    await alice.allocate()
    alice.send(Uint8Array.of(0x80, 0, 0, 4, 0, 0, 0, 0))
    await stage.lab.run(1000)
    expect(alice.closed).toBe(true)
    expect(stage.relay.status()).toMatchObject({ allocations: 0, connections: 0, counters: { ignored: { malformed: 1 } } })
  })

  it('that disconnects has no allocation any more, and a place in the quota again', async () => {
    const stage = await setStage({ quotas: { allocationsPerUser: 1 } })
    const alice = await connect(stage)
    await alice.allocate()
    expect(codeOf(await (await stage.client()).allocate())).toBe(486)
    alice.close()
    await stage.lab.run(1000)
    expect(stage.events.at(-1)).toMatchObject({ event: 'allocation-deleted', reason: 'disconnected', transport: 'tcp' })
    expect(stage.relay.status()).toMatchObject({ allocations: 0, connections: 0 })
    expect(codeOf(await (await stage.client()).allocate())).toBe('success')
  })

  it('that disconnects while its sockets are made leaves none behind', async () => {
    let answer: (password: string) => void = () => {}
    const stage = await setStage({ users: {}, authenticate: () => new Promise((resolve) => (answer = resolve)) })
    const alice = await connect(stage)
    await alice
      .exchange(alice.write(Method.Allocate, (writer) => writer.uint32(Attribute.RequestedTransport, 17 << 24)).data)
      .then((challenge) => {
        alice.credential.react(challenge!, alice.write(Method.Allocate).attempt!)
      })
    alice.send(alice.write(Method.Allocate, (writer) => writer.uint32(Attribute.RequestedTransport, 17 << 24)).data)
    await stage.lab.run(200)
    alice.close()
    await stage.lab.run(200)
    answer('wonder')
    await stage.lab.run(200)
    expect([stage.relay.status().allocations, stage.relay.status().counters.allocationsCreated]).toEqual([0, 0])
  })

  it('that does not read loses data, which is counted, and nobody else does', async () => {
    const stage = await setStage()
    const { lab } = stage
    const [alice, bob] = [await connect(stage), await stage.client()]
    const peer = await open(lab.host('peer'))
    const relayed = await alice.relayed()
    const other = await bob.relayed()
    for (const client of [alice, bob]) await client.bind(0x4000, peer.address)
    // The lab's streams have no window: what stops them is that nothing comes through.
    const restore = lab.filter((packet) => (packet.protocol === 'tcp' ? 'drop' : 'pass'))
    const big = 'x'.repeat(1000)
    for (let i = 0; i < 200; i++) {
      say(peer, relayed, big)
      say(peer, other, big)
      await lab.run(1)
    }
    await lab.run(100)
    restore()
    const { queue } = stage.relay.status().counters.drops
    expect(queue).toBeGreaterThan(100)
    expect(bob.take()).toHaveLength(200)
    await lab.run(40_000)
    expect(alice.take()).toHaveLength(200 - queue)
    say(peer, relayed, 'again')
    await lab.run(500)
    expect(alice.take()).toEqual(['4000 again'])
  })

  it('that asks and does not read the answers is disconnected', async () => {
    const stage = await setStage()
    const alice = await connect(stage)
    await alice.allocate()
    const { data } = alice.write(Method.Refresh)
    const restore = stage.lab.filter((packet) => (packet.from.port === 3478 && packet.data.length > 0 ? 'drop' : 'pass'))
    for (let i = 0; i < 3000; i++) {
      alice.send(data)
      if (i % 20 === 0) await stage.lab.run(20)
    }
    await stage.lab.run(10)
    restore()
    expect(stage.relay.status()).toMatchObject({ allocations: 0, connections: 0 })
  })
})

describe('connections without an allocation', () => {
  it('that guess passwords are closed after ten times', async () => {
    const stage = await setStage()
    const mallory = await connect(stage)
    mallory.credential = new LongTermCredential('alice', 'guess')
    const transport = (writer: MessageWriter): unknown => writer.uint32(Attribute.RequestedTransport, 17 << 24)
    const first = mallory.write(Method.Allocate, transport)
    mallory.credential.react((await mallory.exchange(first.data, 100))!, first.attempt!)
    for (let i = 0; i < 20; i++) mallory.send(mallory.write(Method.Allocate, transport).data)
    await stage.lab.run(1000)
    expect([mallory.closed, stage.relay.status().counters.authenticationFailures]).toEqual([true, 10])
  })

  it('are closed after 10 s, whatever they send; those with one are not', async () => {
    const stage = await setStage()
    const [silent, talkative, alice] = [await connect(stage, 'silent'), await connect(stage, 'talkative'), await connect(stage)]
    await alice.allocate()
    for (let i = 0; i < 12; i++) {
      talkative.send(new MessageWriter().start('request', Method.Binding, new Uint8Array(12)).finish())
      silent.send(Uint8Array.of(...(i === 0 ? [0, 3, 0, 8] : [0])))
      await stage.lab.run(1000)
    }
    expect([silent.closed, talkative.closed, alice.closed]).toEqual([true, true, false])
    await alice.refresh(0)
    await stage.lab.run(9000)
    expect(alice.closed).toBe(false)
    await stage.lab.run(2000)
    expect([alice.closed, stage.relay.status().connections]).toEqual([true, 0])
  })

  it('that begin a large frame are closed before it is there: nothing is kept for them', async () => {
    const stage = await setStage()
    const alice = await connect(stage)
    alice.send(channelData(0x4000, 'x'.repeat(60_000)).subarray(0, 6000))
    await stage.lab.run(200)
    expect([alice.closed, stage.relay.status().connections]).toEqual([true, 0])
  })

  it('are so many from one source, and no more', async () => {
    const stage = await setStage({ connections: { strangersPerSource: 5 } })
    const { lab } = stage
    const host = lab.host('crowd')
    const clients: TurnClient[] = []
    for (let i = 0; i < 8; i++) clients.push(await TurnClient.tcp(lab, host, stage.at))
    await lab.run(100)
    expect(clients.map(({ closed }) => closed)).toEqual([false, false, false, false, false, true, true, true])
    await clients[0]!.allocate()
    expect((await TurnClient.tcp(lab, host, stage.at)).closed).toBe(false)
    expect(stage.relay.status().counters.connectionsRefused).toBe(3)
  })

  it('are so many in all: the oldest makes room', async () => {
    const stage = await setStage({ connections: { strangers: 3 } })
    const clients: TurnClient[] = []
    for (let i = 0; i < 5; i++) clients.push(await connect(stage, `host${i}`))
    await stage.lab.run(100)
    expect(clients.map(({ closed }) => closed)).toEqual([true, true, false, false, false])
    expect(codeOf(await clients[4]!.allocate())).toBe('success')
  })
})

it('a relay that closes disconnects all', async () => {
  const stage = await setStage()
  const [alice, bob] = [await connect(stage), await connect(stage, 'bob')]
  await alice.allocate()
  await stage.relay.close()
  await stage.lab.run(1000)
  expect([alice.closed, bob.closed]).toEqual([true, true])
  expect(stage.relay.status()).toMatchObject({ allocations: 0, connections: 0 })
  const late: Promise<Stream> = stage.lab.host('late').streams.dial({ to: stage.at })
  await expect(stage.lab.until(late)).rejects.toMatchObject({ code: 'ERR_DIAL' })
})
