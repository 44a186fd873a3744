import { describe, expect, it } from 'vitest'
import type { NatPreset, PortMappingOptions } from '../../src/lab/index.ts'
import { type RouterSurvey, surveyRouters } from '../../src/pmp/index.ts'
import { loadXml } from '../../src/pmp/upnp/index.ts'
import { surveyRouters as publicly } from '../../src/port-mapping.ts'
import { CountingNetwork } from '../traversal/counting-network.ts'
import { type Home, home, speaking } from '../traversal/mapped.ts'
import { createLab } from '../traversal/meeting.ts'

async function survey(at: Home): Promise<{ readonly routers: readonly RouterSurvey[]; readonly ms: number }> {
  const since = at.lab.clock.now()
  const routers = await at.lab.until(surveyRouters(at.host))
  return { routers, ms: at.lab.clock.now() - since }
}

async function dual(): Promise<Home> {
  await loadXml()
  const lab = createLab({ families: [4, 6] })
  const router = lab.router('home', { portMapping: true })
  return { lab, router, host: lab.host('a', { behind: router }) }
}

async function ofHome(options: PortMappingOptions | boolean, nat?: NatPreset): Promise<RouterSurvey> {
  const { routers } = await survey(await home(options, nat))
  const found = routers.find(({ family }) => family === 4)
  if (found === undefined) throw new Error('no router over IPv4')
  return found
}

describe('a survey of the routers', () => {
  it('tells what each protocol says, over IPv4 and IPv6, and maps nothing', async () => {
    const at = await dual()
    const { routers } = await survey(at)
    const [four, six] = [routers.find(({ family }) => family === 4), routers.find(({ family }) => family === 6)]
    const external = at.router.addresses.find(({ family }) => family === 4)?.ip
    expect(four).toEqual({
      interface: expect.any(String),
      family: 4,
      address: at.host.addresses.find(({ family }) => family === 4)?.ip,
      router: '192.168.1.1',
      protocols: [
        { protocol: 'pcp', answers: true, ms: expect.any(Number) },
        { protocol: 'nat-pmp', answers: true, ms: expect.any(Number), external, reach: 'public' },
        {
          protocol: 'upnp',
          answers: true,
          ms: expect.any(Number),
          external,
          reach: 'public',
          model: expect.any(String),
          service: 'WANIPConnection:2',
          state: 'Connected',
        },
      ],
    })
    expect(six?.protocols).toMatchObject([
      { protocol: 'pcp', answers: true },
      { protocol: 'upnp', answers: true, service: expect.stringContaining('WANIPv6FirewallControl') },
    ])
    expect(at.router.portMapping?.mappings).toEqual([])
  })

  it('is over within 4 s where nobody answers', async () => {
    const { routers, ms } = await survey(await home(false))
    expect(ms).toBeLessThanOrEqual(4_000)
    expect(routers).not.toEqual([])
    for (const { protocols } of routers)
      for (const one of protocols) expect(one).toMatchObject({ answers: false, code: 'ERR_MAPPING_UNAVAILABLE' })
  })

  it('is over within 6 s where a router answers a byte at a time', async () => {
    const { ms } = await survey(await home(speaking(['upnp'], { faults: { malformed: { upnp: 'drip' } } })))
    expect(ms).toBeLessThanOrEqual(6_000)
  })

  it('tells a router that says no from one that says nothing', async () => {
    const { protocols } = await ofHome(speaking(['nat-pmp'], { faults: { offline: true } }))
    expect(protocols).toMatchObject([
      { protocol: 'pcp', answers: false, code: 'ERR_MAPPING_UNAVAILABLE' },
      { protocol: 'nat-pmp', answers: false, code: 'ERR_MAPPING_CAPACITY' },
      { protocol: 'upnp', answers: false, code: 'ERR_MAPPING_UNAVAILABLE' },
    ])
  })

  it('tells what the router’s own address shows', async () => {
    for (const [externalAddress, reach] of [
      ['100.64.3.4', 'shared'],
      ['10.1.2.3', 'private'],
    ] as const) {
      const { protocols } = await ofHome({ faults: { externalAddress } })
      expect(protocols.find(({ protocol }) => protocol === 'nat-pmp')).toMatchObject({ external: externalAddress, reach })
    }
  })

  it('finds no router where there is none', async () => {
    const lab = createLab()
    expect(await lab.until(surveyRouters(lab.host('open')))).toEqual([])
  })

  it('leaves no socket and no timer, however it ends', async () => {
    const at = await dual()
    const network = new CountingNetwork(at.host)
    await at.lab.until(surveyRouters(network))
    expect(network.left).toEqual({ timers: 0, sockets: 0, watchers: 0, lookups: 0 })
    at.router.portMapping?.set({ silent: true })
    const aborted = new AbortController()
    const failed = surveyRouters(network, { signal: aborted.signal }).catch(() => 'failed')
    await at.lab.run(1_000)
    expect(network.sockets.size).toBeGreaterThan(0)
    aborted.abort()
    expect(await failed).toBe('failed')
    expect(network.left).toEqual({ timers: 0, sockets: 0, watchers: 0, lookups: 0 })
  })

  it('ends at once when it is aborted, with the signal’s reason', async () => {
    const at = await home(false)
    const aborted = new AbortController()
    const reason = new Error('enough')
    const failed = surveyRouters(at.host, { signal: aborted.signal }).catch((error: unknown) => error)
    await at.lab.run(1_000)
    aborted.abort(reason)
    expect(await failed).toBe(reason) // the clock stands still
    await expect(surveyRouters(at.host, { signal: aborted.signal })).rejects.toBe(reason)
  })

  it('is there for other programs as sallyport/pmp', async () => {
    const at = await dual()
    const found = await at.lab.until(publicly({ network: at.host }))
    expect(found.map(({ family }) => family).toSorted()).toEqual([4, 6])
    await expect(publicly({ nonsense: 1 } as object)).rejects.toThrow('option nonsense is not known')
  })
})
