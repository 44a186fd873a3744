/**
 * A relay must lead nobody to where he could not go himself (RFC 8656 21, RFC 6156 9.1): every denied range, in every spelling of an IPv4
 * address within IPv6, written as bytes, by every request that names a peer.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { networkInterfaces } from 'node:os'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import { requires } from '../../requirements.ts'
import { Party } from './party.ts'
import { ServerProcess } from './server-process.ts'
import {
  ADDITIONAL_FAMILY,
  attribute,
  CHANNEL_BIND,
  CREATE_PERMISSION,
  channelData,
  channelNumber,
  DATA,
  ip4,
  message,
  newId,
  SEND_INDICATION,
  xorPeer,
} from './wire.ts'

const FORBIDDEN = 403

/** The first address, one in between and the last of each range. */
const RANGES_4 = {
  'this network': ['0.0.0.0', '0.10.20.30', '0.255.255.255'],
  'private 10/8': ['10.0.0.0', '10.1.2.3', '10.255.255.255'],
  'carrier-grade NAT': ['100.64.0.0', '100.100.100.100', '100.127.255.255'],
  loopback: ['127.0.0.0', '127.0.0.1', '127.255.255.255'],
  'link-local': ['169.254.0.0', '169.254.169.254', '169.254.255.255'],
  'private 172.16/12': ['172.16.0.0', '172.20.1.1', '172.31.255.255'],
  'protocol assignments': ['192.0.0.0', '192.0.0.170', '192.0.0.255'],
  'documentation 1': ['192.0.2.0', '192.0.2.1', '192.0.2.255'],
  '6to4 relays': ['192.88.99.0', '192.88.99.1', '192.88.99.255'],
  'private 192.168/16': ['192.168.0.0', '192.168.1.1', '192.168.255.255'],
  benchmarks: ['198.18.0.0', '198.19.1.1', '198.19.255.255'],
  'documentation 2': ['198.51.100.0', '198.51.100.1', '198.51.100.255'],
  'documentation 3': ['203.0.113.0', '203.0.113.1', '203.0.113.255'],
  multicast: ['224.0.0.0', '239.255.255.250', '239.255.255.255'],
  reserved: ['240.0.0.0', '250.1.1.1', '255.255.255.254'],
  broadcast: ['255.255.255.255'],
} as const

/** What can be in front of an IPv4 address, and behind it. */
const SPELLINGS: Readonly<Record<string, readonly [before: string, after: string]>> = {
  itself: ['', ''],
  'IPv4-mapped': ['00000000000000000000ffff', ''],
  'IPv4-compatible': ['000000000000000000000000', ''],
  SIIT: ['0000000000000000ffff0000', ''],
  NAT64: ['0064ff9b0000000000000000', ''],
  'local NAT64': ['0064ff9b0001000000000000', ''],
  '6to4': ['2002', '00010000000000000001'],
  'Teredo, as its server': ['20010000', '8000000000000000'],
}

const RANGES_6: Readonly<Record<string, readonly string[]>> = {
  unspecified: ['00000000000000000000000000000000'],
  loopback: ['00000000000000000000000000000001'],
  'local NAT64': ['0064ff9b000100000000000000000001', '0064ff9b0001ffffffffffffffffffff'],
  discard: ['01000000000000000000000000000001'],
  dummy: ['01000000000000010000000000000001'],
  'link-local': ['fe800000000000000000000000000001', 'febfffffffffffffffffffffffffffff'],
  'site-local': ['fec00000000000000000000000000001', 'feffffffffffffffffffffffffffffff'],
  'unique local': ['fc000000000000000000000000000001', 'fdffffffffffffffffffffffffffffff'],
  multicast: ['ff020000000000000000000000000001', 'ff0e000000000000000000000000000c'],
  documentation: ['20010db8000000000000000000000001', '3fff0000000000000000000000000001'],
  benchmarks: ['20010002000000000000000000000001'],
  ORCHID: ['20010010000000000000000000000001', '2001002fffffffffffffffffffffffff'],
  Teredo: ['20010000000000000000000000000001', '2001000053aa64c80000fffff5fffffe'],
  '6to4': ['20020801020300010000000000000001'],
  'segment identifiers': ['5f000000000000000000000000000001'],
}

interface Peer {
  readonly range: string
  readonly spelling: string
  readonly ip: Buffer
}

function spelt(address: string, spelling: string): Buffer {
  const [before, after] = SPELLINGS[spelling]!
  return Buffer.concat([Buffer.from(before, 'hex'), ip4(address), Buffer.from(after, 'hex')])
}

