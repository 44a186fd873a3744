/** Port mapping in a traversal: what becomes a candidate, how long it stays one, and that nothing waits for it. */
import { afterEach, describe, expect, it } from 'vitest'
import type { Traversal } from '../../src/index.ts'
import type { PortMappingFaults, PortMappingProtocol } from '../../src/lab/index.ts'
import { createStunServer } from '../../src/stun/index.ts'
import {
  closeAll,
  expectNoDeadCandidate,
  type Home,
  home,
  mappedAt,
  mapping,
  PROTOCOLS,
  speaking,
  start,
  traverse,
  withFaults,
} from './mapped.ts'
import { createLab, join, makePeer, meet, SERVER } from './meeting.ts'
import { serveRelay, turn } from './relays.ts'

function candidates(traversal: Traversal): string {
  return traversal.status().candidates.join('\n')
}

/** Milliseconds until something is so, looked at every 10; undefined when it does not become so. */
async function timeUntil({ lab }: Home, within: number, isSo: () => boolean): Promise<number | undefined> {
  const from = lab.clock.now()
  while (!isSo()) {
    if (lab.clock.now() - from >= within) return undefined
    await lab.run(10)
  }
  return lab.clock.now() - from
}

/** Calls every 20 ms, until it is told to stop. */
function setTalking({ lab }: Home, talk: () => void): () => void {
  let stop = lab.after(20, again)
  function again(): void {
    talk()
    stop = lab.after(20, again)
  }
  return () => stop()
}

afterEach(closeAll)

