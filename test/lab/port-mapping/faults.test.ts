import { describe, expect, test } from 'vitest'
import { createLab, type PortMappingFaults } from '../../../src/lab/index.ts'
import { Address } from '../../../src/net/index.ts'
import { bytes, ear, hex, Lan, NONCE, natPmpMap, pcpMap, readPcp, view } from './client.ts'
import { call, get, header, http, IGD, IP_CONNECTION, mappingArgs, search, soapText } from './upnp-client.ts'

const ADDRESS = bytes('0000')

/** The result codes of NAT-PMP and PCP, and UPnP's error code, for a mapping; 0 is success. */
async function results(lan: Lan): Promise<[natPmp: number, pcp: number, upnp: number]> {
  const natPmp = view(await lan.pxp(natPmpMap(5001, 7001, 600))).getUint16(2)
  const { result } = readPcp(await lan.pxp(pcpMap({ client: lan.own(), internal: 5002, external: 7002 })))
  const upnp = await call(lan, 'AddPortMapping', mappingArgs(lan, { internal: 5003, external: 7003 }))
  return [natPmp, result, typeof upnp === 'number' ? upnp : 0]
}

async function mapAll(lan: Lan): Promise<void> {
  expect(await results(lan)).toEqual([0, 0, 0])
}

/** Which of the three mappings of `results` let a stranger through. */
async function forwarding(lan: Lan): Promise<boolean[]> {
  const through: boolean[] = []
  for (const index of [1, 2, 3]) {
    const talker = await lan.open(5000 + index)
    through.push(await lan.reached(talker, lan.external.withPort(7000 + index)))
    talker.socket.close()
  }
  return through
}

const faulty = (faults: PortMappingFaults): Lan => new Lan({ faults })

describe('a router that reboots', () => {
  test('has forgotten all mappings, and its epoch begins at 0', async () => {
    const lan = new Lan()
    await mapAll(lan)
    lan.router.reboot()
    expect(lan.portMapping.mappings).toEqual([])
    expect(await forwarding(lan)).toEqual([false, false, false])
    expect(view(await lan.pxp(ADDRESS)).getUint32(4)).toBeLessThan(2)
    await mapAll(lan)
    expect(await forwarding(lan)).toEqual([true, true, true])
  })

  test('says nothing while it is down', async () => {
    const lan = new Lan()
    lan.router.reboot({ downFor: 1000 })
    expect(await lan.ask(ADDRESS, 5351, { within: 900 })).toEqual([])
    await lan.lab.run(100)
    expect(view(await lan.pxp(ADDRESS)).getUint32(4)).toBe(0)
  })

  test('tells its new address when it comes back with one', async () => {
    const lan = new Lan()
    const before = lan.external
    lan.router.reboot({ renumber: true })
    expect(lan.external.ip).not.toBe(before.ip)
    expect(hex((await lan.pxp(ADDRESS)).subarray(8))).toBe(hex(lan.external.bytes))
  })
})

describe('a port mapping service that starts again', () => {
  test('has forgotten its mappings, while the router has not forgotten its own', async () => {
    const lan = new Lan()
    await mapAll(lan)
    const a = await lan.open(6000)
    lan.router.forward('udp', 9000, a.address)
    lan.portMapping.restart()
    expect(lan.portMapping.mappings).toEqual([])
    expect(await forwarding(lan)).toEqual([false, false, false])
    expect(await lan.reached(a, lan.external.withPort(9000))).toBe(true)
    expect(lan.portMapping.epochSeconds).toBe(0)
  })

  test('may have kept them in a file', async () => {
    const lan = new Lan()
    await mapAll(lan)
    lan.portMapping.restart({ forget: false })
    expect(lan.portMapping.mappings.length).toBe(3)
    expect(await forwarding(lan)).toEqual([true, true, true])
    expect(lan.portMapping.epochSeconds).toBe(0)
  })

  test('may do so without a word', async () => {
    const lan = new Lan()
    const { answers } = await ear(lan.host, 4, { port: 5350, ip: '224.0.0.1' })
    const notices = await ear(lan.host, 4, { port: 1900, ip: '239.255.255.250' })
    lan.portMapping.restart({ announce: false })
    await lan.lab.run(10_000)
    expect([answers, notices.answers]).toEqual([[], []])
    lan.portMapping.restart()
    await lan.lab.run(1)
    expect([answers.length, notices.answers.length > 0]).toEqual([2, true])
  })

  test('may tell any epoch', async () => {
    const lan = new Lan()
    lan.portMapping.epochSeconds = 7
    await lan.lab.run(2000)
    expect(readPcp(await lan.pxp(bytes(`0200${'00'.repeat(22)}`))).epoch).toBe(9)
  })
})

