import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { SallyportError } from '../src/errors.ts'
import { createLab, type Lab, type LabHost, type PortMappingOptions, type Router } from '../src/lab/index.ts'
import { Address, type DatagramSocket } from '../src/net/index.ts'
import { type ExternalAddress, type MapPortOptions, mapPort, type PortMapping } from '../src/port-mapping.ts'

const rejections: unknown[] = []
const rejected = (reason: unknown): void => void rejections.push(reason)
beforeAll(async () => {
  process.on('unhandledRejection', rejected)
  // Loading takes real time, which the lab does not see.
  await Promise.all([import('../src/pmp/pxp/index.ts'), import('../src/pmp/upnp/index.ts'), import('sax')])
})
afterAll(() => void process.off('unhandledRejection', rejected))
afterEach(() => expect(rejections.splice(0)).toEqual([]))

interface Home {
  readonly lab: Lab
  readonly router: Router
  readonly pc: LabHost
  /** Whether a datagram from outside comes in at the socket on port 5000. */
  reaches(external: ExternalAddress): Promise<boolean>
  open(options?: Partial<MapPortOptions>): Promise<PortMapping>
  start(options?: Partial<MapPortOptions>): Promise<PortMapping>
  /** As `udp 203.0.113.1:5000 pcp`. */
  listed(): string[]
}

function home(portMapping: PortMappingOptions | false = {}, families: readonly (4 | 6)[] = [4]): Home {
  const lab = createLab({ families })
  const router = lab.router('home', { portMapping })
  const pc = lab.host('pc', { behind: router })
  const outside = lab.host('outside')
  const start: Home['start'] = (options = {}) => mapPort({ internalPort: 5000, network: pc, ...options })
  let inside: Promise<DatagramSocket> | undefined
  return {
    lab,
    router,
    pc,
    reaches: async ({ address, port }) => {
      const family = address?.includes(':') === true ? 6 : 4
      inside ??= pc.bind({ family, port: 5000 })
      const [socket, sender] = [await inside, await outside.bind({ family })]
      return new Promise((resolve) => {
        const ignore = { sendFailed() {}, drained() {}, lost() {} }
        socket.handle({ ...ignore, datagram: () => resolve(true) })
        sender.handle({ ...ignore, datagram: () => {} })
        sender.send(new Uint8Array(4), Address.of(address ?? '192.0.2.1', port))
        lab.after(500, () => {
          sender.close()
          resolve(false)
        })
      })
    },
    start,
    open: (options) => lab.until(start(options)),
    listed: () => router.portMapping?.mappings.map(({ transport, external, protocol }) => `${transport} ${external.key} ${protocol}`) ?? [],
  }
}

function failure(promise: Promise<unknown>): Promise<SallyportError> {
  return promise.then(
    () => {
      throw new Error('it did not fail')
    },
    (error) => error as SallyportError,
  )
}

