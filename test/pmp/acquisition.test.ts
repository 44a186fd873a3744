import { describe, expect, it } from 'vitest'
import type { SallyportError } from '../../src/errors.ts'
import { createLab, type Lab } from '../../src/lab/index.ts'
import { Address, Timers } from '../../src/net/index.ts'
import { Acquisition } from '../../src/pmp/acquisition.ts'
import { MAPPING_PROTOCOLS, type MappingProtocol, type MappingRequest } from '../../src/pmp/protocol.ts'
import { interfaceAddress, ModelRouter, type Script, ScriptedClient } from './scripted.ts'

interface Trial {
  readonly lab: Lab
  readonly router: ModelRouter
  readonly timers: Timers
  readonly acquisition: Acquisition
  /** `12 pcp 5000` and the like, or an error's code. */
  readonly results: string[]
  readonly late: string[]
  readonly failure: () => SallyportError | undefined
}

const REQUEST: MappingRequest = { transport: 'udp', internal: Address.of('192.168.1.2', 5000), externalPort: 5000, lifetime: 7_200_000 }

function begin(
  scripts: Partial<Record<MappingProtocol, Partial<Script>>>,
  earlier: Map<MappingProtocol, SallyportError> = new Map(),
): Trial {
  const lab = createLab()
  const network = lab.host('pc')
  const timers = new Timers(network.clock)
  const router = new ModelRouter(lab, [])
  const uplink = { local: interfaceAddress('192.168.1.2'), router: Address.of('192.168.1.1', 0) }
  const clients = MAPPING_PROTOCOLS.filter((protocol) => scripts[protocol] !== undefined).map((protocol) => {
    Object.assign(router.scripts[protocol], { probe: {}, map: {} }, scripts[protocol])
    return new ScriptedClient(lab, protocol, { network, timers, uplink, restarted: () => {} }, router)
  })
  const [results, late]: [string[], string[]] = [[], []]
  let failure: SallyportError | undefined
  const acquisition = new Acquisition({
    timers,
    clients,
    request: REQUEST,
    earlier,
    granted: ({ protocol }, { external }) => results.push(`${lab.clock.now()} ${protocol} ${external.port}`),
    failed: (error) => {
      failure = error
      results.push(error.code)
    },
    late: async (client, grant) => {
      late.push(client.protocol)
      await client.unmap(grant)
    },
  })
  acquisition.start()
  return { lab, router, timers, acquisition, results, late, failure: () => failure }
}

describe('what is asked', () => {
  it('all protocols at once: PCP for the mapping, the others for the address', async () => {
    const { lab, router } = begin({ pcp: {}, 'nat-pmp': {}, upnp: {} })
    await lab.run(1)
    expect(router.log).toEqual(['0 pcp map udp 5000', '0 nat-pmp probe', '0 upnp probe'])
  })

  it('PCP is taken a round trip after the start, and nobody else is asked for a mapping', async () => {
    const { lab, router, results } = begin({ pcp: {}, 'nat-pmp': { delay: 8 }, upnp: { delay: 8 } })
    await lab.run(5_000)
    expect(results).toEqual(['10 pcp 5000'])
    expect(router.requests).toEqual(['pcp map udp 5000'])
  })

  it('a lesser protocol waits for a better one as long again as it took itself', async () => {
    const { lab, router, results } = begin({ 'nat-pmp': { delay: 18 }, upnp: { delay: 10 } })
    await lab.run(5_000)
    expect(results).toEqual(['36 nat-pmp 5000'])
    expect(router.requests).toEqual(['nat-pmp map udp 5000'])
  })

  it('and no longer', async () => {
    const { lab, results } = begin({ 'nat-pmp': { delay: 30 }, upnp: { delay: 10 } })
    await lab.run(5_000)
    expect(results).toEqual(['30 upnp 5000'])
  })

  it('it waits for 50 ms at most', async () => {
    const { lab, router } = begin({ 'nat-pmp': { probe: 'silent' }, upnp: { delay: 400 } })
    await lab.run(5_000)
    expect(router.log).toContain('450 upnp map udp 5000')
  })

  it('it does not wait for those that have failed', async () => {
    const { lab, router } = begin({
      pcp: { map: 'ERR_MAPPING_UNAVAILABLE', delay: 2 },
      'nat-pmp': { probe: 'ERR_MAPPING_UNAVAILABLE', delay: 3 },
      upnp: {},
    })
    await lab.run(5_000)
    expect(router.log).toContain('10 upnp map udp 5000')
  })

  it('a better protocol that answers while a lesser one maps is not asked for a second mapping', async () => {
    const { lab, router, results } = begin({ 'nat-pmp': { delay: 30 }, upnp: { delay: 10 } })
    await lab.run(11)
    router.scripts.upnp.delay = 500
    await lab.run(5_000)
    expect(router.clashes).toEqual([])
    expect(results).toEqual(['520 upnp 5000'])
  })

  it('the better one that had to wait is asked when the lesser one refuses', async () => {
    const { lab, router, results } = begin({ 'nat-pmp': { delay: 30 }, upnp: { delay: 10, map: 'ERR_MAPPING_REFUSED' } })
    await lab.run(5_000)
    expect(router.requests).toEqual(['upnp map udp 5000', 'nat-pmp map udp 5000'])
    expect(results).toEqual(['60 nat-pmp 5000'])
  })

  it('each is asked when the one before it refuses', async () => {
    const { lab, router, results } = begin({ pcp: { map: 'ERR_MAPPING_REFUSED' }, 'nat-pmp': { map: 'ERR_MAPPING_CAPACITY' }, upnp: {} })
    await lab.run(5_000)
    expect(router.requests).toEqual(['pcp map udp 5000', 'nat-pmp map udp 5000', 'upnp map udp 5000'])
    expect(results).toEqual(['30 upnp 5000'])
  })
})

