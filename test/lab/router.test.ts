import { describe, expect, test } from 'vitest'
import { createLab, type ForwardOptions, type Lab, nat, type Router } from '../../src/lab/index.ts'
import { Address } from '../../src/net/index.ts'
import { open, say, type Talker, texts } from './talk.ts'

async function behind(lab: Lab, router: Router, name: string, port = 5000): Promise<Talker> {
  return open(lab.host(name, { behind: router }), { port })
}

/** The external address of a socket, as a public server sees it. */
async function seen(lab: Lab, talker: Talker, server: Talker): Promise<Address> {
  say(talker, server.address, 'who am I')
  await lab.run(200)
  return server.heard.at(-1)!.from
}

describe('a router', () => {
  test('gives its hosts private addresses of its LAN and shows its own address outside', async () => {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const home = lab.router('home', { lan: '192.168.7.0/24' })
    const a = await behind(lab, home, 'a')
    expect(a.address.key).toBe('192.168.7.2:5000')
    expect(home.gatewayAddress()?.ip).toBe('192.168.7.1')
    expect((await seen(lab, a, server)).key).toBe(`${home.addresses[0]!.ip}:5000`)
  })

  test('lets answers in and nothing else', async () => {
    const lab = createLab()
    const [server, stranger] = [await open(lab.host('server')), await open(lab.host('stranger'))]
    const a = await behind(lab, lab.router('home'), 'a')
    const external = await seen(lab, a, server)
    say(server, external, 'answer')
    say(stranger, external, 'surprise')
    await lab.run(200)
    expect(texts(a)).toEqual(['answer'])
    expect(lab.trace.counters('home').drops).toEqual({ filtered: 1 })
  })

  test('does not carry what is between two of its hosts: they meet on the LAN', async () => {
    const lab = createLab()
    const home = lab.router('home')
    const [a, b] = [await behind(lab, home, 'a'), await behind(lab, home, 'b')]
    say(a, b.address, 'neighbour')
    await lab.run(1)
    expect(b.heard[0]).toMatchObject({ text: 'neighbour', time: 0.25 })
    expect(b.heard[0]!.from.key).toBe(a.address.key)
    expect(lab.trace.counters('home').forwarded).toBe(0)
  })

  test('may have the same range as another home, whose addresses then mean something else', async () => {
    const lab = createLab()
    const a = await behind(lab, lab.router('one', { lan: '192.168.1.0/24' }), 'a')
    const b = await behind(lab, lab.router('other', { lan: '192.168.1.0/24' }), 'b')
    expect(a.address.key).toBe(b.address.key)
    say(a, b.address, 'to whom?')
    await lab.run(100)
    expect(texts(a)).toEqual(['to whom?'])
    expect(texts(b)).toEqual([])
  })

  test("does not route private addresses to the internet's end", async () => {
    const lab = createLab()
    const a = await behind(lab, lab.router('home'), 'a')
    say(a, Address.of('10.99.0.1', 1), 'nobody')
    await lab.run(100)
    expect(lab.trace.drops()).toEqual({ 'no-route': 1 })
  })

  test('spreads its hosts over several public addresses, paired (REQ-2)', async () => {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const home = lab.router('home', { publicAddresses: 3 })
    expect(home.addresses.length).toBe(3)
    const ips: string[] = []
    for (const name of ['a', 'b', 'c']) ips.push((await seen(lab, await behind(lab, home, name), server)).ip)
    expect(new Set(ips)).toEqual(new Set(home.addresses.map(({ ip }) => ip)))
  })

  test('with arbitrary pooling shows one host under several addresses', async () => {
    const lab = createLab()
    const home = lab.router('home', { nat: nat.symmetricRandom, publicAddresses: 3, pooling: 'arbitrary' })
    const a = await behind(lab, home, 'a')
    const ips = new Set<string>()
    for (let i = 0; i < 12; i++) ips.add((await seen(lab, a, await open(lab.host(`server ${i}`)))).ip)
    expect(ips.size).toBe(3)
  })

  test('blocks UDP, not TCP, both ways when told to', async () => {
    const lab = createLab()
    const host = lab.host('server')
    const server = await open(host)
    const office = lab.router('office', { blockUdp: true })
    const a = await behind(lab, office, 'a')
    say(a, server.address, 'out')
    await lab.run(100)
    expect(server.heard).toEqual([])
    expect(lab.trace.counters('office').drops).toEqual({ 'udp-blocked': 1 })
    const listener = await host.listen({ family: 4, port: 443 }, () => {})
    const stream = await lab.until(a.host.streams.dial({ to: server.address.withPort(listener.local.port) }))
    expect(stream.remote.port).toBe(443)
    office.blockUdp = false
    expect((await seen(lab, a, server)).ip).toBe(office.addresses[0]!.ip)
  })

  test('is a host on its own LAN for services of its own', async () => {
    const lab = createLab()
    const home = lab.router('home')
    const a = await behind(lab, home, 'a')
    const service = await open(home.local, { port: 5351 })
    const [route] = await a.host.gateway.defaultRoutes()
    say(a, route!.gateway!.withPort(5351), 'map a port')
    await lab.run(1)
    expect(texts(service)).toEqual(['map a port'])
    say(service, service.heard[0]!.from, 'done')
    await lab.run(1)
    expect(a.heard[0]!.from.key).toBe(`${home.gatewayAddress()!.ip}:5351`)
  })

  test('forwards a port to a host inside for everybody, until told otherwise', async () => {
    const lab = createLab()
    const stranger = await open(lab.host('stranger'))
    const home = lab.router('home')
    const a = await behind(lab, home, 'a')
    expect(home.forward('udp', 7000, a.address)).toBe(true)
    say(stranger, home.addresses[0]!.withPort(7000), 'knock')
    await lab.run(100)
    home.unforward('udp', 7000)
    say(stranger, home.addresses[0]!.withPort(7000), 'knock again')
    await lab.run(100)
    expect(texts(a)).toEqual(['knock'])
  })

  test('tells its NAT and its place for tests that compute what must happen', () => {
    const lab = createLab()
    const carrier = lab.router('carrier', { nat: 'carrier', lan: '100.64.0.0/10' })
    const home = lab.router('home', { behind: carrier, nat: nat.symmetricRandom, hairpin: true })
    const a = lab.host('a', { behind: home })
    expect(home.nat).toEqual({ ...nat.symmetricRandom, hairpin: true })
    expect(home.behind).toBe(carrier)
    expect(carrier.behind).toBeUndefined()
    expect(a.behind).toBe(home)
    expect(a.routers).toEqual([home, carrier])
    expect(lab.host('b').behind).toBe(lab.internet)
    expect(lab.host('b2').routers).toEqual([])
  })

  test('that does not translate gives its hosts public addresses behind a stateful firewall', async () => {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const campus = lab.router('campus', { nat: false })
    const a = await behind(lab, campus, 'a')
    expect(a.address.scope).toBe('global')
    say(server, a.address, 'unasked')
    await lab.run(100)
    expect((await seen(lab, a, server)).key).toBe(a.address.key)
    say(server, a.address, 'answer')
    await lab.run(100)
    expect(texts(a)).toEqual(['answer'])
    expect(lab.trace.counters('campus').drops).toEqual({ firewall: 1 })
  })

  test('without NAT and firewall lets everything through', async () => {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const a = await behind(lab, lab.router('campus', { nat: false, firewall: false }), 'a')
    say(server, a.address, 'unasked')
    await lab.run(100)
    expect(texts(a)).toEqual(['unasked'])
  })
})

