import { describe, expect, test } from 'vitest'
import { bytes, ear, hex, Lan, natPmpMap, view } from './client.ts'

const UP = 86_400

/** Result, internal port, external port and seconds of an answer. */
function read(data: Uint8Array): { result: number; internal: number; external: number; seconds: number } {
  const v = view(data)
  return { result: v.getUint16(2), internal: v.getUint16(8), external: v.getUint16(10), seconds: v.getUint32(12) }
}

describe('NAT-PMP', () => {
  test('tells the external address and how long it has been up (RFC 6886 3.2)', async () => {
    const lan = new Lan()
    await lan.lab.run(5000)
    const answer = await lan.pxp(bytes('0000'))
    expect(hex(answer)).toBe(`00800000${(UP + 5).toString(16).padStart(8, '0')}${hex(lan.external.bytes)}`)
  })

  test('maps a UDP port that everybody outside reaches (3.3)', async () => {
    const lan = new Lan()
    const a = await lan.open(5000)
    const answer = await lan.pxp(natPmpMap(5000, 7000, 7200))
    expect(hex(answer.subarray(0, 2))).toBe('0081')
    expect(read(answer)).toEqual({ result: 0, internal: 5000, external: 7000, seconds: 7200 })
    expect(await lan.reached(a, lan.external.withPort(7000))).toBe(true)
    expect(await lan.reached(a, lan.external.withPort(7001))).toBe(false)
  })

  test('maps TCP apart from UDP', async () => {
    const lan = new Lan()
    const answer = await lan.pxp(natPmpMap(80, 8080, 7200, 2))
    expect(hex(answer.subarray(0, 2))).toBe('0082')
    let accepted = 0
    await lan.host.listen({ family: 4, port: 80 }, () => accepted++)
    await lan.lab.until(lan.outside.streams.dial({ to: lan.external.withPort(8080) }))
    await lan.lab.run(100)
    expect(accepted).toBe(1)
    expect(lan.portMapping.mappings.map(({ transport }) => transport)).toEqual(['tcp'])
  })

  test('remembers it until its lifetime is over', async () => {
    const lan = new Lan()
    const a = await lan.open(5000)
    await lan.pxp(natPmpMap(5000, 7000, 60))
    const [mapping] = lan.portMapping.mappings
    expect(mapping).toMatchObject({ protocol: 'nat-pmp', transport: 'udp', description: '' })
    expect(mapping!.external.key).toBe(lan.external.withPort(7000).key)
    expect(mapping!.internal.key).toBe(a.address.key)
    expect(Math.round(mapping!.expiresAt)).toBe(60_000)
    await lan.lab.run(60_000)
    expect(lan.portMapping.mappings).toEqual([])
    expect(await lan.reached(a, lan.external.withPort(7000))).toBe(false)
  })

  test('gives the port that it gave before, whichever is asked for then, and a new lifetime', async () => {
    const lan = new Lan()
    await lan.pxp(natPmpMap(5000, 7000, 60))
    await lan.lab.run(30_000)
    expect(read(await lan.pxp(natPmpMap(5000, 9000, 600)))).toMatchObject({ result: 0, external: 7000, seconds: 600 })
    expect(lan.portMapping.mappings.length).toBe(1)
  })

  test('gives the next port where another host has the one asked for', async () => {
    const lan = new Lan()
    const b = lan.lab.host('b', { behind: lan.router })
    await lan.pxp(natPmpMap(5000, 7000, 60), { host: b })
    expect(read(await lan.pxp(natPmpMap(5000, 7000, 60)))).toMatchObject({ result: 0, external: 7001 })
  })

  test('gives the internal port where none is asked for', async () => {
    expect(read(await new Lan().pxp(natPmpMap(5000, 0, 60)))).toMatchObject({ result: 0, external: 5000 })
  })

  test('gives no port below 1024', async () => {
    expect(read(await new Lan().pxp(natPmpMap(5000, 80, 60))).external).toBeGreaterThanOrEqual(1024)
  })

  test('deletes with lifetime 0, and answers with port 0 (3.4)', async () => {
    const lan = new Lan()
    const a = await lan.open(5000)
    await lan.pxp(natPmpMap(5000, 7000, 7200))
    expect(read(await lan.pxp(natPmpMap(5000, 0, 0)))).toEqual({ result: 0, internal: 5000, external: 0, seconds: 0 })
    expect(lan.portMapping.mappings).toEqual([])
    expect(await lan.reached(a, lan.external.withPort(7000))).toBe(false)
  })

  test("deletes all of a host's UDP mappings with port 0, and nobody else's", async () => {
    const lan = new Lan()
    const b = lan.lab.host('b', { behind: lan.router })
    await lan.pxp(natPmpMap(5000, 7000, 7200))
    await lan.pxp(natPmpMap(5001, 7001, 7200))
    await lan.pxp(natPmpMap(5001, 7001, 7200, 2))
    await lan.pxp(natPmpMap(5000, 7002, 7200), { host: b })
    await lan.pxp(natPmpMap(0, 0, 0))
    expect(lan.portMapping.mappings.map(({ transport, external }) => `${transport} ${external.port}`)).toEqual(['tcp 7001', 'udp 7002'])
  })

  test('answers an opcode that is none with result 5 in eight bytes', async () => {
    expect(hex((await new Lan().pxp(bytes('0007'))).subarray(0, 4))).toBe('00870005')
  })

  test('says nothing to answers, and to what is too short', async () => {
    const lan = new Lan()
    for (const request of ['0080', '00', '', '000100000000']) expect(await lan.ask(bytes(request), 5351)).toEqual([])
  })

  test('of a router that has nothing else answers PCP with version 0 and result 1', async () => {
    const lan = new Lan({ pcp: false })
    const answer = await lan.pxp(bytes(`0201${'00'.repeat(58)}`))
    expect(hex(answer.subarray(0, 4))).toBe('00810001')
    expect(answer.length).toBe(8)
  })

  test('is not spoken by a router that has PCP alone, which says so in version 2', async () => {
    const answer = await new Lan({ natPmp: false }).pxp(bytes('0000'))
    expect([answer[0], answer[1], answer[3], answer.length]).toEqual([2, 0x80, 1, 24])
  })

  test('says network failure on a router that translates nothing', async () => {
    const lan = new Lan(true, { nat: false, lan: '198.51.100.0/24' })
    expect(read(await lan.pxp(natPmpMap(5000, 7000, 60))).result).toBe(3)
    expect(view(await lan.pxp(bytes('0000'))).getUint16(2)).toBe(3)
  })

  test('works on a router behind a router, which tells the private address that it has', async () => {
    const lan = new Lan()
    const inner = lan.lab.router('inner', { behind: lan.router, portMapping: true })
    const host = lan.lab.host('c', { behind: inner })
    const { socket, answers } = await ear(host, 4)
    socket.send(bytes('0000'), inner.gatewayAddress()!.withPort(5351))
    await lan.lab.run(10)
    expect(hex(answers[0]!.data.subarray(8))).toBe(hex(inner.addresses[0]!.bytes))
    expect(inner.addresses[0]!.scope).toBe('private')
  })
})

describe('announcements of NAT-PMP', () => {
  test('come from port 5351, ten of them, with twice the wait each time, once the router is up again (3.2.1)', async () => {
    const lan = new Lan({ pcp: false, upnp: false })
    const { answers } = await ear(lan.host, 4, { port: 5350, ip: '224.0.0.1' })
    await lan.lab.run(1000)
    lan.router.reboot({ renumber: true, downFor: 2000 })
    await lan.lab.run(200_000)
    expect(answers.length).toBe(10)
    expect(answers[0]!.from.key).toBe(lan.gateway().withPort(5351).key)
    expect(hex(answers[0]!.data)).toBe(`0080000000000000${hex(lan.external.bytes)}`)
    expect(answers[0]!.time).toBeGreaterThanOrEqual(3000)
    const waits = answers.slice(1).map(({ time }, index) => Math.round(time - answers[index]!.time))
    expect(waits).toEqual([250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000])
  })

  test('are left out where the router makes none', async () => {
    const lan = new Lan({ announcements: false })
    const { answers } = await ear(lan.host, 4, { port: 5350, ip: '224.0.0.1' })
    lan.router.reboot()
    await lan.lab.run(10_000)
    expect(answers).toEqual([])
  })
})