const DENIED: readonly Peer[] = [
  ...Object.entries(RANGES_4).flatMap(([range, addresses]) =>
    Object.keys(SPELLINGS).flatMap((spelling) => addresses.map((address) => ({ range, spelling, ip: spelt(address, spelling) }))),
  ),
  ...Object.entries(RANGES_6).flatMap(([range, ips]) =>
    ips.map((ip) => ({ range, spelling: 'an IPv6 address', ip: Buffer.from(ip, 'hex') })),
  ),
]
const ALLOWED = [ip4('8.8.8.8'), ip4('1.1.1.1'), Buffer.from('26000000000000000000000000000001', 'hex')]

const hasLoopback6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1') === true)
const needs = requires({ also: { 'IPv6 on loopback': hasLoopback6 } })

const name = ({ range, spelling, ip }: Peer): string => `${range} as ${spelling} (${ip.toString('hex')})`

function permit(party: Party, ...peers: readonly (readonly [ip: Buffer, port: number])[]): Promise<number | undefined> {
  return party.request(CREATE_PERMISSION, (id) => Buffer.concat(peers.map(([ip, port]) => xorPeer(ip, port, id)))).then(({ code }) => code)
}

function bind(party: Party, ip: Buffer, port: number, channel = 0x4000): Promise<number | undefined> {
  return party.request(CHANNEL_BIND, (id) => Buffer.concat([channelNumber(channel), xorPeer(ip, port, id)])).then(({ code }) => code)
}

function send(party: Party, ip: Buffer, port: number): void {
  const id = newId()
  party.send(message(SEND_INDICATION, Buffer.concat([xorPeer(ip, port, id), attribute(DATA, 'hello inside')]), id))
}

describe('peers of a relay with relayed addresses of both families', needs, () => {
  let server: ServerProcess
  let party: Party
  /** Services of this machine that must never hear of it. */
  const services: Socket[] = []
  const reached: string[] = []

  async function service(type: 'udp4' | 'udp6', address: string): Promise<number> {
    const socket = createSocket({ type, ...(type === 'udp6' ? { ipv6Only: true } : {}) })
    socket.on('message', (data) => reached.push(`${address}: ${data}`))
    socket.bind({ address, port: 0, exclusive: true })
    await once(socket, 'listening')
    services.push(socket)
    return socket.address().port
  }

  beforeAll(async () => {
    server = await ServerProcess.serve('--address', '127.0.0.1', '--address', '::1')
    party = await Party.udp(server.udp[0]!)
    expect(await party.allocate(ADDITIONAL_FAMILY)).toBeInstanceOf(Address)
  })

  afterAll(async () => {
    party?.close()
    for (const socket of services) socket.close()
    await server?.stop()
  })

  it('CreatePermission gets 403 for every denied range in every spelling', async () => {
    for (const peer of DENIED) expect([name(peer), await permit(party, [peer.ip, 80])]).toEqual([name(peer), FORBIDDEN])
    expect(await server.metric('relay_permissions')).toBe(0)
  })

  it('so does ChannelBind', async () => {
    for (const peer of DENIED) expect([name(peer), await bind(party, peer.ip, 80)]).toEqual([name(peer), FORBIDDEN])
    expect([await server.metric('relay_permissions'), await server.metric('relay_channels')]).toEqual([0, 0])
  })

  it('one denied among allowed ones, wherever it stands, leaves nothing installed', async () => {
    for (const peer of DENIED.filter((_, i) => i % 7 === 0)) {
      const good = ALLOWED.map((ip) => [ip, 80] as const)
      for (let at = 0; at <= good.length; at++) {
        const code = await permit(party, ...good.slice(0, at), [peer.ip, 80], ...good.slice(at))
        expect([name(peer), code]).toEqual([name(peer), FORBIDDEN])
      }
    }
    expect(await server.metric('relay_permissions')).toBe(0)
  })

  it('Send reaches nothing there, nor does ChannelData on a channel that was refused', async () => {
    const before = await server.metric('relay_drops_total', 'no-permission')
    const port4 = await service('udp4', '127.0.0.1')
    const port6 = await service('udp6', '::1')
    let sent = 0
    for (const { ip } of DENIED) {
      for (const port of [port4, port6]) {
        if (sent++ % 64 === 0) await permit(party, [ip4('10.0.0.1'), 1])
        send(party, ip, port)
      }
    }
    for (const [ip, port] of [[ip4('127.0.0.1'), port4] as const, [Buffer.from(`${'00'.repeat(15)}01`, 'hex'), port6] as const]) {
      expect(await bind(party, ip, port)).toBe(FORBIDDEN)
      party.send(channelData(0x4000, Buffer.from('hello inside'), false))
    }
    await permit(party, [ip4('10.0.0.1'), 1])
    expect((await server.metric('relay_drops_total', 'no-permission')) - before).toBe(2 * DENIED.length)
    expect(await server.metric('relay_drops_total', 'no-channel')).toBe(2)
    expect(await server.metric('relay_packets_total', 'to_peer')).toBe(0)
    expect(reached).toEqual([])
  })

  it('a peer that is allowed is permitted and bound all the same', async () => {
    for (const [i, ip] of ALLOWED.entries()) {
      expect(await permit(party, [ip, 80])).toBeUndefined()
      expect(await bind(party, ip, 80, 0x4001 + i)).toBeUndefined()
    }
    // Mapped, it is the same peer; its channel is that of the IPv4 address.
    expect(await bind(party, spelt('8.8.8.8', 'IPv4-mapped'), 80, 0x4001)).toBeUndefined()
    expect(await server.metric('relay_channels')).toBe(ALLOWED.length)
  })
})

