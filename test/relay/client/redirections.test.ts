import { describe, expect, it } from 'vitest'
import { createLab, type Lab } from '../../../src/lab/index.ts'
import { Address, Timers } from '../../../src/net/index.ts'
import { RelayClient, type RelayClientOptions } from '../../../src/relay/client/index.ts'
import type { Way } from '../../../src/relay/client/race.ts'
import { Redirections } from '../../../src/relay/client/redirections.ts'
import { Attribute, Message, MessageWriter, Method, parseServerUri } from '../../../src/stun/index.ts'
import { FakeServer } from './fake-server.ts'

function tryAlternate(to: Address | undefined, domain?: string): Message {
  const writer = new MessageWriter().start('error', Method.Allocate, new Uint8Array(12)).errorCode(300, 'Try Alternate')
  if (to !== undefined) writer.address(Attribute.AlternateServer, to)
  if (domain !== undefined) writer.text(Attribute.AlternateDomain, domain)
  return Message.read(writer.finish().slice())!
}

const address = (ip: string, port = 3_478): Address => Address.of(ip, port)
const way = (transport: Way['transport'], ip: string): Way => ({ transport, address: address(ip), after: 0, serverName: 'relay.test' })

describe('C66 a redirection', () => {
  it.each([
    ['udp', '8.8.8.8', '8.8.8.8', 3_479, true, 'another port of the same host'],
    ['udp', '8.8.8.8', '8.8.4.4', 3_478, true, 'a relay that was configured'],
    ['tcp', '8.8.8.8', '8.8.4.4', 9_999, true, 'another port of one that was configured'],
    ['udp', '8.8.8.8', '9.9.9.9', 3_478, false, 'anybody, without TLS'],
    ['tcp', '8.8.8.8', '9.9.9.9', 3_478, false, 'anybody, over plain TCP'],
    ['tls', '8.8.8.8', '9.9.9.9', 3_478, true, 'anybody, over TLS'],
    ['tls', '8.8.8.8', '127.0.0.1', 3_478, false, 'loopback'],
    ['tls', '8.8.8.8', '::1', 3_478, false, 'IPv6 loopback'],
    ['tls', '8.8.8.8', '192.168.1.1', 3_478, false, 'a private network'],
    ['tls', '8.8.8.8', '100.64.0.1', 3_478, false, "a carrier's network"],
    ['tls', '8.8.8.8', '169.254.169.254', 80, false, 'link-local, where clouds keep secrets'],
    ['tls', '8.8.8.8', 'fd00::1', 3_478, false, 'unique local'],
    ['tls', '8.8.8.8', '0.0.0.0', 3_478, false, 'nowhere'],
    ['tls', '8.8.8.8', '239.1.1.1', 3_478, false, 'a group'],
    ['tls', '8.8.8.8', '8.8.8.8', 3_478, false, 'itself'],
    ['tls', '8.8.8.8', '9.9.9.9', 0, false, 'no port'],
    ['tls', '192.168.1.1', '192.168.1.2', 3_478, true, 'a neighbour, in a private network'],
    ['tls', '192.168.1.1', '127.0.0.1', 3_478, false, 'loopback, from a private network'],
  ] as const)('over %s from %s to %s port %i: %s (%s)', (transport, from, to, port, followed, _what) => {
    const named = [address('8.8.8.8'), address('8.8.4.4')]
    const redirections = new Redirections(named)
    expect(redirections.follows(tryAlternate(address(to, port)), way(transport, from))).toBe(followed)
    expect(redirections.take(tryAlternate(address(to, port)), way(transport, from))?.address.key).toBe(
      followed ? address(to, port).key : undefined,
    )
  })

  it('without an address is none', () => {
    expect(new Redirections([]).follows(tryAlternate(undefined), way('tls', '8.8.8.8'))).toBe(false)
  })

  it('keeps the transport, and takes the name for the certificate where one is given', () => {
    const redirections = new Redirections([])
    const first = redirections.take(tryAlternate(address('9.9.9.9'), 'two.relay.test'), way('tls', '8.8.8.8'))
    expect(first).toMatchObject({ transport: 'tls', serverName: 'two.relay.test' })
    expect(redirections.take(tryAlternate(address('9.9.9.8')), first!)).toMatchObject({ serverName: 'two.relay.test' })
  })

  it('goes three hops at most, and never to where it came from', () => {
    const redirections = new Redirections([])
    let at = way('tls', '9.9.9.0')
    for (const n of [1, 2, 3]) {
      expect(redirections.follows(tryAlternate(address('9.9.9.0')), at)).toBe(false)
      at = redirections.take(tryAlternate(address(`9.9.9.${n}`)), at)!
    }
    expect(redirections.follows(tryAlternate(address('9.9.9.4')), at)).toBe(false)
    expect(redirections.take(tryAlternate(address('9.9.9.4')), at)).toBeUndefined()
  })
})

