import { describe, expect, it } from 'vitest'
import type { Grant } from '../../../src/pmp/protocol.ts'
import { bytes, EXTERNAL, hexOf, natPmpServer, open, type PcpOverrides, pcpAnswer, pcpServer, type Scene, told } from './gateway.ts'

async function serving(options: Parameters<typeof open>[0] = {}, overrides: PcpOverrides = {}): Promise<Scene> {
  const scene = await open(options)
  scene.reply = pcpServer(scene, overrides)
  return scene
}

function nonceIn(data: Uint8Array): string {
  return hexOf(data.subarray(24, 36))
}

function nonceOf({ memory }: Grant): string {
  return (memory as { readonly nonce: string }).nonce
}

function requests({ heard }: Scene): string[] {
  return heard.map(({ data }) => hexOf(data))
}

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'nothing',
    (reason) => reason,
  )

describe('PCP', () => {
  it('probes with ANNOUNCE, and makes no mapping', async () => {
    const scene = await serving()
    expect(await scene.lab.until(scene.pxp.pcp.probe())).toEqual({ protocol: 'pcp', external: undefined })
    expect(requests(scene)).toEqual([hexOf(bytes('02 00 0000 00000000 00000000000000000000ffffc0a80102'))])
  })

  it('speaks to a server that does not know ANNOUNCE', async () => {
    const scene = await serving({}, { code: 4 })
    expect(await scene.lab.until(scene.pxp.pcp.probe())).toMatchObject({ protocol: 'pcp' })
  })

  it('maps with its own address, a nonce, and the port suggested under any address', async () => {
    const scene = await serving()
    const { lab, pxp, request } = scene
    expect(told(await lab.until(pxp.pcp.map(request(5000))))).toBe('203.0.113.9:5000 for 7200 s')
    const [{ data } = { data: new Uint8Array() }] = scene.heard
    const expected = `02 01 0000 00001c20 00000000000000000000ffffc0a80102 ${nonceIn(data)} 11 000000 1388 1388 00000000000000000000ffff00000000`
    expect(hexOf(data)).toBe(hexOf(bytes(expected)))
    expect((await lab.until(pxp.pcp.probe())).external?.key).toBe('203.0.113.9:0')
  })

  it('takes the port and lifetime that the router gives, for a day at most (RFC 6887 15)', async () => {
    const { lab, pxp, request } = await serving({}, { external: 40_000, lifetime: 0xffff_ffff })
    expect(told(await lab.until(pxp.pcp.map(request(5000))))).toBe('203.0.113.9:40000 for 86400 s')
  })

  it('keeps the nonce for renewal and deletion, suggests what it has, and nothing when it deletes', async () => {
    const scene = await serving({}, { external: 40_000, lifetime: 600 })
    const { lab, pxp, request } = scene
    const first = await lab.until(pxp.pcp.map(request(5000)))
    const nonce = nonceIn(scene.heard[0]!.data)
    expect(first.memory).toEqual({ nonce })
    await lab.until(pxp.pcp.map(request(5000, { previous: first })))
    scene.reply = pcpServer(scene)
    await lab.until(pxp.pcp.unmap(first))
    expect(requests(scene).slice(1)).toEqual([
      hexOf(bytes(`02 01 0000 00001c20 00000000000000000000ffffc0a80102 ${nonce} 11 000000 1388 9c40 00000000000000000000ffff${EXTERNAL}`)),
      hexOf(bytes(`02 01 0000 00000000 00000000000000000000ffffc0a80102 ${nonce} 11 000000 1388 0000 00000000000000000000ffff00000000`)),
    ])
  })

  it('renews what another process was granted, as JSON kept it', async () => {
    const scene = await serving()
    const { lab, pxp, request, router } = scene
    const memory = JSON.parse(JSON.stringify({ nonce: '000102030405060708090a0b' }))
    const external = router.addresses[0]!.withPort(5000)
    const previous = { protocol: 'pcp', transport: 'udp', internal: request(5000).internal, external, lifetime: 1, memory } as const
    await lab.until(pxp.pcp.map(request(5000, { previous })))
    expect(nonceIn(scene.heard[0]!.data)).toBe('000102030405060708090a0b')
  })

  it('has a nonce for each mapping, and another after it was deleted', async () => {
    const scene = await serving()
    const { lab, pxp, request } = scene
    const grant = await lab.until(pxp.pcp.map(request(5000)))
    await lab.until(pxp.pcp.map(request(5001)))
    await lab.until(pxp.pcp.map(request(5000, { transport: 'tcp' })))
    await lab.until(pxp.pcp.unmap(grant))
    await lab.until(pxp.pcp.map(request(5000)))
    const nonces = scene.heard.map(({ data }) => nonceIn(data))
    expect(nonces[3]).toBe(nonces[0])
    expect(new Set(nonces).size).toBe(4)
  })

  it('asks again with the same nonce when no answer came, since the mapping may be there', async () => {
    const scene = await open()
    const { lab, pxp, request } = scene
    expect(await lab.until(failure(pxp.pcp.map(request(5000))))).toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
    scene.reply = pcpServer(scene)
    await lab.until(pxp.pcp.map(request(5000)))
    expect(new Set(scene.heard.map(({ data }) => nonceIn(data))).size).toBe(1)
  })

  it('asks for the one port with PREFER_FAILURE (RFC 6887 13.2)', async () => {
    const scene = await serving()
    await scene.lab.until(scene.pxp.pcp.map(scene.request(5000, { exact: true })))
    expect(requests(scene)[0]!.slice(120)).toBe('02000000')
  })

  it('fails, and deletes, when a router gives another port all the same', async () => {
    const scene = await serving({}, { external: 5001 })
    const error = await scene.lab.until(failure(scene.pxp.pcp.map(scene.request(5000, { exact: true }))))
    expect(error).toMatchObject({ code: 'ERR_MAPPING_PORT' })
    expect(requests(scene)[1]!.slice(8, 16)).toBe('00000000')
  })

  it('fails with another port only when that is deleted, also where the first deletion gets lost', async () => {
    const scene = await serving()
    const server = pcpServer(scene, { external: 5001 })
    const deletions = (): number => requests(scene).filter((request) => request.slice(8, 16) === '00000000').length
    scene.reply = (data, heard) => (hexOf(data).slice(8, 16) === '00000000' && deletions() === 1 ? undefined : server(data, heard))
    await scene.lab.until(failure(scene.pxp.pcp.map(scene.request(5000, { exact: true }))))
    expect(deletions()).toBe(2)
  })

  it('says with FILTER who may send in (RFC 6887 13.3)', async () => {
    const scene = await serving()
    const { lab, pxp, request } = scene
    await lab.until(pxp.pcp.map(request(5000, { allow: ['198.51.100.0/24', '203.0.113.7'] })))
    const filters = '03 00 0014 00 78 0000 00000000000000000000ffffc6336400 03 00 0014 00 80 0000 00000000000000000000ffffcb007107'
    expect(requests(scene)[0]!.slice(120)).toBe(hexOf(bytes(filters)))
    await lab.until(pxp.pcp.map(request(5000, { allow: ['198.51.100.0/24', '0.0.0.0/0'] })))
    expect(requests(scene)[1]).toHaveLength(120)
    await expect(pxp.pcp.map(request(5000, { allow: ['nobody'] }))).rejects.toMatchObject({ code: 'ERR_ADDRESS' })
  })

  it('has several requests under way, but one for each mapping', async () => {
    const scene = await serving()
    const { lab, pxp, request } = scene
    const server = pcpServer(scene)
    scene.reply = (data, heard) => {
      lab.after(100, () => scene.say(server(data, heard) as Uint8Array, heard.from))
      return undefined
    }
    await lab.until(Promise.all([pxp.pcp.map(request(5000)), pxp.pcp.map(request(5001)), pxp.pcp.map(request(5000)), pxp.pcp.probe()]))
    expect(scene.times()).toEqual([0.125, 0.125, 0.125, 100.375])
  })

  it.each([
    [1, 'ERR_MAPPING_UNAVAILABLE'],
    [2, 'ERR_MAPPING_REFUSED'],
    [3, 'ERR_MAPPING_REFUSED'],
    [4, 'ERR_MAPPING_UNAVAILABLE'],
    [5, 'ERR_MAPPING_REFUSED'],
    [6, 'ERR_MAPPING_REFUSED'],
    [7, 'ERR_MAPPING_CAPACITY'],
    [8, 'ERR_MAPPING_CAPACITY'],
    [9, 'ERR_MAPPING_REFUSED'],
    [10, 'ERR_MAPPING_CAPACITY'],
    [11, 'ERR_MAPPING_PORT'],
    [12, 'ERR_MAPPING_REFUSED'],
    [13, 'ERR_MAPPING_CAPACITY'],
    [77, 'ERR_MAPPING_REFUSED'],
  ])('result %i is %s, whether the request is repeated in it or not', async (code, expected) => {
    for (const short of [false, true]) {
      const { lab, pxp, request } = await serving({}, { code, lifetime: 30, short })
      const error = await lab.until(failure(pxp.pcp.map(request(5000))))
      expect(error).toMatchObject({ code: expected, report: { protocol: 'pcp', code, lifetime: 30_000 } })
      expect(lab.clock.now()).toBe(0.25)
    }
  })

  it('says of ADDRESS_MISMATCH that there is a NAT between', async () => {
    const { lab, pxp, request } = await serving({}, { code: 12, lifetime: 0 })
    await expect(lab.until(pxp.pcp.map(request(5000)))).rejects.toThrow('a NAT between')
  })

  it('takes what is gone for deleted, as miniupnpd says it', async () => {
    const { lab, pxp, request } = await serving()
    const scene = await serving()
    const grant = await scene.lab.until(scene.pxp.pcp.map(scene.request(5000)))
    scene.reply = pcpServer(scene, { code: 8, lifetime: 30 })
    await scene.lab.until(scene.pxp.pcp.unmap(grant))
    scene.reply = pcpServer(scene, { code: 2, lifetime: 30 })
    await expect(scene.lab.until(scene.pxp.pcp.unmap(grant))).rejects.toMatchObject({ code: 'ERR_MAPPING_REFUSED' })
    await lab.until(pxp.pcp.map(request(5000)))
  })

  it('does not believe that there is a mapping without a port', async () => {
    const { lab, pxp, request } = await serving({}, { external: 0 })
    await expect(lab.until(pxp.pcp.map(request(5000)))).rejects.toMatchObject({ code: 'ERR_MAPPING_ANSWER' })
  })
})