describe('addresses of the relay itself', needs, () => {
  const servers: ServerProcess[] = []
  const parties: Party[] = []

  afterEach(async () => {
    for (const party of parties.splice(0)) party.close()
    for (const server of servers.splice(0)) await server.stop()
  })

  async function allocated(...args: readonly string[]): Promise<{ server: ServerProcess; party: Party; relayed: Address }> {
    const server = await ServerProcess.serve('--address', '127.0.0.1', '--address', '::1', ...args)
    servers.push(server)
    const party = await Party.udp(server.udp[0]!)
    parties.push(party)
    return { server, party, relayed: (await party.allocate(ADDITIONAL_FAMILY)) as Address }
  }

  const LOOPBACK_6 = Buffer.from(`${'00'.repeat(15)}01`, 'hex')
  /** Where in it the IPv4 address is, and whether there is a translator, only the network knows that it is of: who allows it answers for it. */
  const CERTAIN = Object.keys(SPELLINGS).filter((spelling) => spelling !== 'local NAT64')

  it.each([['--allow-private-peers'], ['--allow-peers', '0.0.0.0/0', '--allow-peers', '::/0']])(
    'with %s: its listeners are denied in every spelling',
    async (...args) => {
      const { server, party } = await allocated(...args)
      for (const { port } of [...server.udp, ...server.tcp]) {
        for (const spelling of CERTAIN) {
          const ip = spelt('127.0.0.1', spelling)
          expect([spelling, await permit(party, [ip, port]), await bind(party, ip, port)]).toEqual([spelling, FORBIDDEN, FORBIDDEN])
        }
        expect([await permit(party, [LOOPBACK_6, port]), await bind(party, LOOPBACK_6, port)]).toEqual([FORBIDDEN, FORBIDDEN])
      }
      expect(await server.metric('relay_permissions')).toBe(0)
    },
  )

  it('its listeners cannot be reached under a permission for another port of the same address', async () => {
    const { server, party, relayed } = await allocated('--allow-private-peers')
    const loopback = ip4('127.0.0.1')
    expect(await permit(party, [loopback, 9])).toBeUndefined()
    const bindings = await server.metric('relay_bindings_total')
    for (const { port } of server.udp) {
      const id = newId()
      const inner = message(0x001, new Uint8Array(0))
      party.send(message(SEND_INDICATION, Buffer.concat([xorPeer(loopback, port, id), attribute(DATA, inner)]), id))
    }
    await permit(party, [loopback, 9])
    const denied = server.udp.filter(({ family }) => family === 4).length
    expect(await server.metric('relay_drops_total', 'denied')).toBeGreaterThanOrEqual(denied)
    expect(await server.metric('relay_bindings_total')).toBe(bindings)
    expect(relayed.ip).toBe('127.0.0.1')
  })

  it('where ranges around them are allowed, its own addresses are not, but for relayed addresses that somebody has', async () => {
    const { party, relayed } = await allocated('--allow-peers', '127.0.0.0/8', '--allow-peers', '::1/128')
    const loopback = ip4('127.0.0.1')
    expect(await permit(party, [ip4('127.0.0.2'), 9])).toBeUndefined()
    expect(await permit(party, [loopback, 9])).toBe(FORBIDDEN)
    expect(await permit(party, [LOOPBACK_6, 9])).toBe(FORBIDDEN)
    expect(await permit(party, [loopback, relayed.port])).toBeUndefined()
    expect(await bind(party, loopback, relayed.port ^ 1)).toBe(FORBIDDEN)
  })

  it('behind a NAT, the address that the NAT has for it is its own', async () => {
    const { party, relayed } = await allocated('--external-address', '8.8.4.4')
    expect(relayed.ip).toBe('8.8.4.4')
    for (const spelling of Object.keys(SPELLINGS)) {
      expect([spelling, await permit(party, [spelt('8.8.4.4', spelling), 22])]).toEqual([spelling, FORBIDDEN])
    }
    expect(await permit(party, [ip4('8.8.4.4'), relayed.port])).toBeUndefined()
    expect(await permit(party, [ip4('8.8.8.8'), 22])).toBeUndefined()
  })
})
