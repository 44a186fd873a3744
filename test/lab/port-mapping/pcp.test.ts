import { describe, expect, test } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import { bytes, ear, hex, Lan, mapped, NONCE, natPmpMap, type PcpMap, pcpMap, readPcp } from './client.ts'

const UP = 86_400
const OTHER_NONCE = 'ff'.repeat(12)
const PREFER_FAILURE = '02000000'

const ask = async (lan: Lan, map: Omit<PcpMap, 'client'>) => readPcp(await lan.pxp(pcpMap({ client: lan.own(), ...map })))

describe('PCP', () => {
  test('maps a port that everybody outside reaches, and says where (RFC 6887 11)', async () => {
    const lan = new Lan()
    const a = await lan.open(5000)
    const answer = await ask(lan, { internal: 5000, external: 7000, seconds: 3600 })
    const { ip } = lan.external
    expect(answer).toEqual({
      version: 2,
      opcode: 0x81,
      result: 0,
      seconds: 3600,
      epoch: UP,
      nonce: NONCE,
      internal: 5000,
      external: 7000,
      address: ip,
    })
    expect(await lan.reached(a, lan.external.withPort(7000))).toBe(true)
    expect(lan.portMapping.mappings[0]).toMatchObject({ protocol: 'pcp', transport: 'udp' })
  })

  test('clamps lifetimes to two minutes and a day, unless told otherwise', async () => {
    const lan = new Lan()
    expect((await ask(lan, { internal: 5000, seconds: 5 })).seconds).toBe(120)
    expect((await ask(lan, { internal: 5001, seconds: 1e7 })).seconds).toBe(86_400)
    const other = new Lan({ leases: { shortest: 10_000, longest: 20_000 } })
    expect((await ask(other, { internal: 5000, seconds: 5 })).seconds).toBe(10)
    expect((await ask(other, { internal: 5001, seconds: 1e7 })).seconds).toBe(20)
  })

  test('renews for who knows the nonce, on the port that it gave', async () => {
    const lan = new Lan()
    await ask(lan, { internal: 5000, external: 7000, seconds: 120 })
    await lan.lab.run(60_000)
    expect(await ask(lan, { internal: 5000, external: 9000, seconds: 600 })).toMatchObject({ result: 0, external: 7000, seconds: 600 })
    expect(lan.portMapping.mappings.length).toBe(1)
  })

  test('refuses renewal and deletion with another nonce: not authorized (11.3)', async () => {
    const lan = new Lan()
    await ask(lan, { internal: 5000 })
    expect((await ask(lan, { internal: 5000, nonce: OTHER_NONCE })).result).toBe(2)
    expect((await ask(lan, { internal: 5000, nonce: OTHER_NONCE, seconds: 0 })).result).toBe(2)
    expect(lan.portMapping.mappings.length).toBe(1)
  })

  test('deletes with lifetime 0, what is gone already too', async () => {
    const lan = new Lan()
    const a = await lan.open(5000)
    await ask(lan, { internal: 5000, external: 7000 })
    expect(await ask(lan, { internal: 5000, seconds: 0 })).toMatchObject({ result: 0, seconds: 0, nonce: NONCE })
    expect(await lan.reached(a, lan.external.withPort(7000))).toBe(false)
    expect(await ask(lan, { internal: 5000, seconds: 0 })).toMatchObject({ result: 0, seconds: 0 })
  })

  test('gives another port where the wanted one is taken, unless that would be useless (13.2)', async () => {
    const lan = new Lan()
    const b = lan.lab.host('b', { behind: lan.router })
    await lan.pxp(pcpMap({ client: lan.own(4, b), internal: 1, external: 7000 }), { host: b })
    expect(await ask(lan, { internal: 5000, external: 7000, options: PREFER_FAILURE })).toMatchObject({ result: 11, seconds: 30 })
    expect(await ask(lan, { internal: 5000, external: 7000 })).toMatchObject({ result: 0, external: 7001 })
  })

  test('cannot provide an external address that it does not have to who needs that one', async () => {
    const lan = new Lan()
    const externalAddress = Address.of('198.51.100.1', 0)
    expect((await ask(lan, { internal: 5000, externalAddress, options: PREFER_FAILURE })).result).toBe(11)
    expect(await ask(lan, { internal: 5000, externalAddress })).toMatchObject({ result: 0, address: lan.external.ip })
    expect((await ask(lan, { internal: 5001, externalAddress: lan.external, options: PREFER_FAILURE })).result).toBe(0)
  })

  test('lets in only those whom filters name (13.3), until they are taken away', async () => {
    const lan = new Lan()
    const a = await lan.open(5000)
    const filter = (ip: string, bits: number): string => `03000014 00${(96 + bits).toString(16)}0000 ${hex(mapped(Address.of(ip, 0)))}`
    const external = lan.external.withPort(7000)
    await ask(lan, { internal: 5000, external: 7000, options: filter('198.51.100.0', 24) })
    expect(await lan.reached(a, external)).toBe(false)
    await ask(lan, { internal: 5000, external: 7000, options: filter('198.51.100.0', 24) + filter('203.0.113.0', 24) })
    expect(await lan.reached(a, external)).toBe(true)
    await ask(lan, { internal: 5000, external: 7000 })
    expect(await lan.reached(a, external)).toBe(true)
  })

  test('sees a NAT between client and server by the address that the client gives (8.2)', async () => {
    const lan = new Lan()
    const answer = readPcp(await lan.pxp(pcpMap({ client: Address.of('192.168.77.7', 0), internal: 5000 })))
    expect(answer).toMatchObject({ result: 12, seconds: 1800 })
    expect(lan.portMapping.mappings).toEqual([])
  })

  test.each<[string, number, (data: Uint8Array) => Uint8Array]>([
    ['of another version: which one it speaks', 1, (data) => data.fill(3, 0, 1)],
    ['too short for its opcode: malformed', 3, (data) => data.subarray(0, 40)],
    ['not of whole words: malformed', 3, (data) => data.subarray(0, 59)],
    ['too long: malformed', 3, (data) => Uint8Array.from({ length: 1104 }, (_, index) => data[index] ?? 0)],
    ['with an opcode that there is not', 4, (data) => data.fill(2, 1, 2)],
    ['with an option that must be understood and is not', 5, (data) => new Uint8Array([...data, 77, 0, 0, 0])],
    ['with an option that is longer than the message', 6, (data) => new Uint8Array([...data, 2, 0, 0, 9])],
    ['that deletes and would rather fail', 6, (data) => new Uint8Array([...data.fill(0, 4, 8), 2, 0, 0, 0])],
    ['for a protocol that is neither UDP nor TCP', 9, (data) => data.fill(132, 36, 37)],
  ])('refuses a request %s (7.4)', async (_, result, change) => {
    const lan = new Lan()
    expect(readPcp(await lan.pxp(change(pcpMap({ client: lan.own(), internal: 5000 }))))).toMatchObject({ version: 2, result })
    expect(lan.portMapping.mappings).toEqual([])
  })

  test('passes over options that need not be understood', async () => {
    expect((await ask(new Lan(), { internal: 5000, options: 'c8000004 01020304' })).result).toBe(0)
  })

  test('says nothing to answers', async () => {
    const lan = new Lan()
    expect(await lan.ask(bytes(`0281${'00'.repeat(58)}`), 5351)).toEqual([])
  })

  test('answers ANNOUNCE with its epoch (14.1)', async () => {
    const lan = new Lan()
    await lan.lab.run(3000)
    const answer = readPcp(await lan.pxp(bytes(`0200${'00'.repeat(22)}`)))
    expect(answer).toMatchObject({ version: 2, opcode: 0x80, result: 0, seconds: 0, epoch: UP + 3 })
  })

  test("keeps its mapping's port from NAT-PMP, which has no nonce", async () => {
    const lan = new Lan()
    await ask(lan, { internal: 5000, external: 7000 })
    const answer = await lan.pxp(natPmpMap(5000, 7000, 60))
    expect(new DataView(answer.buffer).getUint16(10)).toBe(7001)
  })

  test('of the draft says that it has version 1', async () => {
    const answer = readPcp(await new Lan({ pcp: { version: 1 } }).pxp(pcpMap({ client: Address.of('192.168.1.2', 0), internal: 5000 })))
    expect(answer).toMatchObject({ version: 1, result: 1 })
  })
})

