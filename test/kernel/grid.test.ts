/**
 * The kernel grid: two processes of `sallyport connect --json` behind the NATs and firewalls of real kernels, with two STUN servers on the
 * internet between them. The test carries their signals and nothing else. The table is printed at the end of the run.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requires } from '../requirements.ts'
import { carrySignals, JsonPeer, MAIN, type Output } from './json-peer.ts'
import { KERNEL, KernelNet, type Node } from './namespaces.ts'
import { apart, behind, carried, firewalled, masquerade, open, opened, type Place, type Places, randomPorts, together } from './places.ts'

interface Cell {
  readonly name: string
  readonly places: Places
  /** False: plain ICE has no path there. */
  readonly direct?: false
  /** Milliseconds after which the second one starts. */
  readonly later?: number
  /** Of both, which then also have one address at home. Any free one by default. */
  readonly port?: number
}

/** What comes early from outside pushes the host's own packets to another port there. */
const poisonable = behind({ input: 'accept' })

/** The longest first: the others go on beside them. */
const CELLS: readonly Cell[] = [
  { name: 'random ports × random ports', places: apart(randomPorts, randomPorts), direct: false },
  { name: 'masquerade × random ports', places: apart(masquerade, randomPorts), direct: false },
  { name: 'masquerade × masquerade, the second 2 s later', places: apart(masquerade, masquerade), later: 2_000 },
  { name: 'masquerade × masquerade', places: apart(masquerade, masquerade) },
  {
    name: 'masquerade × masquerade, one address and port in both homes',
    places: apart(behind({ lan4: '192.168.1' }), behind({ lan4: '192.168.1' })),
    port: 4_000,
  },
  { name: 'masquerade × masquerade, both INPUT accept', places: apart(poisonable, poisonable) },
  { name: 'the same, the second 2 s later', places: apart(poisonable, poisonable), later: 2_000 },
  { name: 'masquerade × open host', places: apart(masquerade, open) },
  { name: 'all ports forwarded × random ports', places: apart(opened, randomPorts) },
  { name: 'random ports × all ports forwarded', places: apart(randomPorts, opened) },
  { name: 'double NAT × masquerade', places: apart(carried, masquerade) },
  { name: 'double NAT × double NAT', places: apart(carried, carried) },
  { name: 'two hosts of one home', places: together },
  { name: 'v6 firewall × v6 firewall, no v4', places: apart(firewalled(), firewalled()) },
  { name: 'v6 firewall × v6 firewall, v4 with random ports', places: apart(firewalled('random'), firewalled('random')) },
  { name: 'v6 firewall and v4 masquerade × v6 firewall, no v4', places: apart(firewalled('masquerade'), firewalled()) },
]

/** Seconds. A path takes a fraction of one; where there is none, the checks of five are as good as those of sixty. */
const TIMEOUT = { direct: 20, hopeless: 5 }

interface Side {
  readonly peer: JsonPeer
  readonly place: Place
  /** How it ended: `done` or `failed`. */
  readonly end: Output
}

const outcomes = new Map<Cell, readonly Side[]>()

