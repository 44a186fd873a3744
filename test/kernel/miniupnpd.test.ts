import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requires } from '../requirements.ts'
import { Knocker } from './knocker.ts'
import { Miniupnpd, PORT_MAPPING } from './miniupnpd.ts'
import { KernelNet, type Node } from './namespaces.ts'
import { type Home, home } from './places.ts'

describe('miniupnpd in network namespaces', requires(PORT_MAPPING), () => {
  let net: KernelNet
  let at: Home
  let other: Node
  let daemon: Miniupnpd
  let outside: Knocker
  let inside: Knocker

  beforeAll(async () => {
    net = await KernelNet.create()
    at = await home(net, 'home')
    other = await net.host('other', { behind: at.router })
    outside = new Knocker(net, await net.host('outside'))
    inside = new Knocker(net, at.host)
    await inside.echo(at.host.ip4, 4_001)
    daemon = await Miniupnpd.start(net, at.router)
  })

  afterAll(async () => {
    await daemon?.remove()
    await net?.close()
  })

  const upnpc = (node: Node, ...args: string[]): Promise<string> => net.output(node, 'upnpc', '-u', daemon.description, ...args)
  const natpmpc = (...args: string[]): Promise<string> => net.output(at.host, 'natpmpc', '-g', `${at.router.lan.prefix4}.1`, ...args)

  it('is reached through what upnpc maps, and the packet filter says so', async () => {
    const { host, router } = at
    expect(await outside.isShut(router.ip4, 5_001)).toBe(true)
    await upnpc(host, '-a', host.ip4, '4001', '5001', 'udp', '600')
    expect(await daemon.openings()).toEqual([{ transport: 'udp', external: { port: 5_001 }, internal: { ip: host.ip4, port: 4_001 } }])
    expect(await outside.reaches(router.ip4, 5_001)).toBe(true)
    await upnpc(host, '-d', '5001', 'udp')
    expect(await daemon.rules()).toEqual([])
    expect(await outside.isShut(router.ip4, 5_001)).toBe(true)
  })

  it('forgets all when it is killed, and starts anew', async () => {
    await natpmpc('-a', '5002', '4001', 'udp', '600')
    expect(await daemon.openings()).toHaveLength(1)
    await daemon.kill()
    expect(await daemon.rules()).toEqual([])
    await daemon.start()
    await natpmpc('-a', '5002', '4001', 'tcp', '600')
    expect(await daemon.openings()).toEqual([{ transport: 'tcp', external: { port: 5_002 }, internal: { ip: at.host.ip4, port: 4_001 } }])
    await daemon.kill()
  })

  it('speaks what it is told to speak', async () => {
    await daemon.start({ pxp: false, igd1: true })
    await expect(natpmpc()).rejects.toThrow()
    await upnpc(other, '-s')
    expect(daemon.log).toContain('WANIPConnection:1#GetStatusInfo')
    await daemon.kill()
    await daemon.start({ upnp: false, pxp: 'nat-pmp', externalIp: '5.9.9.9' })
    expect(await natpmpc()).toContain('5.9.9.9')
    await expect(upnpc(other, '-s')).rejects.toThrow()
    await daemon.kill()
  })
})