describe('PCP over IPv6', () => {
  const six = (options: ConstructorParameters<typeof Lan>[0] = true): Lan => new Lan(options, {}, [4, 6])
  const pinhole = async (lan: Lan, map: Omit<PcpMap, 'client'>) =>
    readPcp(await lan.pxp(pcpMap({ client: lan.own(6), ...map }), { family: 6 }))

  test("opens a pinhole for the client's own address and port, and closes it", async () => {
    const lan = six()
    const [a, beside] = [await lan.open(5000, 6), await lan.open(5001, 6)]
    expect(await lan.reached(a, a.address)).toBe(false)
    expect(await pinhole(lan, { internal: 5000, external: 7000 })).toMatchObject({ result: 0, external: 5000, address: lan.own(6).ip })
    expect(await lan.reached(a, a.address)).toBe(true)
    expect(await lan.reached(beside, beside.address)).toBe(false)
    const [mapping] = lan.portMapping.mappings
    expect(mapping!.external.key).toBe(mapping!.internal.key)
    expect((await pinhole(lan, { internal: 5000, seconds: 0 })).result).toBe(0)
    expect(await lan.reached(a, a.address)).toBe(false)
  })

  test('closes it when its lifetime is over', async () => {
    const lan = six()
    const a = await lan.open(5000, 6)
    await pinhole(lan, { internal: 5000, seconds: 120 })
    await lan.lab.run(120_000)
    expect(await lan.reached(a, a.address)).toBe(false)
    expect(lan.portMapping.mappings).toEqual([])
  })

  test('has no NAT-PMP beside it', async () => {
    expect(readPcp(await six().pxp(bytes('0000'), { family: 6 }))).toMatchObject({ version: 2, result: 1 })
    expect(await six({ pcp: false }).ask(bytes('0000'), 5351, { family: 6 })).toEqual([])
  })
})

