import { expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import { Attribute, Method } from '../../../src/stun/index.ts'
import { open, say, texts } from '../../lab/talk.ts'
import { setStage } from './stage.ts'
import { channelData, codeOf, TurnClient } from './turn-client.ts'

it.each([
  ['UDP', TurnClient.udp],
  ['TCP', TurnClient.tcp],
])('channels from all of the range of RFC 5766 carry data, as clients of its time bind them, over %s', async (_, connect) => {
  const { lab, relay, at } = await setStage()
  const alice = await connect(lab, lab.host('alice'), at)
  const relayed = await alice.relayed()
  const peers = [await open(lab.host('peer')), await open(lab.host('other'))] as const
  for (const [i, channel] of [0x5000, 0x7ffe].entries()) {
    const peer = peers[i]!
    expect(codeOf(await alice.bind(channel, peer.address))).toBe('success')
    alice.send(channelData(channel, 'four', true))
    await lab.run(100)
    expect(texts(peer)).toEqual(['four'])
    say(peer, relayed, 'back')
    await lab.run(100)
    expect(alice.take()).toEqual([`${channel.toString(16)} back`])
  }
  await relay.close()
})

it.each([0x3fff, 0x7fff, 0x8000])('a channel of number %i is refused', async (channel) => {
  const { relay, client } = await setStage()
  const alice = await client()
  await alice.relayed()
  expect(codeOf(await alice.bind(channel, Address.of('5.0.0.1', 5000)))).toBe(400)
  await relay.close()
})

it('an allocation has 4,096 channels and no more, whatever their numbers', async () => {
  const { lab, relay, client } = await setStage()
  const alice = await client()
  await alice.relayed()
  for (let i = 0; i < 4096; i++) {
    const { data } = alice.write(Method.ChannelBind, (writer) =>
      writer.uint32(Attribute.ChannelNumber, (0x4800 + i) * 0x10000).address(Attribute.XorPeerAddress, Address.of('5.0.0.1', 1000 + i)),
    )
    alice.send(data)
  }
  await lab.run(1000)
  expect(relay.status().channels).toBe(4096)
  expect(codeOf(await alice.bind(0x7000, Address.of('5.0.0.1', 9000)))).toBe(508)
  expect(codeOf(await alice.bind(0x4800, Address.of('5.0.0.1', 1000)))).toBe('success')
  await relay.close()
})