describe('a forward with a lifetime', () => {
  async function forwarded(options: ForwardOptions): Promise<{ lab: Lab; home: Router; server: Talker; a: Talker; external: Address }> {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const home = lab.router('home')
    const a = await behind(lab, home, 'a')
    expect(home.forward('udp', 7000, a.address, options)).toBe(true)
    return { lab, home, server, a, external: home.addresses[0]!.withPort(7000) }
  }

  test('ends by itself', async () => {
    const { lab, home, server, a, external } = await forwarded({ lifetime: 10_000 })
    expect(home.mappings()).toMatchObject([{ internal: a.address, external, expiresAt: 10_000 }])
    say(server, external, 'in time')
    await lab.run(10_000)
    say(server, external, 'too late')
    await lab.run(100)
    expect(texts(a)).toEqual(['in time'])
    expect(home.mappings()).toEqual([])
  })

  test('then leaves its port to others', async () => {
    const { lab, home } = await forwarded({ lifetime: 10_000 })
    const b = await behind(lab, home, 'b')
    expect(home.forward('udp', 7000, b.address)).toBe(false)
    await lab.run(10_000)
    expect(home.forward('udp', 7000, b.address)).toBe(true)
  })

  test('made again lives on, and so do the flows that came by it', async () => {
    const { lab, home, server, a, external } = await forwarded({ lifetime: 10_000 })
    say(server, external, 'one')
    await lab.run(5_000)
    expect(home.forward('udp', 7000, a.address, { lifetime: 10_000 })).toBe(true)
    say(a, server.address, 'answer')
    await lab.run(7_000)
    say(server, external, 'two')
    await lab.run(100)
    expect(texts(a)).toEqual(['one', 'two'])
    expect(server.heard[0]!.from.key).toBe(external.key)
  })

  test('limited to some lets nobody else in', async () => {
    const { lab, home, server, a, external } = await forwarded({ allow: ['203.0.113.1'] })
    say(server, external, 'welcome')
    say(await open(lab.host('stranger')), external, 'not welcome')
    await lab.run(100)
    expect(server.address.ip).toBe('203.0.113.1')
    expect(texts(a)).toEqual(['welcome'])
    expect(home.mappings()[0]!.permitted).toEqual(['203.0.113.1/32'])
  })

  test('is a mapping like any other once it has ended: the same port goes on for what the host sends', async () => {
    const { lab, home, server, a } = await forwarded({ lifetime: 10_000 })
    home.unforward('udp', 7000)
    home.forward('udp', 5000, a.address, { lifetime: 1000 })
    say(a, server.address, 'before')
    await lab.run(2000)
    say(a, server.address, 'after')
    await lab.run(100)
    expect(server.heard.map(({ from }) => from.port)).toEqual([5000, 5000])
    say(await open(lab.host('stranger')), home.addresses[0]!.withPort(5000), 'surprise')
    await lab.run(100)
    expect(texts(a)).toEqual([])
  })
})