describe('announcements of PCP', () => {
  test('come by IPv4 and IPv6 from port 5351 when the service has started again', async () => {
    const lan = new Lan({ natPmp: false }, {}, [4, 6])
    const [four, six] = [await ear(lan.host, 4, { port: 5350, ip: '224.0.0.1' }), await ear(lan.host, 6, { port: 5350, ip: 'ff02::1' })]
    lan.portMapping.restart()
    await lan.lab.run(1)
    expect(four.answers.map(({ from }) => from.key)).toEqual([lan.gateway().withPort(5351).key])
    expect(six.answers.map(({ from }) => from.key)).toEqual([lan.gateway(6).withPort(5351).key])
    for (const { answers } of [four, six]) expect(hex(answers[0]!.data)).toBe(`0280${'00'.repeat(22)}`)
    await lan.lab.run(200_000)
    expect(readPcp(four.answers[9]!.data).epoch).toBe(127)
  })
})

describe('as miniupnpd has it', () => {
  const like = (families: readonly (4 | 6)[] = [4]): Lan => new Lan({ like: 'miniupnpd' }, {}, families)

  test('malformed PCP is answered with version 0', async () => {
    const lan = like()
    expect(readPcp(await lan.pxp(pcpMap({ client: lan.own(), internal: 5000 }).subarray(0, 40)))).toMatchObject({ version: 0, result: 3 })
  })

  test('deleting what is gone is NO_RESOURCES', async () => {
    expect((await ask(like(), { internal: 5000, seconds: 0 })).result).toBe(8)
  })

  test('a renewal that does not suggest the assigned port makes another mapping', async () => {
    const lan = like()
    await ask(lan, { internal: 5000, external: 7000 })
    expect((await ask(lan, { internal: 5000, external: 7000 })).external).toBe(7000)
    expect(lan.portMapping.mappings.length).toBe(1)
    expect((await ask(lan, { internal: 5000 })).external).toBe(5000)
    expect(lan.portMapping.mappings.length).toBe(2)
  })

  test('a pinhole renewed has external port 0', async () => {
    const lan = like([4, 6])
    const map = pcpMap({ client: lan.own(6), internal: 5000 })
    expect(readPcp(await lan.pxp(map, { family: 6 })).external).toBe(5000)
    expect(readPcp(await lan.pxp(map, { family: 6 })).external).toBe(0)
  })

  test('announcements come once, with epoch 0', async () => {
    const lan = like()
    const { answers } = await ear(lan.host, 4, { port: 5350, ip: '224.0.0.1' })
    lan.portMapping.restart()
    await lan.lab.run(200_000)
    expect(answers.map(({ data }) => data[0])).toEqual([0, 2])
  })
})