describe('mapPort', () => {
  it('opens a port on the router, which forwards what comes from outside', async () => {
    const at = home()
    const mapping = await at.open()
    const { externalAddress: address, externalPort, internalPort, protocol, via, router, verified } = mapping
    expect({ address, externalPort, internalPort, protocol, via, router, verified }).toEqual({
      address: at.router.addresses[0]?.ip,
      externalPort: 5000,
      internalPort: 5000,
      protocol: 'udp',
      via: 'pcp',
      router: at.router.gatewayAddress(4)?.ip,
      verified: false,
    })
    expect(await at.lab.until(at.reaches({ address, port: 5000 }))).toBe(true)
    await at.lab.until(mapping.close())
  })

  it.each([
    ['pcp', {}],
    ['nat-pmp', { pcp: false }],
    ['upnp', { pcp: false, natPmp: false }],
  ] as const)('by %s where the router speaks nothing better', async (via, speaks) => {
    const at = home(speaks)
    const mapping = await at.open()
    expect([mapping.via, at.listed()]).toEqual([via, [`udp ${at.router.addresses[0]?.ip}:5000 ${via}`]])
    expect(mapping.expiresIn).toBeLessThanOrEqual(7_200_000)
    expect(mapping.expiresIn).toBeGreaterThan(7_100_000)
    await at.lab.until(mapping.close())
    expect([at.listed(), mapping.externalPort, mapping.expiresIn]).toEqual([[], undefined, undefined])
  })

  it('asks only by what `via` names', async () => {
    const at = home()
    const mapping = await at.open({ via: ['upnp'], description: 'a game' })
    expect([mapping.via, at.router.portMapping?.mappings[0]?.description]).toEqual(['upnp', 'a game'])
    await at.lab.until(mapping.close())
  })

  it('TCP, another external port, and a shorter lifetime are asked for', async () => {
    const at = home()
    const mapping = await at.open({ protocol: 'tcp', externalPort: 8080, lifetime: 600_000 })
    expect([mapping.protocol, mapping.externalPort, at.listed()]).toEqual(['tcp', 8080, [`tcp ${at.router.addresses[0]?.ip}:8080 pcp`]])
    expect(mapping.expiresIn).toBeLessThanOrEqual(600_000)
    await at.lab.until(mapping.close())
  })

  it('for a port below 1024 one is asked for that routers give', async () => {
    const { open, listed } = home()
    const mapping = await open({ internalPort: 53 })
    expect(mapping.externalPort).toBe(20_053)
    expect(listed()).toEqual([expect.stringMatching(/:20053 pcp$/)])
  })

  it('another port than the exact one is a failure', async () => {
    const at = home({ faults: { taken: [5000] } })
    const loose = await at.open()
    expect(loose.externalPort).not.toBe(5000)
    await at.lab.until(loose.close())
    expect(await at.lab.until(failure(at.start({ exact: true })))).toMatchObject({ code: 'ERR_MAPPING_PORT' })
    expect(at.listed()).toEqual([])
  })

  it('opens a pinhole in the firewall before an IPv6 address', async () => {
    const at = home({}, [4, 6])
    const mapping = await at.open({ family: 6 })
    const [global] = at.pc.addresses.filter(({ family }) => family === 6)
    expect([mapping.externalAddress, mapping.externalPort]).toEqual([global?.ip, 5000])
    expect(await at.lab.until(at.reaches({ address: global?.ip, port: 5000 }))).toBe(true)
    await at.lab.until(mapping.close())
    expect(at.listed()).toEqual([])
  })

  it('fails with what every protocol came to', async () => {
    const at = home({ faults: { refused: true } })
    expect(await at.lab.until(failure(at.start()))).toMatchObject({
      code: 'ERR_MAPPING_REFUSED',
      report: expect.arrayContaining(['pcp', 'nat-pmp', 'upnp'].map((protocol) => expect.objectContaining({ protocol }))),
    })
  })

  it('fails where no router speaks any of it, within seconds', async () => {
    const at = home(false)
    expect(await at.lab.until(failure(at.start()))).toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
    expect(at.lab.clock.now()).toBeLessThan(6_000)
  })

  it('fails at once where there is no router', async () => {
    const lab = createLab()
    const error = await lab.until(failure(mapPort({ internalPort: 5000, network: lab.host('pc') })))
    expect([error.code, lab.clock.now() < 100]).toEqual(['ERR_MAPPING_UNAVAILABLE', true])
  })

  it('frees its sockets when it fails, and when it is closed', async () => {
    const at = home()
    await at.lab.until((await at.open()).close())
    at.router.portMapping?.set({ refused: true })
    await at.lab.until(failure(at.start()))
    // Announcements come to this port: two sockets would share it only if both were for multicast.
    const socket = await at.pc.bind({ family: 4, port: 5350 })
    socket.close()
  })
})