describe('REQ-9 hairpinning', () => {
  async function home(
    hairpin: boolean,
    preset: keyof typeof nat = 'fullCone',
  ): Promise<{ lab: Lab; a: Talker; b: Talker; ofA: Address; ofB: Address }> {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const router = lab.router('home', { nat: preset, hairpin })
    const [a, b] = [await behind(lab, router, 'a', 5001), await behind(lab, router, 'b', 5002)]
    return { lab, a, b, ofA: await seen(lab, a, server), ofB: await seen(lab, b, server) }
  }

  test('lets two hosts inside meet by external addresses, and shows the external source', async () => {
    const { lab, a, b, ofA, ofB } = await home(true)
    say(a, ofB, 'over the router')
    await lab.run(10)
    expect(b.heard[0]!.from.key).toBe(ofA.key)
  })

  test('filters as if it came from outside', async () => {
    const { lab, a, b, ofA, ofB } = await home(true, 'portRestricted')
    say(a, ofB, 'too early')
    await lab.run(10)
    expect(texts(b)).toEqual([])
    say(b, ofA, 'opens and arrives')
    say(a, ofB, 'arrives')
    await lab.run(10)
    expect(texts(a)).toEqual(['opens and arrives'])
    expect(texts(b)).toEqual(['arrives'])
  })

  test('reaches the sender itself', async () => {
    const { lab, a, ofA } = await home(true)
    say(a, ofA, 'me')
    await lab.run(10)
    expect(texts(a)).toEqual(['me'])
  })

  test('does nothing on a NAT without it', async () => {
    const { lab, a, b, ofB } = await home(false)
    say(a, ofB, 'over the router')
    await lab.run(10)
    expect(texts(b)).toEqual([])
    expect(lab.trace.counters('home').drops).toEqual({ hairpin: 1 })
  })
})

