import { describe, expect, it } from 'vitest'
import { texts } from '../../lab/talk.ts'
import { Scene } from './scene.ts'

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
    expect(scene.client.rtt).toBe(40)
    expect(scene.client.transport).toBe('udp')
  })

  it('carries data both ways: Send indications first, ChannelData once the channel stands', async () => {
    const scene = await Scene.allocated()
    scene.send('one')
    await scene.run(200)
    scene.send('two')
    await scene.run(200)
    scene.send('three')
    await scene.run(200)
    expect(texts(scene.peer)).toEqual(['one', 'two', 'three'])
    expect(scene.server.relayedOut).toEqual(['indication', 'channel', 'channel'])
    expect(scene.peer.heard[0]!.from.key).toBe(scene.allocation.relayed[0]!.key)
    scene.answer('back')
    await scene.run(100)
    expect(scene.heard).toMatchObject([{ text: 'back', from: { key: scene.peer.address.key } }])
  })
})