describe('what PCP was refused', () => {
  it('is not asked for again before the lifetime of the error is over', async () => {
    const scene = await serving({}, { code: 2, lifetime: 60 })
    const { lab, pxp, request, heard } = scene
    const error = await lab.until(failure(pxp.pcp.map(request(5000))))
    await lab.run(59_999)
    expect(await failure(pxp.pcp.map(request(5000)))).toBe(error)
    expect(heard).toHaveLength(1)
    await lab.run(1)
    expect(await lab.until(failure(pxp.pcp.map(request(5000))))).not.toBe(error)
    expect(heard).toHaveLength(2)
  })

  it('is asked for again after half an hour, whatever the router says (RFC 6887 15)', async () => {
    const scene = await serving({}, { code: 2, lifetime: 86_400 })
    const { lab, pxp, request, heard } = scene
    await lab.until(failure(pxp.pcp.map(request(5000))))
    await lab.run(30 * 60_000 - 1)
    await lab.until(failure(pxp.pcp.map(request(5000))))
    expect(heard).toHaveLength(1)
    await lab.run(1)
    await lab.until(failure(pxp.pcp.map(request(5000))))
    expect(heard).toHaveLength(2)
  })

  it('may be asked for at once when the lifetime is 0', async () => {
    const { lab, pxp, request, heard } = await serving({}, { code: 7, lifetime: 0 })
    for (let i = 0; i < 2; i++) await lab.until(failure(pxp.pcp.map(request(5000))))
    expect(heard).toHaveLength(2)
  })

  it('is this request alone, or all mappings where the error is about all', async () => {
    for (const [code, expected] of [
      [2, 2],
      [11, 2],
      [4, 1],
      [12, 1],
    ] as const) {
      const { lab, pxp, request, heard } = await serving({}, { code, lifetime: 60 })
      for (const port of [5000, 5001, 5000]) await lab.until(failure(pxp.pcp.map(request(port))))
      expect(heard, `result ${code}`).toHaveLength(expected)
    }
  })

  it('is asked for again once the router has restarted', async () => {
    const scene = await serving({}, { code: 2, lifetime: 1800 })
    const { lab, pxp, request, heard } = scene
    await lab.until(failure(pxp.pcp.map(request(5000))))
    scene.reply = pcpServer(scene, { start: 0 })
    await lab.until(pxp.pcp.probe())
    expect(scene.restarts).toEqual(['pcp'])
    await lab.until(pxp.pcp.map(request(5000)))
    expect(heard).toHaveLength(3)
  })
})