describe('a chain of routers', () => {
  function chain(lab: Lab): { carrier: Router; homes: [Router, Router] } {
    const carrier = lab.router('carrier', { nat: nat.carrier, lan: '100.64.0.0/10' })
    return { carrier, homes: [lab.router('home a', { behind: carrier }), lab.router('home b', { behind: carrier })] }
  }

  test('translates twice', async () => {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const { carrier, homes } = chain(lab)
    const a = await behind(lab, homes[0], 'a')
    expect(homes[0].addresses[0]!.scope).toBe('shared')
    expect((await seen(lab, a, server)).ip).toBe(carrier.addresses[0]!.ip)
    say(server, server.heard[0]!.from, 'answer')
    await lab.run(100)
    expect(texts(a)).toEqual(['answer'])
  })

  test('lets customers of one carrier meet by its hairpinning', async () => {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const { homes } = chain(lab)
    const [a, b] = [await behind(lab, homes[0], 'a'), await behind(lab, homes[1], 'b')]
    const [ofA, ofB] = [await seen(lab, a, server), await seen(lab, b, server)]
    say(a, ofB, 'punch')
    say(b, ofA, 'punch')
    await lab.run(10)
    say(a, ofB, 'hello')
    await lab.run(10)
    expect(texts(b)).toContain('hello')
    expect(b.heard.at(-1)!.from.key).toBe(ofA.key)
  })
})

