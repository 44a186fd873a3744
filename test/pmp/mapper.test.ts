import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { ErrorCode } from '../../src/errors.ts'
import { Address } from '../../src/net/index.ts'
import type { Lease } from '../../src/pmp/lease.ts'
import type { Proof } from '../../src/pmp/proof.ts'
import { MAPPING_PROTOCOLS } from '../../src/pmp/protocol.ts'
import { type Answer, interfaceAddress, route, type Scene, type SceneOptions, scene, told } from './scripted.ts'

const HERE = Address.of('192.168.1.2', 5000)
const ANYWHERE = Address.any(4, 5000)

async function mapped(internal = HERE, options: SceneOptions = {}): Promise<Scene & { readonly lease: Lease }> {
  const at = scene(options)
  at.mapper.follow()
  const lease = at.mapper.add({ transport: 'udp', internal })
  await at.lab.run(1_000)
  return { ...at, lease }
}

describe('leases', () => {
  it('one port has one lease, whoever asks; the other transport has another', async () => {
    const { mapper, lease, lab, router } = await mapped()
    expect(mapper.add({ transport: 'udp', internal: HERE })).toBe(lease)
    const tcp = mapper.add({ transport: 'tcp', internal: HERE })
    await lab.run(100)
    expect([told(tcp), router.ports]).toEqual(['203.0.113.9:5000 by pcp, unknown', ['udp 5000', 'tcp 5000']])
  })

  it('an address that no router stands before has none, at once', async () => {
    const { lease, lab } = await mapped(Address.of('203.0.113.200', 5000))
    expect(lease.failure).toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE', message: 'no router stands before this address' })
    expect(lab.clock.now()).toBe(1_000)
  })

  it('one more does not have the others asked again', async () => {
    const { mapper, lab, router } = await mapped()
    mapper.add({ transport: 'udp', internal: HERE.withPort(5001) })
    await lab.run(100)
    expect(router.requests).toEqual(['pcp map udp 5000', 'pcp map udp 5001'])
  })

  it('all of one router share its clients', async () => {
    const { mapper, lab, clients } = await mapped()
    mapper.add({ transport: 'udp', internal: HERE.withPort(5001) })
    await lab.run(100)
    expect(clients).toHaveLength(3)
  })

  it('what the wish says goes to the router', async () => {
    const at = scene({ speaks: ['pcp'] })
    let asked: unknown
    at.router.scripts.pcp.map = (request) => {
      asked = request
      return {}
    }
    at.mapper.add({ transport: 'tcp', internal: HERE, externalPort: 80, exact: true, allow: ['203.0.113.0/24'] })
    await at.lab.run(100)
    expect(asked).toEqual({
      transport: 'tcp',
      internal: HERE,
      externalPort: 80,
      exact: true,
      allow: ['203.0.113.0/24'],
      lifetime: 7_200_000,
    })
  })
})