describe.for(PROTOCOLS)('%s alone', (protocol) => {
  it('a mapping is a candidate once a packet has come in, ahead of what servers see, and is deleted by close', async () => {
    const at = await home(speaking([protocol]))
    const traversal = await start(at)
    // Look-up, 401, allocation, permission, and the packet: five round trips of 40 ms, one after the other.
    expect(await timeUntil(at, 1_000, () => mapping(traversal).proven !== undefined)).toBeLessThanOrEqual(1.2 * 200)
    const { proven, external, state, reach, router } = mapping(traversal)
    expect({ proven, external, state, reach, router, protocol: mapping(traversal).protocol }).toEqual({
      proven: mappedAt(at.router, traversal),
      external: proven,
      state: 'mapped',
      reach: 'public',
      router: '192.168.1.1',
      protocol,
    })
    const lines = traversal.status().candidates.filter((line) => line.includes(' typ srflx '))
    const priorities = lines.map((line) => Number(line.split(' ')[3]))
    const [ip, port] = String(proven).split(':')
    expect(lines[priorities.indexOf(Math.max(...priorities))]).toContain(` ${ip} ${port} typ srflx `)
    await at.lab.until(traversal.close())
    expect(at.router.portMapping?.mappings).toEqual([])
  })

  it('a router that does not let it through has no mapping for long, and no candidate at all', async () => {
    const at = await home(withFaults(protocol, { ghost: true }))
    const traversal = await start(at)
    await at.lab.run(20_000)
    expect(mapping(traversal)).toMatchObject({
      state: 'none',
      proven: undefined,
      failure: expect.stringContaining('nothing comes through'),
    })
    expect(at.router.portMapping?.mappings).toEqual([])
  })

  it('one that stops forwarding is withdrawn within a minute and a quarter, made again, and a candidate only when it forwards again', async () => {
    const at = await home(speaking([protocol]))
    const traversal = await start(at)
    await at.lab.run(5_000)
    const { proven } = mapping(traversal)
    at.router.portMapping?.set({ ghost: true })
    expect(await timeUntil(at, 75_000, () => mapping(traversal).proven === undefined)).toBeDefined()
    expect(candidates(traversal)).not.toContain(` ${proven?.split(':')[1]} typ srflx`)
    await at.lab.run(20_000)
    expect(mapping(traversal).state).toBe('none')
    at.router.portMapping?.set({ ghost: false })
    expect(await timeUntil(at, 130_000, () => mapping(traversal).proven !== undefined)).toBeDefined()
    expectNoDeadCandidate(traversal, at.router)
  })

  it('a router that reboots and says so has it again within 2 s, and under its own address if that is another one', async () => {
    const at = await home(speaking([protocol]))
    const traversal = await start(at)
    await at.lab.run(5_000)
    at.router.reboot()
    expect(at.router.portMapping?.mappings).toEqual([])
    const again = await timeUntil(at, 10_000, () => mappedAt(at.router, traversal) !== undefined)
    // Announcements make clients ask after a second at most, so that all of a network do not come at once.
    expect(again).toBeLessThanOrEqual(2_000)
    await at.lab.run(6_000)
    expectNoDeadCandidate(traversal, at.router)
    expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal))
    at.router.reboot({ renumber: true, downFor: 3_000 })
    await at.lab.run(60_000)
    expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal))
    expect(mapping(traversal).proven).toContain(at.router.addresses[0]?.ip)
  })

  it('a router that reboots and says nothing is found out within a minute and a quarter', async () => {
    const at = await home(speaking([protocol]))
    const traversal = await start(at)
    await at.lab.run(5_000)
    at.router.portMapping?.restart({ announce: false })
    expect(await timeUntil(at, 75_000, () => mappedAt(at.router, traversal) !== undefined)).toBeDefined()
    await at.lab.run(10_000)
    expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal))
  })

  it('a lease that is shorter than asked for is renewed in time, again and again', async () => {
    const at = await home(withFaults(protocol, { longestLease: 120_000 }))
    const traversal = await start(at)
    await at.lab.run(2_000)
    const { proven } = mapping(traversal)
    for (let i = 0; i < 40; i++) {
      await at.lab.run(30_000)
      expect(mapping(traversal).proven).toBe(proven)
      expectNoDeadCandidate(traversal, at.router)
    }
  })

  it.for(['198.51.100.77', '10.1.2.3', '100.64.3.4', '0.0.0.0'])(
    'a router that takes its address for %s: the right one is proven',
    async (address) => {
      const at = await home(withFaults(protocol, { externalAddress: address }))
      const traversal = await start(at)
      await at.lab.run(10_000)
      expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal))
      expect(mapping(traversal).proven).toBeDefined()
      expect(candidates(traversal)).not.toContain(address)
      expect(mapping(traversal).reach).toBe(
        { '198.51.100.77': 'other', '10.1.2.3': 'private', '100.64.3.4': 'shared' }[address] ?? 'untold',
      )
    },
  )

  it('a port that somebody else has is replaced by another one', async () => {
    const at = await home(speaking([protocol]), 'portRestricted')
    const other = await at.lab.until(traverse(at.lab.host('b', { behind: at.router }), { port: 4_000 }))
    await at.lab.run(1_000)
    const traversal = await start(at, { port: 4_000 })
    await at.lab.run(2_000)
    expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal))
    expect(mapping(traversal).proven).toMatch(/:(?!4000$)\d+$/)
    expect(other.status().mappings[0]?.proven).toMatch(/:4000$/)
    await at.lab.until(other.close())
  })

  it('slow answers are waited for', async () => {
    const at = await home(withFaults(protocol, { delay: 1_000 }))
    const traversal = await start(at)
    await at.lab.run(20_000)
    expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal))
    expect(mapping(traversal).proven).toBeDefined()
    expect(at.router.portMapping?.mappings).toHaveLength(1)
  })

  it.for(['refused', 'full', 'offline', 'silent'] as const)('a router that is %s leaves no mapping and a reason', async (fault) => {
    const at = await home(withFaults(protocol, { [fault]: true }))
    const traversal = await start(at)
    await at.lab.run(20_000)
    expect(mapping(traversal)).toMatchObject({ state: 'none', proven: undefined, failure: expect.any(String) })
    at.router.portMapping?.set({ [fault]: false })
    // Within a minute or two, unless the router said that there is no point in asking before.
    expect(await timeUntil(at, 2_000_000, () => mapping(traversal).proven !== undefined)).toBeDefined()
    expectNoDeadCandidate(traversal, at.router)
  })

  it.for(['spoofed', 'otherPort'] as const)('answers that are %s lead to the right mapping or none', async (fault) => {
    const at = await home(withFaults(protocol, { [fault]: true }))
    const traversal = await start(at)
    await at.lab.run(20_000)
    expectNoDeadCandidate(traversal, at.router)
    if (fault === 'spoofed' || protocol === 'upnp') expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal) ?? 'nothing')
    else expect(mapping(traversal).state).toBe('none')
  })

  it.for([
    'truncated',
    'garbage',
    'opcode',
    'mismatch',
    'oversized',
    'broken-xml',
    'entities',
    'no-length',
    'chunked',
    'endless',
    'drip',
    'redirect',
  ] as const)('answers that are %s lead to the right mapping or none, and another protocol does', async (flaw) => {
    const alone = await home(withFaults(protocol, { malformed: flaw }))
    const traversal = await start(alone)
    await alone.lab.run(60_000)
    expectNoDeadCandidate(traversal, alone.router)
    expect(mapping(traversal).state).not.toBe('asked')
    const together = await home({ faults: { malformed: { [protocol]: flaw } } })
    const another = await start(together)
    await together.lab.run(30_000)
    // A mapping whose grant could not be read may stand beside it, until it ends.
    expectNoDeadCandidate(another, together.router)
    expect(mapping(another).proven).toBeDefined()
  })
})

