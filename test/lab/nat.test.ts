import { describe, expect, test } from 'vitest'
import { NatTable } from '../../src/lab/nat.ts'
import { type NatOptions, nat, natOptions } from '../../src/lab/nat-options.ts'
import { PublicPool } from '../../src/lab/ports.ts'
import { SeededRandom } from '../../src/lab/random.ts'
import { Address } from '../../src/net/index.ts'

const OUTSIDE = Address.of('203.0.113.1', 0)
const HOST = Address.of('192.168.1.2', 5000)
const OTHER_HOST = Address.of('192.168.1.3', 5000)
const PEER = Address.of('198.51.100.1', 3478)
const PEER_OTHER_PORT = PEER.withPort(3479)
const STRANGER = Address.of('198.51.100.2', 3478)

interface Bench {
  readonly table: NatTable
  /** The external address for a packet, as text; or the reason for a refusal. */
  out(internal: Address, remote: Address, now?: number): string
  /** The internal address for a packet, as text; or the reason for a refusal. */
  in(external: string, remote: Address, now?: number): string
}

function bench(options: Partial<NatOptions>, publicAddresses = 1, seed = 1): Bench {
  const full: NatOptions = natOptions({ ...nat.portRestricted, ...options })
  const random = new SeededRandom(seed, 'test')
  const addresses = Array.from({ length: publicAddresses }, (_, i) => Address.of(`203.0.113.${i + 1}`, 0))
  const table = new NatTable('udp', full, new PublicPool(addresses, full.pooling ?? 'paired', random), random)
  return {
    table,
    out: (internal, remote, now = 0) => String(table.outbound(internal, remote, now)),
    in: (external, remote, now = 0) => String(table.inbound(parse(external), remote, now)),
  }
}

function parse(text: string): Address {
  const [ip = '', port = ''] = text.split(':')
  return Address.of(ip, Number(port))
}

const portOf = (text: string): number => parse(text).port

describe('REQ-1 mapping', () => {
  test('EIM gives one external address for all peers', () => {
    const { out } = bench({ mapping: 'EIM' })
    expect(new Set([out(HOST, PEER), out(HOST, PEER_OTHER_PORT), out(HOST, STRANGER)]).size).toBe(1)
  })

  test('ADM gives one for each peer address, whatever its port', () => {
    const { out } = bench({ mapping: 'ADM', ports: 'random' })
    expect(out(HOST, PEER)).toBe(out(HOST, PEER_OTHER_PORT))
    expect(out(HOST, STRANGER)).not.toBe(out(HOST, PEER))
  })

  test('APDM gives one for each peer address and port', () => {
    const { out } = bench({ mapping: 'APDM', ports: 'random' })
    const all = [out(HOST, PEER), out(HOST, PEER_OTHER_PORT), out(HOST, STRANGER)]
    expect(new Set(all).size).toBe(3)
    expect([out(HOST, PEER), out(HOST, PEER_OTHER_PORT), out(HOST, STRANGER)]).toEqual(all)
  })

  test.each(['EIM', 'ADM', 'APDM'] as const)('%s never gives two internal endpoints the same external one', (mapping) => {
    const { out } = bench({ mapping, ports: 'preserving' })
    expect(out(HOST, PEER)).not.toBe(out(OTHER_HOST, PEER))
    expect(out(HOST.withPort(5001), STRANGER)).not.toBe(out(OTHER_HOST, STRANGER))
  })
})