describe('another network', () => {
  it('the same router is asked whether it still has the mapping', async () => {
    const at = await mapped()
    at.changeNetwork([...at.state.interfaces, interfaceAddress('2001:db8::2')], at.state.routes)
    await at.lab.run(100)
    expect(at.router.requests).toEqual(['pcp map udp 5000', 'pcp renew udp 5000'])
  })

  it('a router that answers after it changed is not asked twice', async () => {
    const at = scene()
    at.mapper.follow()
    at.mapper.add({ transport: 'udp', internal: HERE })
    await at.lab.run(5)
    at.changeNetwork(at.state.interfaces, at.state.routes)
    await at.lab.run(100)
    expect(at.router.requests).toEqual(['pcp map udp 5000'])
  })

  it('a router that was silent on another network is asked anew as soon as that is known', async () => {
    const at = scene({ speaks: ['pcp'] })
    at.router.scripts.pcp.map = 'silent'
    at.mapper.follow()
    const lease = at.mapper.add({ transport: 'udp', internal: HERE })
    await at.lab.run(1_000)
    at.router.scripts.pcp.map = {}
    at.changeNetwork(at.state.interfaces, at.state.routes)
    await at.lab.run(4_000)
    expect(told(lease)).toContain('by pcp')
  })

  it('where our address is gone, nothing is deleted: its router is not there', async () => {
    const at = await mapped(ANYWHERE)
    const { clients } = at
    at.changeNetwork([interfaceAddress('10.1.0.2')], [route('10.1.0.1')])
    await at.lab.run(1_500)
    expect(at.router.requests).toEqual(['pcp map udp 5000'])
    expect(at.routerAt('10.1.0.1').ports).toEqual(['udp 5000'])
    expect(at.lease.grant?.internal.key).toBe('10.1.0.2:5000')
    expect(clients.map(({ closed }) => closed)).toEqual([true, true, true, false, false, false])
  })

  it('its mapping is not offered any more from the moment that it is known', async () => {
    const at = await mapped(ANYWHERE)
    at.routerAt('10.1.0.1').scripts.pcp.delay = 2_000
    at.routerAt('10.1.0.1').scripts['nat-pmp'].probe = 'silent'
    at.routerAt('10.1.0.1').scripts.upnp.probe = 'silent'
    at.changes.length = 0
    at.changeNetwork([interfaceAddress('10.1.0.2')], [route('10.1.0.1')])
    await at.lab.run(100)
    expect(at.changes).toEqual(['asking'])
  })

  it('where the gateway is another one, the old one deletes and the new one is asked', async () => {
    const at = await mapped()
    at.changeNetwork(at.state.interfaces, [route('192.168.1.254')])
    await at.lab.run(1_000)
    expect(at.router.ports).toEqual([])
    expect(at.routerAt('192.168.1.254').ports).toEqual(['udp 5000'])
    expect(at.clients.slice(0, 3).every(({ closed }) => closed)).toBe(true)
  })

  it('an old gateway that does not answer is left alone after a second', async () => {
    const at = await mapped()
    at.router.scripts.pcp.unmap = 'silent'
    at.changeNetwork(at.state.interfaces, [route('192.168.1.254')])
    await at.lab.run(500)
    expect(at.routerAt('192.168.1.254').ports).toEqual(['udp 5000'])
    expect(at.clients[0]?.closed).toBe(false)
    await at.lab.run(600)
    expect(at.clients[0]?.closed).toBe(true)
  })

  it('closing meanwhile closes the old one, too', async () => {
    const at = await mapped()
    at.router.scripts.pcp.unmap = 'silent'
    at.changeNetwork(at.state.interfaces, [route('192.168.1.254')])
    await at.lab.run(500)
    await at.lab.until(at.mapper.close())
    at.timers.clear()
    expect(at.clients.every(({ closed }) => closed)).toBe(true)
  })

  it('where a better route appears, the first router deletes, though it is still there', async () => {
    const at = await mapped(ANYWHERE)
    at.changeNetwork(
      [...at.state.interfaces, interfaceAddress('10.1.0.2', { name: 'eth1' })],
      [route('10.1.0.1', 'eth1'), route('192.168.1.1')],
    )
    await at.lab.run(1_000)
    expect(at.router.ports).toEqual([])
    expect(at.routerAt('10.1.0.1').ports).toEqual(['udp 5000'])
    expect(at.clients.slice(0, 3).some(({ closed }) => closed)).toBe(false)
  })

  it('where the router is gone, there is none, until it is back', async () => {
    const at = await mapped()
    at.changeNetwork([], [])
    await at.lab.run(100)
    expect(told(at.lease)).toBe('ERR_MAPPING_UNAVAILABLE')
    at.changeNetwork([interfaceAddress('192.168.1.2')], [route('192.168.1.1')])
    await at.lab.run(100)
    expect(told(at.lease)).toContain('by pcp')
  })

  it('a route that changes while no address does is noticed within a minute', async () => {
    const at = await mapped()
    at.state.routes = [route('192.168.1.254')]
    await at.lab.run(61_000)
    expect(at.routerAt('192.168.1.254').ports).toEqual(['udp 5000'])
  })

  it('routes that stay disturb nothing', async () => {
    const at = await mapped()
    await at.lab.run(600_000)
    expect(at.router.requests).toEqual(['pcp map udp 5000'])
  })

  it('many changes at once are one', async () => {
    const at = await mapped()
    for (let i = 0; i < 20; i++) at.changeNetwork(at.state.interfaces, at.state.routes)
    await at.lab.run(1_000)
    expect(at.router.requests.length).toBeLessThanOrEqual(3)
  })
})

