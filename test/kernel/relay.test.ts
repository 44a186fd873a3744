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
import { KERNEL, KernelNet, type Node } from './namespaces.ts'
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
/** The port of every peer, so that a NAT can be told what to make of it. */
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

const told: string[] = []

describe(
  'relays in a real kernel',
  requires({ ...KERNEL, commands: { ...KERNEL.commands, openssl: 'openssl' }, also: { 'a build (npm run build)': existsSync(MAIN) } }),
  () => {
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
      common = { node, process: await startRelay(node, '--tls-cert', cert, '--tls-key', key) }
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

    function startPeer(host: Node, relays: readonly ServedRelay[], scheme = 'turn', more: TraversalOptions = {}): LoadPeer {
      const servers = relays.map(({ node }) => `${scheme}:${host.ip4 === '' ? `[${node.ip6}]` : node.ip4}`)
      return new LoadPeer(net, host, { servers, credentials: USER, relay: { ca: identity.cert }, ...more })
    }

    async function leave({ peers }: LoadedPair): Promise<void> {
      expect(await Promise.all(peers.map((peer) => peer.end()))).toEqual([0, 0])
    }

    describe('who connects', () => {
      it.concurrent.for(CELLS)('$name', async ({ name, places, scheme = 'turn', ends, transports = ['udp', 'udp'] }) => {
        const [a, b] = await places(net, `cell${CELLS.findIndex((cell) => cell.name === name)}`)
        const pair = new LoadedPair(net, startPeer(a.host, [common], scheme), startPeer(b.host, [common], scheme), [common.node])
        await pair.explained(async () => {
          await pair.until(({ kind }) => kind === ends, TIMEOUT)
          pair.load()
          await delay(500)
          const flows = await pair.stop()
          for (const flow of flows) expect(flow.received).toBeGreaterThan(100)
          await nothingLost(pair, flows)
          expect(pair.peers.map(({ path }) => path?.kind)).toEqual([ends, ends])
          const relays = await Promise.all(pair.peers.map((peer) => peer.relays()))
          expect(relays.map(([relay]) => relay?.transport)).toEqual(transports)
        })
        tell(name, pair, [])
        await leave(pair)
      })
    })

    describe('under load', () => {
      async function homes(name: string, options: Parameters<typeof home>[2]): Promise<readonly [Home, Home]> {
        return [await home(net, `${name}-a`, options), await home(net, `${name}-b`, options)]
      }

      function pairOf([a, b]: readonly [Home, Home], relays: readonly ServedRelay[], more: TraversalOptions = {}): LoadedPair {
        const nodes = relays.map(({ node }) => node)
        return new LoadedPair(net, startPeer(a.host, relays, 'turn', more), startPeer(b.host, relays, 'turn', more), nodes)
      }

      it.concurrent.for([
        ['IPv4', IPV4],
        ['IPv6', IPV6],
      ] as const)(
        'a firewall that is lifted lets the data move to the direct path, over %s, and none of it is lost',
        async ([name, families]) => {
          const both = await homes(`lift${families[0]}`, { families })
          await net.wall(both[0].router, ...outsides(both[1]))
          const pair = pairOf(both, [common])
          await pair.explained(async () => {
            await pair.until(({ kind }) => kind === 'relay', TIMEOUT)
            pair.load()
            await delay(1_500)
            expect(pair.peers.map(({ path }) => path?.kind)).toEqual(['relay', 'relay'])
            await net.liftWall(both[0].router)
            await pair.until(({ kind }) => kind === 'direct', TIMEOUT)
            await delay(1_500)
            const flows = await pair.stop()
            tell(`a firewall is lifted, ${name}`, pair, flows)
            await nothingLost(pair, flows)
            inOrderButForChanges(pair, flows)
          })
          await leave(pair)
        },
      )

      it.concurrent('a NAT that starts again with other ports is survived, and the path ends up direct', async () => {
        const both = await homes('reboot', { families: IPV4 })
        const pair = pairOf(both, [common], { port: PORT })
        await pair.explained(async () => {
          await pair.until(({ kind }) => kind === 'direct', TIMEOUT)
          pair.load()
          await delay(1_000)
          await net.reboot(both[0].router, PORT, PORT + 1_000)
          const moved = (path: LoadLine): boolean => path.local?.port === PORT + 1_000 || path.remote?.port === PORT + 1_000
          await pair.until((path) => path.kind === 'direct' && moved(path), 30_000)
          await delay(1_000)
          const flows = await pair.stop()
          tell('a NAT starts again', pair, flows)
          goesOn(flows)
        })
        await leave(pair)
      })

      it.concurrent('a host that moves to another network takes its session along, and the path ends up direct', async () => {
        const both = await homes('roam', { families: IPV4 })
        const elsewhere = await net.router('roam-elsewhere', { families: IPV4 })
        const pair = pairOf(both, [common])
        await pair.explained(async () => {
          await pair.until(({ kind }) => kind === 'direct', TIMEOUT)
          pair.load()
          await delay(1_000)
          await net.move(both[0].host, elsewhere)
          const moved = (path: LoadLine): boolean => path.local?.ip === elsewhere.ip4 || path.remote?.ip === elsewhere.ip4
          await pair.until((path) => path.kind === 'direct' && moved(path), 30_000)
          await delay(1_000)
          const flows = await pair.stop()
          tell('a host moves', pair, flows)
          goesOn(flows)
        })
        await leave(pair)
      })

      it.concurrent('a relay that is killed is replaced by the other one that is listed', async () => {
        const both = await homes('killed', { families: IPV4, nat: { kind: 'random' } })
        const relays = [await serveRelay('killed-one'), await serveRelay('killed-two')] as const
        const pair = pairOf(both, relays)
        await pair.explained(async () => {
          await pair.until(({ kind }) => kind === 'relay', TIMEOUT)
          pair.load()
          await delay(3_000)
          const [used, other] = relayOf(pair, relays)
          used.process.kill('SIGKILL')
          const killed = Date.now()
          await pair.until(({ local, remote }) => ![local?.ip, remote?.ip].includes(used.node.ip4), TIMEOUT)
          await delay(2_000)
          const flows = await pair.stop()
          tell('a relay is killed', pair, flows)
          goesOn(flows)
          for (const { longestGap } of flows) {
            expect(longestGap.at).toBeGreaterThan(killed - 1_000)
            expect(longestGap.ms).toBeLessThan(5_000)
          }
          expect(pair.peers.map(({ path }) => [path?.local?.ip, path?.remote?.ip].includes(other.node.ip4))).toEqual([true, true])
        })
        await leave(pair)
        other(relays)
      })

      it.concurrent('a relay that is killed while the path is direct is not noticed', async () => {
        const both = await homes('unnoticed', { families: IPV4 })
        const relays = [await serveRelay('unnoticed-one')]
        const pair = pairOf(both, relays)
        await pair.explained(async () => {
          await pair.until(({ kind }) => kind === 'direct', TIMEOUT)
          await delay(1_000)
          const before = pair.peers.map(({ paths }) => paths.length)
          pair.load()
          await delay(1_000)
          relays[0]?.process.kill('SIGKILL')
          await delay(8_000)
          const flows = await pair.stop()
          tell('a relay is killed, the path is direct', pair, flows)
          await nothingLost(pair, flows)
          for (const { overtaken } of flows) expect(overtaken).toBe(0)
          expect(pair.peers.map(({ paths }) => paths.length)).toEqual(before)
        })
        await leave(pair)
      })

      it.concurrent('a relay that starts again has the session go on', async () => {
        const both = await homes('again', { families: IPV4, nat: { kind: 'random' } })
        const relay = await serveRelay('again')
        const pair = pairOf(both, [relay])
        await pair.explained(async () => {
          await pair.until(({ kind }) => kind === 'relay', TIMEOUT)
          pair.load()
          await delay(1_500)
          const before = pair.peers.map(({ paths }) => paths.length)
          relay.process.kill('SIGKILL')
          await relay.process.exit
          relay.process = await startRelay(relay.node)
          const end = Date.now() + TIMEOUT
          while (pair.peers.some(({ paths }, index) => paths.length === before[index]) && Date.now() < end) await delay(50)
          await delay(2_000)
          const flows = await pair.stop()
          tell('a relay starts again', pair, flows)
          goesOn(flows)
          expect(pair.peers.map(({ path }) => path?.kind)).toEqual(['relay', 'relay'])
        })
        await leave(pair)
        other([relay])
      })
    })
  },
)