describe('the wait for an answer of PCP', () => {
  it('sends at 0, 250, 750 and 1750 ms and gives up at 3750', async () => {
    const scene = await open()
    const { lab, pxp, request } = scene
    expect(await lab.until(failure(pxp.pcp.map(request(5000))))).toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
    expect(lab.clock.now()).toBe(3750)
    expect(scene.times()).toEqual([0.125, 250.125, 750.125, 1750.125])
    expect(new Set(requests(scene)).size).toBe(1)
  })

  it.each<[string, PcpOverrides]>([
    ['nonce', { nonce: 'ff'.repeat(12) }],
    ['protocol', { protocol: 6 }],
    ['internal port', { internal: 5001 }],
    ['subscriber (THIRD_PARTY)', { options: '01 00 0010 00000000000000000000ffffc0a80103' }],
  ])('an answer with another %s is nothing to us', async (_what, overrides) => {
    const scene = await open()
    const { lab, pxp, request } = scene
    const mapped = pxp.pcp.map(request(5000))
    await lab.run(1)
    scene.say(pcpAnswer(scene.heard[0]!.data, overrides))
    await lab.run(1)
    expect(pxp.drops.unasked).toBe(1)
    scene.say(pcpAnswer(scene.heard[0]!.data, { external: 5009 }))
    expect(told(await lab.until(mapped))).toBe('203.0.113.9:5009 for 7200 s')
  })

  it('answers count only from the port and the address that were asked', async () => {
    const scene = await open()
    const { lab, pxp, request, router } = scene
    const mapped = pxp.pcp.map(request(5000))
    await lab.run(1)
    const forged = pcpAnswer(scene.heard[0]!.data, { external: 6666 })
    const otherPort = await scene.stranger(router.local)
    const neighbour = await scene.stranger(lab.host('neighbour', { behind: router }), 5351)
    for (const socket of [otherPort, neighbour]) socket.send(forged, scene.client())
    await lab.run(1)
    expect(pxp.drops.source).toBe(2)
    scene.say(pcpAnswer(scene.heard[0]!.data))
    expect(told(await lab.until(mapped))).toBe('203.0.113.9:5000 for 7200 s')
  })

  it('a late answer is used by whoever asks for the same again, and no other', async () => {
    const scene = await open()
    const { lab, pxp, request } = scene
    await lab.until(failure(pxp.pcp.map(request(5000))))
    const late = pcpAnswer(scene.heard[0]!.data, { external: 5009 })
    const other = pxp.pcp.map(request(5001))
    await lab.run(1)
    scene.say(late)
    await lab.run(1)
    expect(pxp.drops.unasked).toBe(1)
    scene.say(pcpAnswer(scene.heard.at(-1)!.data))
    expect(told(await lab.until(other))).toBe('203.0.113.9:5001 for 7200 s')
    const again = pxp.pcp.map(request(5000))
    await lab.run(1)
    scene.say(late)
    expect(told(await lab.until(again))).toBe('203.0.113.9:5009 for 7200 s')
  })

  it('a late grant is no deletion', async () => {
    const scene = await serving()
    const { lab, pxp, request } = scene
    const grant = await lab.until(pxp.pcp.map(request(5000)))
    const late = pcpAnswer(scene.heard[0]!.data)
    scene.reply = () => undefined
    const deletion = pxp.pcp.unmap(grant)
    await lab.run(1)
    scene.say(late)
    await lab.run(1)
    expect(pxp.drops.unasked).toBe(1)
    scene.say(pcpAnswer(scene.heard.at(-1)!.data))
    await lab.until(deletion)
  })

  it('an error that repeats nothing is dropped while it may mean one of several', async () => {
    const scene = await serving({}, { code: 3, short: true })
    const { lab, pxp, request } = scene
    const both = [5000, 5001].map((port) => failure(pxp.pcp.map(request(port))))
    await lab.run(1)
    expect(pxp.drops.unasked).toBe(2)
    pxp.close()
    expect(await Promise.all(both)).toMatchObject([{ code: 'ERR_CLOSED' }, { code: 'ERR_CLOSED' }])
  })

  it('ends with ERR_CLOSED when all is closed, and nothing is left', async () => {
    const scene = await open()
    const { lab, pxp, request } = scene
    const pending = [pxp.pcp.probe(), pxp.pcp.map(request(5000)), pxp.natPmp!.probe()].map(failure)
    await lab.run(1)
    pxp.close()
    pxp.close()
    for (const error of await Promise.all(pending)) expect(error).toMatchObject({ code: 'ERR_CLOSED' })
    const sent = scene.heard.length
    await lab.run(10_000)
    expect(scene.heard).toHaveLength(sent)
    expect(await failure(pxp.pcp.map(request(5000)))).toMatchObject({ code: 'ERR_CLOSED' })
    expect(await failure(pxp.pcp.unmap({} as never))).toBeInstanceOf(Error)
  })
})

