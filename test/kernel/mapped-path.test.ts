/**
 * Two programs behind routers that give every flow a port of its own: no packet gets from one to the other by itself. Where one of the
 * routers maps ports there is a direct path.
 */
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TraversalOptions } from '../../src/index.ts'
import { requires } from '../requirements.ts'
import { JsonPeer, MAIN } from './json-peer.ts'
import { LoadedPair, LoadPeer } from './load.ts'
import { Miniupnpd, type MiniupnpdOptions, PORT_MAPPING } from './miniupnpd.ts'
import { KernelNet, type Node, type RouterOptions } from './namespaces.ts'
import { home } from './places.ts'

const USER = { username: 'ann', password: 'secret' }
const HARD: RouterOptions = { nat: { kind: 'random' }, families: [4] }
/** Milliseconds. A path takes a fraction of a second; many at a time share the processor. */
const TIMEOUT = 20_000

const NEEDS = { ...PORT_MAPPING, also: { 'a build (npm run build)': existsSync(MAIN) } }

describe('paths through mapped ports in a real kernel', requires(NEEDS), () => {
  let net: KernelNet
  let relay: Node
  let server: JsonPeer
  const daemons: Miniupnpd[] = []

  beforeAll(async () => {
    net = await KernelNet.create()
    relay = await net.host('relay')
    server = new JsonPeer(net, relay, 'serve', '--json', '--user', `${USER.username}:${USER.password}`)
    await server.find(({ listening }) => listening !== undefined)
  })

  afterAll(async () => {
    server?.kill('SIGTERM')
    await server?.exit
    await Promise.all(daemons.map((daemon) => daemon.remove()))
    await net?.close()
  })

  function program(host: Node, portMapping: NonNullable<TraversalOptions['portMapping']> = true): LoadPeer {
    return new LoadPeer(net, host, { servers: [`turn:${relay.ip4}`], credentials: USER, portMapping })
  }

  async function mapping(router: Awaited<ReturnType<typeof home>>['router'], options: MiniupnpdOptions = {}): Promise<Miniupnpd> {
    const daemon = await Miniupnpd.start(net, router, options)
    daemons.push(daemon)
    return daemon
  }

  it.concurrent.for([
    { name: 'all protocols', options: {} },
    { name: 'UPnP alone', options: { pxp: false, igd1: true } },
  ] satisfies { name: string; options: MiniupnpdOptions }[])('direct where one router maps ports: $name', async ({ options }) => {
    const name = Object.keys(options).length === 0 ? 'all' : 'upnp'
    const [a, b] = [await home(net, `${name}-a`, HARD), await home(net, `${name}-b`, HARD)]
    const daemon = await mapping(a.router, options)
    const pair = new LoadedPair(net, program(a.host), program(b.host))
    await pair.explained(async () => {
      await pair.until(({ kind }) => kind === 'direct', TIMEOUT)
      pair.load(200)
      await delay(500)
      for (const flow of await pair.stop()) expect(flow.received).toBeGreaterThan(20)
      expect(pair.peers.map(({ path }) => path?.kind)).toEqual(['direct', 'direct'])
    })
    // Whom the peer sends to is the mapping.
    const [opening] = await daemon.openings()
    expect(pair.b.path?.remote).toMatchObject({ ip: a.router.ip4, port: opening?.external.port })
    expect(await Promise.all(pair.peers.map((peer) => peer.end()))).toEqual([0, 0])
    expect(await daemon.rules()).toEqual([])
  })

  it.concurrent('over the relay where none does', async () => {
    const [a, b] = [await home(net, 'none-a', HARD), await home(net, 'none-b', HARD)]
    const pair = new LoadedPair(net, program(a.host), program(b.host))
    await pair.explained(async () => {
      await pair.until(({ kind }) => kind === 'relay', TIMEOUT)
      pair.load(200)
      await delay(4_000)
      for (const flow of await pair.stop()) expect(flow.received).toBeGreaterThan(20)
      expect(pair.peers.map(({ path }) => path?.kind)).toEqual(['relay', 'relay'])
    })
    expect(await Promise.all(pair.peers.map((peer) => peer.end()))).toEqual([0, 0])
  })

  it.concurrent('a program that is ended by SIGTERM takes its mappings with it where it said so', async () => {
    const { host, router } = await home(net, 'ended', { families: [4] })
    const daemon = await mapping(router)
    const peer = program(host, { releaseOnExit: true })
    while ((await daemon.openings()).length === 0) await delay(50)
    peer.kill('SIGTERM')
    expect(await peer.exit).toBe('SIGTERM')
    expect(await daemon.rules()).toEqual([])
  })
})
