/**
 * Relays in the network namespaces of a real kernel, all of them processes: `sallyport serve`, and peers under load. First who connects over a
 * relay and who does not need to; then what 1,000 datagrams a second each way go through when the path changes under them.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TraversalOptions } from '../../src/index.ts'
import type { Family, TlsIdentity } from '../../src/net/index.ts'
import { makeIdentity } from '../net/tls-identity.ts'
import { requires } from '../requirements.ts'
import { JsonPeer, MAIN } from './json-peer.ts'
import { type Flow, LoadedPair, type LoadLine, LoadPeer } from './load.ts'
import { KERNEL, KernelNet, type Node, type RouterOptions } from './namespaces.ts'
import {
  apart,
  behind,
  behind6,
  firewalled,
  type Home,
  home,
  masquerade,
  open,
  outsides,
  type Places,
  randomPorts,
  together,
  walled,
} from './places.ts'

const USER = { username: 'ann', password: 'secret' }
const IPV4: readonly Family[] = [4]
const IPV6: readonly Family[] = [6]
/** Milliseconds. A path takes a fraction of a second; many at a time share the processor. */
const TIMEOUT = 20_000
/** For what takes until a keep-alive of a NAT's mapping is due. */
const PATIENCE = 30_000
/** Milliseconds without data when a path dies, at most. Two seconds are the goal, on a machine that has time. */
const LONGEST_GAP = 5_000
/** The port of a peer, so that a NAT can be told what to make of it. */
const PORT = 4_000

interface Cell {
  readonly name: string
  readonly places: Places
  readonly scheme?: 'turn' | 'turns'
  /** How both see their path in the end. */
  readonly ends: 'direct' | 'relay'
  /** What gets through to the relay, from each. UDP by default. */
  readonly transports?: readonly [a: string, b: string]
}

const noUdp = behind({ nat: { kind: 'random' }, udp: false })
const noUdp6 = behind6({ udp: false })

const CELLS: readonly Cell[] = [
  { name: 'random ports × random ports', places: apart(randomPorts, randomPorts), ends: 'relay' },
  { name: 'masquerade × random ports', places: apart(masquerade, randomPorts), ends: 'relay' },
  { name: 'no UDP × random ports, over TCP', places: apart(noUdp, randomPorts), ends: 'relay', transports: ['tcp', 'udp'] },
  { name: 'no UDP × no UDP, over TCP', places: apart(noUdp, noUdp), ends: 'relay', transports: ['tcp', 'tcp'] },
  {
    name: 'no UDP × random ports, over TLS',
    places: apart(noUdp, randomPorts),
    scheme: 'turns',
    ends: 'relay',
    transports: ['tls', 'tls'],
  },
  { name: 'no UDP × no UDP, over TLS', places: apart(noUdp, noUdp), scheme: 'turns', ends: 'relay', transports: ['tls', 'tls'] },
  { name: 'v6 only: no UDP × firewall, over TCP', places: apart(noUdp6, firewalled()), ends: 'relay', transports: ['tcp', 'udp'] },
  { name: 'v6 only: no UDP × no UDP, over TCP', places: apart(noUdp6, noUdp6), ends: 'relay', transports: ['tcp', 'tcp'] },
  {
    name: 'v6 only: no UDP × firewall, over TLS',
    places: apart(noUdp6, firewalled()),
    scheme: 'turns',
    ends: 'relay',
    transports: ['tls', 'tls'],
  },
  { name: 'v6 only: no UDP × no UDP, over TLS', places: apart(noUdp6, noUdp6), scheme: 'turns', ends: 'relay', transports: ['tls', 'tls'] },
  { name: 'v6 only: a firewall between the two', places: walled(IPV6), ends: 'relay' },
  { name: 'v4 only × v6 only', places: apart(masquerade, firewalled()), ends: 'relay' },
  { name: 'masquerade × masquerade', places: apart(masquerade, masquerade), ends: 'direct' },
  { name: 'random ports × open host', places: apart(randomPorts, open), ends: 'direct' },
  { name: 'two hosts of one home', places: together, ends: 'direct' },
  { name: 'v6 firewall × v6 firewall, no v4', places: apart(firewalled(), firewalled()), ends: 'direct' },
  { name: 'v6 firewall × v6 firewall, v4 with random ports', places: apart(firewalled('random'), firewalled('random')), ends: 'direct' },
]

interface ServedRelay {
  readonly node: Node
  process: JsonPeer
}

