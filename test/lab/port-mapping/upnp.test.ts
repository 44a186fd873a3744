import { describe, expect, test } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import { open, say } from '../talk.ts'
import { ear, Lan, natPmpMap, pcpMap } from './client.ts'
import { call, FIREWALL, get, header, http, IGD, IP_CONNECTION, mappingArgs, search, soapText } from './upnp-client.ts'

const text = (data: Uint8Array): string => new TextDecoder().decode(data)

describe('SSDP', () => {
  test('answers a multicast search from the gateway, port 1900, with where the description is', async () => {
    const lan = new Lan()
    const { socket, answers } = await ear(lan.host, 4)
    socket.send(new TextEncoder().encode(search(`${IGD}:1`)), Address.of('239.255.255.250', 1900))
    await lan.lab.run(100)
    expect(answers.map(({ from }) => from.key)).toEqual([lan.gateway().withPort(1900).key])
    const answer = text(answers[0]!.data)
    expect(answer.startsWith('HTTP/1.1 200 OK\r\n')).toBe(true)
    expect(header(answer, 'ST')).toBe(`${IGD}:1`)
    expect(header(answer, 'USN')).toMatch(/^uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}::urn/)
    expect(header(answer, 'LOCATION')).toBe(`http://${lan.gateway().ip}:5000/rootDesc.xml`)
  })

  test('answers a search that is sent to the gateway alone', async () => {
    expect((await new Lan().ask(search('upnp:rootdevice'), 1900)).length).toBe(1)
  })

  test('answers ssdp:all with everything there is', async () => {
    const lan = new Lan()
    const types = (await lan.ask(search('ssdp:all'), 1900)).map(({ data }) => header(text(data), 'ST'))
    expect(types).toContain('upnp:rootdevice')
    expect(types).toContain(`${IGD}:2`)
    expect(types).toContain(`${IP_CONNECTION}:2`)
  })

  test('answers twice, or only by the first of its types, where the router is one of those', async () => {
    const types = async (answers: 'first' | 'twice'): Promise<string[]> => {
      const lan = new Lan({ upnp: { answers } })
      return (await lan.ask(search('ssdp:all'), 1900)).map(({ data }) => header(text(data), 'ST')!)
    }
    expect((await types('first')).length).toBe(1)
    const twice = await types('twice')
    expect(twice.length).toBe(2 * new Set(twice).size)
  })

  test('is found by its own version and those before, not by later ones', async () => {
    const lan = new Lan({ upnp: { version: 1 } })
    expect((await lan.ask(search(`${IGD}:1`), 1900)).length).toBe(1)
    expect((await lan.ask(search(`${IGD}:2`), 1900)).length).toBe(0)
    expect((await lan.ask(search(`${IP_CONNECTION}:1`), 1900)).length).toBe(1)
  })

  test('says nothing to what is no search, or without quotes', async () => {
    const lan = new Lan()
    expect(await lan.ask('hello', 1900)).toEqual([])
    expect(await lan.ask(search('ssdp:all', 'ssdp:discover'), 1900)).toEqual([])
    expect(await lan.ask(search('urn:schemas-upnp-org:device:Toaster:1'), 1900)).toEqual([])
  })

  test('says goodbye at a reboot, and hello with the next BOOTID when it is over', async () => {
    const lan = new Lan()
    const { answers } = await ear(lan.host, 4, { port: 1900, ip: '239.255.255.250' })
    lan.router.reboot({ downFor: 5000 })
    await lan.lab.run(10_000)
    const heard = answers.map(({ data, time }) => ({ message: text(data), time }))
    const kinds = heard.map(({ message, time }) => `${header(message, 'NTS')} ${header(message, 'BOOTID.UPNP.ORG')} ${time >= 5000}`)
    expect([...new Set(kinds)]).toEqual(['ssdp:byebye 1 false', 'ssdp:alive 2 true'])
    expect(heard.map(({ message }) => header(message, 'NT'))).toContain(`${IGD}:2`)
    expect(header(heard.at(-1)!.message, 'LOCATION')).toContain('/rootDesc.xml')
  })

  test('answers on IPv6, with an IPv6 location', async () => {
    const lan = new Lan(true, {}, [4, 6])
    const { socket, answers } = await ear(lan.host, 6)
    socket.send(new TextEncoder().encode(search(`${IGD}:2`)), Address.of('ff02::c', 1900))
    await lan.lab.run(100)
    expect(header(text(answers[0]!.data), 'LOCATION')).toBe(`http://[${lan.gateway(6).ip}]:5000/rootDesc.xml`)
  })

  test('is not there when it is switched off', async () => {
    expect(await new Lan({ upnp: false }).ask(search('ssdp:all'), 1900)).toEqual([])
  })
})

