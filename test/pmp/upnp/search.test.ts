import { expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import { bytes, describe, FakeIgd, IGD1, ok, type Scene, scene, searchAnswer, text, WAN1 } from './fake-igd.ts'

async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'no failure',
    (error) => (error as { code: string }).code,
  )
}

/** Another device with UPnP on the link. */
async function secondDevice(at: Scene): Promise<FakeIgd> {
  const host = at.other()
  const ip = host.addresses.find(({ family }) => family === 4)?.ip ?? ''
  const device = new FakeIgd(host, `http://${ip}:5000/desc.xml`)
  await device.start(4)
  return device
}

it('the router itself is asked first, then the group, from our address, three times, everybody last', async () => {
  const at = await scene()
  at.igd.found = () => []
  const sent: { to: string; target: string; at: number; from: string; text: string }[] = []
  at.lab.filter(({ host, from, to, data }) => {
    const target = /^ST: (.*)\r$/m.exec(text(data))?.[1] ?? ''
    if (host === 'host' && to.port === 1900) sent.push({ to: to.ip, target, at: at.lab.clock.now(), from: from.ip, text: text(data) })
    return undefined
  })
  const started = at.lab.clock.now()
  expect(await at.lab.until(failure(at.client.probe()))).toBe('ERR_MAPPING_UNAVAILABLE')
  expect(at.lab.clock.now() - started).toBe(3000)
  const first = sent.filter((one) => one.at === started)
  expect(first.map(({ to }) => to)).toEqual([...Array(5).fill(at.router.ip), ...Array(5).fill('239.255.255.250')])
  expect(first.slice(0, 5).map(({ target }) => target)).toEqual([
    'urn:schemas-upnp-org:device:InternetGatewayDevice:1',
    'urn:schemas-upnp-org:device:InternetGatewayDevice:2',
    'urn:schemas-upnp-org:service:WANIPConnection:1',
    'urn:schemas-upnp-org:service:WANIPConnection:2',
    'urn:schemas-upnp-org:service:WANPPPConnection:1',
  ])
  expect([...new Set(sent.map((one) => one.at - started))]).toEqual([0, 500, 1500])
  expect(sent.filter(({ target }) => target === 'ssdp:all').map((one) => one.at - started)).toEqual([500, 500, 1500, 1500])
  expect(new Set(sent.map(({ from }) => from))).toEqual(new Set([at.local.ip]))
  expect(first[0]?.text).toBe(
    'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 2\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n',
  )
})

it('the search is over with its answer', async () => {
  const at = await scene()
  await at.lab.until(at.client.probe())
  const before = at.igd.searches.length
  await at.lab.run(5000)
  expect(at.igd.searches).toHaveLength(before)
  expect(at.timers.size).toBe(0)
})

it('one answer that gets through in the last round is enough', async () => {
  const at = await scene()
  const start = at.lab.clock.now()
  at.igd.found = (target) =>
    at.lab.clock.now() - start > 1400 && target === 'ssdp:all'
      ? [searchAnswer({ location: at.igd.location, target: 'upnp:rootdevice' })]
      : []
  expect((await at.lab.until(at.client.probe())).external?.ip).toBe('203.0.113.77')
})

it('a router that hears the group alone is found', async () => {
  const at = await scene()
  at.lab.filter(({ to }) => (to.port === 1900 && to.scope !== 'multicast' ? 'drop' : undefined))
  expect((await at.lab.until(at.client.probe())).service).toBe('WANIPConnection:1')
})

it('an answer from another port of the router counts', async () => {
  const at = await scene()
  at.igd.found = () => []
  const socket = await at.igd.host.bind({ family: 4, port: 4321 })
  at.lab.after(100, () => {
    const to = at.igd.searches[0]?.from
    if (to !== undefined) socket.send(bytes(searchAnswer({ location: at.igd.location })), to)
  })
  expect((await at.lab.until(at.client.probe())).external?.ip).toBe('203.0.113.77')
})

it('duplicates are merged: one description is fetched', async () => {
  const at = await scene()
  at.igd.found = (target) => Array(20).fill(searchAnswer({ location: at.igd.location, target }))
  await at.lab.until(at.client.probe())
  await at.lab.run(3000)
  expect(at.igd.actions.filter((action) => action === 'GET')).toHaveLength(1)
})

it('of many different answers sixteen are looked at, the rest counted', async () => {
  const at = await scene()
  at.igd.found = (target) =>
    target === IGD1 ? Array.from({ length: 60 }, (_, i) => searchAnswer({ location: `http://${at.router.ip}:5000/${i}` })) : []
  at.igd.description = () => describe([])
  expect(await at.lab.until(failure(at.client.probe()))).toBe('ERR_MAPPING_UNAVAILABLE')
  expect(at.igd.actions.filter((action) => action === 'GET')).toHaveLength(16)
  expect(at.client.dropped).toBeGreaterThanOrEqual(44)
})

