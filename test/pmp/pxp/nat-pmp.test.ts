import { describe, expect, it } from 'vitest'
import { addressAnswer, bytes, hexOf, mappingAnswer, natPmpServer, open, pcpAnswer, type Scene, told } from './gateway.ts'

async function serving(
  options: Parameters<typeof open>[0] = {},
): Promise<Scene & { readonly natPmp: NonNullable<Scene['pxp']['natPmp']> }> {
  const scene = await open(options)
  scene.reply = natPmpServer(scene)
  return Object.assign(scene, { natPmp: scene.pxp.natPmp! })
}

function requests({ heard }: Scene): string[] {
  return heard.map(({ data }) => hexOf(data))
}

describe('NAT-PMP', () => {
  it('asks for the external address when probed, from the address of the uplink', async () => {
    const { lab, natPmp, heard, uplink } = await serving()
    expect(await lab.until(natPmp.probe())).toMatchObject({ protocol: 'nat-pmp', external: { key: '203.0.113.9:0' } })
    expect(heard.map(({ data, from }) => [hexOf(data), from.ip])).toEqual([['0000', uplink.local.address.ip]])
  })

  it('says nothing of an external address of 0.0.0.0', async () => {
    const scene = await serving()
    const { natPmp, lab } = scene
    const server = natPmpServer(scene)
    scene.reply = (data, heard) => (data[1] === 0 ? addressAnswer(1000, '00000000') : server(data, heard))
    expect((await lab.until(natPmp.probe())).external).toBeUndefined()
    expect(told(await lab.until(natPmp.map(scene.request(5000))))).toBe('0.0.0.0:5000 for 7200 s')
  })

  it('asks for the address, if it is not known, and then for the mapping', async () => {
    const scene = await serving()
    const { lab, natPmp, request } = scene
    expect(told(await lab.until(natPmp.map(request(5000))))).toBe('203.0.113.9:5000 for 7200 s')
    expect(told(await lab.until(natPmp.map(request(5001, { transport: 'tcp' }))))).toBe('203.0.113.9:5001 for 7200 s')
    expect(requests(scene)).toEqual(['0000', '000100001388138800001c20', '000200001389138900001c20'])
  })

  it('takes the port and lifetime that the router gives', async () => {
    const scene = await serving()
    scene.reply = (data) => (data[1] === 0 ? addressAnswer(1000) : mappingAnswer({ internal: 5000, external: 40_000, lifetime: 120 }))
    expect(told(await scene.lab.until(scene.natPmp.map(scene.request(5000))))).toBe('203.0.113.9:40000 for 120 s')
  })

  it('renews with the port it has, and asks for the address again', async () => {
    const scene = await serving()
    const { lab, natPmp, request } = scene
    const previous = { ...(await lab.until(natPmp.map(request(5000)))), external: bytesAddress(40_000, scene) }
    scene.heard.length = 0
    await lab.until(natPmp.map(request(5000, { previous })))
    expect(requests(scene)).toEqual(['0000', '0001000013889c4000001c20'])
  })

  it('deletes with lifetime and external port 0 and the transport of the mapping (RFC 6886 3.4)', async () => {
    const scene = await serving()
    const { lab, natPmp, request } = scene
    const grant = await lab.until(natPmp.map(request(5000, { transport: 'tcp' })))
    scene.heard.length = 0
    await lab.until(natPmp.unmap(grant))
    expect(requests(scene)).toEqual(['000200001388000000000000'])
  })

  it('asks for nothing with internal port 0, nor for somebody else', async () => {
    const { lab, natPmp, request, router, uplink } = await serving()
    const grant = await lab.until(natPmp.map(request(5000)))
    await expect(natPmp.map(request(0, { externalPort: 1 }))).rejects.toThrow(RangeError)
    await expect(natPmp.unmap({ ...grant, internal: uplink.local.address })).rejects.toThrow(RangeError)
    await expect(natPmp.map(request(1, { internal: router.gatewayAddress()!.withPort(1) }))).rejects.toThrow(RangeError)
    await expect(natPmp.map(request(1, { externalPort: 0 }))).rejects.toThrow(RangeError)
    await expect(natPmp.map(request(1, { lifetime: 0 }))).rejects.toThrow(RangeError)
  })

  it('fails where only the port that was asked for would do, and leaves nothing behind', async () => {
    const scene = await serving()
    const server = natPmpServer(scene)
    const give = mappingAnswer({ internal: 5000, external: 5001 })
    scene.reply = (data, heard) => (data[1] === 1 && data[11] !== 0 ? give : server(data, heard))
    const error = await scene.lab.until(scene.natPmp.map(scene.request(5000, { exact: true })).catch((reason) => reason))
    expect(error).toMatchObject({ code: 'ERR_MAPPING_PORT' })
    expect(requests(scene).at(-1)).toBe('000100001388000000000000')
  })

  it('fails with another port only when that is deleted, also where the first deletion gets lost', async () => {
    const scene = await serving()
    const server = natPmpServer(scene)
    const give = mappingAnswer({ internal: 5000, external: 5001 })
    const isDeletion = (data: Uint8Array): boolean => data[1] === 1 && data[11] === 0
    const deletions = (): number => scene.heard.filter(({ data }) => isDeletion(data)).length
    scene.reply = (data, heard) => {
      if (data[1] === 1 && !isDeletion(data)) return give
      return isDeletion(data) && deletions() === 1 ? undefined : server(data, heard)
    }
    await scene.lab.until(scene.natPmp.map(scene.request(5000, { exact: true })).catch(() => {}))
    expect(deletions()).toBe(2)
  })

  it('cannot say who may send in', async () => {
    const { natPmp, request, heard } = await serving()
    await expect(natPmp.map(request(5000, { allow: ['198.51.100.0/24'] }))).rejects.toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
    expect(heard).toEqual([])
  })

  it.each([
    [1, 'ERR_MAPPING_UNAVAILABLE', 'UNSUPPORTED_VERSION'],
    [2, 'ERR_MAPPING_REFUSED', 'NOT_AUTHORIZED'],
    [3, 'ERR_MAPPING_CAPACITY', 'NETWORK_FAILURE'],
    [4, 'ERR_MAPPING_CAPACITY', 'OUT_OF_RESOURCES'],
    [5, 'ERR_MAPPING_UNAVAILABLE', 'UNSUPPORTED_OPCODE'],
    [9, 'ERR_MAPPING_REFUSED', null],
  ])('result %i is %s', async (code, expected, result) => {
    for (const length of [8, 16]) {
      const scene = await serving()
      scene.reply = (data) => (data[1] === 0 ? addressAnswer(1000) : mappingAnswer({ code, internal: 5000 }).subarray(0, length))
      const error = await scene.lab.until(scene.natPmp.map(scene.request(5000)).catch((reason) => reason))
      expect(error).toMatchObject({ code: expected, report: { protocol: 'nat-pmp', code, result } })
    }
  })

  it('says of result 3 that there is no internet', async () => {
    const scene = await serving()
    scene.reply = () => bytes('00 80 0003 00000001 00000000')
    await expect(scene.lab.until(scene.natPmp.probe())).rejects.toThrow('no connection to the internet')
  })
})

