import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../stun/manual-clock.ts'
import { hexOf } from '../../stun/stun-vectors.ts'
import { Scene } from './scene.ts'

const TCP = { server: { transports: ['tcp'] }, uri: 'turn:relay.test?transport=tcp' } as const

describe('C68 a relay over TCP', () => {
  it.each([1, 2, 3, 5, 17, 63, 1_000_000])(
    'whose frames come cut into pieces of %i bytes, or several in one: data is intact both ways',
    async (cut) => {
      const scene = await Scene.open(TCP)
      scene.server.cut = cut
      const random = new SeededRandom(cut)
      scene.peer.socket.handle({
        datagram: (data, from) => void scene.peer.socket.send(data, from),
        sendFailed: () => {},
        drained: () => {},
        lost: () => {},
      })
      scene.client.start()
      scene.client.allocate()
      await scene.run(1_000)
      const sent: string[] = []
      for (let i = 0; i < 60; i++) {
        const data = random.bytes(random.below(120))
        sent.push(hexOf(data))
        scene.allocation.send(data, scene.peer.address, i > 20)
        // Several in a turn now and then, so that frames go together.
        if (i % 4 === 0) await scene.run(100)
      }
      // 64 segments are under way at once on a stream of the lab, and bytes are many.
      await scene.run(60_000)
      expect(scene.heard.map(({ bytes }) => hexOf(bytes))).toEqual(sent)
      expect(scene.server.relayedOut).toContain('channel')
      expect(scene.server.relayedOut).toContain('indication')
    },
  )

  it('sends ChannelData padded to four bytes, and none of it arrives at the peer', async () => {
    const scene = await Scene.allocated(TCP)
    scene.send('a')
    await scene.run(300)
    const lengths: number[] = []
    scene.lab.filter(({ host, protocol, data }) => {
      if (host === 'client' && protocol === 'tcp' && data.length > 0) lengths.push(data.length)
      return 'pass'
    })
    for (const text of ['', '1', '22', '333', '4444', '55555']) {
      scene.send(text)
      await scene.run(100)
    }
    expect(lengths).toEqual([4, 8, 8, 8, 8, 12])
    expect(scene.peer.heard.map(({ text }) => text)).toEqual(['a', '', '1', '22', '333', '4444', '55555'])
  })

  it('is given back with a Refresh of 0 before the stream is closed', async () => {
    const scene = await Scene.allocated(TCP)
    scene.client.close()
    await scene.run(1_000)
    expect([scene.server.allocations.size, scene.server.streams.size, scene.timers.size]).toEqual([0, 0, 0])
  })

  it('that floods a header without its frame is left alone with what it sent, and nothing is lost', async () => {
    const scene = await Scene.allocated(TCP)
    const [stream] = scene.server.streams
    stream!.write(Uint8Array.of(0x40, 0, 0xff, 0xff, 1, 2, 3))
    await scene.run(5_000)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
    // Nothing can be understood any more, so the next request is not answered: the stream is opened anew.
    scene.send('x', false)
    await scene.run(10_000)
    expect(scene.whats()).toEqual(['measured', 'allocated', 'lost', 'measured', 'allocated'])
  })
})
