/** Random sequences of what happens to routers, relays and hosts: what is offered as proven is let in, and what can be mapped is. */
import { describe, expect, it } from 'vitest'
import type { Traversal } from '../../src/index.ts'
import { createLab, type LabHost, type NatPreset, type Router } from '../../src/lab/index.ts'
import { loadXml } from '../../src/pmp/upnp/index.ts'
import { PROTOCOLS, speaking, traverse } from './mapped.ts'
import { join, makePeer, meet, SERVER, serveStun } from './meeting.ts'
import { serveRelay, startRelay, turn } from './relays.ts'

const NATS: readonly NatPreset[] = ['portRestricted', 'symmetricRandom', 'symmetricSequential', 'fullCone', 'linux']
const EVENTS = ['ghost', 'unghost', 'reboot', 'renumber', 'restart', 'relay', 'roam', 'sleep', 'loss', 'silent'] as const
const RUNS = Number(process.env.CAMPAIGN_RUNS ?? 90)
const FIRST = Number(process.env.CAMPAIGN_SEED ?? 1)

/** Mulberry32. */
function chance(seed: number): (below: number) => number {
  let state = seed * 0x9e3779b1
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

/** Open to everybody, now, to this socket. */
function openTo(router: Router, sockets: readonly string[]): readonly string[] {
  return router
    .mappings()
    .flatMap(({ internal, external, permitted }) => (permitted.length === 0 && sockets.includes(internal.key) ? [external.key] : []))
}

interface Side {
  readonly host: LabHost
  readonly traversal: Traversal
  at: Router
}

/** @param relayed otherwise nobody proves anything but peers */
async function sequence(seed: number, relayed: boolean): Promise<string | undefined> {
  const draw = chance(seed)
  const pick = <T>(from: readonly T[]): T => from[draw(from.length)] as T
  const log: string[] = []
  const lab = createLab({ seed })
  await serveStun(lab)
  const relays = [await serveRelay(lab, 'relay1'), await serveRelay(lab, 'relay2')]
  const dead = new Set<(typeof relays)[number]>()
  const routers = ['r1', 'r2'].map((name) => {
    const nat = pick(NATS)
    const spoken = PROTOCOLS.filter(() => draw(3) > 0)
    const protocols = spoken.length === 0 ? PROTOCOLS : spoken
    log.push(`${name}: ${nat}, ${protocols.join(' ')}`)
    return lab.router(name, { nat, portMapping: speaking(protocols) })
  })
  const port = draw(2) === 0 ? { port: 4_000 } : {}
  const count = 1 + draw(2)
  const sides: Side[] = []
  for (let i = 0; i < count; i++) {
    const at = pick(routers)
    const host = lab.host(`h${i}`, { behind: at })
    sides.push({
      host,
      at,
      traversal: await lab.until(traverse(host, { servers: relayed ? [SERVER, turn('relay1'), turn('relay2')] : [SERVER], ...port })),
    })
  }
  log.push(`${count} hosts, ${JSON.stringify(port)}, at ${sides.map(({ at }) => at.name)}`)
  const peers = await Promise.all(
    relayed
      ? []
      : sides.map(async ({ traversal }, i) => {
          const a = meet(`h${i}`, traversal, `p${i}`)
          const b = await lab.until(makePeer(lab.host(`p${i}`, { behind: lab.router(`of p${i}`, { nat: pick(NATS) }) }), `h${i}`))
          join(lab, a, b)
          return b
        }),
  )
  const ghosts = new Set<Router>()
  const check = (when: string): string | undefined => {
    for (const { host, traversal, at } of sides) {
      for (const { proven, internal, state, failure } of traversal.status().mappings) {
        const open = openTo(at, traversal.status().sockets)
        if (proven !== undefined && !open.includes(proven))
          return `${when}: ${host.name} offers ${proven} for ${internal}, open are ${open.join(' ')}, asked: ${state} ${failure}`
      }
    }
    return undefined
  }
  const steps = 1 + draw(6)
  for (let i = 0; i < steps; i++) {
    const router = pick(routers)
    const side = pick(sides)
    const event = pick(relayed ? EVENTS : EVENTS.filter((name) => !name.includes('ghost')))
    let told: unknown = router.name
    if (event === 'ghost' || event === 'unghost') {
      if (event === 'ghost') ghosts.add(router)
      else ghosts.delete(router)
      router.portMapping?.set({ ghost: event === 'ghost' })
    } else if (event === 'reboot' || event === 'renumber')
      router.reboot({ renumber: event === 'renumber', downFor: pick([0, 3_000, 20_000]) })
    else if (event === 'restart') router.portMapping?.restart({ announce: draw(2) === 0 })
    else if (event === 'relay') {
      const relay = pick(relays)
      told = relay.name
      if (dead.has(relay)) {
        dead.delete(relay)
        relay.relay = await startRelay(relay.host)
      } else if (dead.size === 0) {
        dead.add(relay)
        await lab.until(relay.relay.close())
      }
    } else if (event === 'roam') {
      side.at = router
      side.host.moveTo(router)
      told = `${side.host.name} to ${router.name}`
    } else if (event === 'sleep') {
      const time = pick([5_000, 120_000, 3 * 3_600_000])
      told = `${side.host.name} ${time}`
      side.host.suspend(time)
      await lab.run(time)
    } else if (event === 'loss') {
      side.host.link.set({ loss: 0.2 })
      told = side.host.name
    } else if (event === 'silent') {
      router.portMapping?.set({ silent: true, ghost: ghosts.has(router) })
      await lab.run(pick([2_000, 30_000]))
      router.portMapping?.set({ silent: false, ghost: ghosts.has(router) })
    }
    // A router that starts twice in a short time looks as if it had started once: clocks may differ by a sixteenth (RFC 6887 8.5).
    const wait = Math.max(/^re[bns]/.test(event) ? 40_000 : 0, pick([0, 50, 700, 5_000, 40_000, 120_000]))
    log.push(`${event} ${told}, ${wait} ms`)
    await lab.run(wait)
  }
  await lab.run(90_000)
  let broken = check('90 s later')
  if (broken === undefined) {
    for (const router of routers) router.portMapping?.set({ ghost: false })
    for (const { host } of sides) host.link.set({ loss: 0 })
    for (const relay of dead) relay.relay = await startRelay(relay.host)
    // Doubling from a minute, a router that had nothing to give is asked again.
    for (
      let waited = 0;
      waited < 35 && relayed && sides.some(({ traversal }) => traversal.status().mappings.every(({ proven }) => proven === undefined));
      waited++
    )
      await lab.run(60_000)
    broken = check('when all is well')
    for (const { host, traversal } of sides) {
      const { mappings } = traversal.status()
      if (relayed && mappings.every(({ proven }) => proven === undefined))
        broken ??= `${host.name} has no mapping: ${JSON.stringify(mappings)}`
    }
  }
  for (const { traversal } of [...sides, ...peers]) await lab.until(traversal.close())
  await lab.run(3_000)
  return broken === undefined ? undefined : `seed ${seed}: ${broken}\n  ${log.join('\n  ')}`
}

describe('random sequences', () => {
  it('nothing dead is offered a minute and a half later, and what can be mapped is', async () => {
    await loadXml()
    const failures: string[] = []
    for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
      const failure = await sequence(seed, seed % 3 > 0)
      if (failure !== undefined) failures.push(failure)
    }
    expect(failures).toEqual([])
  }, 600_000)
})
