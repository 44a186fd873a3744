import { networkInterfaces } from 'node:os'
import { afterEach, describe, expect, it } from 'vitest'
import { Address, type DatagramSocket } from '../../../src/net/index.ts'
import { nodeNetwork } from '../../../src/net/node/index.ts'
import { requires } from '../../requirements.ts'

const network = nodeNetwork()
const open: DatagramSocket[] = []

afterEach(() => {
  for (const socket of open.splice(0)) socket.close()
})

async function bind(ip: string, port = 0): Promise<DatagramSocket> {
  const socket = await network.bind({ family: ip.includes(':') ? 6 : 4, ip, port })
  open.push(socket)
  return socket
}

/** Settles with the sources of the next datagrams. */
function sources(socket: DatagramSocket, count: number): Promise<readonly Address[]> {
  const from: Address[] = []
  return new Promise((resolve) => {
    socket.handle({
      datagram(_data, source) {
        if (from.push(source) === count) resolve(from)
      },
      sendFailed: () => {},
      drained: () => {},
      lost: () => {},
    })
  })
}

describe('a datagram socket', () => {
  it('gives one Address for each remote, whatever number of datagrams it sends', async () => {
    const [a, b] = [await bind('127.0.0.1'), await bind('127.0.0.1')]
    const heard = sources(b, 3)
    for (let i = 0; i < 3; i++) a.send(new Uint8Array(1), b.local)
    const [first, ...others] = await heard
    expect(others.every((other) => other === first)).toBe(true)
    expect(first?.key).toBe(a.local.key)
  })

  it('reports a remote of the other family as refused', async () => {
    const socket = await bind('127.0.0.1')
    const failed = new Promise<string>((resolve) => {
      socket.handle({ datagram: () => {}, sendFailed: (to) => resolve(to.key), drained: () => {}, lost: () => {} })
    })
    socket.send(new Uint8Array(1), Address.of('2001:db8::1', 9), true)
    expect(await failed).toBe('[2001:db8::1]:9')
  })

  it('reports port 0 as refused, without throwing', async () => {
    const socket = await bind('127.0.0.1')
    const failed = new Promise<string>((resolve) => {
      socket.handle({ datagram: () => {}, sendFailed: (_to, failure) => resolve(failure), drained: () => {}, lost: () => {} })
    })
    expect(socket.send(new Uint8Array(1), Address.of('127.0.0.1', 0), true)).toBe(true)
    expect(await failed).toBe('EINVAL')
  })

  it('never says stop while the system takes everything', async () => {
    const [a, b] = [await bind('127.0.0.1'), await bind('127.0.0.1')]
    let drained = 0
    a.handle({ datagram: () => {}, sendFailed: () => {}, drained: () => drained++, lost: () => {} })
    // Loopback takes everything at once: a full queue is for a slow interface, and test/net/node/sender.test.ts.
    for (let i = 0; i < 500; i++) expect(a.send(new Uint8Array(1200), b.local)).toBe(true)
    expect(drained).toBe(0)
  })
})

const hasIpv6 = Object.values(networkInterfaces()).some((infos) => infos?.some(({ address }) => address === '::1'))

describe('a datagram socket of IPv6', requires({ also: { 'IPv6 on loopback': hasIpv6 } }), () => {
  it('carries datagrams both ways', async () => {
    const [a, b] = [await bind('::1'), await bind('::1')]
    const [there, back] = [sources(b, 1), sources(a, 1)]
    a.send(new Uint8Array(1), b.local)
    const [from] = await there
    expect(from?.key).toBe(a.local.key)
    b.send(new Uint8Array(1), from!)
    expect((await back)[0]?.key).toBe(b.local.key)
  })

  it('shares its port number with one of IPv4: it takes IPv6 alone', async () => {
    const six = await bind('::')
    const four = await bind('0.0.0.0', six.local.port)
    expect([six.local.family, four.local.family, four.local.port]).toEqual([6, 4, six.local.port])
  })

  it('takes a hop limit', async () => {
    const socket = await bind('::1')
    socket.setHopLimit(3)
    expect(() => socket.setHopLimit(256)).toThrow(RangeError)
  })
})