describe('what comes late', () => {
  it('PCP that answers while another maps is taken, and the other is given back', async () => {
    const { lab, router, results, late } = begin({ pcp: { delay: 45 }, 'nat-pmp': { delay: 20 } })
    await lab.run(5_000)
    expect(results).toEqual(['45 pcp 5000'])
    expect(late).toEqual(['nat-pmp'])
    expect(router.requests.at(-1)).toBe('nat-pmp unmap udp 5000')
  })

  it('PCP that answers after another was granted is given back', async () => {
    const { lab, results, late } = begin({ pcp: { delay: 200 }, 'nat-pmp': {} })
    await lab.run(5_000)
    expect(results).toEqual(['30 nat-pmp 5000'])
    expect(late).toEqual(['pcp'])
  })

  it('what is granted after it was cancelled is given back, and `ended` says when', async () => {
    const { lab, router, results, late, acquisition, timers } = begin({ pcp: { delay: 200 } })
    await lab.run(150)
    acquisition.cancel()
    await lab.until(acquisition.ended)
    expect([results, late, router.ports, lab.clock.now()]).toEqual([[], ['pcp'], [], 400])
    expect(timers.size).toBe(0)
  })

  it('nothing is asked for after it was cancelled', async () => {
    const { lab, router, acquisition } = begin({ 'nat-pmp': {}, upnp: { delay: 5 } })
    await lab.run(6)
    acquisition.cancel()
    await lab.run(5_000)
    expect(router.requests).toEqual([])
  })
})

describe('failures', () => {
  it('the most telling one stands for all, and has all in its report', async () => {
    const { lab, failure } = begin({ pcp: { map: 'silent' }, 'nat-pmp': { map: 'ERR_MAPPING_REFUSED' }, upnp: { probe: 'silent' } })
    await lab.run(10_000)
    expect(failure()).toMatchObject({
      code: 'ERR_MAPPING_REFUSED',
      report: expect.arrayContaining([
        expect.objectContaining({ protocol: 'pcp', code: 'ERR_MAPPING_UNAVAILABLE' }),
        expect.objectContaining({ protocol: 'nat-pmp', code: 'ERR_MAPPING_REFUSED' }),
        expect.objectContaining({ protocol: 'upnp', code: 'ERR_MAPPING_UNAVAILABLE' }),
      ]),
    })
  })

  it('a protocol that is not asked again is in the report with what it came to before', async () => {
    const before = begin({ pcp: { map: 'ERR_MAPPING_REFUSED' } })
    await before.lab.run(100)
    const { lab, failure } = begin({ upnp: { probe: 'silent' } }, new Map([['pcp', before.failure()!]]))
    await lab.run(10_000)
    expect(failure()).toMatchObject({ code: 'ERR_MAPPING_REFUSED', report: [{ protocol: 'pcp' }, { protocol: 'upnp' }] })
  })

  it('without any protocol it fails at once', () => {
    expect(begin({}).results).toEqual(['ERR_MAPPING_UNAVAILABLE'])
  })
})