interface Fleet {
  readonly lab: Lab
  readonly client: RelayClient
  readonly told: string[]
}

function clientOf(lab: Lab, first: FakeServer, options: Partial<RelayClientOptions> = {}): Fleet {
  const host = lab.host('client')
  const told: string[] = []
  const client = new RelayClient({
    network: host,
    timers: new Timers(host.clock),
    uri: parseServerUri('turn:relay.test?transport=udp'),
    text: 'turn:relay.test',
    addresses: [first.address],
    credentials: async () => ({ username: 'alice', password: 'wonder' }),
    families: [4],
    outlet: {
      measured: () => void told.push('measured'),
      allocated: (_, { server }) => void told.push(`allocated ${server.key}`),
      doubted: () => undefined,
      ended: () => undefined,
      lost: () => void told.push('lost'),
      failed: (_, { code }) => void told.push(`failed ${code}`),
      datagram: () => {},
      sendFailed: () => {},
      drained: () => {},
    },
    ...options,
  })
  client.start()
  client.allocate()
  return { lab, client, told }
}

describe('C66 a relay that sends us elsewhere', () => {
  it.each([
    ['before it asks for credentials', false],
    ['after it has', true],
  ])('%s: the other one is used when the caller named it', async (_, late) => {
    const lab = createLab()
    const [one, two] = [await FakeServer.open(lab.host('one')), await FakeServer.open(lab.host('two'))]
    one.script = ({ method, authenticated }) => {
      if (method !== Method.Allocate || authenticated !== late) return 'honest'
      return { code: 300, write: (writer) => void writer.address(Attribute.AlternateServer, two.address) }
    }
    const { told, client } = clientOf(lab, one, { named: [one.address, two.address] })
    await lab.run(1_000)
    expect(told.filter((what) => what !== 'measured')).toEqual([`allocated ${two.address.key}`])
    expect(client.rtt).toBe(40)
    expect(one.allocations.size).toBe(0)
  })

  it('whom nobody named is not gone to, and nothing is sent there', async () => {
    const lab = createLab()
    const [one, two] = [await FakeServer.open(lab.host('one')), await FakeServer.open(lab.host('two'))]
    one.script = () => ({ code: 300, write: (writer) => void writer.address(Attribute.AlternateServer, two.address) })
    const { told } = clientOf(lab, one)
    await lab.run(4_000)
    expect(told).toEqual(['failed ERR_RELAY_REDIRECT'])
    expect(two.asked).toEqual([])
  })

  it('and back again, without end, is told as such', async () => {
    const lab = createLab()
    const [one, two] = [await FakeServer.open(lab.host('one')), await FakeServer.open(lab.host('two'))]
    one.script = () => ({ code: 300, write: (writer) => void writer.address(Attribute.AlternateServer, two.address) })
    two.script = () => ({ code: 300, write: (writer) => void writer.address(Attribute.AlternateServer, one.address) })
    const { told } = clientOf(lab, one, { named: [one.address, two.address] })
    await lab.run(4_000)
    expect(told).toEqual(['failed ERR_RELAY_REDIRECT'])
    expect([one.asked.length, two.asked.length]).toEqual([1, 1])
  })
})
