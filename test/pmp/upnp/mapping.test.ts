import { expect, it } from 'vitest'
import type { MappingRequest } from '../../../src/pmp/protocol.ts'
import { faultOf, response, type Scene, scene, WAN1, WAN2 } from './fake-igd.ts'

const HOUR = 3_600_000

function wanted({ local }: Scene, more: Partial<MappingRequest> = {}): MappingRequest {
  return { transport: 'udp', internal: local.withPort(5001), externalPort: 5001, lifetime: HOUR, ...more }
}

async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    (value) => `no failure: ${JSON.stringify(value)}`,
    (error) => (error as { code: string }).code,
  )
}

it('a mapping is made, read back, and known with the external address', async () => {
  const at = await scene()
  const grant = await at.lab.until(at.client.map(wanted(at)))
  expect(grant).toMatchObject({ protocol: 'upnp', transport: 'udp', lifetime: HOUR })
  expect(grant.external.key).toBe('203.0.113.77:5001')
  expect(at.igd.held.get('udp:5001')).toEqual({ client: at.local.ip, port: '5001', lease: '3600', enabled: '1' })
  expect(at.igd.actions.slice(0, 2)).toEqual(['GET', 'AddPortMapping'])
  expect(at.igd.actions.slice(2).sort()).toEqual(['GetExternalIPAddress', 'GetSpecificPortMappingEntry'])
})

it('requests are spelled as the strictest router wants them, and come from the mapped address', async () => {
  const at = await scene()
  await at.lab.until(at.client.map(wanted(at)))
  const [, add] = at.igd.asked
  expect(add?.head.split('\r\n')).toEqual([
    'POST /ctl HTTP/1.1',
    `Host: ${at.router.ip}:5000`,
    'Connection: close',
    'Content-Type: text/xml; charset="utf-8"',
    `SOAPAction: "${WAN1}#AddPortMapping"`,
    expect.stringMatching(/^Content-Length: \d+$/),
  ])
  expect([...(add?.values.keys() ?? [])]).toEqual([
    'NewRemoteHost',
    'NewExternalPort',
    'NewProtocol',
    'NewInternalPort',
    'NewInternalClient',
    'NewEnabled',
    'NewPortMappingDescription',
    'NewLeaseDuration',
  ])
  expect(add?.values.get('NewProtocol')).toBe('UDP')
  expect(add?.from.ip).toBe(at.local.ip)
})

it('a description that a router could stumble over is not sent', async () => {
  const at = await scene({ description: '<b>ü' })
  await at.lab.until(at.client.map(wanted(at)))
  expect(at.igd.calls('AddPortMapping')[0]?.get('NewPortMappingDescription')).toBe('sallyport')
})

it('on version 2 any port is asked for, and the one that was given counts, under either name', async () => {
  for (const name of ['NewReservedPort', 'NewExternalPort']) {
    const at = await scene()
    at.igd.services = [{ type: WAN2, control: '/ctl' }]
    at.igd.held.set('udp:5001', { client: '192.168.1.99', port: '1', lease: '9', enabled: '1' })
    at.igd.answer = (asked) => {
      if (asked.action !== 'AddAnyPortMapping') return undefined
      return at.igd
        .act(asked)
        .replaceAll('NewReservedPort', name)
        .replace(/Content-Length: \d+\r\n/, '')
    }
    const grant = await at.lab.until(at.client.map(wanted(at)))
    expect(grant.external.port).toBe(5002)
  }
})

it.each([401, 501, 602])('AddAnyPortMapping refused with %i makes way for AddPortMapping', async (code) => {
  const at = await scene()
  at.igd.services = [{ type: WAN2, control: '/ctl' }]
  at.igd.faults.set('AddAnyPortMapping', code)
  const grant = await at.lab.until(at.client.map(wanted(at)))
  expect(grant.external.port).toBe(5001)
  await at.lab.until(at.client.map(wanted(at, { internal: at.local.withPort(6000), externalPort: 6000 })))
  expect(at.igd.calls('AddAnyPortMapping')).toHaveLength(code === 501 ? 2 : 1)
})

