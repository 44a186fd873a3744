import { describe, expect, it } from 'vitest'
import type { Lab, LabHost, NatOptions, Router } from '../../src/lab/index.ts'
import { nat as presets } from '../../src/lab/index.ts'
import { createLab, join, type Peer } from './meeting.ts'
import { relayedPeer, type ServedRelay, type Stream, serveRelay, stream, turn } from './relays.ts'

interface Stage {
  readonly lab: Lab
  readonly relay: ServedRelay
  readonly a: Peer
  readonly b: Peer
  readonly host: LabHost
  readonly router: Router
}

const EASY = presets.portRestricted
/** Lets the check in that is not lost. */
const OPEN = presets.fullCone
const HARD = presets.symmetricRandom

/** Two peers behind NATs with a relay; `wall` keeps their own packets from each other, as a firewall would. */
async function relayed(
  seed: number,
  nats: readonly [NatOptions, NatOptions],
  wall = false,
): Promise<Stage & { lift: () => void; outside: readonly string[] }> {
  const lab = createLab({ seed })
  const relay = await serveRelay(lab, 'relay.example.net')
  const [ra, rb] = [lab.router('ra', { nat: nats[0] }), lab.router('rb', { nat: nats[1] })]
  const outside = [ra, rb].flatMap(({ addresses }) => addresses.map(({ ip }) => ip))
  const lift = wall ? lab.filter(({ host, to }) => ((host === 'a' || host === 'b') && outside.includes(to.ip) ? 'drop' : 'pass')) : () => {}
  const host = lab.host('a', { behind: ra })
  const servers = [turn('relay.example.net')]
  const a = await relayedPeer(host, 'b', servers)
  const b = await relayedPeer(lab.host('b', { behind: rb }), 'a', servers)
  join(lab, a, b)
  await lab.until(Promise.all([a.session.ready, b.session.ready]))
  return { lab, relay, a, b, host, router: ra, lift, outside }
}

/** How many overtook one that was sent before them, at either end: those that were on the longer way when the shorter one was taken. */
function kinds(flow: Stream): readonly (readonly string[])[] {
  return [flow.paths.a.map(({ kind }) => kind), flow.paths.b.map(({ kind }) => kind)]
}

/** Nothing came twice, and no silence was long. */
function expectGoesOn(flow: Stream): void {
  for (const end of ['a', 'b'] as const) {
    expect(flow.flow(end).doubled).toEqual([])
    expect(flow.flow(end).longestGap).toBeLessThan(2_000)
  }
}