describe('the wait for an answer of NAT-PMP', () => {
  it('sends at 0, 250, 750 and 1750 ms and gives up at 3750', async () => {
    const scene = await open()
    const { lab, pxp } = scene
    const start = lab.clock.now()
    await expect(lab.until(pxp.natPmp!.probe())).rejects.toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
    expect(lab.clock.now() - start).toBe(3750)
    expect(scene.times().map((time) => time - start)).toEqual([0.125, 250.125, 750.125, 1750.125])
  })

  it('gets over losses', async () => {
    const { lab, natPmp, heard, request } = await serving()
    const lost = new Set([0, 1, 3])
    let sent = 0
    lab.filter(({ to }) => (to.port === 5351 && lost.has(sent++) ? 'drop' : undefined))
    expect(told(await lab.until(natPmp.map(request(5000))))).toBe('203.0.113.9:5000 for 7200 s')
    expect(heard).toHaveLength(2)
    expect(lab.clock.now()).toBe(750.25 + 250.25)
  })

  it('has one request under way at a time', async () => {
    const scene = await serving()
    const { lab, natPmp, request } = scene
    const server = natPmpServer(scene)
    scene.reply = (data, heard) => {
      lab.after(100, () => scene.say(server(data, heard) as Uint8Array, heard.from))
      return undefined
    }
    const both = Promise.all([natPmp.probe(), natPmp.map(request(5000)), natPmp.map(request(5001)), natPmp.unmap(grantOf(scene, 5002))])
    await lab.until(both)
    const gaps = scene.times().map((time, i, all) => time - (all[i - 1] ?? time))
    expect(gaps.slice(1).every((gap) => gap >= 100)).toBe(true)
  })

  it('a late answer to a request that was given up does not shift the next', async () => {
    const scene = await serving()
    const { lab, natPmp, request, pxp } = scene
    await lab.until(natPmp.probe())
    scene.reply = () => undefined
    await expect(lab.until(natPmp.map(request(5000)))).rejects.toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
    const next = natPmp.map(request(5001))
    scene.say(mappingAnswer({ internal: 5000, external: 6000 }))
    await lab.run(1)
    expect(pxp.drops.unasked).toBe(1)
    scene.say(mappingAnswer({ epoch: 1003, internal: 5001, external: 6001 }))
    expect(told(await lab.until(next))).toBe('203.0.113.9:6001 for 7200 s')
  })

  it('a late answer is used by whoever asks for the same again', async () => {
    const scene = await serving()
    const { lab, natPmp, request } = scene
    await lab.until(natPmp.probe())
    scene.reply = () => undefined
    await expect(lab.until(natPmp.map(request(5000)))).rejects.toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
    const again = natPmp.map(request(5000))
    await lab.run(1)
    scene.say(mappingAnswer({ epoch: 1003, internal: 5000 }))
    expect(told(await lab.until(again))).toBe('203.0.113.9:5000 for 7200 s')
  })

  it('a late grant is no deletion, a late deletion no grant, and TCP is not UDP', async () => {
    const scene = await serving()
    const { lab, natPmp, request, pxp } = scene
    const grant = await lab.until(natPmp.map(request(5000)))
    scene.reply = () => undefined
    const deletion = natPmp.unmap(grant)
    scene.say(mappingAnswer({ internal: 5000 }))
    scene.say(mappingAnswer({ internal: 5000, external: 0, lifetime: 0, transport: 'tcp' }))
    await lab.run(1)
    expect(pxp.drops.unasked).toBe(2)
    scene.say(mappingAnswer({ internal: 5000, external: 0, lifetime: 0 }))
    await lab.until(deletion)
    const again = natPmp.map(request(5000))
    scene.say(mappingAnswer({ internal: 5000, external: 0, lifetime: 0 }))
    await lab.run(1)
    scene.say(mappingAnswer({ internal: 5000, external: 5009 }))
    expect(told(await lab.until(again))).toBe('203.0.113.9:5009 for 7200 s')
  })

  it('an answer that comes twice is used once', async () => {
    const scene = await serving()
    const { lab, natPmp, request, pxp } = scene
    const server = natPmpServer(scene)
    scene.reply = (data, heard) => [server(data, heard) as Uint8Array, server(data, heard) as Uint8Array]
    expect(told(await lab.until(natPmp.map(request(5000))))).toBe('203.0.113.9:5000 for 7200 s')
    expect(told(await lab.until(natPmp.map(request(5001))))).toBe('203.0.113.9:5001 for 7200 s')
    await lab.run(5000)
    expect(pxp.drops).toEqual({ source: 0, unreadable: 0, unasked: 3, announcement: 0 })
    expect(scene.restarts).toEqual([])
  })

  it('answers count only from the port and the address that were asked', async () => {
    const scene = await open()
    const { lab, pxp, router } = scene
    const probe = pxp.natPmp!.probe()
    await lab.run(1)
    const otherPort = await scene.stranger(router.local)
    const neighbour = await scene.stranger(lab.host('neighbour', { behind: router }), 5351)
    for (const socket of [otherPort, neighbour]) socket.send(addressAnswer(1, '06060606'), scene.client())
    await lab.run(1)
    expect(pxp.drops.source).toBe(2)
    scene.say(addressAnswer(1))
    expect((await lab.until(probe)).external?.ip).toBe('203.0.113.9')
  })

  it('what cannot be read is counted, and the wait goes on', async () => {
    const scene = await open()
    const { lab, pxp } = scene
    const probe = pxp.natPmp!.probe()
    await lab.run(1)
    for (const data of ['', '00', '00 80 0000 0000', '00 80 0000 00000001 cb0071', '07 80 0000 00000001 cb007109', '00 00'])
      scene.say(bytes(data))
    await lab.run(1)
    expect(pxp.drops.unreadable).toBe(6)
    scene.say(addressAnswer(1))
    expect((await lab.until(probe)).external?.ip).toBe('203.0.113.9')
  })

  it.each(['ECONNREFUSED', 'EADDRNOTAVAIL'])('ends at once when the system says %s', async (fail) => {
    const { lab, pxp } = await open()
    lab.filter(({ to }) => (to.port === 5351 ? { fail } : undefined))
    const error = await lab.until(pxp.natPmp!.probe().catch((reason) => reason))
    expect(error).toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE', message: expect.stringContaining(fail) })
    expect(lab.clock.now()).toBeLessThan(1)
  })

  it.each(['EPERM', 'ENETUNREACH', 'EHOSTUNREACH', 'ENOBUFS'])('takes %s for a loss', async (fail) => {
    const { lab, natPmp } = await serving()
    let failures = 2
    lab.filter(({ to }) => (to.port === 5351 && failures-- > 0 ? { fail } : undefined))
    await lab.until(natPmp.probe())
    expect(lab.clock.now()).toBe(750.25)
  })

  it('ends when the address of the uplink goes', async () => {
    const { lab, pxp, pc, request } = await open()
    const both = [pxp.natPmp!.probe(), pxp.pcp.map(request(5000))].map((promise) => promise.catch((reason) => reason))
    await lab.run(1)
    pc.removeInterface()
    for (const error of await lab.until(Promise.all(both))) expect(error).toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
    await expect(pxp.natPmp!.probe()).rejects.toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
  })

  it('ends with ERR_CLOSED when the client is closed, also for what waits for its turn', async () => {
    const { lab, pxp, request } = await open()
    const pending = [pxp.natPmp!.probe(), pxp.natPmp!.map(request(5000))].map((promise) => promise.catch((reason) => reason.code))
    await lab.run(300)
    pxp.natPmp!.close()
    pxp.natPmp!.close()
    expect(await Promise.all(pending)).toEqual(['ERR_CLOSED', 'ERR_CLOSED'])
    await expect(pxp.natPmp!.probe()).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })
})