/** Stops relays that a test had for itself. */
function other(relays: readonly ServedRelay[]): void {
  for (const { process } of relays) process.kill('SIGKILL')
}

/** The one that the path of the moment goes over, and the other one. */
function relayOf({ a }: LoadedPair, relays: readonly [ServedRelay, ServedRelay]): readonly [ServedRelay, ServedRelay] {
  const [one, two] = relays
  const ends = [a.path?.local, a.path?.remote].filter((end) => end?.type === 'relay').map((end) => end?.ip)
  return ends.includes(one.node.ip4) ? [one, two] : [two, one]
}

/** But what the kernel itself threw away on a machine that had no time to read. */
async function nothingLost(pair: LoadedPair, flows: readonly Flow[]): Promise<void> {
  for (const { doubled, damaged } of flows) expect([doubled, damaged]).toEqual([0, 0])
  const lost = flows.reduce((sum, flow) => sum + flow.lost, 0)
  if (lost > 0) expect(lost, describeFlows(flows)).toBeLessThanOrEqual(await pair.overflows())
}

/** What was on the longer way when the sender changed to the shorter one is overtaken, and nothing else. */
function inOrderButForChanges(pair: LoadedPair, flows: readonly Flow[]): void {
  flows.forEach(({ overtaken, reordered }, index) => {
    const changes = (pair.peers[1 - index]?.paths ?? []).map(({ at = 0 }) => at)
    for (const { at } of reordered) {
      expect(Math.min(...changes.map((change) => Math.abs(at - change))), describeFlows(flows)).toBeLessThan(1_000)
    }
    expect(overtaken, describeFlows(flows)).toBeLessThan(200)
  })
}

