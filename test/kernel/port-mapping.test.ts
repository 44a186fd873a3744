/**
 * Port mappings on a real router, miniupnpd with nftables: what its packet filter and a host outside say of what `mapPort` made, and other
 * programs' second opinions.
 */
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Family } from '../../src/net/index.ts'
import { requires } from '../requirements.ts'
import { MAIN } from './json-peer.ts'
import { Knocker } from './knocker.ts'
import { MappingPeer, type MappingPeerOptions } from './mapping-peer.ts'
import { Miniupnpd, type MiniupnpdOptions, type Opening, PORT_MAPPING } from './miniupnpd.ts'
import { KernelNet, type Node, type Router, type RouterOptions } from './namespaces.ts'
import { home } from './places.ts'

const PORT = 4_001
/** Milliseconds. What is waited for takes a fraction of it; many at a time share the processor. */
const PATIENCE = 20_000

/** Milliseconds that a router has run before it starts anew. */
const UPTIME = 4_000

const told: string[] = []

/** A home whose router maps ports. */
interface MappedHome {
  readonly router: Router
  readonly host: Node
  readonly daemon: Miniupnpd
}

const NEEDS = { ...PORT_MAPPING, also: { 'a build (npm run build)': existsSync(MAIN) } }

describe('port mapping on a real router', requires(NEEDS), () => {
  let net: KernelNet
  let outside: Knocker
  const daemons: Miniupnpd[] = []

  beforeAll(async () => {
    net = await KernelNet.create()
    outside = new Knocker(net, await net.host('outside'))
  })

  afterAll(async () => {
    await Promise.all(daemons.map((daemon) => daemon.remove()))
    await net?.close()
    console.log(told.join('\n'))
  })

  async function mappedHome(name: string, options: MiniupnpdOptions = {}, router: RouterOptions = {}): Promise<MappedHome> {
    const place = await home(net, name, router)
    const daemon = await Miniupnpd.start(net, place.router, options)
    daemons.push(daemon)
    return { ...place, daemon }
  }

  function map(host: Node, options: Partial<MappingPeerOptions> = {}): MappingPeer {
    return new MappingPeer(net, host, { internalPort: PORT, ...options })
  }

  // The longest first: the others go on beside them.
  describe('a program that', () => {
    it.concurrent('lives keeps its mapping beyond the lease; killed, it loses it by the lease', async () => {
      const { host, daemon } = await mappedHome('lease', { upnp: false, pxp: 'pcp', lifetimes: [1, 8] })
      const peer = map(host)
      const { expiresIn = 0 } = await peer.mapped()
      expect(expiresIn).toBeLessThanOrEqual(8_000)
      await delay(10_000)
      expect(await daemon.openings()).toEqual([opening(host)])
      peer.kill('SIGKILL')
      await until(async () => (await daemon.openings()).length === 0)
    })

    it.concurrent('has renewed a pinhole by PCP leaves none behind either', async () => {
      const { host, daemon } = await mappedHome('renewed', { upnp: false, lifetimes: [1, 8] })
      const peer = map(host, { family: 6 })
      await peer.mapped()
      await delay(6_000)
      expect(await daemon.openings()).toEqual([opening(host, 6)])
      await leave(peer, daemon)
    })

    it.concurrent.for(['SIGTERM', 'SIGINT'] as const)('is ended by %s takes its mapping with it where it said so', async (signal) => {
      const { host, daemon } = await mappedHome(signal.toLowerCase())
      const peer = map(host, { releaseOnExit: true })
      await peer.mapped()
      peer.kill(signal)
      expect(await peer.exit).toBe(signal)
      expect(await daemon.rules()).toEqual([])
    })

    it.concurrent('moves to another network has its mapping there', async () => {
      const [one, other] = [await mappedHome('one'), await mappedHome('other')]
      const peer = map(one.host)
      await peer.mapped()
      const moved = await net.move(one.host, other.router)
      const { address } = await peer.find(({ event }) => event === 'change')
      expect(address).toBe(other.router.ip4)
      expect(await other.daemon.openings()).toEqual([opening(moved)])
      await leave(peer, other.daemon)
    })
  })

  describe('a router that', () => {
    const PROTOCOLS: readonly { via: 'pcp' | 'nat-pmp' | 'upnp'; options: MiniupnpdOptions; family: Family }[] = [
      { via: 'pcp', family: 4, options: { upnp: false, pxp: 'pcp' } },
      { via: 'nat-pmp', family: 4, options: { upnp: false, pxp: 'nat-pmp' } },
      { via: 'upnp', family: 4, options: { pxp: false } },
      { via: 'pcp', family: 6, options: { upnp: false, lifetimes: [1, 86_400] } },
      { via: 'upnp', family: 6, options: { pxp: false } },
    ]
    it.concurrent.for(PROTOCOLS)(
      'is killed and starts again has the mapping back, by $via over IPv$family',
      async ({ via, options, family }) => {
        const { router, host, daemon } = await mappedHome(`restart-${via}-${family}`, options)
        // Which is the address that it announces itself from.
        if (family === 6) await routeByLinkLocal(host)
        const peer = map(host, { family })
        await peer.mapped()
        // Its clock has to have come further than any doubt about clocks (RFC 6887 8.5).
        await delay(UPTIME)
        await daemon.kill()
        await delay(1_000)
        await daemon.start()
        const from = performance.now()
        await until(async () => (await daemon.openings()).length > 0)
        told.push(`${via}, IPv${family}: back ${(performance.now() - from).toFixed(0)} ms after the router has started again`)
        expect(await daemon.openings()).toEqual([opening(host, family)])
        expect(await outside.reaches(family === 4 ? router.ip4 : host.ip6, PORT)).toBe(true)
        await leave(peer, daemon)
      },
    )

    it.concurrent('gets another address says so, and we do', async () => {
      const { router, host, daemon } = await mappedHome('renumbered')
      const peer = map(host)
      await peer.mapped()
      await delay(UPTIME)
      const ip4 = router.ip4.replace(/\d+$/, '77')
      const from = Date.now()
      await daemon.renumber(ip4)
      const { address, port, at } = await peer.find(({ event }) => event === 'change')
      told.push(`another external address: known ${(at - from).toFixed(0)} ms after the router has it`)
      expect([address, port]).toEqual([ip4, PORT])
      expect(await outside.reaches(ip4, PORT)).toBe(true)
      await leave(peer, daemon)
    })

    it.concurrent('gave the port to somebody else gives us another, which we tell', async () => {
      const { router, host, daemon } = await mappedHome('taken')
      const beside = await net.host('taken-beside', { behind: router })
      const ports = { pcp: 4_011, 'nat-pmp': 4_012, upnp: 4_013 } as const
      for (const port of Object.values(ports))
        await net.output(beside, 'upnpc', '-u', daemon.description, '-a', beside.ip4, `${port}`, `${port}`, 'udp', '600')
      for (const [via, internalPort] of Object.entries(ports) as ['pcp' | 'nat-pmp' | 'upnp', number][]) {
        const peer = map(host, { internalPort, via: [via] })
        const { port = 0 } = await peer.mapped()
        expect(port, via).not.toBe(internalPort)
        expect(await ours(daemon, host), via).toEqual([{ ...opening(host, 4, internalPort), external: { port } }])
        expect(await outside.reaches(router.ip4, port), via).toBe(true)
        expect(await peer.end()).toBe(0)
        expect(await ours(daemon, host), via).toEqual([])
      }
      expect(await daemon.openings()).toHaveLength(3)
    })

    it.concurrent('has a private address outside maps nothing, and we say why', async () => {
      const carrier = await net.router('private-carrier', { carrier: true })
      const { host, daemon } = await mappedHome('private', {}, { behind: carrier, families: [4] })
      const peer = map(host)
      const { event, message = '' } = await peer.mapped()
      told.push(`a router behind a carrier's NAT: ${message}`)
      expect(event).toBe('failed')
      expect(await peer.exit).toBe(0)
      expect(await daemon.rules()).toEqual([])
    })

    it.concurrent('lies about its address is found out', async () => {
      const carrier = await net.router('liar-carrier', { carrier: true })
      const { host, daemon } = await mappedHome('liar', { externalIp: '5.0.250.9' }, { behind: carrier, families: [4] })
      const verify = async (address = '', port: number): Promise<boolean> => !(await outside.isShut(address, port))
      const peer = new MappingPeer(net, host, { internalPort: PORT }, verify)
      expect(await peer.mapped()).toMatchObject({ event: 'failed', code: 'ERR_MAPPING_UNPROVEN' })
      expect(await peer.exit).toBe(0)
      expect(await daemon.rules()).toEqual([])
    })
  })

  describe('by each protocol alone', () => {
    const CASES: readonly { name: string; via: string; options: MiniupnpdOptions }[] = [
      { name: 'PCP', via: 'pcp', options: { upnp: false, pxp: 'pcp' } },
      { name: 'NAT-PMP', via: 'nat-pmp', options: { upnp: false, pxp: 'nat-pmp' } },
      { name: 'UPnP IGDv2', via: 'upnp', options: { pxp: false } },
      { name: 'UPnP IGDv1', via: 'upnp', options: { pxp: false, igd1: true } },
    ]
    it.concurrent.for(CASES)('$name: reached from outside at the same port, and nothing is left', async ({ name, via, options }) => {
      const { router, host, daemon } = await mappedHome(name.toLowerCase().replace(' ', '-'), options)
      const peer = map(host)
      expect(await peer.mapped()).toMatchObject({
        event: 'mapped',
        address: router.ip4,
        port: PORT,
        via,
        router: `${router.lan.prefix4}.1`,
      })
      expect(await daemon.openings()).toEqual([opening(host)])
      expect(await outside.reaches(router.ip4, PORT)).toBe(true)
      await leave(peer, daemon)
      expect(await outside.isShut(router.ip4, PORT)).toBe(true)
    })
  })

  describe('IPv6 pinholes', () => {
    const CASES: readonly { name: string; via: string; options: MiniupnpdOptions; linkLocal: boolean }[] = [
      { name: 'PCP', via: 'pcp', options: { upnp: false, lifetimes: [1, 8] }, linkLocal: false },
      { name: 'PCP at a link-local address', via: 'pcp', options: { upnp: false, lifetimes: [1, 8] }, linkLocal: true },
      { name: 'UPnP IGDv2', via: 'upnp', options: { pxp: false }, linkLocal: false },
      { name: 'UPnP IGDv2 at a link-local address', via: 'upnp', options: { pxp: false }, linkLocal: true },
    ]
    it.concurrent.for(CASES)('$name: opened for one port, and closed', async ({ via, options, linkLocal }) => {
      const { host, daemon } = await mappedHome(`pinhole-${via}${linkLocal ? '-local' : ''}`, options)
      if (linkLocal) await routeByLinkLocal(host)
      const peer = map(host, { family: 6 })
      expect(await peer.mapped()).toMatchObject({ event: 'mapped', address: host.ip6, port: PORT, via })
      expect(await daemon.openings()).toEqual([opening(host, 6)])
      expect(await outside.reaches(host.ip6, PORT)).toBe(true)
      expect(await outside.isShut(host.ip6, PORT + 1)).toBe(true)
      await leave(peer, daemon)
      expect(await outside.isShut(host.ip6, PORT)).toBe(true)
    })
  })

  it.concurrent('upnpc and natpmpc see what was mapped, and it stands beside what they map', async () => {
    const { router, host, daemon } = await mappedHome('opinions')
    const peers = (['pcp', 'nat-pmp', 'upnp'] as const).map((via, index) => map(host, { internalPort: PORT + index, via: [via] }))
    for (const peer of peers) await peer.mapped()
    const list = await net.output(host, 'upnpc', '-u', daemon.description, '-l')
    for (const port of [PORT, PORT + 1, PORT + 2]) expect(list).toMatch(new RegExp(`UDP\\s+${port}->${host.ip4}:${port}\\b`))
    const natpmpc = (...args: string[]): Promise<string> => net.output(host, 'natpmpc', '-g', `${router.lan.prefix4}.1`, ...args)
    // Of the same host and port: what there is.
    expect(await natpmpc('-a', `${PORT + 1}`, `${PORT + 1}`, 'udp', '600')).toContain(`Mapped public port ${PORT + 1} protocol UDP`)
    await natpmpc('-a', '5001', '5001', 'udp', '600')
    await net.output(host, 'upnpc', '-u', daemon.description, '-a', host.ip4, '5002', '5002', 'udp', '600')
    for (const peer of peers) expect(await peer.end()).toBe(0)
    const left = await daemon.openings()
    expect(left.map(({ external }) => external.port).sort()).toEqual([5_001, 5_002])
  })

  /** As routers announce themselves (RFC 4861 4.2), instead of by the address that it has in the network. */
  async function routeByLinkLocal(host: Node): Promise<void> {
    await net.output(host, 'ip', '-6', 'route', 'replace', 'default', 'via', 'fe80::1', 'dev', 'eth0')
  }

  async function leave(peer: MappingPeer, daemon: Miniupnpd): Promise<void> {
    expect(await peer.end(), peer.account).toBe(0)
    // miniupnpd 2.3.1 forgets whose pinhole it is when PCP asks for it again: such a one can only be given the shortest lease.
    const pinholes = (await daemon.openings()).some(({ external: { ip } }) => ip !== undefined)
    if (pinholes) await until(async () => (await daemon.openings()).length === 0)
    expect(await daemon.rules()).toEqual([])
  }
})

/** What a mapping of a port to the same port outside is in the packet filter. */
function opening({ ip4, ip6 }: Node, family: Family = 4, port = PORT): Opening {
  if (family === 4) return { transport: 'udp', external: { port }, internal: { ip: ip4, port } }
  return { transport: 'udp', external: { ip: ip6, port }, internal: { ip: ip6, port } }
}

async function ours(daemon: Miniupnpd, { ip4, ip6 }: Node): Promise<readonly Opening[]> {
  return (await daemon.openings()).filter(({ internal: { ip } }) => ip === ip4 || ip === ip6)
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error('it did not come to that')
    await delay(50)
  }
}