describe("a router's restart, in PCP", () => {
  it.each([
    // Ours goes on by 160 s each time: 148 to 172.8 is what its clock may say.
    [[1000, 1148, 1308, 1480], 0],
    [[1000, 1147], 1],
    [[1000, 1173], 1],
    [[1000, 0, 160, 320], 1],
    [[1000, 0, 0, 160], 2],
  ])('epochs %j, 160 s apart: %i', async (epochs, expected) => {
    const scene = await open()
    const { lab, pxp, restarts } = scene
    for (const [i, epoch] of epochs.entries()) {
      await lab.run(i * 160_000 - lab.clock.now())
      scene.reply = (data) => pcpAnswer(data, { epoch })
      await lab.until(pxp.pcp.probe())
    }
    expect(restarts).toHaveLength(expected)
  })

  it('is noticed in errors as well', async () => {
    const scene = await serving()
    await scene.lab.until(scene.pxp.pcp.probe())
    scene.reply = (data) => pcpAnswer(data, { epoch: 0, code: 8 })
    await scene.lab.until(failure(scene.pxp.pcp.map(scene.request(5000))))
    expect(scene.restarts).toEqual(['pcp'])
  })
})

describe('a router that knows only NAT-PMP', () => {
  it.each(['00 81 0001 00000102', '00 81 0001 00000102 00000000', `00 81 0001 00000102 ${'00'.repeat(52)}`])(
    'says %s, and PCP is given up at once while NAT-PMP goes on',
    async (answer) => {
      const scene = await open()
      const { lab, pxp, request, heard } = scene
      const natPmp = natPmpServer(scene)
      scene.reply = (data, one) => (data[0] === 0 ? natPmp(data, one) : bytes(answer))
      const both = Promise.all([failure(pxp.pcp.map(request(5000))), pxp.natPmp!.map(request(5000))])
      const [refused, grant] = await lab.until(both)
      expect(refused).toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE', report: { result: 'UNSUPP_VERSION' } })
      expect(told(grant)).toBe('203.0.113.9:5000 for 7200 s')
      expect(lab.clock.now()).toBeLessThan(1)
      const sent = heard.length
      expect(await failure(pxp.pcp.map(request(5001)))).toBe(refused)
      expect(heard).toHaveLength(sent)
    },
  )

  it('and answers every repetition so does not end NAT-PMP with it', async () => {
    const scene = await open()
    const { lab, pxp, request } = scene
    await lab.until(failure(pxp.pcp.map(request(5000))))
    const mapped = pxp.natPmp!.map(request(5000))
    await lab.run(1)
    for (let i = 0; i < 4; i++) scene.say(bytes('00 81 0001 00000102'))
    scene.say(bytes('00 80 0001 00000102'))
    await lab.run(1)
    scene.reply = natPmpServer(scene)
    expect(told(await lab.until(mapped))).toBe('203.0.113.9:5000 for 7200 s')
    expect(await failure(pxp.pcp.map(request(5000)))).toMatchObject({ report: { result: 'UNSUPP_VERSION' } })
  })

  it('and does not look at the version answers a MAP request as its own: no PCP there', async () => {
    const scene = await open()
    scene.reply = () => bytes('00 81 0000 00000102 1c20 1c20 00000000')
    const { lab, pxp, request } = scene
    expect(await lab.until(failure(pxp.pcp.map(request(5000))))).toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
    expect(lab.clock.now()).toBe(0.25)
  })

  it("miniupnpd's answer to a request that it cannot read is none of NAT-PMP's", async () => {
    const scene = await open()
    const { lab, pxp } = scene
    const [pcp, natPmp] = [failure(pxp.pcp.probe()), pxp.natPmp!.probe()]
    await lab.run(1)
    scene.say(bytes('00 80 00 03 00000000 00000102 000000000000000000000000'))
    scene.say(bytes('00 80 00 00 00000000 00000102 000000000000000000000000'))
    await lab.run(1)
    expect(pxp.drops.unreadable).toBe(2)
    scene.reply = natPmpServer(scene)
    expect((await lab.until(natPmp)).external?.ip).toBe('203.0.113.9')
    expect(await lab.until(pcp)).toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
  })

  it('or another version of PCP is given up for as long as it says', async () => {
    const scene = await open()
    const { lab, pxp, request } = scene
    scene.reply = () => bytes('01 81 0001 0000003c 00000000')
    expect(await lab.until(failure(pxp.pcp.map(request(5000))))).toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE' })
    await lab.run(60_000)
    scene.reply = pcpServer(scene)
    expect(told(await lab.until(pxp.pcp.map(request(5000))))).toBe('203.0.113.9:5000 for 7200 s')
  })
})