describe('the description', () => {
  test('lists the services with where to send commands', async () => {
    const { status, head, body } = await get(new Lan())
    expect(status).toBe(200)
    expect(Number(header(head, 'Content-Length'))).toBe(body.length)
    expect(body).toContain(`<serviceType>${IP_CONNECTION}:2</serviceType>`)
    expect(body).toContain('<controlURL>/ctl/IPConn</controlURL>')
    expect(body).not.toContain('URLBase')
    expect(body).not.toContain('WANIPv6FirewallControl')
  })

  test('of version 1 has the services of version 1', async () => {
    const { body } = await get(new Lan({ upnp: { version: 1 } }, {}, [4, 6]))
    expect(body).toContain(`<serviceType>${IP_CONNECTION}:1</serviceType>`)
    expect(body).not.toContain('WANIPv6FirewallControl')
  })

  test('has whole URLs, or ones to put after URLBase, where the router is one of those', async () => {
    const absolute = new Lan({ upnp: { controlUrl: 'absolute', port: 49_152 } })
    const base = `http://${absolute.gateway().ip}:49152/`
    const answer = await get(absolute, '/rootDesc.xml', { to: absolute.gateway().withPort(49_152) })
    expect(answer.body).toContain(`<controlURL>${base}ctl/IPConn</controlURL>`)
    const relative = new Lan({ upnp: { controlUrl: 'base' } })
    const { body } = await get(relative)
    expect(body).toContain(`<URLBase>http://${relative.gateway().ip}:5000/</URLBase>`)
    expect(body).toContain('<controlURL>ctl/IPConn</controlURL>')
  })

  test('has the old names where the router is that old', async () => {
    const lan = new Lan({ upnp: { version: 1, dslForum: true, connections: [{ service: 'WANPPPConnection' }] } })
    const { body } = await get(lan)
    expect(body).toContain('<serviceType>urn:dslforum-org:service:WANPPPConnection:1</serviceType>')
    const type = 'urn:dslforum-org:service:WANPPPConnection:1'
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan), { type, path: '/ctl/PPPConn' })).toEqual({})
  })

  test('is the only thing that can be fetched', async () => {
    const lan = new Lan()
    expect((await get(lan, '/')).status).toBe(404)
    expect((await get(lan, '/ctl/IPConn')).status).toBe(405)
    expect((await http(lan, 'nonsense\r\n\r\n')).status).toBe(400)
  })
})