const NEEDS = { ...KERNEL, commands: { ...KERNEL.commands, openssl: 'openssl' }, also: { 'a build (npm run build)': existsSync(MAIN) } }
const told: string[] = []

describe('relays in a real kernel', requires(NEEDS), () => {
  let net: KernelNet
  let common: ServedRelay
  let identity: TlsIdentity
  let folder: string

  beforeAll(async () => {
    net = await KernelNet.create()
    folder = mkdtempSync(join(tmpdir(), 'relay-'))
    const node = await net.host('relay')
    identity = makeIdentity('relay.example.net', node.ip4, node.ip6)
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    writeFileSync(cert, identity.cert)
    writeFileSync(key, identity.key)
    common = { node, process: await startRelay(node, '--tls-cert', cert, '--tls-key', key, '--drain-timeout', '10') }
  })

  afterAll(async () => {
    common.process.kill('SIGTERM')
    const exit = await common.process.exit
    await net.close()
    rmSync(folder, { recursive: true })
    console.log(told.join('\n'))
    expect(exit, common.process.account).toBe(0)
    // Everybody gave back what they had before they left.
    const count = (what: string): number => common.process.lines.filter(({ event }) => event === what).length
    expect(count('allocation-created')).toBeGreaterThan(0)
    expect(count('allocation-deleted'), common.process.account).toBe(count('allocation-created'))
    expect(count('draining'), common.process.account).toBe(0)
  })

  async function startRelay(node: Node, ...args: readonly string[]): Promise<JsonPeer> {
    const relay = new JsonPeer(net, node, 'serve', '--json', '--user', `${USER.username}:${USER.password}`, ...args)
    await relay.find(({ listening }) => listening !== undefined)
    return relay
  }

  async function serveRelay(name: string): Promise<ServedRelay> {
    const node = await net.host(name)
    return { node, process: await startRelay(node) }
  }

  async function homes(name: string, options: RouterOptions): Promise<readonly [Home, Home]> {
    return [await home(net, `${name}-a`, options), await home(net, `${name}-b`, options)]
  }

  function meet(hosts: readonly [Node, Node], relays: readonly ServedRelay[], scheme = 'turn', more: TraversalOptions = {}): LoadedPair {
    const [a, b] = hosts.map((host) => {
      const servers = relays.map(({ node }) => `${scheme}:${host.ip4 === '' ? `[${node.ip6}]` : node.ip4}`)
      return new LoadPeer(net, host, { servers, credentials: USER, relay: { ca: identity.cert }, ...more })
    }) as [LoadPeer, LoadPeer]
    return new LoadedPair(
      net,
      a,
      b,
      relays.map(({ node }) => node),
    )
  }

  async function leave({ peers }: LoadedPair, relays: readonly ServedRelay[] = []): Promise<void> {
    expect(await Promise.all(peers.map((peer) => peer.end()))).toEqual([0, 0])
    for (const { process } of relays) process.kill('SIGKILL')
  }

  describe('who connects', () => {
    it.concurrent.for(CELLS)('$name', async ({ name, places, scheme, ends, transports = ['udp', 'udp'] }) => {
      const [a, b] = await places(net, `cell${CELLS.findIndex((cell) => cell.name === name)}`)
      const pair = meet([a.host, b.host], [common], scheme)
      await pair.explained(async () => {
        await pair.until(({ kind }) => kind === ends, TIMEOUT)
        // A stream that stands still for a second keeps so much: here nothing may be lost, whatever else the machine has to do.
        pair.load(200)
        await delay(500)
        const flows = await pair.stop()
        for (const flow of flows) expect(flow.received).toBeGreaterThan(20)
        await nothingLost(pair, flows)
        expect(pair.peers.map(({ path }) => path?.kind)).toEqual([ends, ends])
        const relays = await Promise.all(pair.peers.map((peer) => peer.relays()))
        expect(relays.map(([relay]) => relay?.transport)).toEqual(transports)
      })
      tell(name, pair)
      await leave(pair)
    })
  })

  describe('when the direct way opens or changes', { timeout: 60_000 }, () => {
    const families = [
      ['IPv4', IPV4],
      ['IPv6', IPV6],
    ] as const
    it.concurrent.for(families)('a firewall that is lifted lets the data over to it and none is lost, %s', async ([name, spoken]) => {
      const [a, b] = await homes(`lift${spoken.join('')}`, { families: spoken })
      await net.wall(a.router, ...outsides(b))
      const pair = meet([a.host, b.host], [common])
      await pair.explained(async () => {
        await pair.until(({ kind }) => kind === 'relay', TIMEOUT)
        pair.load()
        await delay(1_500)
        expect(pair.peers.map(({ path }) => path?.kind)).toEqual(['relay', 'relay'])
        await net.liftWall(a.router)
        await pair.until(({ kind }) => kind === 'direct', TIMEOUT)
        await delay(1_500)
        const flows = await pair.stop()
        tell(`a firewall is lifted, ${name}`, pair, flows)
        await nothingLost(pair, flows)
        expect(pair.peers.map(({ path }) => path?.kind)).toEqual(['direct', 'direct'])
      })
      await leave(pair)
    })

    it.concurrent('a NAT that starts again with other ports is survived, and the path is direct again', async () => {
      const [a, b] = await homes('reboot', { families: IPV4 })
      // Of its own: it keeps the allocation of the address that is gone until its time is up.
      const relay = await serveRelay('reboot-relay')
      const pair = meet([a.host, b.host], [relay], 'turn', { port: PORT })
      await pair.explained(async () => {
        await pair.until(({ kind }) => kind === 'direct', TIMEOUT)
        pair.load()
        await delay(1_000)
        const at = Date.now()
        await net.reboot(a.router, PORT, PORT + 1_000)
        // To a it is the same path, should it come back before the relay has to stand in; to b it leads elsewhere.
        await pair.until((path, peer) => path.kind === 'direct' && (peer === pair.a || path.remote?.port === PORT + 1_000), PATIENCE)
        await delay(1_000)
        const flows = await pair.stop()
        tell('a NAT starts again', pair, flows, at)
        goesOn(flows)
        expect(flows[0].status.path).toMatchObject({ kind: 'direct', local: { port: PORT + 1_000 } })
      })
      await leave(pair, [relay])
    })

    it.concurrent('a host that moves to another network takes its session along, and the path is direct again', async () => {
      const [a, b] = await homes('roam', { families: IPV4 })
      const elsewhere = await net.router('roam-elsewhere', { families: IPV4 })
      // Of its own: it keeps the allocation of the address that is gone until its time is up.
      const relay = await serveRelay('roam-relay')
      const pair = meet([a.host, b.host], [relay])
      await pair.explained(async () => {
        await pair.until(({ kind }) => kind === 'direct', TIMEOUT)
        pair.load()
        await delay(1_000)
        const at = Date.now()
        await net.move(a.host, elsewhere)
        const moved = ({ local, remote }: LoadLine): boolean => [local?.ip, remote?.ip].includes(elsewhere.ip4)
        await pair.until((path) => path.kind === 'direct' && moved(path), PATIENCE)
        await delay(1_000)
        const flows = await pair.stop()
        tell('a host moves', pair, flows, at)
        goesOn(flows)
      })
      await leave(pair, [relay])
    })
  })

  describe('when a relay dies', { timeout: 60_000 }, () => {
    it.concurrent('the other one that is listed takes over', async () => {
      const [a, b] = await homes('killed', { families: IPV4, nat: { kind: 'random' } })
      const relays = [await serveRelay('killed-one'), await serveRelay('killed-two')] as const
      const pair = meet([a.host, b.host], relays)
      await pair.explained(async () => {
        await pair.until(({ kind }) => kind === 'relay', TIMEOUT)
        pair.load()
        await delay(3_000)
        const [used, other] = usedFirst(pair, relays)
        const at = Date.now()
        used.process.kill('SIGKILL')
        await pair.until((path) => !isOver(path, used), TIMEOUT)
        await delay(2_000)
        const flows = await pair.stop()
        tell('a relay is killed', pair, flows, at)
        goesOn(flows)
        expect(pair.peers.map(({ path }) => path !== undefined && isOver(path, other))).toEqual([true, true])
      })
      await leave(pair, relays)
    })

    it.concurrent('a direct path is not touched', async () => {
      const [a, b] = await homes('unnoticed', { families: IPV4 })
      const relay = await serveRelay('unnoticed')
      const pair = meet([a.host, b.host], [relay])
      await pair.explained(async () => {
        await pair.until(({ kind }) => kind === 'direct', TIMEOUT)
        await delay(1_000)
        const before = pair.peers.map(({ paths }) => paths.length)
        pair.load()
        await delay(1_000)
        relay.process.kill('SIGKILL')
        await delay(8_000)
        const flows = await pair.stop()
        tell('a relay is killed, the path is direct', pair, flows)
        await nothingLost(pair, flows)
        expect(flows.map(({ overtaken }) => overtaken)).toEqual([0, 0])
        expect(pair.peers.map(({ paths }) => paths.length)).toEqual(before)
      })
      await leave(pair)
    })

    it.concurrent('and starts again, the session goes on', async () => {
      const [a, b] = await homes('again', { families: IPV4, nat: { kind: 'random' } })
      const relay = await serveRelay('again')
      const pair = meet([a.host, b.host], [relay])
      await pair.explained(async () => {
        await pair.until(({ kind }) => kind === 'relay', TIMEOUT)
        pair.load()
        await delay(1_500)
        const at = Date.now()
        relay.process.kill('SIGKILL')
        await relay.process.exit
        relay.process = await startRelay(relay.node)
        await pair.until((path) => path.at !== undefined && path.at > at, TIMEOUT)
        await delay(2_000)
        const flows = await pair.stop()
        tell('a relay starts again', pair, flows, at)
        goesOn(flows)
        expect(pair.peers.map(({ path }) => path?.kind)).toEqual(['relay', 'relay'])
      })
      await leave(pair, [relay])
    })
  })
})