describe('options', () => {
  const network = createLab().host('pc')
  it.each<[string, Record<string, unknown>]>([
    ['internalPort', { internalPort: 0 }],
    ['internalPort', { internalPort: 70_000 }],
    ['internalPort', { internalPort: '5000' }],
    ['internalPort', { internalPort: undefined }],
    ['externalPort', { externalPort: 1.5 }],
    ['protocol', { protocol: 'sctp' }],
    ['family', { family: 5 }],
    ['internalAddress', { internalAddress: 'home' }],
    ['internalAddress', { internalAddress: '192.168.1.2', family: 6 }],
    ['exact', { exact: 1 }],
    ['allow', { allow: '203.0.113.0/24' }],
    ['allow', { allow: [] }],
    ['allow', { allow: ['203.0.113.0/33'] }],
    ['lifetime', { lifetime: 1_000 }],
    ['lifetime', { lifetime: Number.POSITIVE_INFINITY }],
    ['lifetime', { lifetime: '7200000' }],
    ['via', { via: [] }],
    ['via', { via: ['pmp'] }],
    ['via', { via: 'pcp' }],
    ['description', { description: '<b>' }],
    ['description', { description: 'x'.repeat(61) }],
    ['verify', { verify: true }],
    ['releaseOnExit', { releaseOnExit: 'yes' }],
    ['signal', { signal: {} }],
    ['internalprot', { internalprot: 5000 }],
  ])('%s: %j is a TypeError that names it', async (name, given) => {
    const error = await failure(mapPort({ internalPort: 5000, network, ...given } as MapPortOptions))
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toContain(`option ${name}`)
  })

  it.each([[undefined], [null], [5000]])('%s is no object of options', async (given) => {
    expect(await failure(mapPort(given as unknown as MapPortOptions))).toBeInstanceOf(TypeError)
  })
})

describe('verify', () => {
  it('is asked with the external address before the mapping counts, and has the last word', async () => {
    const at = home()
    const asked: ExternalAddress[] = []
    const mapping = await at.open({
      verify: (external) => {
        asked.push(external)
        return at.reaches(external)
      },
    })
    expect([mapping.verified, mapping.via, asked]).toEqual([true, 'pcp', [{ address: at.router.addresses[0]?.ip, port: 5000 }]])
    await at.lab.until(mapping.close())
  })

  it('a mapping that does not forward is deleted, and the next protocol is asked', async () => {
    const at = home({ faults: { ghost: ['pcp'] } })
    const mapping = await at.open({ verify: at.reaches })
    expect([mapping.via, mapping.verified, at.listed().length]).toEqual(['nat-pmp', true, 1])
    await at.lab.until(mapping.close())
  })

  it('where none forwards there is none', async () => {
    const at = home({ faults: { ghost: true } })
    expect(await at.lab.until(failure(at.start({ verify: at.reaches })))).toMatchObject({ code: 'ERR_MAPPING_UNPROVEN' })
    expect(at.listed()).toEqual([])
  })

  it.each([
    ['throws', () => Promise.reject(new Error('offline'))],
    [
      'throws at once',
      (): boolean => {
        throw new Error('offline')
      },
    ],
    ['never answers', () => new Promise<boolean>(() => {})],
  ])('one that %s says nothing', async (_how, verify) => {
    const at = home()
    const mapping = await at.open({ verify })
    expect([mapping.via, mapping.verified]).toEqual(['pcp', false])
    await at.lab.until(mapping.close())
  })

  it('what stops forwarding is made again, and told only once it was verified', async () => {
    const at = home()
    const mapping = await at.open({ verify: at.reaches })
    const told: string[] = []
    mapping.on('change', ({ port }) => told.push(`change ${port} ${mapping.verified}`))
    mapping.on('lost', ({ code }) => told.push(code))
    at.router.portMapping?.set({ ghost: true })
    await at.lab.run(120_000)
    expect(told).toEqual(['ERR_MAPPING_UNPROVEN'])
    at.router.portMapping?.set({ ghost: false })
    await at.lab.run(600_000)
    expect(told).toEqual(['ERR_MAPPING_UNPROVEN', 'change 5000 true'])
    await at.lab.until(mapping.close())
  })
})