describe('close', () => {
  it('deletes all, leaves no timer, and hears of no change any more', async () => {
    const at = await mapped()
    at.mapper.add({ transport: 'udp', internal: HERE.withPort(5001) })
    await at.lab.run(100)
    await at.lab.until(at.mapper.close())
    at.changeNetwork([interfaceAddress('10.1.0.2')], [route('10.1.0.1')])
    await at.lab.run(10_000)
    expect([at.router.ports, at.timers.size, at.mapper.leases, at.routers.size]).toEqual([[], 0, [], 1])
    expect(at.clients.every(({ closed }) => closed)).toBe(true)
  })

  it('takes a second when the router is silent, and no longer', async () => {
    const at = await mapped()
    at.router.scripts.pcp.unmap = 'silent'
    const from = at.lab.clock.now()
    await at.lab.until(at.mapper.close())
    expect(at.lab.clock.now() - from).toBe(1_000)
    expect([at.timers.size, at.clients.every(({ closed }) => closed)]).toEqual([0, true])
  })

  it('is the same when it is called twice: both wait for the deletion', async () => {
    const at = await mapped()
    void at.mapper.close()
    await at.lab.until(at.mapper.close())
    expect(at.router.ports).toEqual([])
  })

  it('waits for what was removed just before', async () => {
    const at = await mapped()
    void at.mapper.remove(at.lease)
    await at.lab.until(at.mapper.close())
    expect(at.router.ports).toEqual([])
  })

  it('before anything was asked asks for nothing', async () => {
    const at = scene()
    at.mapper.add({ transport: 'udp', internal: HERE })
    await at.lab.until(at.mapper.close())
    await at.lab.run(1_000)
    expect([at.router.log, at.timers.size]).toEqual([[], 0])
  })
})