it.each([718, 729])('a port that is taken (%i) makes way for a random one from 10000', async (code) => {
  const at = await scene()
  at.igd.answer = ({ action, values }) =>
    action === 'AddPortMapping' && values.get('NewExternalPort') === '5001' ? faultOf(code) : undefined
  const grant = await at.lab.until(at.client.map(wanted(at)))
  expect(grant.external.port).toBeGreaterThanOrEqual(10_000)
  expect(at.igd.held.has(`udp:${grant.external.port}`)).toBe(true)
})

it('five other ports are tried, no more', async () => {
  const at = await scene()
  at.igd.faults.set('AddPortMapping', 718)
  expect(await at.lab.until(failure(at.client.map(wanted(at))))).toBe('ERR_MAPPING_PORT')
  expect(new Set(at.igd.calls('AddPortMapping').map((values) => values.get('NewExternalPort'))).size).toBe(6)
})

it('when no other port will do, the first conflict is the end', async () => {
  const at = await scene()
  at.igd.faults.set('AddPortMapping', 718)
  expect(await at.lab.until(failure(at.client.map(wanted(at, { exact: true }))))).toBe('ERR_MAPPING_PORT')
  expect(at.igd.calls('AddPortMapping')).toHaveLength(1)
})

it('version 2 is not asked for any port when no other one will do', async () => {
  const at = await scene()
  at.igd.services = [{ type: WAN2, control: '/ctl' }]
  await at.lab.until(at.client.map(wanted(at, { exact: true })))
  expect(at.igd.calls('AddAnyPortMapping')).toHaveLength(0)
  expect(at.igd.held.has('udp:5001')).toBe(true)
})

it('a renewal that the router takes for a conflict deletes the mapping and makes it again', async () => {
  const at = await scene()
  const previous = await at.lab.until(at.client.map(wanted(at)))
  at.igd.answer = ({ action }) => (action === 'AddPortMapping' && at.igd.held.has('udp:5001') ? faultOf(718) : undefined)
  const grant = await at.lab.until(at.client.map(wanted(at, { previous })))
  expect(grant.external.key).toBe('203.0.113.77:5001')
  expect(at.igd.actions.slice(-6, -2)).toEqual(['AddPortMapping', 'GetSpecificPortMappingEntry', 'DeletePortMapping', 'AddPortMapping'])
})

it('a renewal whose port has become another’s does not delete that', async () => {
  const at = await scene()
  const previous = await at.lab.until(at.client.map(wanted(at)))
  at.igd.held.set('udp:5001', { client: '192.168.1.99', port: '5001', lease: '60', enabled: '1' })
  const grant = await at.lab.until(at.client.map(wanted(at, { previous })))
  expect(grant.external.port).not.toBe(5001)
  expect(at.igd.held.get('udp:5001')?.client).toBe('192.168.1.99')
  expect(at.igd.calls('DeletePortMapping')).toHaveLength(0)
})

it('a renewal asks for the port that was given, not the one that was wanted', async () => {
  const at = await scene()
  at.igd.held.set('udp:5001', { client: '192.168.1.99', port: '1', lease: '9', enabled: '1' })
  const previous = await at.lab.until(at.client.map(wanted(at)))
  const grant = await at.lab.until(at.client.map(wanted(at, { previous })))
  expect(grant.external.port).toBe(previous.external.port)
  expect(at.igd.held.size).toBe(2)
})

it('a renewal that does not prolong the lease is made anew, once', async () => {
  const at = await scene()
  const previous = await at.lab.until(at.client.map(wanted(at)))
  at.igd.answer = (asked) => {
    const there = at.igd.held.get('udp:5001')
    if (asked.action !== 'AddPortMapping' || there === undefined) return undefined
    there.lease = '1800'
    return response(WAN1, 'AddPortMapping', {})
  }
  const grant = await at.lab.until(at.client.map(wanted(at, { previous })))
  expect(grant.lifetime).toBe(HOUR)
  expect(at.igd.calls('DeletePortMapping')).toHaveLength(1)
})

it('a router that caps leases is believed, and its renewals are renewals', async () => {
  const at = await scene()
  at.igd.answer = (asked) => {
    if (asked.action !== 'AddPortMapping') return undefined
    const answer = at.igd.act(asked)
    for (const held of at.igd.held.values()) held.lease = '600'
    return answer
  }
  const previous = await at.lab.until(at.client.map(wanted(at)))
  expect(previous.lifetime).toBe(600_000)
  await at.lab.until(at.client.map(wanted(at, { previous })))
  expect(at.igd.calls('DeletePortMapping')).toHaveLength(0)
})