describe('life', () => {
  it('it is renewed for as long as it is wanted', async () => {
    const at = home({ leases: { longest: 120_000 } })
    const mapping = await at.open()
    await at.lab.run(3_600_000)
    expect(at.listed()).toHaveLength(1)
    expect(mapping.expiresIn).toBeGreaterThan(0)
    await at.lab.until(mapping.close())
  })

  it.each([
    ['pcp', {}],
    ['nat-pmp', { pcp: false }],
    ['upnp', { pcp: false, natPmp: false }],
  ] as const)('it is back within 2 s of the restart of a router that speaks %s and says so', async (_name, speaks) => {
    const at = home(speaks)
    const mapping = await at.open()
    await at.lab.run(10_000)
    at.router.portMapping?.restart()
    expect(at.listed()).toEqual([])
    await at.lab.run(3_000)
    expect(at.listed()).toHaveLength(1)
    await at.lab.until(mapping.close())
  })

  it('another external address is a `change`', async () => {
    const at = home()
    const mapping = await at.open()
    const change = once(mapping, 'change')
    at.router.reboot({ renumber: true })
    const [external] = await at.lab.until(change)
    expect(external).toEqual({ address: at.router.addresses[0]?.ip, port: 5000 })
    expect(mapping.externalAddress).toBe(at.router.addresses[0]?.ip)
    await at.lab.until(mapping.close())
  })

  it('another network is a `change`, and one without a router is `lost`', async () => {
    const at = home()
    const mapping = await at.open()
    const cafe = at.lab.router('cafe', { portMapping: { pcp: false } })
    const change = once(mapping, 'change')
    at.pc.moveTo(cafe)
    const [external] = await at.lab.until(change)
    expect([external, mapping.via, mapping.router]).toEqual([
      { address: cafe.addresses[0]?.ip, port: 5000 },
      'nat-pmp',
      cafe.gatewayAddress(4)?.ip,
    ])
    const lost = once(mapping, 'lost')
    at.pc.moveTo(at.lab.internet)
    expect((await at.lab.until(lost))[0]).toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
    expect([mapping.externalPort, mapping.via, mapping.router]).toEqual([undefined, undefined, undefined])
    await at.lab.until(mapping.close())
  })

  it('a renewal that changes nothing is no event', async () => {
    const at = home({ leases: { longest: 120_000 } })
    const mapping = await at.open()
    let events = 0
    for (const name of ['change', 'lost'] as const) mapping.on(name, () => events++)
    await at.lab.run(1_800_000)
    expect(events).toBe(0)
    await at.lab.until(mapping.close())
  })
})

describe('the end', () => {
  it('`await using` deletes the mapping', async () => {
    const at = home()
    const use = async (): Promise<void> => {
      await using mapping = await at.start()
      expect([mapping.via, at.listed().length]).toEqual(['pcp', 1])
    }
    await at.lab.until(use())
    expect(at.listed()).toEqual([])
  })

  it('close takes a second at most, and both callers wait for it', async () => {
    const at = home()
    const mapping = await at.open()
    at.router.portMapping?.set({ silent: true })
    const from = at.lab.clock.now()
    const first = mapping.close()
    await at.lab.until(mapping.close())
    expect(at.lab.clock.now() - from).toBe(1_000)
    await first
  })

  it('nothing is told after close', async () => {
    const at = home()
    const mapping = await at.open()
    let events = 0
    for (const name of ['change', 'lost'] as const) mapping.on(name, () => events++)
    await at.lab.until(mapping.close())
    at.pc.moveTo(at.lab.internet)
    await at.lab.run(60_000)
    expect(events).toBe(0)
  })
})

describe('signal', () => {
  it('one that is aborted already asks for nothing', async () => {
    const at = home()
    const reason = new Error('not any more')
    expect(await failure(at.start({ signal: AbortSignal.abort(reason) }))).toBe(reason)
    await at.lab.run(1_000)
    expect(at.listed()).toEqual([])
  })

  it('ends the attempt with its reason, and nothing is left on the router', async () => {
    const at = home({ faults: { delay: 300 } })
    const controller = new AbortController()
    const opening = failure(at.start({ signal: controller.signal }))
    await at.lab.run(100)
    expect(at.listed()).toHaveLength(1)
    const reason = new Error('not any more')
    controller.abort(reason)
    expect(await at.lab.until(opening)).toBe(reason)
    expect(at.listed()).toEqual([])
  })

  it('ends nothing once there is a mapping', async () => {
    const at = home()
    const controller = new AbortController()
    const mapping = await at.open({ signal: controller.signal })
    controller.abort()
    await at.lab.run(1_000)
    expect([mapping.via, at.listed().length]).toEqual(['pcp', 1])
    await at.lab.until(mapping.close())
  })
})
