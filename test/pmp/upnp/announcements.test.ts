import { expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import { bytes, FIREWALL, IGD1, notification, type Scene, scene, searchAnswer } from './fake-igd.ts'

/** A client that has found its router, at a time when that is long past. */
async function known(bootId: string | undefined = '7'): Promise<Scene> {
  const at = await scene()
  at.igd.bootId = bootId
  await at.lab.until(at.client.probe())
  await at.lab.run(100)
  return at
}

it('the router is back with another boot: told once, however many say so', async () => {
  const at = await known()
  const alive = { location: at.igd.location, bootId: '8' }
  for (let i = 0; i < 3; i++) {
    for (const type of [IGD1, 'urn:schemas-upnp-org:service:WANIPConnection:1'])
      at.igd.announce(notification('ssdp:alive', { ...alive, type }))
  }
  await at.lab.run(60_000)
  expect(at.restarts).toHaveLength(1)
  at.igd.announce(notification('ssdp:alive', { ...alive, bootId: '9' }))
  await at.lab.run(60_000)
  expect(at.restarts).toHaveLength(2)
})

it('a router that says that it is still there has not restarted', async () => {
  const at = await known()
  for (let i = 0; i < 3; i++) at.igd.announce(notification('ssdp:alive', { location: at.igd.location, bootId: '7' }))
  at.igd.announce(notification('ssdp:alive', {}))
  await at.lab.run(60_000)
  expect(at.restarts).toEqual([])
})

it.each([
  ['location', { location: 'http://192.168.1.1:6000/desc.xml' }],
  ['UUID', { uuid: 'uuid:99999999-2222-3333-4444-555555555555' }],
])('a router that has no boot numbers has restarted when its %s is another', async (_what, change) => {
  const at = await known(undefined)
  at.igd.announce(notification('ssdp:alive', { location: at.igd.location, ...change }))
  await at.lab.run(1000)
  expect(at.restarts).toHaveLength(1)
})

it('goodbye and back again is a restart, told when it is back', async () => {
  const at = await known(undefined)
  at.igd.announce(notification('ssdp:byebye'))
  await at.lab.run(700)
  expect(at.restarts).toEqual([])
  const back = at.lab.clock.now()
  at.igd.announce(notification('ssdp:alive', { location: at.igd.location }))
  await at.lab.run(60_000)
  expect(at.restarts).toHaveLength(1)
  expect((at.restarts[0] ?? 0) - back).toBeLessThan(5)
})

it('goodbye without a return is told after five seconds', async () => {
  const at = await known()
  const gone = at.lab.clock.now()
  for (let i = 0; i < 5; i++) at.igd.announce(notification('ssdp:byebye'))
  await at.lab.run(60_000)
  expect(at.restarts.map((time) => Math.round(time - gone))).toEqual([5000])
})

it('an announced change of the boot number is none', async () => {
  const at = await known()
  at.igd.announce(
    notification('ssdp:update', { location: at.igd.location, bootId: '7' }).replace('\r\n\r\n', '\r\nNEXTBOOTID.UPNP.ORG: 8\r\n\r\n'),
  )
  at.igd.announce(notification('ssdp:alive', { location: at.igd.location, bootId: '8' }))
  await at.lab.run(10_000)
  expect(at.restarts).toEqual([])
})

it('what another address or another device says of a restart is nothing', async () => {
  const at = await known()
  const stranger = await at.other().bind({ family: 4, port: 1900 })
  for (const nts of ['ssdp:byebye', 'ssdp:alive']) {
    stranger.send(bytes(notification(nts, { location: 'http://203.0.113.9/', bootId: '99' })), Address.of('239.255.255.250', 1900))
    stranger.send(bytes(notification(nts, { bootId: '98' })), at.local.withPort(1900))
    at.igd.announce(notification(nts, { bootId: '97', type: 'urn:schemas-upnp-org:device:MediaServer:1', uuid: 'uuid:media' }))
  }
  at.igd.announce('NOTIFY * HTTP/1.1\r\n\r\n')
  at.igd.announce('nonsense')
  await at.lab.run(60_000)
  expect(at.restarts).toEqual([])
})

it('a flood of restarts is told every ten seconds at most, and leaves one timer', async () => {
  const at = await known()
  for (let i = 0; i < 1000; i++) {
    at.igd.announce(notification('ssdp:alive', { location: at.igd.location, bootId: String(100 + i) }))
    at.igd.announce(notification('ssdp:byebye'))
  }
  await at.lab.run(1)
  expect(at.timers.size).toBeLessThanOrEqual(2)
  await at.lab.run(30_000)
  expect(at.restarts.length).toBeLessThanOrEqual(3)
  expect(at.timers.size).toBe(0)
})

it('a router that restarted on another port is found there', async () => {
  const at = await known()
  await at.igd.host.listen({ family: 4, port: 6000 }, (stream) => {
    stream.handle({ data: () => stream.destroy(), drained: () => {}, closed: () => {} })
  })
  const searches = at.igd.searches.length
  at.igd.announce(notification('ssdp:alive', { location: at.igd.location, bootId: '8' }))
  await at.lab.run(10)
  expect((await at.lab.until(at.client.probe())).service).toBe('WANIPConnection:1')
  expect(at.igd.searches.length).toBeGreaterThan(searches)
})

it('where the port cannot be had mapping works all the same', async () => {
  const at = await scene()
  await at.host.bind({ family: 4, port: 1900 })
  expect((await at.lab.until(at.client.probe())).service).toBe('WANIPConnection:1')
})

it('after close nothing is heard, and the port is free', async () => {
  const at = await known()
  at.igd.announce(notification('ssdp:byebye'))
  await at.lab.run(10)
  at.client.close()
  at.igd.announce(notification('ssdp:alive', { location: at.igd.location, bootId: '8' }))
  await at.lab.run(20_000)
  expect(at.restarts).toEqual([])
  expect(at.timers.size).toBe(0)
  await at.host.bind({ family: 4, port: 1900 })
})

it('over IPv6 the router may speak from its link-local address, by its UUID; others there may not', async () => {
  const IGD2 = 'urn:schemas-upnp-org:device:InternetGatewayDevice:2'
  const at = await scene({ family: 6 })
  at.igd.services = [{ type: FIREWALL, control: '/fw' }]
  at.igd.found = (target) => (target === IGD2 ? [searchAnswer({ location: at.igd.location, target, bootId: '7' })] : [])
  await at.lab.until(at.client.probe())
  const sources = new Set<string>()
  at.lab.filter(({ from, to }) => {
    if (to.scope === 'multicast') sources.add(from.scope)
    return undefined
  })
  at.igd.announce(notification('ssdp:alive', { location: at.igd.location, bootId: '8', type: IGD2, uuid: 'uuid:another' }), 6)
  await at.lab.run(60_000)
  expect([...sources, ...at.restarts]).toEqual(['link-local'])
  at.igd.announce(notification('ssdp:alive', { location: at.igd.location, bootId: '8', type: IGD2 }), 6)
  await at.lab.run(60_000)
  expect(at.restarts).toHaveLength(1)
})