/** The relay that the path of the moment goes over, and the other one. */
function usedFirst({ a }: LoadedPair, relays: readonly [ServedRelay, ServedRelay]): readonly [ServedRelay, ServedRelay] {
  const [one, two] = relays
  return a.path !== undefined && isOver(a.path, one) ? [one, two] : [two, one]
}

function isOver({ local, remote }: LoadLine, { node }: ServedRelay): boolean {
  return [local, remote].some((end) => end?.type === 'relay' && [node.ip4, node.ip6].includes(end.ip))
}

/** What no change of paths may do: datagrams of a longer way may be overtaken by those of a shorter one, and by no others. */
function isUnspoiled(flow: Flow): void {
  expect([flow.doubled, flow.damaged, flow.disordered], `doubled, damaged, disordered: ${describeFlow(flow)}`).toEqual([0, 0, 0])
}

/** But what the kernel itself threw away on a machine that had no time to read. */
async function nothingLost(pair: LoadedPair, flows: readonly Flow[]): Promise<void> {
  flows.forEach(isUnspoiled)
  const lost = flows.reduce((sum, flow) => sum + flow.lost, 0)
  if (lost > 0) expect(lost, flows.map(describeFlow).join('\n')).toBeLessThanOrEqual(await pair.overflows())
}

/** The session lived, and nothing of the last half second was lost. */
function goesOn(flows: readonly [Flow, Flow]): void {
  const sent = flows.map((flow) => flow.sent).reverse()
  flows.forEach((flow, index) => {
    isUnspoiled(flow)
    expect(flow.status.state).toBe('connected')
    expect(Math.max(0, ...flow.gaps.map(({ ms }) => ms)), describeFlow(flow)).toBeLessThan(LONGEST_GAP)
    const all = sent[index] ?? 0
    expect(flow.highest, describeFlow(flow)).toBe(all - 1)
    expect(flow.missing.at(-1)?.[1] ?? 0, describeFlow(flow)).toBeLessThan(all - 500)
  })
}