describe('the hop limit', () => {
  test("of 2 dies on the internet but opens the home router's mapping", async () => {
    const lab = createLab()
    const peer = await open(lab.host('peer'))
    const home = lab.router('home')
    const a = await behind(lab, home, 'a')
    a.socket.setHopLimit(2)
    say(a, peer.address, 'opens only')
    await lab.run(100)
    expect(peer.heard).toEqual([])
    expect(lab.trace.drops()).toEqual({ 'hop-limit': 1 })
    expect(home.mappings().map(({ external, permitted }) => [external.port, permitted])).toEqual([[5000, [peer.address.key]]])
    say(peer, home.addresses[0]!.withPort(5000), 'comes in')
    await lab.run(100)
    expect(texts(a)).toEqual(['comes in'])
  })

  test('of 1 dies at the home router and opens nothing', async () => {
    const lab = createLab()
    const peer = await open(lab.host('peer'))
    const home = lab.router('home')
    const a = await behind(lab, home, 'a')
    a.socket.setHopLimit(1)
    say(a, peer.address, 'x')
    await lab.run(100)
    expect(home.mappings()).toEqual([])
    expect(lab.trace.counters('home').drops).toEqual({ 'hop-limit': 1 })
  })

  test('of 1 reaches a neighbour on the LAN', async () => {
    const lab = createLab()
    const home = lab.router('home')
    const [a, b] = [await behind(lab, home, 'a'), await behind(lab, home, 'b')]
    a.socket.setHopLimit(1)
    say(a, b.address, 'x')
    await lab.run(1)
    expect(texts(b)).toEqual(['x'])
  })

  test("of 2 passes the home router and dies at the carrier's before its mapping; 3 opens both", async () => {
    const lab = createLab()
    const peer = await open(lab.host('peer'))
    const carrier = lab.router('carrier', { lan: '100.64.0.0/10' })
    const home = lab.router('home', { behind: carrier })
    const a = await behind(lab, home, 'a')
    a.socket.setHopLimit(2)
    say(a, peer.address, 'x')
    await lab.run(100)
    expect([home.mappings().length, carrier.mappings().length]).toEqual([1, 0])
    a.socket.setHopLimit(3)
    say(a, peer.address, 'x')
    await lab.run(100)
    expect([home.mappings().length, carrier.mappings().length]).toEqual([1, 1])
    expect(peer.heard).toEqual([])
  })

  test("that suffices is the routers and the lab's hops", async () => {
    const lab = createLab({ hops: 5 })
    const peer = await open(lab.host('peer'))
    const a = await behind(lab, lab.router('home'), 'a')
    for (const hops of [6, 7]) {
      a.socket.setHopLimit(hops)
      say(a, peer.address, String(hops))
    }
    await lab.run(100)
    expect(texts(peer)).toEqual(['7'])
  })

  test.each(['preserving', 'random'] as const)(
    'avoids poisoning of %s ports: the early side opens with a low one, and the pair meets',
    async (ports) => {
      const meet = async (early: number): Promise<boolean> => {
        const lab = createLab()
        const server = await open(lab.host('server'))
        const [a, b] = [
          await behind(lab, lab.router('home a', { nat: { ...nat.linux, ports } }), 'a'),
          await behind(lab, lab.router('home b', { nat: { ...nat.linux, ports } }), 'b'),
        ]
        const [ofA, ofB] = [await seen(lab, a, server), await seen(lab, b, server)]
        a.socket.setHopLimit(early)
        say(a, ofB, 'early')
        await lab.run(50)
        a.socket.setHopLimit(64)
        for (let i = 0; i < 10; i++) {
          say(b, ofA, 'late')
          say(a, ofB, 'again')
          await lab.run(50)
        }
        return texts(a).length > 0 && texts(b).length > 0
      }
      expect(await meet(64)).toBe(false)
      expect(await meet(2)).toBe(true)
    },
  )
})

describe('a reboot', () => {
  test('clears the mappings: what comes in is dropped until the host has sent again', async () => {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const home = lab.router('home')
    const a = await behind(lab, home, 'a')
    const external = await seen(lab, a, server)
    home.reboot()
    say(server, external, 'lost')
    await lab.run(100)
    await seen(lab, a, server)
    say(server, external, 'arrives')
    await lab.run(100)
    expect(texts(a)).toEqual(['arrives'])
    expect(lab.trace.counters('home').drops).toEqual({ 'no-mapping': 1 })
  })

  test('gives a NAT with random ports others than before', async () => {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const home = lab.router('home', { nat: nat.carrier })
    const a = await behind(lab, home, 'a')
    const before = await seen(lab, a, server)
    home.reboot()
    expect((await seen(lab, a, server)).key).not.toBe(before.key)
  })

  test('can give the router another address; the old one leads nowhere', async () => {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const home = lab.router('home')
    const a = await behind(lab, home, 'a')
    const before = await seen(lab, a, server)
    home.reboot({ renumber: true })
    const after = await seen(lab, a, server)
    expect(after.ip).not.toBe(before.ip)
    expect(after.ip).toBe(home.addresses[0]!.ip)
    say(server, before, 'nobody')
    await lab.run(100)
    expect(texts(a)).toEqual([])
  })

  test('takes its time when told to, in which nothing passes', async () => {
    const lab = createLab()
    const server = await open(lab.host('server'))
    const home = lab.router('home')
    const a = await behind(lab, home, 'a')
    home.reboot({ downFor: 1000 })
    say(a, server.address, 'too early')
    await lab.run(999)
    expect(lab.trace.counters('home').drops).toEqual({ down: 1 })
    await lab.run(1)
    expect((await seen(lab, a, server)).ip).toBe(home.addresses[0]!.ip)
  })
})
