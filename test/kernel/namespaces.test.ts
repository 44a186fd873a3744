import type { ChildProcess } from 'node:child_process'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { requires } from '../requirements.ts'
import { KERNEL, KernelNet, type Node, type Router, type RouterOptions } from './namespaces.ts'

/** A UDP socket in a node, driven over its standard streams: a line in is a datagram out, a datagram in is a line out. */
const PEER = `
const { createSocket } = require('node:dgram')
const [address, port] = process.argv.slice(1)
const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
socket.on('message', (data, from) => console.log(data + ' ' + from.address + ' ' + from.port))
socket.bind(Number(port), address, () => console.log('bound'))
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const [text, to, toPort] = line.split(' ')
  socket.send(text, Number(toPort), to, () => console.log('sent'))
})
`

interface Heard {
  readonly text: string
  readonly ip: string
  readonly port: number
}

class Peer {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #heard: Heard[] = []

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  }

  static async start(net: KernelNet, node: Node, port: number, address = node.ip4): Promise<Peer> {
    const peer = new Peer(net.exec(node, process.execPath, ['-e', PEER, address, String(port)], { stdio: ['pipe', 'pipe', 'inherit'] }))
    expect(await peer.#next()).toBe('bound')
    return peer
  }

  /** Settles once the system has taken it. */
  async send(text: string, to: string, port: number): Promise<void> {
    this.#child.stdin!.write(`${text} ${to} ${port}\n`)
    for (let line = await this.#next(); line !== 'sent'; line = await this.#next()) this.#keep(line)
  }

  async receive(): Promise<Heard> {
    if (this.#heard.length === 0) this.#keep(await this.#next())
    return this.#heard.shift()!
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('the peer is gone')
    return value as string
  }

  #keep(line: string): void {
    const [text = '', ip = '', port = ''] = line.split(' ')
    this.#heard.push({ text, ip, port: Number(port) })
  }
}

describe('network namespaces', requires(KERNEL), () => {
  let net: KernelNet
  let server: Node
  let other: Node

  beforeEach(async () => {
    net = await KernelNet.create()
    server = await net.host('server')
    other = await net.host('other')
  })

  afterEach(async () => {
    await net.close()
  })

  /** A host behind a router, and the outside ports of its flows to two servers from one socket. */
  async function behind(options: RouterOptions, port = 4000) {
    const router = await net.router('home', options)
    const inside = await net.host('inside', { behind: router })
    const host = await Peer.start(net, inside, port)
    const servers = [await Peer.start(net, server, 3478), await Peer.start(net, other, 3478)] as const
    await host.send('one', server.ip4, 3478)
    await host.send('two', other.ip4, 3478)
    const seen = [await servers[0].receive(), await servers[1].receive()] as const
    return { router, inside, host, servers, seen }
  }

  it('connect hosts of the core, in both families', async () => {
    const [a, b] = [await Peer.start(net, server, 1000), await Peer.start(net, other, 2000)]
    await a.send('four', other.ip4, 2000)
    expect(await b.receive()).toEqual({ text: 'four', ip: server.ip4, port: 1000 })
    const [a6, b6] = [await Peer.start(net, server, 1000, server.ip6), await Peer.start(net, other, 2000, other.ip6)]
    await a6.send('six', other.ip6, 2000)
    expect(await b6.receive()).toEqual({ text: 'six', ip: server.ip6, port: 1000 })
  })

  it('masquerade keeps the port, toward everybody', async () => {
    const { router, seen } = await behind({ nat: { kind: 'masquerade' } })
    expect(seen.map(({ ip, port }) => `${ip} ${port}`)).toEqual([`${router.ip4} 4000`, `${router.ip4} 4000`])
  })

  it('random gives each flow a port of its own', async () => {
    const { router, seen } = await behind({ nat: { kind: 'random' } })
    expect(seen.map(({ ip }) => ip)).toEqual([router.ip4, router.ip4])
    expect(new Set([4000, ...seen.map(({ port }) => port)]).size).toBe(3)
  })

  it.each([false, true])('block gives ports of its range alone (random: %s)', async (random) => {
    const { seen } = await behind({ nat: { kind: 'block', first: 20_000, last: 20_255, random } })
    for (const { port } of seen) {
      expect(port).toBeGreaterThanOrEqual(20_000)
      expect(port).toBeLessThanOrEqual(20_255)
    }
  })

  it('answers come back through the NAT, and nothing from an address that was not asked', async () => {
    const { router, host, servers } = await behind({})
    const stranger = await Peer.start(net, other, 9999)
    await stranger.send('unasked', router.ip4, 4000)
    await servers[0].send('answer', router.ip4, 4000)
    expect(await host.receive()).toEqual({ text: 'answer', ip: server.ip4, port: 3478 })
    // What the stranger sent came earlier to the same router: it would have been heard first.
  })

  it('a router that drops what is for itself keeps its ports for the hosts inside', async () => {
    const router = await net.router('home', { input: 'drop' })
    expect(await portAfterEarlyPunch(router)).toBe(4000)
  })

  it('a router that accepts it lets a stranger take a port from the host inside', async () => {
    const router = await net.router('home', { input: 'accept' })
    expect(await portAfterEarlyPunch(router)).not.toBe(4000)
  })

  async function portAfterEarlyPunch(router: Router): Promise<number> {
    const host = await Peer.start(net, await net.host('inside', { behind: router }), 4000)
    const remote = await Peer.start(net, server, 3478)
    const early = await Peer.start(net, other, 5000)
    await early.send('early', router.ip4, 4000)
    await remote.send('also-early', router.ip4, 4000)
    await host.send('mine', server.ip4, 3478)
    return (await remote.receive()).port
  }

  it('forward opens a port, a range, or all of them to a host inside', async () => {
    const router = await net.router('home')
    const inside = await net.host('inside', { behind: router })
    await net.forward(router, inside, 7000)
    await net.forward(router, inside, 8000, 8010)
    const stranger = await Peer.start(net, other, 9999)
    const [seven, eight] = [await Peer.start(net, inside, 7000), await Peer.start(net, inside, 8005)]
    await stranger.send('a', router.ip4, 7000)
    await stranger.send('b', router.ip4, 8005)
    expect([(await seven.receive()).text, (await eight.receive()).text]).toEqual(['a', 'b'])
    await net.forward(router, inside)
    const any = await Peer.start(net, inside, 12_345)
    await stranger.send('c', router.ip4, 12_345)
    expect(await any.receive()).toEqual({ text: 'c', ip: other.ip4, port: 9999 })
  })

  it('a router without UDP passes none, either way', async () => {
    const router = await net.router('home', { udp: false })
    const inside = await net.host('inside', { behind: router })
    await net.forward(router, inside, 4000)
    const [host, remote] = [await Peer.start(net, inside, 4000), await Peer.start(net, server, 3478)]
    await host.send('out', server.ip4, 3478)
    await remote.send('in', router.ip4, 4000)
    // What the two sent came earlier to the same hosts: it would have been heard first.
    const neighbour = await Peer.start(net, await net.host('neighbour', { behind: router }), 5000)
    await neighbour.send('from-home', inside.ip4, 4000)
    const stranger = await Peer.start(net, other, 9999)
    await stranger.send('from-outside', server.ip4, 3478)
    expect([(await host.receive()).text, (await remote.receive()).text]).toEqual(['from-home', 'from-outside'])
  })

  it('a wall stands between two addresses alone, until it is lifted', async () => {
    const { router, host, servers } = await behind({})
    await net.wall(router, server.ip4, server.ip6)
    await host.send('three', server.ip4, 3478)
    await host.send('three', other.ip4, 3478)
    await servers[0].send('answer', router.ip4, 4000)
    await servers[1].send('of-the-other', router.ip4, 4000)
    expect([(await servers[1].receive()).text, (await host.receive()).text]).toEqual(['three', 'of-the-other'])
    await net.liftWall(router)
    await host.send('four', server.ip4, 3478)
    expect((await servers[0].receive()).text).toBe('four')
    await servers[0].send('answer', router.ip4, 4000)
    expect((await host.receive()).text).toBe('answer')
  })

  it('a NAT that starts again has forgotten its flows, and gives other ports', async () => {
    const { router, host, servers } = await behind({})
    await net.reboot(router, 4000, 5000)
    await servers[0].send('to-the-old-port', router.ip4, 4000)
    await host.send('three', server.ip4, 3478)
    await host.send('three', other.ip4, 3478)
    for (const remote of servers) expect(await remote.receive()).toEqual({ text: 'three', ip: router.ip4, port: 5000 })
    await servers[0].send('to-the-new-port', router.ip4, 5000)
    expect((await host.receive()).text).toBe('to-the-new-port')
  })

  it('a host that moves has addresses of the other network, and is reached there', async () => {
    const [home, elsewhere] = [await net.router('home'), await net.router('elsewhere')]
    const before = await net.host('inside', { behind: home })
    const after = await net.move(before, elsewhere)
    expect([after.ip4, after.ip6].map((ip, i) => ip === [before.ip4, before.ip6][i])).toEqual([false, false])
    const [host, remote] = [await Peer.start(net, after, 4000), await Peer.start(net, server, 3478)]
    const [host6, remote6] = [await Peer.start(net, after, 4000, after.ip6), await Peer.start(net, server, 3478, server.ip6)]
    await host.send('hello', server.ip4, 3478)
    await host6.send('hello', server.ip6, 3478)
    expect(await remote.receive()).toEqual({ text: 'hello', ip: elsewhere.ip4, port: 4000 })
    expect(await remote6.receive()).toEqual({ text: 'hello', ip: after.ip6, port: 4000 })
  })

  it('a home behind a carrier is translated twice', async () => {
    const carrier = await net.router('carrier', { carrier: true, nat: { kind: 'random' } })
    const home = await net.router('home', { behind: carrier })
    const inside = await net.host('inside', { behind: home })
    expect(home.ip4).toMatch(/^100\.64\./)
    expect(inside.ip4).toMatch(/^192\.168\./)
    const [host, remote] = [await Peer.start(net, inside, 4000), await Peer.start(net, server, 3478)]
    await host.send('hello', server.ip4, 3478)
    const seen = await remote.receive()
    expect(seen.ip).toBe(carrier.ip4)
    expect(seen.port).not.toBe(4000)
    await remote.send('back', seen.ip, seen.port)
    expect((await host.receive()).text).toBe('back')
  })

  it('hosts of one network reach one another without their router', async () => {
    const router = await net.router('home')
    const [a, b] = [await net.host('a', { behind: router }), await net.host('b', { behind: router })]
    const [from, to] = [await Peer.start(net, a, 1000), await Peer.start(net, b, 2000)]
    await from.send('hello', b.ip4, 2000)
    expect(await to.receive()).toEqual({ text: 'hello', ip: a.ip4, port: 1000 })
  })

  it('IPv6 is routed as it is, through both routers, and filtered by state', async () => {
    const carrier = await net.router('carrier', { carrier: true })
    const home = await net.router('home', { behind: carrier })
    const inside = await net.host('inside', { behind: home })
    const [host, remote] = [await Peer.start(net, inside, 4000, inside.ip6), await Peer.start(net, server, 3478, server.ip6)]
    await remote.send('unasked', inside.ip6, 4000)
    await host.send('hello', server.ip6, 3478)
    expect(await remote.receive()).toEqual({ text: 'hello', ip: inside.ip6, port: 4000 })
    await remote.send('answer', inside.ip6, 4000)
    expect((await host.receive()).text).toBe('answer')
  })

  it('a router without NAT gives its hosts addresses of the core, behind its filter', async () => {
    const { inside, seen, host, servers } = await behind({ nat: { kind: 'none' } })
    expect(seen[0]).toEqual({ text: 'one', ip: inside.ip4, port: 4000 })
    const stranger = await Peer.start(net, other, 9999)
    await stranger.send('unasked', inside.ip4, 4000)
    await servers[0].send('answer', inside.ip4, 4000)
    expect((await host.receive()).text).toBe('answer')
  })

  it('without a filter anybody is let in', async () => {
    const { inside, host } = await behind({ nat: { kind: 'none' }, filter: false })
    const stranger = await Peer.start(net, other, 9999)
    await stranger.send('unasked', inside.ip4, 4000)
    expect((await host.receive()).text).toBe('unasked')
  })

  it('a family that is not spoken has no address', async () => {
    const router = await net.router('home', { families: [4] })
    const inside = await net.host('inside', { behind: router })
    expect([router.ip6, inside.ip6]).toEqual(['', ''])
    expect((await net.host('six', { families: [6] })).ip4).toBe('')
  })

  it('addresses can be bound at once: none is tentative', async () => {
    const { namespace } = server
    expect(spawnSync('ip', ['-n', namespace, '-6', 'addr', 'show', 'tentative']).stdout.toString()).toBe('')
  })

  it('what runs in a node is killed with the net, and nothing is left', async () => {
    const child = net.exec(server, 'sleep', ['1000'])
    const gone = once(child, 'exit')
    const { namespace } = server
    await net.close()
    await net.close()
    expect((await gone)[1]).toBe('SIGKILL')
    expect(spawnSync('ip', ['netns', 'list']).stdout.toString()).not.toContain(namespace.replace(/-server$/, ''))
  })

  it('what a killed run has left is taken away by the next one', async () => {
    const dead = spawn('true')
    await once(dead, 'exit')
    const left = `sallyport-${dead.pid}-abcdef-host`
    spawnSync('ip', ['netns', 'add', left])
    const inhabitant = spawn('ip', ['netns', 'exec', left, 'sleep', '1000'])
    await once(inhabitant, 'spawn')
    const gone = once(inhabitant, 'exit')
    const next = await KernelNet.create()
    await next.close()
    await gone
    expect(spawnSync('ip', ['netns', 'list']).stdout.toString()).not.toContain(left)
  })
})