/** Milliseconds: the longest time without any datagram that ended after `at`. */
function gapAfter({ gaps }: Flow, at: number): number {
  return Math.max(0, ...gaps.filter((gap) => gap.at + gap.ms > at).map(({ ms }) => ms))
}

/** @param at when the world changed */
function tell(name: string, { peers }: LoadedPair, flows: readonly Flow[] = [], at?: number): void {
  peers.forEach(({ paths }, index) => {
    const changes = paths.map(({ kind, at: when = 0 }) => `${kind}${at === undefined ? '' : ` at ${(when - at).toFixed(0)} ms`}`)
    told.push(`${name}, ${'ab'[index]}: ${changes.join(' → ')}`)
    const flow = flows[index]
    if (flow === undefined) return
    told.push(`  ${describeFlow(flow)}`)
    if (at !== undefined) told.push(`  nothing came for ${gapAfter(flow, at).toFixed(0)} ms then`)
  })
}

function describeFlow({ received, lost, missing, overtaken, behind, gaps, late, full }: Flow): string {
  const ranges = missing.slice(0, 8).map(([first, last]) => `${first}-${last}`)
  return [
    `${received} received`,
    `${lost} lost${ranges.length === 0 ? '' : ` (${ranges.join(' ')})`}`,
    `${overtaken} overtaken by up to ${behind}`,
    `longest gap ${Math.max(0, ...gaps.map(({ ms }) => ms)).toFixed(0)} ms`,
    `stood still ${late.toFixed(0)} ms`,
    `queue full ${full} times`,
  ].join(', ')
}
