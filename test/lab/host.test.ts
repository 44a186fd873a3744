import { describe, expect, test } from 'vitest'
import { createLab, type LabHost } from '../../src/lab/index.ts'
import { Address, type InterfaceAddress } from '../../src/net/index.ts'
import { open, say, texts } from './talk.ts'

describe('a host', () => {
  test('gets a public address of its own, ten thousand of them if need be', () => {
    const lab = createLab()
    const hosts = Array.from({ length: 10_000 }, (_, i) => lab.host(`host ${i}`))
    expect(new Set(hosts.map((host) => host.addresses[0]!.ip)).size).toBe(10_000)
    expect(hosts.every((host) => host.addresses[0]!.scope === 'global')).toBe(true)
  })

  test('takes the addresses it is told, and nobody takes them again', () => {
    const lab = createLab()
    expect(lab.host('a', { addresses: ['5.45.0.2', '5.45.0.3'] }).addresses.map(({ ip }) => ip)).toEqual(['5.45.0.2', '5.45.0.3'])
    expect(() => lab.host('b', { addresses: ['5.45.0.3'] })).toThrow(RangeError)
    lab.host('c', { addresses: ['203.0.113.1'] })
    expect(lab.host('d').addresses[0]!.ip).toBe('203.0.113.2')
  })

  test('has a name that no other has', () => {
    const lab = createLab()
    lab.host('a')
    expect(() => lab.host('a')).toThrow(RangeError)
    expect(() => lab.router('a')).toThrow(RangeError)
  })

  test('draws its chance from its name: others come and go without changing it', () => {
    const alone = createLab({ seed: 7 }).host('a').random.bytes(16)
    const lab = createLab({ seed: 7 })
    lab.host('b').random.bytes(100)
    expect(lab.host('a').random.bytes(16)).toEqual(alone)
    expect(createLab({ seed: 8 }).host('a').random.bytes(16)).not.toEqual(alone)
  })

  test('draws ephemeral ports that differ from host to host and not from run to run', async () => {
    const port = async (name: string): Promise<number> => (await open(createLab().host(name))).socket.local.port
    expect(await port('a')).toBe(await port('a'))
    expect(await port('a')).not.toBe(await port('b'))
  })

  test('hears itself on loopback and on its own address, whatever its link does', async () => {
    const lab = createLab()
    const a = await open(lab.host('a', { link: { loss: 1 } }))
    say(a, Address.of('127.0.0.1', a.socket.local.port), 'loopback')
    say(a, a.address, 'own')
    await lab.run(1)
    expect(a.heard.map(({ text, from }) => [text, from.ip])).toEqual([
      ['loopback', '127.0.0.1'],
      ['own', a.address.ip],
    ])
  })

  test('gives a datagram to the socket bound to its destination', async () => {
    const lab = createLab()
    const host = lab.host('a', { addresses: ['5.45.0.2', '5.45.0.3'] })
    const [two, three] = [await open(host, { ip: '5.45.0.2', port: 5000 }), await open(host, { ip: '5.45.0.3', port: 5000 })]
    const b = await open(lab.host('b'))
    say(b, three.address, 'for three')
    await lab.run(100)
    expect([texts(two), texts(three)]).toEqual([[], ['for three']])
  })

  test('refuses the wildcard where an address has the port, and the reverse', async () => {
    const host = createLab().host('a')
    const { ip } = host.addresses[0]!
    await host.bind({ family: 4, ip, port: 5000 })
    await expect(host.bind({ family: 4, port: 5000 })).rejects.toMatchObject({ code: 'ERR_BIND', cause: { code: 'EADDRINUSE' } })
    await host.bind({ family: 4, port: 5001 })
    await expect(host.bind({ family: 4, ip, port: 5001 })).rejects.toMatchObject({ cause: { code: 'EADDRINUSE' } })
    await expect(host.bind({ family: 6, port: 5001 })).resolves.toBeDefined()
  })

  test('reports ENETUNREACH where a family has no route, if asked', async () => {
    const lab = createLab()
    const six = await open(lab.host('a'), { family: 6 })
    say(six, Address.of('2001:db8::99', 1), 'x')
    say(six, Address.of('2001:db8::99', 1), 'x', true)
    await lab.run(1)
    expect(six.failures).toEqual(['ENETUNREACH'])
  })

  test('reports ENETUNREACH on a LAN without a router', async () => {
    const lab = createLab()
    const a = await open(lab.host('a', { behind: lab.segment('table') }))
    const b = await open(lab.host('b', { behind: a.host.behind! }))
    say(a, Address.of('203.0.113.1', 1), 'x', true)
    say(a, b.address, 'neighbour')
    await lab.run(1)
    expect(a.failures).toEqual(['ENETUNREACH'])
    expect(texts(b)).toEqual(['neighbour'])
  })

  test('reports what a fault filter says', async () => {
    const lab = createLab()
    const [a, b] = [await open(lab.host('a')), await open(lab.host('b'))]
    const stop = lab.filter(({ host }) => (host === 'a' ? { fail: 'EPERM' } : 'pass'))
    say(a, b.address, 'x', true)
    await lab.run(100)
    stop()
    say(a, b.address, 'y', true)
    await lab.run(100)
    expect(a.failures).toEqual(['EPERM'])
    expect(texts(b)).toEqual(['y'])
  })

  test('with a firewall hears only those it has spoken to', async () => {
    const lab = createLab()
    const a = await open(lab.host('a', { firewall: { open: [4000] } }))
    const b = await open(lab.host('b'))
    const service = await open(a.host, { port: 4000 })
    say(b, a.address, 'unasked')
    say(b, service.address, 'service')
    await lab.run(100)
    say(a, b.address, 'hello')
    await lab.run(100)
    say(b, a.address, 'answer')
    await lab.run(100)
    expect(texts(a)).toEqual(['answer'])
    expect(texts(service)).toEqual(['service'])
    expect(lab.trace.counters('a').drops).toEqual({ firewall: 1 })
  })

  test('with a firewall still hears itself', async () => {
    const lab = createLab()
    const a = await open(lab.host('a', { firewall: {} }))
    const other = await open(a.host)
    say(other, a.address, 'me')
    await lab.run(1)
    expect(texts(a)).toEqual(['me'])
  })

  test('drops what comes to a socket that nobody listens to yet', async () => {
    const lab = createLab()
    const a = await open(lab.host('a'))
    const b = lab.host('b')
    await b.bind({ family: 4, port: 5000 })
    say(a, b.addresses[0]!.withPort(5000), 'x')
    await lab.run(100)
    expect(lab.trace.counters('b')).toMatchObject({ received: 0, drops: { 'no-socket': 1 } })
  })

  test('with a send queue says when it is full, takes the datagram all the same, and says when it has drained', async () => {
    const lab = createLab({ delay: 0 })
    const a = await open(lab.host('a', { sendQueue: { limit: 3, perMillisecond: 1 } }))
    const b = await open(lab.host('b'))
    expect([1, 2, 3, 4].map((n) => say(a, b.address, String(n)))).toEqual([true, true, false, false])
    await lab.run(3)
    expect(a.drained).toBe(0)
    await lab.run(1)
    expect(a.drained).toBe(1)
    expect(say(a, b.address, '5')).toBe(true)
    await lab.run(5)
    expect(texts(b)).toEqual(['1', '2', '3', '4', '5'])
    expect(a.drained).toBe(1)
  })
})