describe('a lease', () => {
  test('is cut short however long was asked for', async () => {
    const lan = new Lan()
    lan.portMapping.set({ longestLease: 30_000 })
    expect(view(await lan.pxp(natPmpMap(5001, 7001, 7200))).getUint32(12)).toBe(30)
    expect(readPcp(await lan.pxp(pcpMap({ client: lan.own(), internal: 5002, external: 7002 }))).seconds).toBe(30)
    await call(lan, 'AddPortMapping', mappingArgs(lan, { internal: 5003, external: 7003 }))
    expect(await forwarding(lan)).toEqual([true, true, true])
    await lan.lab.run(30_000)
    expect(await forwarding(lan)).toEqual([false, false, false])
  })

  test('is refused with 725 where there are only permanent ones', async () => {
    const lan = new Lan({ upnp: { version: 1 }, faults: { permanentOnly: true } })
    const type = `${IP_CONNECTION}:1`
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan), { type })).toBe(725)
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan, { lease: 0 }), { type })).toEqual({})
    expect(lan.portMapping.mappings[0]!.expiresAt).toBe(Number.POSITIVE_INFINITY)
  })

  test('that stands is 718 for its owner, too, where renewals are not understood', async () => {
    const lan = faulty({ noRenewals: true })
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan))).toEqual({})
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan))).toBe(718)
    await call(lan, 'DeletePortMapping', { NewRemoteHost: '', NewExternalPort: 7000, NewProtocol: 'UDP' })
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan))).toEqual({})
  })

  test('ends as before although its renewal was accepted', async () => {
    const lan = faulty({ vainRenewals: true })
    await call(lan, 'AddPortMapping', mappingArgs(lan, { lease: 60 }))
    const [before] = lan.portMapping.mappings
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan, { lease: 600 }))).toEqual({})
    expect(lan.portMapping.mappings[0]!.expiresAt).toBe(before!.expiresAt)
  })

  test('needs the same port inside and outside where the router says 724', async () => {
    const lan = faulty({ samePort: true })
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan))).toBe(724)
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan, { external: 5000 }))).toEqual({})
  })
})

describe('a ghost mapping', () => {
  test('is granted and listed, and forwards nothing', async () => {
    const lan = faulty({ ghost: true })
    await mapAll(lan)
    expect(lan.portMapping.mappings.length).toBe(3)
    expect(await call(lan, 'GetSpecificPortMappingEntry', { NewRemoteHost: '', NewExternalPort: 7003, NewProtocol: 'UDP' })).toBeTypeOf(
      'object',
    )
    expect(await forwarding(lan)).toEqual([false, false, false])
  })

  test('is what standing mappings become, and cease to be', async () => {
    const lan = new Lan()
    await mapAll(lan)
    lan.portMapping.set({ ghost: ['pcp'] })
    expect(await forwarding(lan)).toEqual([true, false, true])
    lan.portMapping.set({ ghost: true })
    expect(await forwarding(lan)).toEqual([false, false, false])
    lan.portMapping.set({ ghost: false })
    expect(await forwarding(lan)).toEqual([true, true, true])
  })

  test('stays one when it is renewed', async () => {
    const lan = faulty({ ghost: true })
    await mapAll(lan)
    await mapAll(lan)
    expect(await forwarding(lan)).toEqual([false, false, false])
  })

  test('is a pinhole, too', async () => {
    const lan = new Lan({ faults: { ghost: true } }, {}, [4, 6])
    const a = await lan.open(5000, 6)
    expect(readPcp(await lan.pxp(pcpMap({ client: lan.own(6), internal: 5000 }), { family: 6 })).result).toBe(0)
    expect(await lan.reached(a, a.address)).toBe(false)
    lan.portMapping.set({ ghost: false })
    expect(await lan.reached(a, a.address)).toBe(true)
  })
})