it('724: where ports have to be the same they are', async () => {
  const at = await scene()
  at.igd.answer = ({ action, values }) =>
    action === 'AddPortMapping' && values.get('NewExternalPort') !== values.get('NewInternalPort') ? faultOf(724) : undefined
  const grant = await at.lab.until(at.client.map(wanted(at, { externalPort: 7000 })))
  expect(grant.external.port).toBe(5001)
  expect(await at.lab.until(failure(at.client.map(wanted(at, { externalPort: 7000, exact: true }))))).toBe('ERR_MAPPING_PORT')
})

it('725: a permanent mapping is asked for at once, stands until it is deleted, and the next one is asked for so', async () => {
  const at = await scene()
  at.igd.answer = ({ action, values }) => (action === 'AddPortMapping' && values.get('NewLeaseDuration') !== '0' ? faultOf(725) : undefined)
  const grant = await at.lab.until(at.client.map(wanted(at)))
  expect(grant.lifetime).toBe(Number.POSITIVE_INFINITY)
  await at.lab.until(at.client.map(wanted(at, { previous: grant })))
  expect(at.igd.calls('AddPortMapping').map((values) => values.get('NewLeaseDuration'))).toEqual(['3600', '0', '0'])
})

it('402: other leases are tried in order, and what was taken is remembered', async () => {
  const at = await scene()
  at.igd.answer = ({ action, values }) =>
    action === 'AddPortMapping' && values.get('NewLeaseDuration') !== '604800' ? faultOf(402) : undefined
  const grant = await at.lab.until(at.client.map(wanted(at)))
  expect(grant.lifetime).toBe(604_800_000)
  await at.lab.until(at.client.map(wanted(at, { previous: grant })))
  expect(at.igd.calls('AddPortMapping').map((values) => values.get('NewLeaseDuration'))).toEqual(['3600', '7200', '604800', '604800'])
})

it('402 to every lease is a refusal', async () => {
  const at = await scene()
  at.igd.faults.set('AddPortMapping', 402)
  expect(await at.lab.until(failure(at.client.map(wanted(at))))).toBe('ERR_MAPPING_REFUSED')
  expect(at.igd.calls('AddPortMapping')).toHaveLength(4)
})

it('version 2 turns a permanent lease into a week, and says so when it is read back', async () => {
  const at = await scene()
  at.igd.answer = (asked) => {
    if (asked.action !== 'AddPortMapping') return undefined
    if (asked.values.get('NewLeaseDuration') !== '0') return faultOf(725)
    const answer = at.igd.act(asked)
    for (const held of at.igd.held.values()) held.lease = '604800'
    return answer
  }
  expect((await at.lab.until(at.client.map(wanted(at)))).lifetime).toBe(604_800_000)
})

it.each([
  ['client', { client: '192.168.1.99' }],
  ['port', { port: '9' }],
  ['state', { enabled: '0' }],
])('a mapping that reads back with another %s is not ours: another port is tried', async (_what, change) => {
  const at = await scene()
  at.igd.answer = (asked) => {
    if (asked.action !== 'AddPortMapping' || asked.values.get('NewExternalPort') !== '5001') return undefined
    const answer = at.igd.act(asked)
    Object.assign(at.igd.held.get('udp:5001') ?? {}, change)
    return answer
  }
  const grant = await at.lab.until(at.client.map(wanted(at)))
  expect(grant.external.port).toBeGreaterThanOrEqual(10_000)
  expect(await at.lab.until(failure(at.client.map(wanted(at, { exact: true }))))).toBe('ERR_MAPPING_PORT')
})

it('a mapping that is not there when it is read back was not made', async () => {
  const at = await scene()
  at.igd.answer = ({ action }) => (action === 'AddPortMapping' ? response(WAN1, 'AddPortMapping', {}) : undefined)
  expect(await at.lab.until(failure(at.client.map(wanted(at))))).toBe('ERR_MAPPING_PORT')
})