describe('several interfaces', () => {
  test('send from the one whose address the socket is bound to, and by default from the first', async () => {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const [wifi, mobile] = [lab.router('wifi'), lab.router('mobile', { nat: 'carrierBlock', lan: '10.0.0.0/8' })]
    const phone = lab.host('phone', {
      interfaces: [
        { name: 'wlan0', behind: wifi },
        { name: 'rmnet0', behind: mobile },
      ],
    })
    expect(
      phone.interfaces
        .list()
        .filter(({ internal }) => !internal)
        .map(({ name }) => name),
    ).toEqual(['wlan0', 'rmnet0'])
    expect((await phone.gateway.defaultRoutes()).map(({ name, gateway }) => [name, gateway?.ip])).toEqual([
      ['wlan0', wifi.gatewayAddress()!.ip],
      ['rmnet0', '10.0.0.1'],
    ])
    say(await open(phone), server.address, 'any')
    await lab.run(100)
    say(await open(phone, { ip: phone.addresses[1]!.ip }), server.address, 'mobile')
    await lab.run(100)
    expect(server.heard.map(({ from }) => from.ip)).toEqual([wifi.addresses[0]!.ip, mobile.addresses[0]!.ip])
  })

  test('lead a bound socket nowhere when its own has no way there, though another has', async () => {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const host = lab.host('a', { interfaces: [{}, { behind: lab.segment('lan') }] })
    const bound = await open(host, { ip: host.addresses[1]!.ip })
    say(bound, server.address, 'x', true)
    await lab.run(100)
    expect(bound.failures).toEqual(['ENETUNREACH'])
    expect(texts(server)).toEqual([])
  })

  test("find a neighbour on the second one's LAN", async () => {
    const lab = createLab()
    const lan = lab.segment('lan')
    const a = await open(lab.host('a', { interfaces: [{}, { behind: lan }] }))
    const b = await open(lab.host('b', { behind: lan }))
    say(a, b.address, 'x')
    await lab.run(1)
    expect(b.heard[0]!.from.ip).toBe(a.host.addresses[1]!.ip)
  })

  test('come and go, and watchers hear of it, not within the call and not after they stopped', async () => {
    const lab = createLab()
    const host = lab.host('a')
    let changes = 0
    const stop = host.interfaces.watch(() => changes++)
    const name = host.addInterface({ behind: lab.router('home') })
    expect(changes).toBe(0)
    await lab.run(0)
    expect(changes).toBe(1)
    host.removeInterface(name)
    await lab.run(0)
    expect(changes).toBe(2)
    host.addInterface()
    stop()
    await lab.run(0)
    expect(changes).toBe(2)
  })

  test('carry the flags of their addresses', () => {
    const host = createLab({ families: [6] }).host('a', {
      addresses: [
        { ip: '2001:db8::aa', temporary: true },
        { ip: '2001:db8::bb', deprecated: true },
      ],
    })
    const flags = host.interfaces.list().filter(({ internal }) => !internal)
    expect(flags.map(({ temporary, deprecated }) => [temporary, deprecated])).toEqual([
      [true, false],
      [false, true],
    ])
  })

  test('that do not exist are a RangeError', () => {
    const host = createLab().host('a')
    expect(() => host.removeInterface('eth7')).toThrow(RangeError)
    expect(() => host.addInterface({ name: 'eth0' })).toThrow(RangeError)
  })
})

