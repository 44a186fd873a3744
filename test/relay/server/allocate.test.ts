import { expect, it } from 'vitest'
import { Attribute } from '../../../src/stun/index.ts'
import { open, say, texts } from '../../lab/talk.ts'
import { setStage } from './stage.ts'
import { channelData } from './turn-client.ts'

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