describe('WANIPConnection', () => {
  test('tells the external address and that it is connected', async () => {
    const lan = new Lan()
    expect(await call(lan, 'GetExternalIPAddress')).toEqual({ NewExternalIPAddress: lan.external.ip })
    expect(await call(lan, 'GetStatusInfo')).toMatchObject({ NewConnectionStatus: 'Connected', NewUptime: '86400' })
  })

  test('maps a port that everybody outside reaches, and shows it with what is left of its lease', async () => {
    const lan = new Lan()
    const a = await lan.open(5000)
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan))).toEqual({})
    expect(await lan.reached(a, lan.external.withPort(7000))).toBe(true)
    await lan.lab.run(10_000)
    expect(await call(lan, 'GetSpecificPortMappingEntry', { NewRemoteHost: '', NewExternalPort: 7000, NewProtocol: 'UDP' })).toEqual({
      NewInternalPort: '5000',
      NewInternalClient: lan.own().ip,
      NewEnabled: '1',
      NewPortMappingDescription: 'a test &amp; more',
      NewLeaseDuration: '3590',
    })
    expect(lan.portMapping.mappings[0]).toMatchObject({ protocol: 'upnp', transport: 'udp', description: 'a test & more' })
    await lan.lab.run(3_600_000)
    expect(await lan.reached(a, lan.external.withPort(7000))).toBe(false)
  })

  test('lists mappings by number, those of other protocols among them', async () => {
    const lan = new Lan()
    await lan.pxp(natPmpMap(5001, 7001, 600))
    await call(lan, 'AddPortMapping', mappingArgs(lan, { protocol: 'TCP' }))
    expect(await call(lan, 'GetGenericPortMappingEntry', { NewPortMappingIndex: 0 })).toMatchObject({
      NewExternalPort: '7001',
      NewProtocol: 'UDP',
    })
    expect(await call(lan, 'GetGenericPortMappingEntry', { NewPortMappingIndex: 1 })).toMatchObject({
      NewExternalPort: '7000',
      NewProtocol: 'TCP',
    })
    expect(await call(lan, 'GetGenericPortMappingEntry', { NewPortMappingIndex: 2 })).toBe(713)
  })

  test('deletes what is of the protocol named, and knows 714 for what is not there', async () => {
    const lan = new Lan()
    const a = await lan.open(5000)
    await call(lan, 'AddPortMapping', mappingArgs(lan))
    const entry = (protocol: string) => ({ NewRemoteHost: '', NewExternalPort: 7000, NewProtocol: protocol })
    expect(await call(lan, 'DeletePortMapping', entry('TCP'))).toBe(714)
    expect(await call(lan, 'DeletePortMapping', entry(''))).toBe(402)
    expect(await call(lan, 'DeletePortMapping', entry('UDP'))).toEqual({})
    expect(await call(lan, 'GetSpecificPortMappingEntry', entry('UDP'))).toBe(714)
    expect(await lan.reached(a, lan.external.withPort(7000))).toBe(false)
  })

  test("does not let one host delete another's", async () => {
    const lan = new Lan()
    await call(lan, 'AddPortMapping', mappingArgs(lan))
    const host = lan.lab.host('b', { behind: lan.router })
    expect(await call(lan, 'DeletePortMapping', { NewRemoteHost: '', NewExternalPort: 7000, NewProtocol: 'UDP' }, { host })).toBe(606)
  })

  test("has 718 for another host's port, and for another port of the same host", async () => {
    const lan = new Lan()
    const host = lan.lab.host('b', { behind: lan.router })
    await call(lan, 'AddPortMapping', mappingArgs(lan))
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan, { client: lan.own(4, host).ip }), { host })).toBe(718)
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan, { internal: 5001 }))).toBe(718)
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan, { lease: 60 }))).toEqual({})
    expect(lan.portMapping.mappings.map(({ expiresAt, internal }) => [internal.port, expiresAt < 100_000])).toEqual([[5000, true]])
  })

  test('gives another port by AddAnyPortMapping, version 2 alone', async () => {
    const lan = new Lan()
    const host = lan.lab.host('b', { behind: lan.router })
    await call(lan, 'AddPortMapping', mappingArgs(lan))
    expect(await call(lan, 'AddAnyPortMapping', mappingArgs(lan, { client: lan.own(4, host).ip }), { host })).toEqual({
      NewReservedPort: '7001',
    })
    const old = new Lan({ upnp: { version: 1 } })
    expect(await call(old, 'AddAnyPortMapping', mappingArgs(old), { type: `${IP_CONNECTION}:1` })).toBe(401)
  })

  test.each([
    ['402', { protocol: 'udp' }, 402],
    ['402', { lease: -1 }, 402],
    ['402', { client: 'nobody' }, 402],
    ['606 for a port below 1024', { external: 80 }, 606],
    ['606 for somebody else', { client: '192.168.1.77' }, 606],
    ['716', { external: 0 }, 716],
    ['726', { remote: '203.0.113.9' }, 726],
    ['732', { internal: 0 }, 732],
  ])('refuses with %s: %o', async (_, mapping, code) => {
    const lan = new Lan()
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan, mapping))).toBe(code)
    expect(lan.portMapping.mappings).toEqual([])
  })

  test('refuses with 402 what lacks an argument, and with 401 what it does not know', async () => {
    const lan = new Lan()
    const { NewEnabled: _, ...lacking } = mappingArgs(lan)
    expect(await call(lan, 'AddPortMapping', lacking)).toBe(402)
    expect(await call(lan, 'toString')).toBe(401)
    expect(await call(lan, 'GetStatusInfo', {}, { type: `${IP_CONNECTION}:3` })).toBe(401)
    expect(await call(lan, 'GetExternalIPAddress', {}, { path: '/ctl/CmnIfCfg', type: `${IP_CONNECTION}:2` })).toBe(401)
  })

  test('takes a lease of 0 for a week with version 2, for ever with version 1', async () => {
    const [two, one] = [new Lan(), new Lan({ upnp: { version: 1 } })]
    await call(two, 'AddPortMapping', mappingArgs(two, { lease: 0 }))
    await call(one, 'AddPortMapping', mappingArgs(one, { lease: 0 }), { type: `${IP_CONNECTION}:1` })
    expect(two.portMapping.mappings[0]!.expiresAt).toBeLessThan(604_801_000)
    expect(one.portMapping.mappings[0]!.expiresAt).toBe(Number.POSITIVE_INFINITY)
    const entry = { NewRemoteHost: '', NewExternalPort: 7000, NewProtocol: 'UDP' }
    expect(await call(one, 'GetSpecificPortMappingEntry', entry, { type: `${IP_CONNECTION}:1` })).toMatchObject({ NewLeaseDuration: '0' })
  })

  test('knows the header by any spelling, unless it is one of those that do not', async () => {
    const options = { header: 'soapaction' }
    expect(await call(new Lan(), 'GetStatusInfo', {}, options)).toMatchObject({ NewConnectionStatus: 'Connected' })
    expect(await call(new Lan({ upnp: { exactHeaders: true } }), 'GetStatusInfo', {}, options)).toBe(401)
    expect(await call(new Lan({ upnp: { exactHeaders: true } }), 'GetStatusInfo')).toMatchObject({ NewConnectionStatus: 'Connected' })
  })

  test('takes no chunked requests', async () => {
    const request = soapText('GetStatusInfo', {}).replace(/Content-Length: \d+/, 'Transfer-Encoding: chunked')
    expect((await http(new Lan(), request)).status).toBe(411)
  })

  test('that is not connected has no address and takes no mappings, another may', async () => {
    const lan = new Lan({ upnp: { connections: [{ status: 'Disconnected' }, {}] } })
    expect(await call(lan, 'GetStatusInfo')).toMatchObject({ NewConnectionStatus: 'Disconnected' })
    expect(await call(lan, 'GetExternalIPAddress')).toEqual({ NewExternalIPAddress: '' })
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan))).toBe(501)
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan), { path: '/ctl/IPConn2' })).toEqual({})
  })

  test('is connected in the words of some by being up', async () => {
    const lan = new Lan({ upnp: { connections: [{ status: 'Up' }] } })
    expect(await call(lan, 'GetStatusInfo')).toMatchObject({ NewConnectionStatus: 'Up' })
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan))).toEqual({})
  })

  test('of miniupnpd has 718 for somebody else, and no error for deleting what is not there', async () => {
    const lan = new Lan({ like: 'miniupnpd' })
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan, { client: '192.168.1.77' }))).toBe(718)
    expect(await call(lan, 'DeletePortMapping', { NewRemoteHost: '', NewExternalPort: 1, NewProtocol: 'UDP' })).toEqual({})
  })
})