describe('roaming', () => {
  test('gives new addresses, loses sockets bound to the old ones, and keeps those bound to the wildcard', async () => {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const [wifi, mobile] = [lab.router('wifi'), lab.router('mobile')]
    const host = lab.host('phone', { behind: wifi })
    const old = host.addresses[0]!
    const [bound, wild] = [await open(host, { ip: old.ip }), await open(host)]
    host.moveTo(mobile)
    expect(bound.lost).toEqual([])
    await lab.run(0)
    expect(bound.lost.length).toBe(1)
    expect(wild.lost).toEqual([])
    expect(host.addresses[0]!.ip).not.toBe(old.ip)
    expect(host.behind).toBe(mobile)
    say(bound, server.address, 'dead')
    say(wild, server.address, 'alive')
    await lab.run(100)
    expect(server.heard.map(({ text, from }) => [text, from.ip])).toEqual([['alive', mobile.addresses[0]!.ip]])
    await expect(host.bind({ family: 4, ip: old.ip })).rejects.toMatchObject({ cause: { code: 'EADDRNOTAVAIL' } })
  })

  test('tells a lost socket once, and not when it was closed', async () => {
    const lab = createLab()
    const host = lab.host('phone')
    const [one, closed] = [await open(host, { ip: host.addresses[0]!.ip }), await open(host, { ip: host.addresses[0]!.ip })]
    closed.socket.close()
    host.moveTo(lab.router('wifi'))
    host.moveTo(lab.internet)
    await lab.run(10)
    expect([one.lost.length, closed.lost.length]).toEqual([1, 0])
  })

  test('drops what was under way to the old address', async () => {
    const lab = createLab()
    const host = lab.host('phone')
    const [a, b] = [await open(host), await open(lab.host('b'))]
    say(b, a.address, 'too late')
    await lab.run(5)
    host.moveTo(lab.router('wifi'))
    await lab.run(100)
    expect(a.heard).toEqual([])
    expect(lab.trace.counters('phone').drops).toEqual({ gone: 1 })
  })

  test('within the network gives another address', () => {
    const lab = createLab()
    const host = lab.host('a')
    const before = host.addresses[0]!.ip
    host.moveTo(lab.internet)
    expect(host.addresses[0]!.ip).not.toBe(before)
  })

  test('changes the link to that of the new place', () => {
    const lab = createLab({ delay: 40 })
    const host = lab.host('a')
    expect(host.link.options.delay).toBe(20)
    host.moveTo(lab.router('home'), { link: { delay: 3 } })
    expect(host.link.options.delay).toBe(3)
  })
})