describe('a wrong external address', () => {
  test.each(['198.51.100.9', '192.168.0.9', '100.64.0.9', '0.0.0.0'])(
    '%s is told in all protocols, and mappings forward all the same',
    async (ip) => {
      const lan = faulty({ externalAddress: ip })
      expect(hex((await lan.pxp(ADDRESS)).subarray(8))).toBe(hex(Address.of(ip, 0).bytes))
      expect(readPcp(await lan.pxp(pcpMap({ client: lan.own(), internal: 5000 }))).address).toBe(ip)
      expect(await call(lan, 'GetExternalIPAddress')).toEqual({ NewExternalIPAddress: ip })
      await mapAll(lan)
      expect(await forwarding(lan)).toEqual([true, true, true])
      expect(lan.portMapping.mappings[0]!.external.ip).toBe(lan.external.ip)
    },
  )

  test('may be none at all', async () => {
    const lan = faulty({ externalAddress: '' })
    expect(await call(lan, 'GetExternalIPAddress')).toEqual({ NewExternalIPAddress: '' })
    expect(hex((await lan.pxp(ADDRESS)).subarray(8))).toBe('00000000')
  })

  test('is what a router behind another NAT tells, which forwards on the address that it has there', async () => {
    const lab = createLab()
    const carrier = lab.router('carrier', { lan: '100.64.0.0/10' })
    const home = lab.router('home', { behind: carrier, portMapping: true })
    const a = lab.host('a', { behind: home })
    const { socket, answers } = await ear(a, 4)
    socket.send(natPmpMap(socket.local.port, 7000, 600), home.gatewayAddress()!.withPort(5351))
    socket.send(ADDRESS, home.gatewayAddress()!.withPort(5351))
    await lab.run(10)
    expect(hex(answers[1]!.data.subarray(8))).toBe(hex(home.addresses[0]!.bytes))
    const neighbour = await ear(lab.host('neighbour', { behind: carrier }), 4)
    neighbour.socket.send(bytes('77'), home.addresses[0]!.withPort(7000))
    await lab.run(10)
    expect(hex(answers[2]!.data)).toBe('77')
  })
})

describe('a port that is taken', () => {
  test('is 718, or another port, or none for who needs that one', async () => {
    const lan = faulty({ taken: [7000, 7001] })
    expect(view(await lan.pxp(natPmpMap(5000, 7000, 600))).getUint16(10)).toBe(7002)
    const map = { client: lan.own(), internal: 5001, external: 7001 }
    expect(readPcp(await lan.pxp(pcpMap({ ...map, options: '02000000' }))).result).toBe(11)
    expect(readPcp(await lan.pxp(pcpMap(map))).external).toBe(7003)
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan))).toBe(718)
    expect(await call(lan, 'AddAnyPortMapping', mappingArgs(lan, { internal: 5002 }))).toEqual({ NewReservedPort: '7004' })
  })

  test('may be every port', async () => {
    const lan = faulty({ taken: true })
    expect(await results(lan)).toEqual([4, 8, 718])
    expect(await call(lan, 'AddAnyPortMapping', mappingArgs(lan))).toBe(728)
  })
})

describe('a refusal', () => {
  test.each<[string, PortMappingFaults, [number, number, number]]>([
    ['not authorized', { refused: true }, [2, 2, 606]],
    ['no resources', { full: true }, [4, 8, 728]],
    ['no connection to the internet', { offline: true }, [3, 7, 501]],
    ['no resources in one protocol', { full: ['pcp'] }, [0, 8, 0]],
  ])('%s', async (_, faults, expected) => {
    expect(await results(faulty(faults))).toEqual(expected)
  })

  test('for want of a connection goes for the address, too', async () => {
    const lan = faulty({ offline: true })
    expect(view(await lan.pxp(ADDRESS)).getUint16(2)).toBe(3)
    expect(await call(lan, 'GetExternalIPAddress')).toEqual({ NewExternalIPAddress: '' })
  })

  test('begins and ends while the router runs', async () => {
    const lan = new Lan()
    lan.portMapping.set({ refused: true })
    expect(await results(lan)).toEqual([2, 2, 606])
    lan.portMapping.set({ refused: false })
    expect(await results(lan)).toEqual([0, 0, 0])
  })
})