describe('WANIPv6FirewallControl', () => {
  const six = (): Lan => new Lan(true, {}, [4, 6])
  const soap = { type: FIREWALL, path: '/ctl/IP6FCtl', family: 6 } as const

  function pinhole(lan: Lan, args: Readonly<Record<string, string | number>> = {}): Record<string, string | number> {
    return { RemoteHost: '', RemotePort: 0, InternalClient: lan.own(6).ip, InternalPort: 5000, Protocol: 17, LeaseTime: 600, ...args }
  }

  test('says that there is a firewall and that pinholes are to be had', async () => {
    expect(await call(six(), 'GetFirewallStatus', {}, soap)).toEqual({ FirewallEnabled: '1', InboundPinholeAllowed: '1' })
  })

  test('opens, lengthens and closes a pinhole', async () => {
    const lan = six()
    const a = await lan.open(5000, 6)
    const opened = await call(lan, 'AddPinhole', pinhole(lan), soap)
    expect(opened).toEqual({ UniqueID: expect.stringMatching(/^\d+$/) })
    const { UniqueID = '' } = opened as Record<string, string>
    expect(await lan.reached(a, a.address)).toBe(true)
    expect(await call(lan, 'UpdatePinhole', { UniqueID, NewLeaseTime: 86_400 }, soap)).toEqual({})
    await lan.lab.run(700_000)
    expect(await lan.reached(a, a.address)).toBe(true)
    expect(await call(lan, 'DeletePinhole', { UniqueID }, soap)).toEqual({})
    expect(await lan.reached(a, a.address)).toBe(false)
    expect(await call(lan, 'DeletePinhole', { UniqueID }, soap)).toBe(704)
  })

  test('stays open for one protocol when another closes its own', async () => {
    const lan = six()
    const a = await lan.open(5000, 6)
    const { UniqueID = '' } = (await call(lan, 'AddPinhole', pinhole(lan), soap)) as Record<string, string>
    await lan.pxp(pcpMap({ client: lan.own(6), internal: 5000 }), { family: 6 })
    expect(await call(lan, 'DeletePinhole', { UniqueID }, soap)).toEqual({})
    expect(await lan.reached(a, a.address)).toBe(true)
  })

  test('lets in only the remote host that is named', async () => {
    const lan = six()
    const a = await lan.open(5000, 6)
    const friend = await open(lan.lab.host('friend'), { family: 6 })
    await call(lan, 'AddPinhole', pinhole(lan, { RemoteHost: friend.address.ip }), soap)
    expect(await lan.reached(a, a.address)).toBe(false)
    say(friend, a.address, 'it is me')
    await lan.lab.run(100)
    expect(a.heard.map(({ text: heard }) => heard)).toEqual(['it is me'])
  })

  test.each([
    ['402 for no lease', { LeaseTime: 0 }, 402],
    ['402 for more than a day', { LeaseTime: 86_401 }, 402],
    ['606 for somebody else', { InternalClient: '2001:db8:1::77' }, 606],
    ['705', { Protocol: 132 }, 705],
    ['706', { InternalPort: 0 }, 706],
    ['707', { Protocol: 65_535 }, 707],
  ])('refuses with %s', async (_, args, code) => {
    const lan = six()
    expect(await call(lan, 'AddPinhole', pinhole(lan, args), soap)).toBe(code)
    expect(lan.portMapping.mappings).toEqual([])
  })

  test('refuses who asks over IPv4', async () => {
    const lan = six()
    expect(await call(lan, 'AddPinhole', pinhole(lan), { ...soap, family: 4 })).toBe(606)
  })

  test('has 702 where there is no firewall', async () => {
    const lan = new Lan(true, { firewall: false }, [4, 6])
    expect(await call(lan, 'AddPinhole', pinhole(lan), soap)).toBe(702)
    expect(await call(lan, 'GetFirewallStatus', {}, soap)).toMatchObject({ FirewallEnabled: '0' })
  })
})