describe('suspending', () => {
  test('leaves the timers of other hosts alone', async () => {
    const lab = createLab()
    const woken: string[] = []
    const [laptop, server] = [lab.host('laptop'), lab.host('server')]
    laptop.suspend(1000)
    for (const host of [laptop, server]) host.clock.wake(100, () => woken.push(host.name))
    await lab.run(500)
    expect(woken).toEqual(['server'])
  })

  test('stops timers, which all come at the end, in order, on a clock that has jumped', async () => {
    const lab = createLab()
    const laptop = lab.host('laptop')
    const woken: [number, number][] = []
    for (const at of [50, 300, 200, 2000]) laptop.clock.wake(at, () => woken.push([at, laptop.clock.now()]))
    await lab.run(100)
    laptop.suspend(1000)
    await lab.run(999)
    expect(woken).toEqual([[50, 50]])
    await lab.run(1)
    expect(woken).toEqual([
      [50, 50],
      [200, 1100],
      [300, 1100],
    ])
    await lab.run(900)
    expect(woken.at(-1)).toEqual([2000, 2000])
  })

  test('loses what is sent to it and by it meanwhile', async () => {
    const lab = createLab()
    const [a, b] = [await open(lab.host('a')), await open(lab.host('b'))]
    a.host.suspend(500)
    say(b, a.address, 'asleep')
    say(a, b.address, 'talking in its sleep')
    await lab.run(500)
    say(b, a.address, 'awake')
    await lab.run(100)
    expect(texts(a)).toEqual(['awake'])
    expect(texts(b)).toEqual([])
    expect(lab.trace.counters('a').drops).toEqual({ suspended: 1 })
  })
})