describe("a router's restart, in NAT-PMP", () => {
  it('is noticed by its epoch, told once, and the address is asked for again', async () => {
    const scene = await serving()
    const { lab, natPmp, request, restarts } = scene
    await lab.until(natPmp.map(request(5000)))
    await lab.run(60_000)
    scene.reply = natPmpServer(scene, -59)
    scene.heard.length = 0
    expect(told(await lab.until(natPmp.map(request(5001))))).toBe('203.0.113.9:5001 for 7200 s')
    expect(requests(scene)).toEqual(['000100001389138900001c20', '0000'])
    await lab.until(natPmp.probe())
    expect(restarts).toEqual(['nat-pmp'])
  })

  it('is not in a clock that is slower by an eighth, nor in the first answer', async () => {
    const scene = await serving()
    const { lab, natPmp, restarts } = scene
    for (const [wait, epoch] of [
      [0, 1],
      [0, 1],
      [800_000, 701],
      [0, 700],
    ] as const) {
      await lab.run(wait)
      scene.reply = () => addressAnswer(epoch)
      await lab.until(natPmp.probe())
    }
    expect(restarts).toEqual([])
    scene.reply = () => addressAnswer(696)
    await lab.until(natPmp.probe())
    expect(restarts).toEqual(['nat-pmp'])
  })

  it('or another external address is reason to ask for all mappings again', async () => {
    const scene = await serving()
    const { lab, natPmp, restarts } = scene
    await lab.until(natPmp.probe())
    scene.reply = () => addressAnswer(1000, '06060606')
    expect((await lab.until(natPmp.probe())).external?.ip).toBe('6.6.6.6')
    expect(restarts).toEqual(['nat-pmp'])
  })
})

describe('a server that knows only PCP', () => {
  it('is no NAT-PMP server: it says so in version 2', async () => {
    const scene = await open()
    scene.reply = (data) => pcpAnswer(bytes(`00${hexOf(data).slice(2)}${'00'.repeat(24)}`), { code: 1, lifetime: 1800, short: true })
    await expect(scene.lab.until(scene.pxp.natPmp!.probe())).rejects.toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
    expect(scene.lab.clock.now()).toBe(0.25)
  })
})

function bytesAddress(port: number, { router }: Scene) {
  return router.addresses[0]!.withPort(port)
}

function grantOf({ uplink }: Scene, port: number) {
  const internal = uplink.local.address.withPort(port)
  return { protocol: 'nat-pmp', transport: 'udp', internal, external: internal, lifetime: 1, memory: undefined } as const
}