describe('the kernel grid', requires({ ...KERNEL, also: { 'a build (npm run build)': existsSync(MAIN) } }), () => {
  let net: KernelNet
  let servers: readonly JsonPeer[] = []
  let stun: readonly string[]

  beforeAll(async () => {
    net = await KernelNet.create()
    const hosts = [await net.host('server'), await net.host('other')]
    servers = hosts.map((host) => new JsonPeer(net, host, 'serve', '--json', '--address', host.ip4, '--address', host.ip6))
    const ready = await Promise.all(servers.map((server) => server.find(({ listening }) => listening !== undefined)))
    stun = ready.flatMap(({ listening = [] }) => listening)
  })

  afterAll(async () => {
    for (const server of servers) server.kill('SIGTERM')
    const exits = await Promise.all(servers.map(({ exit }) => exit))
    await net.close()
    console.log(table())
    expect(exits).toEqual([0, 0])
    expect(spawnSync('ip', ['netns', 'list']).stdout.toString()).not.toContain(net.name)
  })

  /** Builds the cell and lets its peers meet, until each has said how that ended. */
  async function meet(cell: Cell): Promise<readonly [Side, Side]> {
    const [here, there] = await cell.places(net, `cell${CELLS.indexOf(cell)}`)
    const a = start(here.host, cell)
    if (cell.later !== undefined) await delay(cell.later)
    const b = start(there.host, cell)
    carrySignals(a, b)
    const [endA, endB] = await Promise.all([a.find(isEnd), b.find(isEnd)])
    return [
      { peer: a, place: here, end: endA },
      { peer: b, place: there, end: endB },
    ]
  }

  function start(host: Node, { direct, port = 0 }: Cell): JsonPeer {
    const timeout = direct === false ? TIMEOUT.hopeless : TIMEOUT.direct
    const options = ['--timeout', String(timeout), '--port', String(port), '--say', words(host)]
    for (const server of stun) options.push('--stun', server)
    return new JsonPeer(net, host, 'connect', '--json', '--events', '--verbose', ...options)
  }

  it.concurrent.for(CELLS)('$name', async (cell) => {
    const sides = await meet(cell)
    outcomes.set(cell, sides)
    const [a, b] = sides
    const account = `${a.peer.account}\n${b.peer.account}`
    if (cell.direct === false) {
      // The one whose time is up first tells the other that it leaves.
      const [first, second] = [a.end, b.end].sort(
        (one, other) => Number(one.failed !== 'ERR_TIMEOUT') - Number(other.failed !== 'ERR_TIMEOUT'),
      )
      expect(first?.failed, account).toBe('ERR_TIMEOUT')
      expect(second?.failed, account).toBeOneOf(['ERR_TIMEOUT', 'ERR_NO_PATH'])
      expect([a.peer.path, b.peer.path], account).toEqual([undefined, undefined])
      expect(await Promise.all([a.peer.exit, b.peer.exit])).toEqual([1, 1])
    } else {
      expect(a.end, account).toMatchObject(connection(a, b))
      expect(b.end, account).toMatchObject(connection(b, a))
      expect(a.peer.path, account).toMatchObject(path(a, b))
      expect(b.peer.path, account).toMatchObject(path(b, a))
      expect([await a.peer.heard(), await b.peer.heard()]).toEqual([words(b.place.host), words(a.place.host)])
      // Each takes the other's end for what the other takes it for, to the port.
      expect(a.peer.path?.localAddress, account).toBe(b.peer.path?.remoteAddress)
      expect(b.peer.path?.localAddress, account).toBe(a.peer.path?.remoteAddress)
      if (cell.port !== undefined) expect(a.place.host.ip4).toBe(b.place.host.ip4)
      for (const { place } of sides) expect(await net.pids(place.host)).toHaveLength(1)
      expect(await Promise.all([a.peer.end(), b.peer.end()]), account).toEqual([0, 0])
    }
    expect(await Promise.all(sides.map(({ place }) => net.pids(place.host)))).toEqual([[], []])
  })
})

function isEnd({ done, failed }: Output): boolean {
  return done === true || failed !== undefined
}

function words(host: Node): string {
  return `hello from ${host.name}`
}

function connection(own: Side, other: Side): object {
  return { done: true, direct: true, local: expect.toBeOneOf([...own.place.types]), remote: expect.toBeOneOf([...other.place.types]) }
}

function path(own: Side, other: Side): object {
  return { kind: 'direct', localAddress: withPort(own.place.outside), remoteAddress: withPort(other.place.outside) }
}

function withPort(ip: string): unknown {
  const host = ip.includes(':') ? `[${ip}]` : ip
  return expect.toSatisfy((address) => typeof address === 'string' && address.startsWith(`${host}:`), `${host} and a port`)
}

function table(): string {
  const rows = CELLS.map((cell) => [cell.name, ...(outcomes.get(cell) ?? []).map(({ end }) => describeEnd(end))])
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return [
    'The kernel grid: milliseconds from the beginning of gathering until data had gone both ways, and the two ends of the path, to each side.',
    'Several cells at a time share the processor: these are no measurements of speed.',
    '',
    ...rows.map(([name = '', a = 'not run', b = '']) => `${name.padEnd(widths[0] ?? 0)}  ${a.padEnd(widths[1] ?? 0)}  ${b}`),
  ].join('\n')
}

function describeEnd({ ms = 0, local, remote, failed }: Output): string {
  return `${ms.toFixed(0).padStart(6)} ${failed ?? `${local} to ${remote}`}`
}