/** The session lived: what was sent last arrived. */
function goesOn(flows: readonly Flow[]): void {
  const [toA, toB] = flows as readonly [Flow, Flow]
  for (const [flow, sent] of [
    [toA, toB.sent],
    [toB, toA.sent],
  ] as const) {
    const last = flow.missing.at(-1)?.[1] ?? -1
    expect(flow.status.state).toBe('connected')
    expect([flow.doubled, flow.damaged]).toEqual([0, 0])
    expect(sent - flow.highest, describeFlows(flows)).toBeLessThan(50)
    expect(sent - last, describeFlows(flows)).toBeGreaterThan(500)
  }
}

function tell(name: string, { peers }: LoadedPair, flows: readonly Flow[]): void {
  const paths = peers.map((peer) => peer.paths.map(({ kind }) => kind).join(' → '))
  told.push(`${name}: ${paths.join(', and ')}${flows.length === 0 ? '' : `\n  ${describeFlows(flows).replaceAll('\n', '\n  ')}`}`)
}

function describeFlows(flows: readonly Flow[]): string {
  return flows
    .map(({ received, lost, missing, doubled, overtaken, reordered, longestGap, late, full }, index) => {
      const behind = Math.max(0, ...reordered.map((one) => one.behind))
      const ranges = missing.slice(0, 8).map(([first, last]) => `${first}-${last}`)
      return (
        `to ${'ab'[index]}: ${received} received, ${lost} lost (${ranges.join(' ')}), ${doubled} doubled, ${overtaken} overtaken by up to ${behind}, ` +
        `longest gap ${longestGap.ms.toFixed(0)} ms, stood still ${late.toFixed(0)} ms, full ${full}`
      )
    })
    .join('\n')
}
