import { describe, expect, it } from 'vitest'
import type { DefaultRoute, InterfaceAddress } from '../../src/net/index.ts'
import { findUplinks, uplinkKey } from '../../src/pmp/uplinks.ts'
import { interfaceAddress, route, scene } from './scripted.ts'

async function uplinks(interfaces: InterfaceAddress[], routes: DefaultRoute[]): Promise<string[]> {
  const { network, state } = scene()
  Object.assign(state, { interfaces, routes })
  return (await findUplinks(network)).map(({ local, router }) => `${local.address.ip} ${router.host}`)
}

const address = interfaceAddress

describe('IPv4', () => {
  it('a private address on the interface of the default route has its gateway for a router', async () => {
    const found = await uplinks([address('127.0.0.1', { name: 'lo', internal: true }), address('192.168.1.2')], [route('192.168.1.1')])
    expect(found).toEqual(['192.168.1.2 192.168.1.1'])
  })

  it("a carrier's address (RFC 6598) counts as private", async () => {
    expect(await uplinks([address('100.64.3.2')], [route('100.64.3.1')])).toEqual(['100.64.3.2 100.64.3.1'])
  })

  it('a public address needs no mapping', async () => {
    expect(await uplinks([address('203.0.113.5')], [route('203.0.113.1')])).toEqual([])
  })

  it('link-local addresses, and those that are past their time, are not mapped', async () => {
    expect(await uplinks([address('169.254.1.2'), address('192.168.1.2', { deprecated: true })], [route('192.168.1.1')])).toEqual([])
  })

  it('the order is that of the routes', async () => {
    const interfaces = [address('192.168.1.2'), address('10.1.0.2', { name: 'wlan0' })]
    const found = await uplinks(interfaces, [route('10.1.0.1', 'wlan0'), route('192.168.1.1')])
    expect(found).toEqual(['10.1.0.2 10.1.0.1', '192.168.1.2 192.168.1.1'])
  })

  it('an address has one router: the best', async () => {
    expect(await uplinks([address('192.168.1.2')], [route('192.168.1.1'), route('192.168.1.254')])).toEqual(['192.168.1.2 192.168.1.1'])
  })

  it("of an interface with addresses of several networks those on the router's are meant", async () => {
    expect(await uplinks([address('10.9.9.9'), address('192.168.1.2')], [route('192.168.1.1')])).toEqual(['192.168.1.2 192.168.1.1'])
  })

  it('a router off the link is asked from whatever there is', async () => {
    expect(await uplinks([address('10.0.0.2', { prefixLength: 32 })], [route('10.0.0.1')])).toEqual(['10.0.0.2 10.0.0.1'])
  })

  it('a point-to-point link has no router, and none is guessed', async () => {
    expect(await uplinks([address('10.64.0.2', { name: 'ppp0' })], [route(undefined, 'ppp0')])).toEqual([])
  })

  it('a host that is its own gateway is not asked', async () => {
    expect(await uplinks([address('192.168.1.1')], [route('192.168.1.1')])).toEqual([])
  })
})

describe('where the system does not tell', () => {
  it('the first address of each private network is tried', async () => {
    const interfaces = [
      address('192.168.7.23'),
      address('172.17.0.5', { name: 'eth1', prefixLength: 16 }),
      address('192.168.9.70', { name: 'eth2', prefixLength: 26 }),
    ]
    expect(await uplinks(interfaces, [])).toEqual(['192.168.7.23 192.168.7.1', '172.17.0.5 172.17.0.1', '192.168.9.70 192.168.9.65'])
  })

  it('nor is it our own, nor where the network is odd', async () => {
    const interfaces = [address('192.168.7.1'), address('10.0.0.2', { prefixLength: 8 }), address('192.168.8.2', { prefixLength: 31 })]
    expect(await uplinks(interfaces, [])).toEqual([])
  })

  it('a route for IPv6 says nothing of IPv4', async () => {
    expect(await uplinks([address('192.168.7.23')], [route('fe80::1', 'eth0', 6)])).toEqual(['192.168.7.23 192.168.7.1'])
  })

  it('nothing is guessed for IPv6', async () => {
    expect(await uplinks([address('2001:db8::2')], [])).toEqual([])
  })
})

describe('IPv6', () => {
  it('a link-local gateway gets the zone of its interface', async () => {
    expect(await uplinks([address('2001:db8::2')], [route('fe80::1', 'eth0', 6)])).toEqual(['2001:db8::2 fe80::1%eth0'])
  })

  it("the zone is the one of the interface's own link-local address, a number on Windows", async () => {
    const interfaces = [address('2001:db8::2', { name: 'Wi-Fi' }), address('fe80::2%12', { name: 'Wi-Fi' })]
    expect(await uplinks(interfaces, [route('fe80::1', 'Wi-Fi', 6)])).toEqual(['2001:db8::2 fe80::1%12'])
  })

  it('a zone that the system told is kept, and a global gateway needs none', async () => {
    expect(await uplinks([address('2001:db8::2')], [route('fe80::1%7', 'eth0', 6)])).toEqual(['2001:db8::2 fe80::1%7'])
    expect(await uplinks([address('2001:db8::2')], [route('2001:db8::1', 'eth0', 6)])).toEqual(['2001:db8::2 2001:db8::1'])
  })

  it('every global address has a firewall before it; local ones (RFC 4193) are reached from nowhere', async () => {
    const interfaces = [address('2001:db8::2'), address('2001:db8::abcd', { temporary: true }), address('fd00::2'), address('fe80::2%eth0')]
    expect(await uplinks(interfaces, [route('fe80::1', 'eth0', 6)])).toEqual(['2001:db8::2 fe80::1%eth0', '2001:db8::abcd fe80::1%eth0'])
  })
})

it('keys tell both ends apart', async () => {
  const { network, state } = scene()
  state.interfaces.push(address('10.1.0.2', { name: 'wlan0' }))
  state.routes.push(route('10.1.0.1', 'wlan0'))
  expect(new Set((await findUplinks(network)).map(uplinkKey)).size).toBe(2)
})
