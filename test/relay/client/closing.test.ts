import { describe, expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import { Method } from '../../../src/stun/index.ts'
import { NOTHING_LEFT } from '../../traversal/counting-network.ts'
import { Scene, type SceneOptions } from './scene.ts'

const EVERYTHING: SceneOptions = { server: { transports: ['udp', 'tcp'] }, uri: 'turn:relay.test' }
const TCP: SceneOptions = { server: { transports: ['tcp'] }, uri: 'turn:relay.test?transport=tcp' }

describe('C69 a relay client that is closed', () => {
  it.each([
    ['over UDP', {}],
    ['over TCP', TCP],
    ['in the race', EVERYTHING],
    ['where UDP is dropped', EVERYTHING],
    ['while its credentials are fetched', { client: { credentials: () => new Promise(() => {}) } }],
    ['while it moves to new credentials', { server: { users: { a: 'a', b: 'b' } } }],
  ] as readonly [string, SceneOptions][])(
    '%s, at any moment and twice, leaves nothing here and no allocation there',
    async (how, options) => {
      for (let at = 0; at <= 560; at += 7) {
        let asked = 0
        const scene: Scene = await Scene.open(
          how.startsWith('while it moves')
            ? {
                ...options,
                client: {
                  credentials: async () => {
                    const name = asked++ === 0 ? 'a' : 'b'
                    return { username: name, password: name, expiresAt: scene.host.clock.now() + (name === 'a' ? 2_000 : 1e9) }
                  },
                },
              }
            : options,
        )
        if (how.includes('dropped'))
          scene.lab.filter(({ protocol, host }) => (protocol === 'udp' && host === 'client' ? 'drop' : undefined))
        scene.client.start()
        scene.client.allocate()
        if (how.startsWith('while it moves')) await scene.run(950)
        await scene.run(at)
        scene.client.allocation?.send(Uint8Array.of(1), scene.peer.address, true)
        scene.client.allocation?.expect(Address.of('198.18.7.7', 1))
        scene.client.close()
        scene.client.close()
        const told = scene.told.length
        // A stream on the way is given up in its own time; nothing else takes any.
        expect([at, scene.network.left.timers, scene.timers.size]).toEqual([at, 0, 0])
        await scene.run(1_000)
        expect([at, scene.network.left]).toEqual([at, NOTHING_LEFT])
        expect([at, scene.server.allocations.size, scene.server.streams.size]).toEqual([at, 0, 0])
        expect(scene.told).toHaveLength(told)
      }
    },
  )

  it('does nothing any more, whatever is called', async () => {
    const scene = await Scene.allocated()
    const { allocation } = scene
    scene.client.close()
    scene.client.start()
    scene.client.allocate()
    scene.client.release()
    scene.client.networkChanged()
    allocation.verify()
    allocation.expect(scene.peer.address)
    expect(allocation.send(Uint8Array.of(1), scene.peer.address, true)).toBe(true)
    expect(scene.network.left).toEqual(NOTHING_LEFT)
    await scene.run(10 * 60_000)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
    expect(scene.server.asks(Method.Refresh)).toHaveLength(1)
  })

  it('before it was started has done nothing at all', async () => {
    const scene = await Scene.open()
    scene.client.close()
    await scene.run(1_000)
    expect([scene.network.wakes, scene.network.sends, scene.server.asked.length]).toEqual([0, 0, 0])
  })
})

describe('C69 a relay client that is released', () => {
  it('and wanted again gets another allocation, and keeps no more than one', async () => {
    const scene = await Scene.allocated()
    for (let i = 0; i < 5; i++) {
      scene.client.release()
      await scene.run(i * 30)
      scene.client.allocate()
      await scene.run(i * 40)
    }
    await scene.run(20_000)
    expect(scene.client.allocation?.alive).toBe(true)
    expect(scene.server.allocations.size).toBe(1)
    expect(scene.network.left.sockets).toBe(1)
  })

  it('while the allocation is being made gives it back at once, and tells of none', async () => {
    const scene = await Scene.open()
    scene.client.start()
    scene.client.allocate()
    await scene.run(60)
    scene.client.release()
    await scene.run(2_000)
    expect(scene.server.authentic(Method.Allocate)).toHaveLength(1)
    expect(scene.server.allocations.size).toBe(0)
    expect(scene.whats()).toEqual(['measured'])
  })
})

describe('C66 a client whose network changes', () => {
  it('gets another allocation when its address is another one, at once', async () => {
    const scene = await Scene.allocated()
    const first = scene.allocation
    await scene.run(10_000)
    const home = scene.lab.router('home')
    scene.host.moveTo(home)
    const at = scene.host.clock.now()
    scene.client.networkChanged()
    await scene.run(1_000)
    expect(scene.whats()).toEqual(['measured', 'allocated', 'lost', 'measured', 'allocated'])
    expect(scene.allocation).not.toBe(first)
    expect(scene.allocation.mapped.ip).toBe(home.addresses[0]!.ip)
    expect(scene.last('allocated').at - at).toBeLessThan(1_000)
  })

  it('and which waits to try again does so at once', async () => {
    const scene = await Scene.open()
    const restore = scene.lab.filter(({ host }) => (host === 'client' ? { fail: 'ENETUNREACH' } : undefined))
    scene.client.start()
    scene.client.allocate()
    await scene.run(5 * 60_000)
    expect(scene.last('failed').error.code).toBe('ERR_RELAY_UNREACHABLE')
    restore()
    scene.client.networkChanged()
    await scene.run(200)
    expect(scene.client.allocation).toBeDefined()
  })

  it('that slept past the end of its allocation gets another one when it wakes', async () => {
    const scene = await Scene.allocated()
    scene.host.suspend(3_600_000)
    await scene.run(3_601_000)
    expect(scene.whats().slice(0, 3)).toEqual(['measured', 'allocated', 'lost'])
    expect(scene.client.allocation?.alive).toBe(true)
  })
})