it.each([
  ['another host', () => 'http://203.0.113.9:80/x'],
  ['another host of the link', () => 'http://192.168.1.77:80/x'],
  ['this host', ({ local }: Scene) => `http://${local.ip}:80/x`],
  ['loopback', () => 'http://127.0.0.1:80/x'],
  ['https', ({ router }: Scene) => `https://${router.ip}:443/x`],
  ['a name', () => 'http://router.lan:5000/x'],
  ['port 0', ({ router }: Scene) => `http://${router.ip}:0/x`],
  ['a user', ({ router }: Scene) => `http://${router.ip}@203.0.113.9/x`],
  ['nothing', () => ''],
])('a location that leads to %s is counted and not followed', async (_what, location) => {
  const at = await scene()
  let dialled = 0
  at.lab.filter(({ host, protocol }) => {
    if (host === 'host' && protocol === 'tcp') dialled++
    return undefined
  })
  at.igd.found = (target) => (target === IGD1 ? [searchAnswer({ location: location(at) })] : [])
  expect(await at.lab.until(failure(at.client.probe()))).toBe('ERR_MAPPING_UNAVAILABLE')
  expect(dialled).toBe(0)
  expect(at.client.dropped).toBeGreaterThan(0)
})

it.each([
  '',
  'HTTP/1.1 404 Not Found\r\n\r\n',
  'NOTIFY * HTTP/1.1\r\n\r\n',
  '\0\0\0\0',
  `HTTP/1.1 200 OK\r\nLOCATION: ${'x'.repeat(6000)}`,
])('what is no answer is counted (%#)', async (answer) => {
  const at = await scene()
  at.igd.found = () => [answer]
  expect(await at.lab.until(failure(at.client.probe()))).toBe('ERR_MAPPING_UNAVAILABLE')
  expect(at.client.dropped).toBeGreaterThan(5)
})

it('another device of the link waits 100 ms for the router, and does where that says nothing', async () => {
  const at = await scene()
  const device = await secondDevice(at)
  device.externalIp = '203.0.113.88'
  expect((await at.lab.until(at.client.probe())).external?.ip).toBe('203.0.113.77')
  expect(device.asked).toHaveLength(0)

  const alone = await scene()
  const pair = await secondDevice(alone)
  alone.igd.found = () => []
  const start = alone.lab.clock.now()
  await alone.lab.until(alone.client.probe())
  expect(pair.actions).toContain('GetStatusInfo')
  expect(alone.lab.clock.now() - start).toBeLessThan(105)
})

it('another device that is no router is not even asked what it is', async () => {
  const at = await scene()
  at.igd.found = () => []
  const device = await secondDevice(at)
  device.found = () => [searchAnswer({ location: device.location, target: 'urn:schemas-upnp-org:device:MediaServer:1' })]
  expect(await at.lab.until(failure(at.client.probe()))).toBe('ERR_MAPPING_UNAVAILABLE')
  expect(device.asked).toHaveLength(0)
})

it('another device may not stand in for a router that answers, however bad the router’s description is', async () => {
  const at = await scene()
  const device = await secondDevice(at)
  device.found = (target) => [searchAnswer({ location: `http://${at.router.ip}:5000/other`, target })]
  at.igd.answer = ({ path }) => (path === '/other' ? ok('nonsense') : undefined)
  expect((await at.lab.until(at.client.probe())).external?.ip).toBe('203.0.113.77')
})

it('a description without a service that maps ports is no router’s', async () => {
  const at = await scene()
  at.igd.services = [{ type: 'urn:schemas-upnp-org:service:ContentDirectory:1', control: '/c' }]
  expect(await at.lab.until(failure(at.client.probe()))).toBe('ERR_MAPPING_UNAVAILABLE')
})

it('a router whose first description is useless may have a better one', async () => {
  const at = await scene()
  at.igd.found = (target) =>
    target === IGD1 ? ['/a', '/b'].map((path) => searchAnswer({ location: `http://${at.router.ip}:5000${path}` })) : []
  at.igd.answer = ({ path }) =>
    path === '/a' ? ok(describe([])) : path === '/b' ? ok(describe([{ type: WAN1, control: '/ctl' }])) : undefined
  expect((await at.lab.until(at.client.probe())).service).toBe('WANIPConnection:1')
})

it('nothing is sent before the first question', async () => {
  const at = await scene()
  await at.lab.run(5000)
  expect(at.igd.searches).toHaveLength(0)
  expect(at.timers.size).toBe(0)
  expect(Address.any(4).family).toBe(4)
})