describe('UPnP', () => {
  it('a router that knows permanent leases only gets one, deleted by close', async () => {
    const at = await home(withFaults('upnp', { permanentOnly: true }))
    const traversal = await start(at)
    await at.lab.run(5_000)
    expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal))
    expect(mapping(traversal).expiresIn).toBe(Number.POSITIVE_INFINITY)
    await at.lab.until(traversal.close())
    expect(at.router.portMapping?.mappings).toEqual([])
  })

  it.for<PortMappingFaults>([{ noRenewals: true }, { samePort: true }, { elsewhere: true }])('%o', async (faults) => {
    const at = await home(withFaults('upnp', { ...faults, longestLease: 300_000 }))
    const traversal = await start(at)
    for (let i = 0; i < 20; i++) {
      await at.lab.run(30_000)
      expectNoDeadCandidate(traversal, at.router)
    }
    if (faults.elsewhere === true) expect(mapping(traversal).state).toBe('none')
    else expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal) ?? 'nothing')
  })

  it.for([1, 2] as const)('IGD v%i', async (version) => {
    const at = await home(speaking(['upnp'], { upnp: { version } }))
    const traversal = await start(at)
    await at.lab.run(5_000)
    expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal) ?? 'nothing')
  })
})

describe('several protocols', () => {
  it('PCP is preferred to NAT-PMP, and that to UPnP', async () => {
    for (const [protocols, best] of [
      [PROTOCOLS, 'pcp'],
      [['nat-pmp', 'upnp'], 'nat-pmp'],
    ] as const) {
      const at = await home(speaking(protocols))
      const traversal = await start(at)
      await at.lab.run(5_000)
      expect(mapping(traversal).protocol).toBe(best)
      expect(at.router.portMapping?.mappings).toHaveLength(1)
    }
  })

  it.for([
    [['pcp'], 'nat-pmp'],
    [['pcp', 'nat-pmp'], 'upnp'],
  ] as const satisfies readonly (readonly [readonly PortMappingProtocol[], PortMappingProtocol])[])(
    'where mappings by %o forward nothing, one by %s does',
    async ([ghost, works]) => {
      const at = await home({ faults: { ghost } })
      const traversal = await start(at)
      await at.lab.run(30_000)
      expect(mapping(traversal)).toMatchObject({ protocol: works, proven: mappedAt(at.router, traversal) ?? 'nothing' })
      expect(at.router.portMapping?.mappings).toHaveLength(1)
    },
  )
})

/** One with two addresses, which answers from the other one where that is asked for (RFC 5780), and no relay. */
async function behaviourServer({ lab }: Home): Promise<string> {
  const host = lab.host('behaviour', { interfaces: [{}, {}] })
  const addresses = host.addresses.map(({ ip }) => ip)
  await createStunServer({ network: host, addresses })
  return `stun:${addresses[0]}`
}

describe('who proves it', () => {
  it.for(['portRestricted', 'symmetricRandom'] as const)('a server with another address (RFC 5780), behind a %s NAT', async (nat) => {
    const at = await home(true, nat)
    const traversal = await start(at, { servers: [await behaviourServer(at)] })
    // Two round trips of 40 ms: what the server sees, and the packet from its other address.
    expect(await timeUntil(at, 1_000, () => mapping(traversal).proven !== undefined)).toBeLessThanOrEqual(1.2 * 80)
    expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal) ?? 'nothing')
    at.router.portMapping?.set({ ghost: true })
    expect(await timeUntil(at, 75_000, () => mapping(traversal).proven === undefined)).toBeDefined()
  })

  it('a peer, where there is nobody else: its check comes in, and then the address is a candidate for everybody', async () => {
    const at = await home(true)
    const { lab } = at
    const traversal = await start(at, { servers: [SERVER] })
    await lab.run(1_000)
    expect(mapping(traversal)).toMatchObject({ state: 'mapped', proven: undefined })
    const mapped = mappedAt(at.router, traversal)
    const port = ` ${mapped?.split(':')[1]} typ srflx`
    expect(candidates(traversal)).not.toContain(port)
    const signals: string[] = []
    const a = meet('a', traversal, 'b')
    a.session.on('signal', ({ candidates: lines, trials = [] }) => signals.push(lines.join(), trials.join()))
    const b = await lab.until(makePeer(lab.host('b', { behind: lab.router('other', { nat: 'symmetricRandom' }) }), 'a'))
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    expect([a.session.path?.kind, b.session.path?.kind]).toEqual(['direct', 'direct'])
    expect(signals[0]).not.toContain(port)
    expect(signals[1]).toContain(port)
    expect(mapping(traversal).proven).toBe(mapped)
    expect(candidates(traversal)).toContain(port)
    await lab.until(b.traversal.close())
  })

  it('nobody, where it does not forward: what is on trial never becomes a candidate', async () => {
    const at = await home({ faults: { ghost: true } })
    const { lab } = at
    const traversal = await start(at, { servers: [SERVER] })
    const a = meet('a', traversal, 'b')
    const b = await lab.until(makePeer(lab.host('b', { behind: lab.router('other', { nat: 'fullCone' }) }), 'a'))
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(60_000)
    expect(mapping(traversal)).toMatchObject({ state: 'mapped', proven: undefined })
    await lab.until(b.traversal.close())
  })

  it('not a peer that names an address which is on no trial', async () => {
    const at = await home({ faults: { silent: true } })
    const traversal = await start(at, { servers: [SERVER] })
    await at.lab.run(10_000)
    expect(mapping(traversal)).toMatchObject({ state: 'none', proven: undefined })
  })
})

