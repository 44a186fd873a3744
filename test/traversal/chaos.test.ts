import { describe, expect, it } from 'vitest'
import { createTraversal } from '../../src/index.ts'
import { createLab, nat } from '../../src/lab/index.ts'
import { SeededRandom } from '../stun/manual-clock.ts'
import { CountingNetwork, NOTHING_LEFT } from './counting-network.ts'
import { join, meet, SERVER, say, serveStun } from './meeting.ts'

const SEEDS = Array.from({ length: 30 }, (_, i) => i + 1)

describe('whatever happens for ten minutes', () => {
  it.each(SEEDS)('both ends are connected soon after it stops, and closing leaves nothing, seed %i', async (seed) => {
    const random = new SeededRandom(seed)
    const lab = createLab({ seed, loss: 0.02, duplicate: 0.01, reorder: 0.02, jitter: 3 })
    await serveStun(lab)
    const kinds = [nat.portRestricted, nat.addressRestricted, nat.fullCone] as const
    let routers = 0
    const router = () => lab.router(`r${routers++}`, { nat: kinds[random.below(kinds.length)] ?? nat.fullCone })
    const sides = []
    for (const [name, to] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      const host = lab.host(name, { behind: router() })
      const network = new CountingNetwork(host)
      sides.push({ ...meet(name, await createTraversal({ network, servers: [SERVER] }), to), host, network })
    }
    const [a, b] = sides
    if (a === undefined || b === undefined) throw new Error('two sides')
    join(lab, a, b, { loss: 0.1, duplicate: 0.1, reorder: 0.2, delay: 30 })
    const end = lab.clock.now() + 600_000
    while (lab.clock.now() < end) {
      await lab.run(random.below(20_000))
      const side = random.below(2) === 0 ? a : b
      switch (random.below(7)) {
        case 0:
          side.session.restart()
          break
        case 1:
          side.host.moveTo(router())
          break
        case 2:
          side.host.suspend(random.below(60_000))
          break
        case 3:
          await side.session.close()
          await lab.run(random.below(300))
          side.traversal.connect({ peer: side === a ? 'b' : 'a' })
          break
        case 4:
          a.session.restart()
          b.session.restart()
          break
        case 5:
          for (let i = 0; i < 100; i++) say(side, 'noise')
          break
        default:
          side.host.moveTo(router())
          await lab.run(random.below(100))
          side.session.restart()
      }
      // Whoever went idle, after a peer that left or an attempt that failed, is asked for again.
      for (const { session, traversal } of sides) if (session.state === 'idle') traversal.connect({ peer: session.peer })
    }
    await lab.run(100_000)
    // An attempt may have failed while the other side slept: that ends it, until it is asked for again.
    for (const { session, traversal } of sides) if (session.state === 'idle') traversal.connect({ peer: session.peer })
    await lab.run(20_000)
    a.inbox.length = b.inbox.length = 0
    for (let i = 0; i < 20; i++) {
      say(a, 'from a')
      say(b, 'from b')
    }
    await lab.run(1_000)
    expect([a.session.state, b.session.state]).toEqual(['connected', 'connected'])
    expect(a.inbox.length).toBeGreaterThan(10)
    expect(b.inbox.length).toBeGreaterThan(10)
    for (const { network, traversal } of sides) {
      expect(network.timers.size).toBeLessThanOrEqual(2)
      await traversal.close()
      expect(network.left).toEqual(NOTHING_LEFT)
    }
  })
})