describe('multicast', () => {
  test('reaches everybody on the LAN who has a wildcard socket on the port, and nobody else', async () => {
    const lab = createLab()
    const home = lab.router('home')
    const [a, b, c] = ['a', 'b', 'c'].map((name) => lab.host(name, { behind: home }))
    const [from, listening, other] = [await open(a!), await open(b!, { port: 1900 }), await open(c!, { port: 1901 })]
    const router = await open(home.local, { port: 1900 })
    const away = await open(lab.host('away'), { port: 1900 })
    say(from, Address.of('239.255.255.250', 1900), 'search')
    await lab.run(100)
    expect([from, listening, other, router, away].map(texts)).toEqual([[], ['search'], [], ['search'], []])
    expect(listening.heard[0]!.from.key).toBe(from.address.key)
  })

  test('stays on the link of the interface that a socket names, whichever address it is bound to', async () => {
    const lab = createLab()
    const [left, right] = [lab.segment('left'), lab.segment('right')]
    const middle = lab.host('middle', { interfaces: [{ behind: left }, { behind: right }] })
    const [one, two] = [
      await open(lab.host('one', { behind: left }), { port: 1900 }),
      await open(lab.host('two', { behind: right }), { port: 1900 }),
    ]
    const [onLeft, onRight] = middle.interfaces.list().filter(({ internal }) => !internal)
    say(await open(middle, { multicast: { on: onRight! } }), Address.of('239.255.255.250', 1900), 'wildcard')
    say(await open(middle, { ip: onRight!.address.ip, multicast: { on: onRight! } }), Address.of('239.255.255.250', 1900), 'bound')
    say(await open(middle, { ip: onLeft!.address.ip, multicast: { on: onRight! } }), Address.of('239.255.255.250', 1900), 'crosswise')
    await lab.run(100)
    expect(texts(one)).toEqual([])
    expect(texts(two)).toEqual(['wildcard', 'bound', 'crosswise'])
    expect(two.heard.map(({ from }) => from.ip)).toEqual([onRight!.address.ip, onRight!.address.ip, onLeft!.address.ip])
  })

  test('is heard only on the link where the group was joined', async () => {
    const lab = createLab()
    const [left, right] = [lab.segment('left'), lab.segment('right')]
    const middle = lab.host('middle', { interfaces: [{ behind: left }, { behind: right }] })
    const [, onRight] = middle.interfaces.list().filter(({ internal }) => !internal)
    const member = await open(middle, { port: 5350, multicast: { on: onRight!, groups: ['224.0.0.1'] } })
    say(await open(lab.host('one', { behind: left })), Address.of('224.0.0.1', 5350), 'left')
    say(await open(lab.host('two', { behind: right })), Address.of('224.0.0.1', 5350), 'right')
    await lab.run(100)
    expect(texts(member)).toEqual(['right'])
  })

  test('of IPv6 goes from link-local addresses, with zones', async () => {
    const lab = createLab({ families: [4, 6] })
    const lan = lab.router('home').lan
    const [a, b] = [lab.host('a', { behind: lan }), lab.host('b', { behind: lan, interfaces: [{ behind: lan, name: 'wlan0' }] })]
    const own = (host: LabHost): InterfaceAddress => host.interfaces.list().find(({ address }) => address.zone !== '')!
    for (const group of ['ff02::c', 'ff02::1']) {
      const member = await open(b, { family: 6, port: 1900, multicast: { on: own(b), groups: [group] } })
      const from = await open(a, { family: 6, multicast: { on: own(a) } })
      say(from, Address.of(group, 1900), 'search')
      await lab.run(100)
      expect(member.heard[0]!.from.key).toBe(`[${own(a).address.ip}%wlan0]:${from.socket.local.port}`)
      say(member, member.heard[0]!.from, 'answer')
      await lab.run(100)
      expect(from.heard[0]!.from.key).toBe(`[${own(b).address.ip}%eth0]:1900`)
      member.socket.close()
    }
  })

  test('of one link does not enter the LAN of a router on it', async () => {
    const lab = createLab({ families: [4, 6] })
    const carrier = lab.router('carrier')
    const inside = await open(lab.host('inside', { behind: lab.router('home', { behind: carrier, nat: false, firewall: false }) }), {
      port: 1900,
    })
    say(await open(lab.host('outside', { behind: carrier })), Address.of('239.255.255.250', 1900), 'search')
    await lab.run(100)
    expect(texts(inside)).toEqual([])
    expect(lab.trace.counters('home').drops).toEqual({ 'no-route': 1 })
  })

  test('leaves unicast on a shared port to the socket that is bound to the address', async () => {
    const lab = createLab()
    const lan = lab.segment('lan')
    const b = lab.host('b', { behind: lan })
    const on = b.interfaces.list().find(({ internal }) => !internal)!
    const bound = await open(b, { ip: on.address.ip, port: 1900, multicast: { on } })
    const wildcard = await open(b, { port: 1900, multicast: { on, groups: ['239.255.255.250'] } })
    const from = await open(lab.host('a', { behind: lan }))
    say(from, on.address.withPort(1900), 'unicast')
    say(from, Address.of('239.255.255.250', 1900), 'group')
    await lab.run(100)
    expect([texts(bound), texts(wildcard)]).toEqual([['unicast'], ['group']])
  })
})