it.each([401, 602, 501])('a router that cannot read back (%i) is believed', async (code) => {
  const at = await scene()
  at.igd.faults.set('GetSpecificPortMappingEntry', code)
  const grant = await at.lab.until(at.client.map(wanted(at)))
  expect([grant.external.port, grant.lifetime]).toEqual([5001, HOUR])
})

it('another program’s mapping on the same machine is not taken from it', async () => {
  const at = await scene()
  at.igd.held.set('udp:7000', { client: at.local.ip, port: '7000', lease: '60', enabled: '1' })
  const grant = await at.lab.until(at.client.map(wanted(at, { externalPort: 7000 })))
  expect(grant.external.port).not.toBe(7000)
  expect(at.igd.held.get('udp:7000')?.port).toBe('7000')
  expect(await at.lab.until(failure(at.client.map(wanted(at, { externalPort: 7000, exact: true }))))).toBe('ERR_MAPPING_PORT')
})

it('no external port below 1024 is asked for', async () => {
  const at = await scene()
  const first = await at.lab.until(at.client.map(wanted(at, { externalPort: 80 })))
  expect(first.external.port).toBe(5001)
  const second = await at.lab.until(at.client.map(wanted(at, { externalPort: 81, internal: at.local.withPort(81) })))
  expect(second.external.port).toBeGreaterThanOrEqual(10_000)
  expect(await at.lab.until(failure(at.client.map(wanted(at, { externalPort: 80, exact: true }))))).toBe('ERR_MAPPING_PORT')
  for (const values of at.igd.calls('AddPortMapping')) expect(Number(values.get('NewExternalPort'))).toBeGreaterThanOrEqual(1024)
})

it.each(['', '0.0.0.0', 'garbage', '1.2.3', '::1'])('an external address of "%s" is none', async (ip) => {
  const at = await scene()
  at.igd.externalIp = ip
  const grant = await at.lab.until(at.client.map(wanted(at)))
  expect(grant.external.key).toBe('0.0.0.0:5001')
  expect((await at.lab.until(at.client.probe())).external).toBeUndefined()
})

it.each([
  [501, 'ERR_MAPPING_CAPACITY'],
  [603, 'ERR_MAPPING_CAPACITY'],
  [728, 'ERR_MAPPING_CAPACITY'],
  [606, 'ERR_MAPPING_REFUSED'],
  [715, 'ERR_MAPPING_REFUSED'],
  [716, 'ERR_MAPPING_REFUSED'],
  [726, 'ERR_MAPPING_REFUSED'],
  [727, 'ERR_MAPPING_REFUSED'],
  [732, 'ERR_MAPPING_REFUSED'],
  [733, 'ERR_MAPPING_REFUSED'],
  [899, 'ERR_MAPPING_REFUSED'],
])('a refusal with %i is told as %s', async (code, told) => {
  const at = await scene()
  at.igd.faults.set('AddPortMapping', code)
  expect(await at.lab.until(failure(at.client.map(wanted(at))))).toBe(told)
})

it('a refusal says in words what its number means', async () => {
  const at = await scene()
  at.igd.faults.set('AddPortMapping', 728)
  await expect(at.lab.until(at.client.map(wanted(at)))).rejects.toThrow(/UPnP error 728 \(no port is left for this host\)$/)
})

it('a mapping is deleted by its external port and its protocol; gone is deleted', async () => {
  const at = await scene()
  const grant = await at.lab.until(at.client.map(wanted(at, { transport: 'tcp', externalPort: 7000 })))
  await at.lab.until(at.client.unmap(grant))
  expect(Object.fromEntries(at.igd.calls('DeletePortMapping')[0] ?? [])).toEqual({
    NewRemoteHost: '',
    NewExternalPort: '7000',
    NewProtocol: 'TCP',
  })
  expect(at.igd.held.size).toBe(0)
  await at.lab.until(at.client.unmap(grant))
  at.igd.faults.set('DeletePortMapping', 606)
  expect(await at.lab.until(failure(at.client.unmap(grant)))).toBe('ERR_MAPPING_REFUSED')
})

it('who may send in cannot be chosen: nothing is asked', async () => {
  const at = await scene()
  expect(await failure(at.client.map(wanted(at, { allow: ['192.0.2.1/32'] })))).toBe('ERR_MAPPING_REFUSED')
  expect(at.igd.searches).toHaveLength(0)
})