describe('whatever happens', () => {
  const rejections: unknown[] = []
  const rejected = (reason: unknown): void => void rejections.push(reason)
  beforeAll(() => void process.on('unhandledRejection', rejected))
  afterAll(() => void process.off('unhandledRejection', rejected))
  afterEach(() => expect(rejections.splice(0)).toEqual([]))

  const CODES = [
    'ERR_MAPPING_UNAVAILABLE',
    'ERR_MAPPING_REFUSED',
    'ERR_MAPPING_CAPACITY',
    'ERR_MAPPING_PORT',
  ] as const satisfies ErrorCode[]
  const answer = fc.oneof(
    { weight: 4, arbitrary: fc.record({ lifetime: fc.constantFrom(2_000, 120_000, 7_200_000, Number.POSITIVE_INFINITY) }) },
    { weight: 1, arbitrary: fc.constant<Answer>({ ip: '203.0.113.50', port: 6_000 }) },
    { weight: 2, arbitrary: fc.constantFrom<Answer>(...CODES, 'silent') },
  )
  const protocol = fc.constantFrom(...MAPPING_PROTOCOLS)
  const delay = fc.constantFrom(2, 10, 30, 70, 400)
  const port = fc.constantFrom(5000, 5001)
  const NETWORKS = [
    [[interfaceAddress('192.168.1.2')], [route('192.168.1.1')]],
    [[interfaceAddress('192.168.1.2')], [route('192.168.1.254')]],
    [
      [interfaceAddress('192.168.1.2'), interfaceAddress('10.1.0.2', { name: 'eth1' })],
      [route('10.1.0.1', 'eth1'), route('192.168.1.1')],
    ],
    [[interfaceAddress('10.1.0.2', { name: 'eth1' })], [route('10.1.0.1', 'eth1')]],
    [[], []],
  ] as const
  const step = fc.oneof(
    fc.record({ kind: fc.constant('script' as const), protocol, delay, map: answer, probe: answer }),
    fc.record({ kind: fc.constant('restart' as const), protocol, unheard: fc.boolean() }),
    fc.record({ kind: fc.constant('proof' as const), proof: fc.constantFrom<Proof['kind']>('proven', 'failed', 'unknown') }),
    fc.record({ kind: fc.constant('network' as const), which: fc.nat(NETWORKS.length - 1) }),
    fc.record({ kind: fc.constantFrom('add' as const, 'remove' as const, 'doubt' as const, 'prove' as const), port }),
  )
  const steps = fc.array(fc.tuple(step, fc.constantFrom(0, 1, 7, 25, 60, 300, 5_000, 70_000, 4_000_000)), { maxLength: 24 })

  it('nothing is left that no lease holds, and no two protocols ask for one port at once', async () => {
    const run = async (
      script: [typeof step extends fc.Arbitrary<infer S> ? S : never, number][],
      deletes: boolean,
      seed: number,
    ): Promise<void> => {
      let proof: Proof['kind'] = 'unknown'
      const at = scene({ seed, prove: () => proof })
      const { lab, mapper } = at
      /** Our addresses that went away: what was granted there may end with its lifetime. */
      const abandoned = new Set<string>()
      mapper.follow()
      const wish = (number: number) => ({ transport: 'udp', internal: ANYWHERE.withPort(number) }) as const
      mapper.add(wish(5000))
      for (const [what, wait] of script) {
        switch (what.kind) {
          case 'script':
            for (const router of at.routers.values()) {
              const { delay: ms, map, probe } = what
              Object.assign(router.scripts[what.protocol], { delay: ms, map, probe })
            }
            break
          case 'restart':
            for (const router of at.routers.values()) router.restart()
            if (what.unheard) abandoned.add('restart')
            else for (const client of at.clients) if (!client.closed) client.noticeRestart()
            break
          case 'proof':
            proof = what.proof
            break
          case 'network': {
            const [interfaces, routes] = NETWORKS[what.which]!
            for (const { address } of at.state.interfaces) {
              if (!interfaces.some((one) => one.address.equals(address)))
                for (const client of at.clients) if (client.uplink.local.address.equals(address)) abandoned.add(client.uplink.router.ip)
            }
            at.changeNetwork([...interfaces], [...routes])
            break
          }
          case 'add':
            mapper.add(wish(what.port))
            break
          default:
            for (const lease of mapper.leases) {
              if (lease.request.internal.port !== what.port) continue
              if (what.kind === 'remove') void mapper.remove(lease)
              else if (what.kind === 'doubt') lease.doubt()
              else lease.proveAgain()
            }
        }
        await lab.run(wait)
      }
      for (const router of at.routers.values()) expect(router.clashes).toEqual([])
      if (deletes) {
        // Everything that is under way comes to an end.
        for (const router of at.routers.values()) for (const name of MAPPING_PROTOCOLS) router.scripts[name].delay = 10
        await lab.run(30_000)
        for (const [ip, router] of at.routers) {
          const held = mapper.leases.filter((lease) => lease.grant !== undefined && lease.router?.uplink.router.ip === ip)
          const holding = held.map(({ request }) => `udp ${request.internal.port}`)
          if (!abandoned.has(ip)) for (const one of router.ports) expect(holding).toContain(one)
          if (abandoned.has('restart')) continue
          for (const { request, expiresAt } of held)
            if (expiresAt > lab.clock.now()) expect(router.ports).toContain(`udp ${request.internal.port}`)
        }
      }
      await lab.until(mapper.close())
      at.timers.clear()
      expect(at.clients.every(({ closed }) => closed)).toBe(true)
      // What was on its way to the router when a second was over.
      await lab.run(10_000)
      expect(at.timers.size).toBe(0)
      for (const [ip, router] of at.routers) if (deletes && !abandoned.has(ip)) expect(router.ports).toEqual([])
    }
    await fc.assert(fc.asyncProperty(steps, fc.boolean(), fc.nat(1_000), run), {
      seed: Number(process.env.PSEED ?? 5),
      numRuns: Number(process.env.PRUNS ?? 400),
    })
  })
})