describe('behind two NATs', () => {
  it.for([
    ['carrier', true],
    ['fullCone', true],
    ['portRestricted', false],
    ['symmetricRandom', false],
  ] as const)(
    'the outer one is %s: open to everybody is %s, and the router that only opens itself is told apart',
    async ([outer, reachable]) => {
      const at = await home(false)
      const { lab } = at
      const behind = lab.router('carrier', { nat: outer, lan: '100.64.0.0/24' })
      const router = lab.router('inner', { behind, nat: 'portRestricted', portMapping: true })
      const inner: Home = { lab, router, host: lab.host('c', { behind: router }) }
      const traversal = await start(inner)
      await lab.run(30_000)
      if (reachable) {
        expect(mapping(traversal)).toMatchObject({ state: 'mapped', reach: 'shared' })
        expect(behind.mappings().map(({ external }) => external.key)).toContain(mapping(traversal).proven)
        expect(candidates(traversal)).toContain(` ${mapping(traversal).proven?.split(':')[1]} typ srflx`)
      } else {
        expect(mapping(traversal)).toMatchObject({ state: 'none', failure: expect.stringContaining('NAT stands behind it') })
        expect(router.portMapping?.mappings).toEqual([])
      }
    },
  )
})

describe('life', () => {
  it.for(['ghost', 'reboot'] as const)('hard × hard over a mapping that is gone for a while (%s): direct again', async (what) => {
    const at = await home(true)
    const { lab, router } = at
    const traversal = await start(at)
    const a = meet('a', traversal, 'b')
    const b = await lab.until(
      makePeer(lab.host('b', { behind: lab.router('other', { nat: 'symmetricRandom' }) }), 'a', { servers: [SERVER, turn('relay')] }),
    )
    join(lab, a, b)
    const kinds = (): readonly unknown[] => [a.session.path?.kind, b.session.path?.kind]
    const isDirect = (): boolean => kinds().every((kind) => kind === 'direct')
    expect(await timeUntil(at, 5_000, isDirect)).toBeDefined()
    const chatter = setTalking(at, () => {
      a.session.send(new Uint8Array(10))
      b.session.send(new Uint8Array(10))
    })
    if (what === 'ghost') {
      router.portMapping?.set({ ghost: true })
      await lab.run(100_000)
      expect(kinds()).toEqual(['relay', 'relay'])
      router.portMapping?.set({ ghost: false })
      expect(await timeUntil(at, 200_000, isDirect)).toBeDefined()
    } else {
      router.reboot()
      await lab.run(1_500)
      expect(await timeUntil(at, 10_000, isDirect)).toBeDefined()
      await lab.run(30_000)
      expect(kinds()).toEqual(['direct', 'direct'])
    }
    chatter()
    await lab.until(b.traversal.close())
  })

  it('a proof is good for ten minutes where nobody is left to repeat it', async () => {
    const at = await home(true, 'portRestricted')
    const traversal = await start(at)
    await at.lab.run(2_000)
    expect(mapping(traversal).proven).toBeDefined()
    await at.relay?.relay.close()
    await at.lab.run(300_000)
    expect(mapping(traversal).proven).toBeDefined()
    at.router.portMapping?.set({ ghost: true })
    await at.lab.run(400_000)
    expect(mapping(traversal)).toMatchObject({ state: 'mapped', proven: undefined })
  })

  it('one mapping serves all sessions of a traversal', async () => {
    const at = await home(true)
    const traversal = await start(at)
    for (let i = 0; i < 20; i++) traversal.connect({ peer: `p${i}` })
    await at.lab.run(5_000)
    expect(at.router.portMapping?.mappings).toHaveLength(1)
  })

  it('it moves with the host to another network', async () => {
    const at = await home(true)
    const { lab, host } = at
    const traversal = await start(at)
    await lab.run(2_000)
    const next = lab.router('office', { nat: 'symmetricRandom', portMapping: true })
    host.moveTo(next)
    expect(await timeUntil(at, 2_000, () => mapping(traversal).proven === mappedAt(next, traversal))).toBeDefined()
    expect(traversal.status().mappings).toHaveLength(1)
    expect(mapping(traversal).router).toBe(next.gatewayAddress(4)?.ip)
  })

  it('an IPv6 address behind a firewall gets a pinhole, proven, and no candidate but its own', async () => {
    for (const protocol of ['pcp', 'upnp'] as const) {
      const six = createLab({ families: [4, 6] })
      await serveRelay(six, 'relay')
      const router = six.router('home', { nat: 'symmetricRandom', portMapping: speaking([protocol]) })
      const at: Home = { lab: six, router, host: six.host('a', { behind: router }) }
      const traversal = await start(at, { servers: [turn('relay')] })
      await six.run(10_000)
      const pinhole = traversal.status().mappings.find(({ internal }) => internal.startsWith('['))
      expect(pinhole).toMatchObject({ state: 'mapped', protocol, reach: 'public' })
      expect(pinhole?.proven).toBe(pinhole?.internal)
      expect(traversal.status().candidates.filter((line) => line.includes('2001:db8') && line.includes('srflx'))).toEqual([])
      await six.until(traversal.close())
      expect(router.portMapping?.mappings).toEqual([])
    }
  })

  it.for<PortMappingFaults>([{ silent: true }, { delay: 2_000 }, { ghost: true }])(
    'connecting takes as long with a router that is %o as without port mapping',
    async (faults) => {
      const times: (number | undefined)[] = []
      for (const portMapping of [false, true]) {
        const at = await home({ faults }, 'portRestricted')
        const { lab } = at
        const traversal = await start(at, { portMapping })
        const a = meet('a', traversal, 'b')
        const b = await lab.until(makePeer(lab.host('b', { behind: lab.router('other') }), 'a'))
        join(lab, a, b)
        times.push(await timeUntil(at, 10_000, () => a.session.path?.kind === 'direct' && b.session.path?.kind === 'direct'))
        await lab.until(b.traversal.close())
      }
      expect(times[1]).toBe(times[0])
    },
  )

  it('a router that answers is asked once in each protocol, not again because the traversal has opened', async () => {
    const at = await home(true, 'portRestricted')
    const asked: string[] = []
    at.lab.filter(({ host, to, data }) => {
      if (host === 'a' && to.port === 5351) asked.push(data[0] === 2 ? 'pcp' : 'nat-pmp')
      return undefined
    })
    await start(at)
    await at.lab.run(5_000)
    expect(asked.sort()).toEqual(['nat-pmp', 'pcp'])
  })

  it('without portMapping no router is asked, and nothing is listened for', async () => {
    const at = await home(true)
    const seen: string[] = []
    at.lab.filter(({ to }) => {
      seen.push(`${to.ip} ${to.port}`)
      return undefined
    })
    const traversal = await start(at, { portMapping: false })
    await at.lab.run(5_000)
    expect(seen.filter((to) => / (1900|5350|5351|5000)$/.test(to) || to.startsWith('192.168.1.1 '))).toEqual([])
    expect(traversal.status().mappings).toEqual([])
  })
})

describe('options', () => {
  it.for([
    [{ protocols: [] }, 'portMapping.protocols'],
    [{ protocols: ['igd'] }, 'portMapping.protocols'],
    [{ lifetime: 1 }, 'portMapping.lifetime'],
    [{ description: '<b>' }, 'portMapping.description'],
    [{ releaseOnExit: 1 }, 'portMapping.releaseOnExit'],
    [{ protocol: 'pcp' }, 'portMapping.protocol'],
    ['yes', 'portMapping'],
  ] as const)('%o is refused by name', async ([portMapping, name]) => {
    const at = await home(false)
    await expect(traverse(at.host, { portMapping: portMapping as never })).rejects.toThrow(`option ${name}`)
  })
})
