import { describe, expect, test } from 'vitest'
import { createLab, type FirewallOptions, type ForwardOptions, type Lab, type Router } from '../../src/lab/index.ts'
import { Address } from '../../src/net/index.ts'
import { open, say, type Talker, texts } from './talk.ts'

const DUAL = { families: [4, 6] } as const

async function six(lab: Lab, name: string, behind?: Router): Promise<Talker> {
  return open(lab.host(name, behind === undefined ? {} : { behind }), { family: 6 })
}

describe('IPv6', () => {
  test('stands beside IPv4 on hosts of a lab that has both', async () => {
    const lab = createLab(DUAL)
    const host = lab.host('a', { behind: lab.router('home') })
    expect(host.addresses.map(({ family, scope }) => [family, scope])).toEqual([
      [4, 'private'],
      [6, 'global'],
    ])
    expect((await host.gateway.defaultRoutes()).map(({ family }) => family)).toEqual([4, 6])
    expect(lab.host('b', { families: [6] }).addresses.map(({ family }) => family)).toEqual([6])
  })

  test("is routed without translation: peers see the host's own address", async () => {
    const lab = createLab(DUAL)
    const server = await six(lab, 'server')
    const a = await six(lab, 'a', lab.router('home'))
    say(a, server.address, 'x')
    await lab.run(100)
    expect(server.heard[0]!.from.key).toBe(a.address.key)
  })

  test('is routed through a chain of routers', async () => {
    const lab = createLab(DUAL)
    const a = await six(lab, 'a', lab.router('home', { behind: lab.router('carrier', { lan: '100.64.0.0/10' }) }))
    const b = await six(lab, 'b', lab.router('other'))
    say(a, b.address, 'open')
    say(b, a.address, 'open')
    await lab.run(100)
    say(a, b.address, 'through')
    await lab.run(100)
    expect(texts(b)).toContain('through')
  })

  test('finds nobody at the address that a roaming host has left', async () => {
    const lab = createLab(DUAL)
    const home = lab.router('home', { firewall: false })
    const [a, b] = [await six(lab, 'a', home), await six(lab, 'b')]
    a.host.moveTo(lab.router('other'))
    say(b, a.address, 'x')
    await lab.run(100)
    expect(lab.trace.drops()).toEqual({ 'no-route': 1 })
  })

  describe('RFC 6092 firewalls', () => {
    async function opened(
      firewall: FirewallOptions | false,
    ): Promise<{ lab: Lab; a: Talker; peer: Talker; samePeer: Talker; stranger: Talker }> {
      const lab = createLab(DUAL)
      const peerHost = lab.host('peer')
      const [peer, samePeer] = [await open(peerHost, { family: 6 }), await open(peerHost, { family: 6 })]
      const a = await six(lab, 'a', lab.router('home', { firewall }))
      say(a, peer.address, 'open')
      await lab.run(100)
      return { lab, a, peer, samePeer, stranger: await six(lab, 'stranger') }
    }

    test.each([
      ['EIF', ['peer', 'same peer', 'stranger']],
      ['ADF', ['peer', 'same peer']],
      ['APDF', ['peer']],
    ] as const)('REC-11 %s lets in, once opened, %j', async (filtering, expected) => {
      const { lab, a, peer, samePeer, stranger } = await opened({ filtering })
      say(peer, a.address, 'peer')
      say(samePeer, a.address, 'same peer')
      say(stranger, a.address, 'stranger')
      await lab.run(100)
      expect(texts(a)).toEqual(expected)
    })

    test('let nobody in before the host has sent', async () => {
      const lab = createLab(DUAL)
      const [a, b] = [await six(lab, 'a', lab.router('home', { firewall: { filtering: 'EIF' } })), await six(lab, 'b')]
      say(b, a.address, 'x')
      await lab.run(100)
      expect(texts(a)).toEqual([])
      expect(lab.trace.counters('home').drops).toEqual({ firewall: 1 })
    })

    test('REC-14 forget a flow after its lifetime without packets either way', async () => {
      const { lab, a, peer } = await opened({ lifetime: 1000 })
      await lab.run(800)
      say(peer, a.address, 'refreshes')
      await lab.run(900)
      say(peer, a.address, 'still')
      await lab.run(1200)
      say(peer, a.address, 'too late')
      await lab.run(100)
      expect(texts(a)).toEqual(['refreshes', 'still'])
    })

    test('are opened for TCP by a handshake from inside only', async () => {
      const lab = createLab(DUAL)
      const outside = lab.host('outside')
      const inside = lab.host('inside', { behind: lab.router('home') })
      for (const host of [outside, inside]) await host.listen({ family: 6, port: 443 }, () => {})
      const to = (host: typeof outside): Address => host.addresses.find(({ family }) => family === 6)!.withPort(443)
      await lab.until(inside.streams.dial({ to: to(outside) }))
      await expect(lab.until(outside.streams.dial({ to: to(inside) }))).rejects.toMatchObject({
        code: 'ERR_DIAL',
        cause: { code: 'ETIMEDOUT' },
      })
    })
  })

  describe('pinholes', () => {
    async function pinholed(options: ForwardOptions = {}): Promise<{ lab: Lab; home: Router; a: Talker; b: Talker; peer: Talker }> {
      const lab = createLab(DUAL)
      const home = lab.router('home')
      const host = lab.host('a', { behind: home })
      const [a, b] = [await open(host, { family: 6, port: 5000 }), await open(host, { family: 6, port: 5001 })]
      home.openPinhole('udp', a.address, options)
      return { lab, home, a, b, peer: await six(lab, 'peer') }
    }

    test('let everybody in to one port of one protocol, and answers out', async () => {
      const { lab, a, b, peer } = await pinholed()
      say(peer, a.address, 'in')
      say(peer, b.address, 'beside')
      const refused = peer.host.streams.dial({ to: a.address }).catch(({ code }) => code)
      await lab.run(100)
      say(a, peer.address, 'out')
      await lab.run(100)
      expect([texts(a), texts(b), texts(peer)]).toEqual([['in'], [], ['out']])
      expect(await lab.until(refused)).toBe('ERR_DIAL')
    })

    test('close by themselves, when told to, and at a reboot', async () => {
      const { lab, home, a, peer } = await pinholed({ lifetime: 1000 })
      const knock = async (word: string): Promise<void> => {
        say(peer, a.address, word)
        await lab.run(1000)
      }
      await knock('open')
      await knock('over')
      home.openPinhole('udp', a.address)
      await knock('open again')
      home.closePinhole('udp', a.address)
      await knock('closed')
      home.openPinhole('udp', a.address)
      home.reboot()
      await knock('forgotten')
      expect(texts(a)).toEqual(['open', 'open again'])
    })

    test('limited to some let nobody else in', async () => {
      const { lab, a, peer } = await pinholed({ allow: ['2001:db8:ffff::/48'] })
      say(peer, a.address, 'stranger')
      await lab.run(100)
      expect(texts(a)).toEqual([])
    })
  })

  describe('link-local addresses', () => {
    test('stand on LANs with the interface as their zone, and reach neighbours', async () => {
      const lab = createLab(DUAL)
      const home = lab.router('home')
      const [a, b] = [lab.host('a', { behind: home }), lab.host('b', { behind: home })]
      const local = (host: typeof a): Address => host.interfaces.list().find(({ address }) => address.scope === 'link-local')!.address
      expect(local(a).zone).toBe('eth0')
      const from = await open(a, { family: 6, ip: `${local(a).ip}%eth0` })
      const to = await open(b, { family: 6 })
      say(from, Address.of(`${local(b).ip}%eth0`, to.socket.local.port), 'neighbour')
      await lab.run(1)
      expect(texts(to)).toEqual(['neighbour'])
      say(to, to.heard[0]!.from, 'back')
      await lab.run(1)
      expect(texts(from)).toEqual(['back'])
    })

    test("come with the receiver's own zone", async () => {
      const lab = createLab(DUAL)
      const home = lab.router('home')
      const a = lab.host('a', { behind: home })
      const b = await open(lab.host('b', { behind: home, name: 'wlan0' }), { family: 6 })
      const own = a.interfaces.list().find(({ address }) => address.scope === 'link-local')!.address
      const theirs = b.host.interfaces.list().find(({ address }) => address.scope === 'link-local')!.address
      say(await open(a, { family: 6 }), Address.of(`${theirs.ip}%eth0`, b.socket.local.port), 'x')
      await lab.run(1)
      expect(b.heard[0]!.from).toMatchObject({ ip: own.ip, zone: 'wlan0' })
    })

    test('mean nothing without their zone', async () => {
      const lab = createLab(DUAL)
      const a = lab.host('a', { behind: lab.router('home') })
      const socket = await open(a, { family: 6 })
      say(socket, Address.of('fe80::77', 1), 'x', true)
      say(socket, Address.of('fe80::77%wlan9', 1), 'x', true)
      await lab.run(1)
      expect(socket.failures).toEqual(['EINVAL', 'ENETUNREACH'])
      await expect(a.bind({ family: 6, ip: 'fe80::1%wlan9' })).rejects.toMatchObject({ code: 'ERR_BIND' })
    })

    test('are not routed', async () => {
      const lab = createLab(DUAL)
      const a = await six(lab, 'a', lab.router('home'))
      say(a, Address.of('fe80::77%eth0', 1), 'x')
      await lab.run(10)
      expect(lab.trace.drops()).toEqual({ 'no-route': 1 })
    })
  })

  test('datagrams reach ::1', async () => {
    const lab = createLab(DUAL)
    const a = await six(lab, 'a')
    say(a, Address.of('::1', a.socket.local.port), 'x')
    await lab.run(1)
    expect(a.heard[0]!.from.ip).toBe('::1')
  })

  test('sources prefer temporary addresses over others and those over deprecated ones, RFC 6724 5', async () => {
    const lab = createLab(DUAL)
    const server = await six(lab, 'server')
    const addresses = [{ ip: '2001:db8::d', deprecated: true }, { ip: '2001:db8::5' }, { ip: '2001:db8::7', temporary: true }]
    say(await open(lab.host('a', { addresses }), { family: 6 }), server.address, 'x')
    say(
      await open(lab.host('b', { addresses: [{ ip: '2001:db8::e', deprecated: true }, '2001:db8::f'] }), { family: 6 }),
      server.address,
      'x',
    )
    await lab.run(100)
    expect(server.heard.map(({ from }) => from.ip)).toEqual(['2001:db8::7', '2001:db8::f'])
  })
})
