import { expect, it } from 'vitest'
import type { MappingRequest } from '../../../src/pmp/protocol.ts'
import { FIREWALL, faultOf, response, type Scene, scene, searchAnswer, text, WAN2 } from './fake-igd.ts'

const IGD2 = 'urn:schemas-upnp-org:device:InternetGatewayDevice:2'

async function scene6(): Promise<Scene> {
  const at = await scene({ family: 6 })
  at.igd.services = [
    { type: WAN2, control: '/ctl' },
    { type: FIREWALL, control: '/fw' },
  ]
  at.igd.found = (target) => (target === IGD2 ? [searchAnswer({ location: at.igd.location, target })] : [])
  return at
}

function wanted({ local }: Scene, more: Partial<MappingRequest> = {}): MappingRequest {
  return { transport: 'udp', internal: local.withPort(5001), externalPort: 5001, lifetime: 3_600_000, ...more }
}

async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'no failure',
    (error) => (error as { code: string }).code,
  )
}

it('a hole is made from the address that it is for; outside is what is inside', async () => {
  const at = await scene6()
  const grant = await at.lab.until(at.client.map(wanted(at)))
  expect(grant.external.key).toBe(at.local.withPort(5001).key)
  expect(grant.lifetime).toBe(3_600_000)
  const add = at.igd.asked.find(({ action }) => action === 'AddPinhole')
  expect(add?.from.ip).toBe(at.local.ip)
  expect(add?.path).toBe('/fw')
  expect([...(add?.values ?? [])]).toEqual([
    ['RemoteHost', ''],
    ['RemotePort', '0'],
    ['InternalClient', at.local.ip],
    ['InternalPort', '5001'],
    ['Protocol', '17'],
    ['LeaseTime', '3600'],
  ])
})

it('the group of the link is asked, on our interface, for what has firewall control', async () => {
  const at = await scene6()
  const sent: string[] = []
  at.lab.filter(({ host, to, data }) => {
    if (host === 'host' && to.scope === 'multicast')
      sent.push(`${to.key} ${/^HOST: (.*)\r$/m.exec(text(data))?.[1]} ${/^ST: (.*)\r$/m.exec(text(data))?.[1]}`)
    return undefined
  })
  await at.lab.until(at.client.probe())
  expect(sent).toEqual([`[ff02::c%eth0]:1900 [FF02::C]:1900 ${IGD2}`, `[ff02::c%eth0]:1900 [FF02::C]:1900 ${FIREWALL}`])
})

it('TCP is protocol 6, leases are one second to one day', async () => {
  const at = await scene6()
  await at.lab.until(at.client.map(wanted(at, { transport: 'tcp', lifetime: 1e12 })))
  const grant = await at.lab.until(at.client.map(wanted(at, { lifetime: 1 })))
  expect(at.igd.calls('AddPinhole').map((values) => [values.get('Protocol'), values.get('LeaseTime')])).toEqual([
    ['6', '86400'],
    ['17', '1'],
  ])
  expect(grant.lifetime).toBe(1000)
})

it('a renewal prolongs the hole by its id', async () => {
  const at = await scene6()
  const previous = await at.lab.until(at.client.map(wanted(at)))
  const grant = await at.lab.until(at.client.map(wanted(at, { previous })))
  expect(grant.memory).toEqual(previous.memory)
  expect(Object.fromEntries(at.igd.calls('UpdatePinhole')[0] ?? [])).toEqual({ UniqueID: '1', NewLeaseTime: '3600' })
  expect(at.igd.calls('AddPinhole')).toHaveLength(1)
})

it.each([704, 402])('a hole that is gone (%i) is made again', async (code) => {
  const at = await scene6()
  const previous = await at.lab.until(at.client.map(wanted(at)))
  at.igd.faults.set('UpdatePinhole', code)
  const grant = await at.lab.until(at.client.map(wanted(at, { previous })))
  expect(grant.memory).toMatchObject({ id: '2' })
})

it('a hole is closed by its id; gone is closed', async () => {
  const at = await scene6()
  const grant = await at.lab.until(at.client.map(wanted(at)))
  await at.lab.until(at.client.unmap(grant))
  expect(at.igd.holes.size).toBe(0)
  await at.lab.until(at.client.unmap(grant))
  at.igd.faults.set('DeletePinhole', 606)
  expect(await at.lab.until(failure(at.client.unmap(grant)))).toBe('ERR_MAPPING_REFUSED')
})

it('another port outside is not to be had', async () => {
  const at = await scene6()
  expect(await at.lab.until(failure(at.client.map(wanted(at, { externalPort: 80, exact: true }))))).toBe('ERR_MAPPING_PORT')
  expect((await at.lab.until(at.client.map(wanted(at, { externalPort: 80 })))).external.port).toBe(5001)
})

it.each([
  [606, 'ERR_MAPPING_REFUSED'],
  [701, 'ERR_MAPPING_CAPACITY'],
  [702, 'ERR_MAPPING_REFUSED'],
  [703, 'ERR_MAPPING_REFUSED'],
  [705, 'ERR_MAPPING_REFUSED'],
])('a refusal with %i is told as %s', async (code, told) => {
  const at = await scene6()
  at.igd.faults.set('AddPinhole', code)
  expect(await at.lab.until(failure(at.client.map(wanted(at))))).toBe(told)
})

it('an id that is none is no answer', async () => {
  const at = await scene6()
  at.igd.answer = ({ action, type }) => (action === 'AddPinhole' ? response(type, action, { UniqueID: 'a b' }) : undefined)
  expect(await at.lab.until(failure(at.client.map(wanted(at))))).toBe('ERR_MAPPING_ANSWER')
})

it('a probe says whether holes are allowed, and makes none', async () => {
  const at = await scene6()
  expect(await at.lab.until(at.client.probe())).toEqual({
    protocol: 'upnp',
    external: undefined,
    service: 'WANIPv6FirewallControl:1',
    state: 'InboundPinholeAllowed',
  })
  at.igd.answer = ({ action, type }) =>
    action === 'GetFirewallStatus' ? response(type, action, { FirewallEnabled: '1', InboundPinholeAllowed: '0' }) : undefined
  expect((await at.lab.until(at.client.probe())).state).toBe('InboundPinholeNotAllowed')
  at.igd.answer = ({ action }) => (action === 'GetFirewallStatus' ? faultOf(501) : undefined)
  expect(await at.lab.until(failure(at.client.probe()))).toMatch(/^ERR_MAPPING_/)
  expect(at.igd.holes.size).toBe(0)
})