describe('REQ-2 pooling', () => {
  const remotes = Array.from({ length: 40 }, (_, i) => Address.of(`198.51.100.${i + 1}`, 1000))

  test("paired gives all of a host's mappings the same external address", () => {
    const { out } = bench({ mapping: 'APDM', pooling: 'paired' }, 4)
    expect(new Set(remotes.map((remote) => parse(out(HOST, remote)).ip)).size).toBe(1)
  })

  test('paired gives several hosts different external addresses in turn', () => {
    const { out } = bench({ pooling: 'paired' }, 4)
    const ips = [2, 3, 4, 5, 6].map((n) => parse(out(Address.of(`192.168.1.${n}`, 5000), PEER)).ip)
    expect(ips).toEqual(['203.0.113.1', '203.0.113.2', '203.0.113.3', '203.0.113.4', '203.0.113.1'])
  })

  test("arbitrary spreads a host's mappings over the external addresses", () => {
    const { out } = bench({ mapping: 'APDM', pooling: 'arbitrary' }, 4)
    expect(new Set(remotes.map((remote) => parse(out(HOST, remote)).ip)).size).toBe(4)
  })
})

describe('REQ-3 port assignment', () => {
  const remotes = Array.from({ length: 8 }, (_, i) => Address.of(`198.51.100.${i + 1}`, 1000))

  test('preserving keeps the internal port', () => {
    expect(bench({ ports: 'preserving' }).out(HOST, PEER)).toBe('203.0.113.1:5000')
  })

  test('preserving gives the next free port above when the port is taken: no overloading', () => {
    const { out } = bench({ ports: 'preserving' })
    out(HOST, PEER)
    expect(out(OTHER_HOST, STRANGER)).toBe('203.0.113.1:5001')
  })

  test('preserving with APDM keeps the port for the first peer and goes up for each further one', () => {
    const { out } = bench({ mapping: 'APDM', ports: 'preserving' })
    expect(remotes.map((remote) => portOf(out(HOST, remote)))).toEqual([5000, 5001, 5002, 5003, 5004, 5005, 5006, 5007])
  })

  test('preserving keeps the port again after the mapping has expired', () => {
    const { out } = bench({ ports: 'preserving', lifetime: 1000 })
    out(HOST, PEER, 0)
    expect(out(OTHER_HOST, PEER, 1000)).toBe('203.0.113.1:5000')
  })

  test('sequential goes up by one whoever asks, from a start that the seed decides', () => {
    const { out } = bench({ mapping: 'APDM', ports: 'sequential' })
    const ports = remotes.map((remote, i) => portOf(out(i % 2 === 0 ? HOST : OTHER_HOST, remote)))
    expect(ports.map((port) => port - ports[0]!)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect(portOf(bench({ mapping: 'APDM', ports: 'sequential' }, 1, 2).out(HOST, PEER))).not.toBe(ports[0])
  })

  test.each([2, 7, -3])('a delta of %i steps by it', (delta) => {
    const { out } = bench({ mapping: 'APDM', ports: { delta } })
    const ports = remotes.map((remote) => portOf(out(HOST, remote)))
    expect(ports.slice(1).map((port, i) => port - ports[i]!)).toEqual(Array.from({ length: 7 }, () => delta))
  })

  test('sequential skips ports that are taken and starts again at the end of the range', () => {
    const { out } = bench({ mapping: 'APDM', ports: 'sequential', portRange: [2000, 2007] })
    const ports = remotes.map((remote) => portOf(out(HOST, remote)))
    expect([...ports].sort()).toEqual([2000, 2001, 2002, 2003, 2004, 2005, 2006, 2007])
  })

  test('random covers the whole range without a pattern', () => {
    const { out } = bench({ mapping: 'APDM', ports: 'random' })
    const ports = Array.from({ length: 4000 }, (_, i) => portOf(out(HOST, Address.of('198.51.100.9', i + 1))))
    const tenths = Array.from({ length: 10 }, () => 0)
    for (const port of ports) {
      const tenth = Math.floor(((port - 1024) / 64_512) * 10)
      tenths[tenth] = (tenths[tenth] ?? 0) + 1
    }
    expect(Math.min(...ports)).toBeGreaterThanOrEqual(1024)
    for (const count of tenths) expect(Math.abs(count - 400)).toBeLessThan(100)
    expect(ports.filter((port, i) => port === ports[i - 1]! + 1).length).toBeLessThan(5)
  })

  test('a block gives each internal address random ports of a block of its own', () => {
    const { out } = bench({ mapping: 'APDM', ports: { block: 1024 } })
    const block = (host: Address): Set<number> => {
      const ports = Array.from({ length: 200 }, (_, i) => portOf(out(host, Address.of('198.51.100.9', i + 1))))
      expect(ports.slice(1).some((port, i) => port < ports[i]!)).toBe(true)
      return new Set(ports.map((port) => Math.floor((port - 1024) / 1024)))
    }
    const [one, other] = [block(HOST), block(OTHER_HOST)]
    expect(one.size).toBe(1)
    expect(other.size).toBe(1)
    expect([...one]).not.toEqual([...other])
  })

  test('a block that is full refuses', () => {
    const { out } = bench({ mapping: 'APDM', ports: { block: 16 } })
    for (let port = 1; port <= 16; port++) expect(out(HOST, PEER.withPort(port))).toMatch(/^203/)
    expect(out(HOST, PEER.withPort(17))).toBe('no-port')
    expect(out(OTHER_HOST, PEER)).toMatch(/^203/)
  })

  test('a range that is full refuses', () => {
    const { out } = bench({ mapping: 'APDM', ports: 'random', portRange: [3000, 3009] })
    for (let port = 1; port <= 10; port++) expect(out(HOST, PEER.withPort(port))).toMatch(/^203/)
    expect(out(HOST, PEER.withPort(11))).toBe('no-port')
  })
})

describe('REQ-5 and REQ-6 timers', () => {
  test('a mapping lives for 120 seconds after the last outbound packet unless told otherwise', () => {
    const table = bench({})
    const external = table.out(HOST, PEER, 0)
    expect(table.in(external, PEER, 119_999)).toBe(HOST.key)
    expect(table.in(external, PEER, 120_000)).toBe('no-mapping')
  })

  test('outbound packets refresh, to whichever peer', () => {
    const table = bench({ lifetime: 1000, filtering: 'EIF' })
    const external = table.out(HOST, PEER, 0)
    table.out(HOST, STRANGER, 900)
    expect(table.in(external, PEER, 1800)).toBe(HOST.key)
    expect(table.in(external, PEER, 1900)).toBe('no-mapping')
  })

  test('outbound packets refresh the filter for the peer they go to', () => {
    const table = bench({ lifetime: 1000 })
    const external = table.out(HOST, PEER, 0)
    table.out(HOST, PEER, 900)
    expect(table.in(external, PEER, 1899)).toBe(HOST.key)
  })

  test('inbound packets do not refresh unless told to', () => {
    const table = bench({ lifetime: 1000 })
    const external = table.out(HOST, PEER, 0)
    expect(table.in(external, PEER, 999)).toBe(HOST.key)
    expect(table.in(external, PEER, 1000)).toBe('no-mapping')
  })

  test('inbound packets refresh when told to', () => {
    const table = bench({ lifetime: 1000, inboundRefresh: true })
    const external = table.out(HOST, PEER, 0)
    expect(table.in(external, PEER, 900)).toBe(HOST.key)
    expect(table.in(external, PEER, 1800)).toBe(HOST.key)
    expect(table.in(external, PEER, 2800)).toBe('no-mapping')
  })

  test('a refused inbound packet does not refresh', () => {
    const table = bench({ lifetime: 1000, inboundRefresh: true })
    const external = table.out(HOST, PEER, 0)
    expect(table.in(external, STRANGER, 900)).toBe('filtered')
    expect(table.in(external, PEER, 1000)).toBe('no-mapping')
  })

  test('the filter forgets a peer that was not sent to for a lifetime though the mapping lives', () => {
    const table = bench({ lifetime: 1000 })
    const external = table.out(HOST, PEER, 0)
    table.out(HOST, STRANGER, 900)
    expect(table.in(external, PEER, 1000)).toBe('filtered')
    expect(table.in(external, STRANGER, 1000)).toBe(HOST.key)
  })

  test('a hard NAT gives another port when the mapping to the peer has expired', () => {
    const { out } = bench({ ...nat.symmetricSequential, lifetime: 1000 })
    expect(portOf(out(HOST, PEER, 1000))).toBe(portOf(bench({ ...nat.symmetricSequential }).out(HOST, PEER)))
    const before = out(HOST, PEER, 1500)
    expect(out(HOST, PEER, 2499)).toBe(before)
    expect(portOf(out(HOST, PEER, 3499))).toBe(portOf(before) + 1)
  })

  test('TCP mappings live for two hours and four minutes, RFC 5382 REQ-5', () => {
    const random = new SeededRandom(1, 'tcp')
    const table = new NatTable('tcp', nat.portRestricted, new PublicPool([OUTSIDE], 'paired', random), random)
    const external = table.outbound(HOST, PEER, 0) as Address
    expect(String(table.inbound(external, PEER, 7_439_999))).toBe(HOST.key)
    expect(table.inbound(external, PEER, 7_440_000)).toBe('no-mapping')
  })
})

describe('REQ-8 filtering', () => {
  test('EIF lets everybody in', () => {
    const table = bench({ filtering: 'EIF' })
    const external = table.out(HOST, PEER)
    for (const remote of [PEER, PEER_OTHER_PORT, STRANGER]) expect(table.in(external, remote)).toBe(HOST.key)
  })

  test('ADF lets in the addresses that were sent to, from any port', () => {
    const table = bench({ filtering: 'ADF' })
    const external = table.out(HOST, PEER)
    expect(table.in(external, PEER_OTHER_PORT)).toBe(HOST.key)
    expect(table.in(external, STRANGER)).toBe('filtered')
  })

  test('APDF lets in only the addresses and ports that were sent to', () => {
    const table = bench({ filtering: 'APDF' })
    const external = table.out(HOST, PEER)
    expect(table.in(external, PEER)).toBe(HOST.key)
    expect(table.in(external, PEER_OTHER_PORT)).toBe('filtered')
    expect(table.in(external, STRANGER)).toBe('filtered')
  })

  test('the filter of one mapping says nothing about another of the same host', () => {
    const table = bench({ mapping: 'APDM', filtering: 'APDF', ports: 'random' })
    const toPeer = table.out(HOST, PEER)
    table.out(HOST, STRANGER)
    expect(table.in(toPeer, STRANGER)).toBe('filtered')
  })

  test('a hard NAT that lets strangers in answers them from the port to which they came', () => {
    const table = bench({ mapping: 'APDM', filtering: 'EIF', ports: 'random' })
    const external = table.out(HOST, PEER)
    expect(table.in(external, STRANGER)).toBe(HOST.key)
    expect(table.out(HOST, STRANGER)).toBe(external)
    expect(table.out(HOST, PEER_OTHER_PORT)).not.toBe(external)
  })

  test('an external port that nobody has lets nobody in', () => {
    expect(bench({ filtering: 'EIF' }).in('203.0.113.1:9999', PEER)).toBe('no-mapping')
  })
})

describe('the session limit', () => {
  test('refuses what would be one session more and lets the others live', () => {
    const table = bench({ sessions: 3 })
    for (let port = 1; port <= 3; port++) expect(table.out(HOST, PEER.withPort(port))).toMatch(/^203/)
    expect(table.out(HOST, PEER.withPort(4))).toBe('nat-full')
    expect(table.out(OTHER_HOST, PEER)).toBe('nat-full')
    expect(table.out(HOST, PEER.withPort(2))).toMatch(/^203/)
  })

  test('makes room when sessions have expired', () => {
    const table = bench({ sessions: 2, lifetime: 1000 })
    table.out(HOST, PEER, 0)
    table.out(HOST, STRANGER, 500)
    expect(table.out(HOST, PEER_OTHER_PORT, 999)).toBe('nat-full')
    expect(table.out(HOST, PEER_OTHER_PORT, 1000)).toMatch(/^203/)
    expect(table.out(OTHER_HOST, PEER, 1000)).toBe('nat-full')
  })

  test('counts every mapping of a hard NAT', () => {
    const table = bench({ ...nat.symmetricRandom, sessions: 10 })
    const results = Array.from({ length: 12 }, (_, i) => table.out(HOST, PEER.withPort(i + 1)))
    expect(results.filter((result) => result === 'nat-full').length).toBe(2)
  })

  test('holds over ten thousand flows that come and go', () => {
    const table = bench({ ...nat.symmetricRandom, sessions: 100, lifetime: 1000 })
    let refused = 0
    for (let i = 0; i < 10_000; i++) if (table.out(HOST, PEER.withPort(1 + i), i * 20) === 'nat-full') refused++
    expect(refused).toBe(0)
    expect(table.table.mappings(200_000).length).toBeLessThanOrEqual(100)
  })
})

describe('poisoning (Linux conntrack with an accepting INPUT)', () => {
  const peerFirst = (options: Partial<NatOptions>): { table: Bench; before: string } => {
    const table = bench({ ...nat.linux, ...options })
    const before = table.out(HOST, STRANGER, 0)
    expect(table.in(before, PEER, 100)).toBe('filtered')
    return { table, before }
  }

  test("pushes the host's own later packet to the early peer to another port", () => {
    const { table, before } = peerFirst({})
    const pushed = table.out(HOST, PEER, 200)
    expect(pushed).toBe('203.0.113.1:5001')
    expect(table.in(before, PEER, 300)).toBe('poisoned')
    expect(table.in(pushed, PEER, 300)).toBe(HOST.key)
  })

  test('leaves the mapping for all other peers where it was', () => {
    const { table, before } = peerFirst({})
    table.out(HOST, PEER, 200)
    expect(table.out(HOST, STRANGER, 300)).toBe(before)
    expect(table.out(HOST, PEER_OTHER_PORT, 300)).toBe(before)
  })

  test('strikes a port that has no mapping yet as well', () => {
    const table = bench(nat.linux)
    expect(table.in('203.0.113.1:5000', PEER, 0)).toBe('no-mapping')
    expect(table.out(HOST, PEER, 10)).toBe('203.0.113.1:5001')
    expect(table.out(HOST, STRANGER, 10)).toBe('203.0.113.1:5000')
  })

  test('ends 30 s after the last refused packet, each of which renews it', () => {
    const { table } = peerFirst({})
    expect(table.in('203.0.113.1:5000', PEER, 20_000)).toBe('poisoned')
    expect(table.out(HOST, PEER, 49_999)).toBe('203.0.113.1:5001')
    const fresh = bench(nat.linux)
    fresh.in('203.0.113.1:5000', PEER, 0)
    expect(fresh.out(HOST, PEER, 30_000)).toBe('203.0.113.1:5000')
  })

  test('does nothing on a NAT without it', () => {
    const { table, before } = peerFirst({ poisoning: false })
    expect(table.out(HOST, PEER, 200)).toBe(before)
    expect(table.in(before, PEER, 300)).toBe(HOST.key)
  })

  test('makes a hard NAT avoid the poisoned port too', () => {
    const table = bench({ ...nat.symmetricPreserving, poisoning: true })
    table.in('203.0.113.1:5000', PEER, 0)
    expect(table.out(HOST, PEER, 10)).toBe('203.0.113.1:5001')
    expect(table.out(HOST, STRANGER, 10)).toBe('203.0.113.1:5000')
  })
})

describe('a forward', () => {
  const external = OUTSIDE.withPort(7000)

  test('lets everybody in and does not expire', () => {
    const { table } = bench({})
    expect(table.forward(HOST, external, 0)).toBe(true)
    expect(String(table.inbound(external, STRANGER, 1e9))).toBe(HOST.key)
  })

  test('is refused a port that another host has, and may be repeated by its own', () => {
    const { table } = bench({})
    table.forward(HOST, external, 0)
    expect(table.forward(OTHER_HOST, external, 0)).toBe(false)
    expect(table.forward(HOST, external, 0)).toBe(true)
    table.outbound(OTHER_HOST, PEER, 0)
    expect(table.forward(HOST, OUTSIDE.withPort(5000), 0)).toBe(false)
  })

  test("of the same port inside and outside is the mapping of the host's own packets", () => {
    const { table } = bench({})
    table.forward(HOST, OUTSIDE.withPort(5000), 0)
    expect(String(table.outbound(HOST, PEER, 0))).toBe('203.0.113.1:5000')
    expect(String(table.inbound(OUTSIDE.withPort(5000), STRANGER, 1e9))).toBe(HOST.key)
  })

  test("of another port is not: the host's own packets leave from a mapping of their own", () => {
    const { table } = bench({})
    table.forward(HOST, external, 0)
    expect(String(table.outbound(HOST, PEER, 0))).toBe('203.0.113.1:5000')
  })

  test('carries the answers to those who came in by it, and to nobody else', () => {
    const { table } = bench({})
    table.outbound(HOST, PEER, 0)
    table.forward(HOST, external, 0)
    table.inbound(external, STRANGER, 10)
    expect(String(table.outbound(HOST, STRANGER, 20))).toBe(external.key)
    expect(String(table.outbound(HOST, PEER_OTHER_PORT, 20))).toBe('203.0.113.1:5000')
  })

  test('carries no answer once a lifetime has passed in silence', () => {
    const { table } = bench({ lifetime: 1000 })
    table.forward(HOST, external, 0)
    table.inbound(external, STRANGER, 0)
    expect(String(table.outbound(HOST, STRANGER, 1000))).toBe('203.0.113.1:5000')
  })

  test('leaves a session alone that the host had opened before from its own port', () => {
    const { table } = bench({})
    table.forward(HOST, external, 0)
    table.outbound(HOST, PEER, 0)
    table.inbound(external, PEER, 10)
    expect(String(table.outbound(HOST, PEER, 20))).toBe('203.0.113.1:5000')
  })

  test('ends when it is taken back', () => {
    const { table } = bench({})
    table.forward(HOST, external, 0)
    table.unforward(external)
    expect(table.inbound(external, PEER, 0)).toBe('no-mapping')
  })
})

test('mappings tells what stands: addresses, peers that may send, end', () => {
  const { table, out } = bench({ lifetime: 1000 })
  out(HOST, PEER, 0)
  out(HOST, STRANGER, 500)
  const [mapping, ...others] = table.mappings(600)
  expect(others).toEqual([])
  expect(mapping).toMatchObject({ protocol: 'udp', internal: HOST, permitted: [PEER.key, STRANGER.key], expiresAt: 1500 })
  expect(table.mappings(1500)).toEqual([])
})

test.each([
  [{ lifetime: 0 }, 'lifetime'],
  [{ sessions: 0 }, 'sessions'],
  [{ portRange: [5000, 4000] }, 'portRange'],
  [{ ports: { delta: 0 } }, 'ports'],
  [{ ports: { block: 70_000 } }, 'ports'],
] as const)('options that make no sense are a RangeError that names them: %j', (options, name) => {
  expect(() => natOptions({ ...nat.fullCone, ...options } as NatOptions)).toThrow(RangeError)
  expect(() => natOptions({ ...nat.fullCone, ...options } as NatOptions)).toThrow(name)
})

test('a preset that does not exist is a RangeError', () => {
  expect(() => natOptions('cone' as never)).toThrow(RangeError)
})