describe('a slow router', () => {
  test('answers late, but has done it', async () => {
    const lan = faulty({ delay: { 'nat-pmp': 700, pcp: 1300 } })
    const [late] = await lan.ask(natPmpMap(5001, 7001, 600), 5351, { within: 2000 })
    expect(Math.floor(late!.time)).toBe(700)
    const asked = lan.lab.clock.now()
    const [later] = await lan.ask(pcpMap({ client: lan.own(), internal: 5002, external: 7002 }), 5351, { within: 2000 })
    expect(Math.floor(later!.time - asked)).toBe(1300)
    expect(lan.portMapping.mappings.length).toBe(2)
  })

  test('answers searches and HTTP late', async () => {
    const lan = faulty({ delay: 1000 })
    expect((await lan.ask(search(`${IGD}:1`), 1900, { within: 900 })).length).toBe(0)
    expect((await get(lan, undefined, { within: 900 })).status).toBe(0)
    expect((await get(lan, undefined, { within: 1100 })).status).toBe(200)
  })
})

describe('a silent router', () => {
  test('says nothing and does nothing', async () => {
    const lan = faulty({ silent: true })
    expect(await lan.ask(natPmpMap(5001, 7001, 600), 5351)).toEqual([])
    expect(await lan.ask(search(`${IGD}:1`), 1900)).toEqual([])
    expect((await get(lan)).head).toBe('')
    lan.portMapping.restart()
    expect(lan.portMapping.mappings).toEqual([])
  })

  test('may be so in one protocol', async () => {
    const lan = faulty({ silent: ['nat-pmp'] })
    expect(await lan.ask(ADDRESS, 5351)).toEqual([])
    expect(readPcp(await lan.pxp(pcpMap({ client: lan.own(), internal: 5000 }))).result).toBe(0)
  })

  test('makes no announcements', async () => {
    const lan = faulty({ silent: true })
    const { answers } = await ear(lan.host, 4, { port: 5350, ip: '224.0.0.1' })
    lan.portMapping.restart()
    await lan.lab.run(1000)
    expect(answers).toEqual([])
  })
})

describe('malformed datagrams', () => {
  const good = async (): Promise<Uint8Array> => new Lan().pxp(natPmpMap(5000, 7000, 600))

  test('are cut in half', async () => {
    const lan = faulty({ malformed: 'truncated' })
    expect(hex(await lan.pxp(natPmpMap(5000, 7000, 600)))).toBe(hex((await good()).subarray(0, 8)))
    expect((await lan.pxp(pcpMap({ client: lan.own(), internal: 5000 }))).length).toBe(30)
  })

  test('are garbage', async () => {
    const answer = await faulty({ malformed: 'garbage' }).pxp(natPmpMap(5000, 7000, 600))
    expect(answer.length).toBe(16)
    expect(hex(answer)).not.toBe(hex(await good()))
  })

  test('have the opcode of another request', async () => {
    const lan = faulty({ malformed: 'opcode' })
    expect((await lan.pxp(natPmpMap(5000, 7000, 600)))[1]).toBe(0x82)
    expect(readPcp(await lan.pxp(pcpMap({ client: lan.own(), internal: 5001 }))).opcode).toBe(0x82)
  })

  test('are for another request', async () => {
    const lan = faulty({ malformed: 'mismatch' })
    expect(view(await lan.pxp(natPmpMap(5000, 7000, 600))).getUint16(8)).toBe(5001)
    expect(readPcp(await lan.pxp(pcpMap({ client: lan.own(), internal: 6000 }))).nonce).toBe(`01${NONCE.slice(2)}`)
  })

  test('are too long, in one protocol if need be', async () => {
    const lan = faulty({ malformed: { pcp: 'oversized' } })
    expect((await lan.pxp(natPmpMap(5000, 7000, 600))).length).toBe(16)
    expect((await lan.pxp(pcpMap({ client: lan.own(), internal: 6000 }))).length).toBe(1500)
  })
})