describe('from a relay to a direct path, with 1,000 datagrams a second each way', () => {
  it.each([1, 2, 3, 4, 5, 6])('a firewall that is lifted costs nothing, seed %i', async (seed) => {
    const { lab, a, b, lift } = await relayed(seed, [EASY, EASY], true)
    await lab.run(30_000)
    expect([a.session.path?.kind, b.session.path?.kind]).toEqual(['relay', 'relay'])
    const flow = stream(lab, a, b)
    await lab.run(2_000)
    lift()
    await lab.run(20_000)
    flow.stop()
    await lab.run(1_000)
    expect([a.session.path?.kind, b.session.path?.kind]).toEqual(['direct', 'direct'])
    expect(kinds(flow)).toEqual([['direct'], ['direct']])
    for (const end of ['a', 'b'] as const) {
      expect(flow.flow(end)).toMatchObject({ lost: [], doubled: [] })
      // The way over the relay takes 40 ms, the direct one 20: what was on the longer one is overtaken, and no more.
      expect(flow.flow(end).overtaken).toBeLessThanOrEqual(21)
      expect(flow.flow(end).longestGap).toBeLessThanOrEqual(2)
    }
  })

  it.each(['a', 'b'])(
    'nor does it where the checks get lost that %s sends back: no data goes where the peer could not take it yet',
    async (slow) => {
      const { lab, a, b, lift, outside } = await relayed(12, [OPEN, OPEN], true)
      await lab.run(3_000)
      const flow = stream(lab, a, b)
      await lab.run(1_000)
      lift()
      let asked = false
      let dropped = 0
      lab.filter(({ host, to, data }) => {
        const isRequest = data[0] === 0 && data[1] === 1
        if (!isRequest || (host !== 'a' && host !== 'b') || !outside.includes(to.ip)) return 'pass'
        if (host !== slow) asked = true
        if (host !== slow || !asked || dropped === 4) return 'pass'
        dropped++
        return 'drop'
      })
      await lab.run(20_000)
      flow.stop()
      await lab.run(1_000)
      expect(dropped).toBe(4)
      expect([a.session.path?.kind, b.session.path?.kind]).toEqual(['direct', 'direct'])
      for (const end of ['a', 'b'] as const) expect(flow.flow(end)).toMatchObject({ lost: [], doubled: [] })
    },
  )

  it('a host that moves from behind a hard NAT to an easy one goes on, and directly', async () => {
    const { lab, a, b, host } = await relayed(7, [HARD, EASY])
    const flow = stream(lab, a, b)
    await lab.run(2_000)
    expect(a.session.path?.kind).toBe('relay')
    host.moveTo(lab.router('easy', { nat: EASY }))
    await lab.run(20_000)
    flow.stop()
    await lab.run(1_000)
    expect([a.session.path?.kind, b.session.path?.kind]).toEqual(['direct', 'direct'])
    expectGoesOn(flow)
  })

  it('a network that is added beside the one at hand takes over without a loss', async () => {
    const { lab, a, b, host } = await relayed(8, [HARD, EASY])
    const flow = stream(lab, a, b)
    await lab.run(2_000)
    host.addInterface({ behind: lab.router('easy', { nat: EASY }) })
    await lab.run(20_000)
    flow.stop()
    await lab.run(1_000)
    expect(kinds(flow).map((all) => all.at(-1))).toEqual(['direct', 'direct'])
    for (const end of ['a', 'b'] as const) expect(flow.flow(end)).toMatchObject({ lost: [], doubled: [] })
  })

  it('a NAT that starts again goes over the relay until there is a direct path anew', async () => {
    const { lab, a, b, router } = await relayed(9, [EASY, EASY])
    await lab.run(3_000)
    expect(a.session.path?.kind).toBe('direct')
    const flow = stream(lab, a, b)
    await lab.run(2_000)
    router.reboot()
    await lab.run(60_000)
    flow.stop()
    await lab.run(1_000)
    expect([a.session.path?.kind, b.session.path?.kind]).toEqual(['direct', 'direct'])
    expectGoesOn(flow)
  })

  it('a NAT that comes back with another address is found out by the silence, and the path is direct again within seconds', async () => {
    const { lab, a, b, router } = await relayed(11, [EASY, EASY])
    await lab.run(3_000)
    expect(a.session.path?.kind).toBe('direct')
    const flow = stream(lab, a, b)
    await lab.run(2_000)
    router.reboot({ renumber: true })
    await lab.run(4_000)
    flow.stop()
    // No keep-alive of the mapping was due in this time.
    expect(b.session.path).toMatchObject({ kind: 'direct', remote: { ip: router.addresses[0]?.ip } })
    expect(a.session.path?.kind).toBe('direct')
    for (const end of ['a', 'b'] as const) expect(flow.flow(end).longestGap).toBeLessThan(2_000)
  })

  it('a direct path that dies gives way to the relay within two seconds', async () => {
    const { lab, a, b } = await relayed(10, [EASY, EASY])
    await lab.run(3_000)
    const outside = [a, b].map(({ session }) => session.path?.remote.ip)
    const flow = stream(lab, a, b)
    await lab.run(2_000)
    lab.filter(({ host, to }) => ((host === 'a' || host === 'b') && outside.includes(to.ip) ? 'drop' : 'pass'))
    await lab.run(10_000)
    flow.stop()
    await lab.run(1_000)
    expect([a.session.path?.kind, b.session.path?.kind]).toEqual(['relay', 'relay'])
    for (const end of ['a', 'b'] as const) expect(flow.flow(end).longestGap).toBeLessThan(2_000)
  })
})