describe.each([false, true])('PCP over IPv6, the router under a link-local address: %j', (linkLocal) => {
  const INTERNAL = '20010db8000100000000000000000002'

  it('opens a pinhole: the external address is the internal one', async () => {
    const scene = await serving({ family: 6, linkLocal }, { ip: INTERNAL })
    const { lab, pxp, request, uplink } = scene
    expect(pxp.natPmp).toBeUndefined()
    const grant = await lab.until(pxp.pcp.map(request(5000)))
    expect(grant.external.key).toBe(uplink.local.address.withPort(5000).key)
    const nonce = nonceIn(scene.heard[0]!.data)
    const expected = `02 01 0000 00001c20 ${INTERNAL} ${nonce} 11 000000 1388 1388 ${'00'.repeat(16)}`
    expect(hexOf(scene.heard[0]!.data)).toBe(hexOf(bytes(expected)))
  })

  it('takes port 0 in the answer to a renewal for the internal port, as miniupnpd 2.3.1 means it', async () => {
    for (const ip of [INTERNAL, '00'.repeat(16)]) {
      const { lab, pxp, request } = await serving({ family: 6, linkLocal }, { ip, external: 0 })
      const grant = await lab.until(pxp.pcp.map(request(5000)))
      expect(grant.external.key).toBe(request(5000).internal.key)
    }
  })

  it('makes a pinhole end soon that a router does not delete any more, as miniupnpd 2.3.1 after a renewal', async () => {
    const scene = await serving({ family: 6, linkLocal }, { ip: INTERNAL })
    const { lab, pxp, request } = scene
    const grant = await lab.until(pxp.pcp.map(request(5000)))
    scene.heard.length = 0
    scene.reply = (data) =>
      pcpAnswer(data, hexOf(data.subarray(4, 8)) === '00000000' ? { code: 2, lifetime: 0 } : { lifetime: 120, ip: INTERNAL })
    await expect(lab.until(pxp.pcp.unmap(grant))).rejects.toMatchObject({ code: 'ERR_MAPPING_REFUSED' })
    expect(scene.heard.map(({ data }) => [hexOf(data.subarray(4, 8)), nonceIn(data)])).toEqual([
      ['00000000', nonceOf(grant)],
      ['00000001', nonceOf(grant)],
    ])
  })
})