describe('malformed HTTP', () => {
  const length = ({ head }: { head: string }): number => Number(header(head, 'Content-Length'))

  test('ends in the middle of the body', async () => {
    const answer = await get(faulty({ malformed: 'truncated' }))
    expect(answer.ended).toBe(true)
    expect(answer.body.length).toBeLessThan(length(answer))
  })

  test('is garbage', async () => {
    const answer = await get(faulty({ malformed: 'garbage' }))
    expect([answer.status, answer.ended]).toEqual([0, true])
    expect(answer.head.length).toBeGreaterThan(100)
  })

  test('answers with another action', async () => {
    expect(await call(faulty({ malformed: 'opcode' }), 'GetExternalIPAddress')).toBe(-200)
  })

  test('is two megabytes long', async () => {
    const answer = await get(faulty({ malformed: 'oversized' }), undefined, { within: 5000 })
    expect(answer.body.length).toBe(length(answer))
    expect(answer.body.length).toBeGreaterThan(2_000_000)
  })

  test('lacks its end tags', async () => {
    const answer = await get(faulty({ malformed: 'broken-xml' }))
    expect(answer.body.length).toBe(length(answer))
    expect(answer.body).toContain('<controlURL>')
    expect(answer.body).not.toContain('</root>')
  })

  test('has entities that grow', async () => {
    const { body } = await get(faulty({ malformed: 'entities' }))
    expect(body).toMatch(/^<\?xml version="1\.0"\?><!DOCTYPE root \[<!ENTITY a "lol"><!ENTITY b "(&a;){10}">/)
    expect(body).toContain('>&j;<')
  })

  test('has no length', async () => {
    const answer = await get(faulty({ malformed: 'no-length' }))
    expect(header(answer.head, 'Content-Length')).toBeUndefined()
    expect(answer.body).toContain('</root>')
    expect(answer.ended).toBe(true)
  })

  test('comes in chunks', async () => {
    const answer = await get(faulty({ malformed: 'chunked' }))
    expect(header(answer.head, 'Transfer-Encoding')).toBe('chunked')
    expect(answer.body.startsWith('64\r\n<?xml')).toBe(true)
    expect(answer.body.endsWith('\r\n0\r\n\r\n')).toBe(true)
  })

  test('has no end', async () => {
    const lan = faulty({ malformed: 'endless' })
    const [first, second] = [await get(lan, undefined, { within: 5 }), await get(lan, undefined, { within: 20 })]
    expect([first.ended, second.ended]).toEqual([false, false])
    expect(second.body.length).toBeGreaterThan(first.body.length)
  })

  test('drips', async () => {
    const answer = await get(faulty({ malformed: 'drip' }), undefined, { within: 5001 })
    expect(answer.head).toBe('HTTP/1.1 20')
    expect(answer.ended).toBe(false)
  })

  test('leads to another host of the LAN', async () => {
    const lan = faulty({ malformed: 'redirect' })
    const answer = await get(lan)
    expect(answer.status).toBe(302)
    const { hostname } = new URL(header(answer.head, 'Location')!)
    expect(hostname).not.toBe(lan.gateway().ip)
    expect(lan.router.lan.range(4)!.contains(Address.of(hostname, 0))).toBe(true)
  })
})

describe('answers of others', () => {
  test('come before the right one, from another address, with another port and address in them', async () => {
    const lan = faulty({ spoofed: true })
    const [wrong, right] = await lan.ask(natPmpMap(5000, 7000, 600), 5351)
    expect([wrong!.from.ip === lan.gateway().ip, right!.from.ip]).toEqual([false, lan.gateway().ip])
    expect([wrong, right].map((answer) => view(answer!.data).getUint16(10))).toEqual([6666, 7000])
    const [lie, truth] = await lan.ask(pcpMap({ client: lan.own(), internal: 5001, external: 7001 }), 5351)
    expect([lie, truth].map((answer) => readPcp(answer!.data).external)).toEqual([6666, 7001])
    expect(readPcp(lie!.data).address).toBe('192.0.2.66')
  })

  test('to searches lead to a device of their own, which grants everything and forwards nothing', async () => {
    const lan = faulty({ spoofed: ['upnp'] })
    const answers = await lan.ask(search(`${IP_CONNECTION}:2`), 1900)
    const [wrong, right] = answers.map(({ data }) => new URL(header(new TextDecoder().decode(data), 'LOCATION')!).hostname)
    expect(wrong).toBe(answers[0]!.from.ip)
    expect(right).toBe(lan.gateway().ip)
    const to = Address.of(wrong!, 5000)
    expect((await get(lan, undefined, { to })).status).toBe(200)
    expect(await call(lan, 'GetExternalIPAddress', {}, { to })).toEqual({ NewExternalIPAddress: '192.0.2.66' })
    expect(await call(lan, 'AddPortMapping', mappingArgs(lan), { to })).toEqual({})
    expect(lan.portMapping.mappings).toEqual([])
    expect(await lan.reached(await lan.open(5000), lan.external.withPort(7000))).toBe(false)
  })
})

describe('answers from another port', () => {
  test('come from the same address', async () => {
    const lan = faulty({ otherPort: true })
    for (const [request, port] of [
      [ADDRESS, 5351],
      [search(`${IGD}:1`), 1900],
    ] as const) {
      const [answer] = await lan.ask(request, port)
      expect(answer!.from.ip).toBe(lan.gateway().ip)
      expect(answer!.from.port).not.toBe(port)
    }
  })
})

describe('a location elsewhere', () => {
  test.each([['http://203.0.113.250:80/desc.xml'], [true]])('%s', async (elsewhere) => {
    const lan = faulty({ elsewhere })
    const [answer] = await lan.ask(search(`${IGD}:1`), 1900)
    expect(answer!.from.ip).toBe(lan.gateway().ip)
    const location = header(new TextDecoder().decode(answer!.data), 'LOCATION')!
    if (typeof elsewhere === 'string') expect(location).toBe(elsewhere)
    else expect((await get(lan, undefined, { to: Address.of(new URL(location).hostname, 5000) })).body).toContain('InternetGatewayDevice')
    expect(location).not.toContain(lan.gateway().ip)
  })
})

describe('nonsense', () => {
  test('of any kind is answered or dropped, and the router lives on', async () => {
    const lan = new Lan(true, {}, [4, 6])
    const random = lan.host.random
    const valid = {
      5351: [ADDRESS, natPmpMap(5000, 7000, 60), pcpMap({ client: lan.own(), internal: 5000, options: '02000000 c8000004 01020304' })],
      1900: [new TextEncoder().encode(search('ssdp:all'))],
    }
    const { socket } = await ear(lan.host, 4)
    for (let i = 0; i < 3000; i++) {
      for (const port of [5351, 1900] as const) {
        const some = valid[port][random.below(valid[port].length)]!
        const data = random.chance(0.3)
          ? random.bytes(random.below(80))
          : some.slice(0, random.chance(0.5) ? some.length : random.below(some.length))
        for (let changes = random.below(4); changes > 0 && data.length > 0; changes--) data[random.below(data.length)] = random.below(256)
        socket.send(data, lan.gateway().withPort(port))
      }
    }
    await lan.lab.run(1000)
    for (let i = 0; i < 200; i++) {
      const text = [...soapText('AddPortMapping', mappingArgs(lan))]
      for (let changes = random.below(6); changes > 0; changes--) text[random.below(text.length)] = String.fromCharCode(random.below(128))
      await http(lan, text.join(''), { within: 2 })
    }
    lan.portMapping.restart()
    await mapAll(lan)
  })
})

describe('a router without port mapping', () => {
  test('has no host of its own for it, and answers nobody', async () => {
    const lab = createLab()
    const home = lab.router('home')
    const { socket, answers } = await ear(lab.host('a', { behind: home }), 4)
    socket.send(ADDRESS, home.gatewayAddress()!.withPort(5351))
    await lab.run(100)
    expect(answers).toEqual([])
    expect(home.portMapping).toBeUndefined()
    expect(lab.trace.drops()).toEqual({ 'no-route': 1 })
  })
})
