import { describe, expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import { addressAnswer, bytes, EXTERNAL, hexOf, natPmpServer, open, pcpServer, type Scene } from './gateway.ts'

const NAT_PMP = bytes(`00 80 0000 00000000 ${EXTERNAL}`)
const PCP = bytes(`02 80 00 00 00000000 00000000 ${'00'.repeat(12)}`)

const group = (family: 4 | 6 = 4): Address => Address.of(family === 4 ? '224.0.0.1' : 'ff02::1', 5350)

/** Both clients have been answered before. */
async function known(options: Parameters<typeof open>[0] = {}): Promise<Scene> {
  const scene = await open(options)
  const [natPmp, pcp] = [natPmpServer(scene), pcpServer(scene)]
  scene.reply = (data, heard) => natPmp(data, heard) ?? pcp(data, heard)
  await scene.lab.until(Promise.all([scene.pxp.pcp.probe(), scene.pxp.natPmp?.probe()]))
  scene.heard.length = 0
  return scene
}

/** The router's clock begins anew now. */
function restart(scene: Scene): void {
  const start = -Math.floor(scene.lab.clock.now() / 1000)
  const [natPmp, pcp] = [natPmpServer(scene, start), pcpServer(scene, { start })]
  scene.reply = (data, heard) => natPmp(data, heard) ?? pcp(data, heard)
}

describe("a router's announcement", () => {
  it.each([
    ['NAT-PMP', NAT_PMP],
    ['PCP', PCP],
  ])('in %s makes both clients ask again, within half a second to one', async (_protocol, announcement) => {
    const scene = await known()
    const start = scene.lab.clock.now()
    scene.say(announcement, group())
    await scene.lab.run(5000)
    expect(scene.heard.map(({ data }) => hexOf(data.subarray(0, 2))).sort()).toEqual(['0000', '0200'])
    for (const time of scene.times()) {
      expect(time - start).toBeGreaterThanOrEqual(500)
      expect(time - start).toBeLessThan(1001)
    }
    expect(scene.restarts).toEqual([])
    expect(scene.pxp.drops.announcement).toBe(0)
  })

  it('is drawn by chance: not all hosts ask at the same moment', async () => {
    const waits = new Set<number>()
    for (const seed of [1, 2, 3, 4]) {
      const scene = await known({ seed })
      const start = scene.lab.clock.now()
      scene.say(PCP, group())
      await scene.lab.run(2000)
      waits.add(scene.heard[0]!.time - start)
    }
    expect(waits.size).toBe(4)
  })

  it('of a restart is one restart for each client, as the epochs say', async () => {
    const scene = await known()
    await scene.lab.run(60_000)
    restart(scene)
    for (const data of [NAT_PMP, PCP, PCP]) scene.say(data, group())
    await scene.lab.run(1100)
    expect([...scene.restarts].sort()).toEqual(['nat-pmp', 'pcp'])
    await scene.lab.run(60_000)
    expect(scene.restarts).toHaveLength(2)
  })

  it('of another address is told, though the epoch goes on', async () => {
    const scene = await known()
    const pcp = pcpServer(scene)
    scene.reply = (data, heard) => (data[0] === 0 ? addressAnswer(1000, '06060606') : pcp(data, heard))
    scene.say(NAT_PMP, group())
    await scene.lab.run(1100)
    expect(scene.restarts).toEqual(['nat-pmp'])
  })

  it('counts once, however often it comes before the answer', async () => {
    const scene = await known()
    for (let i = 0; i < 10; i++) {
      scene.say(PCP, group())
      await scene.lab.run(45)
    }
    await scene.lab.run(2000)
    expect(scene.heard).toHaveLength(2)
  })

  it('costs nothing when it is not the router that says so', async () => {
    const scene = await known()
    const { lab, router, pxp } = scene
    const mallory = await scene.stranger(lab.host('mallory', { behind: router }), 5351)
    for (let i = 0; i < 1000; i++) {
      mallory.send(i % 2 === 0 ? PCP : NAT_PMP, group())
      await lab.run(1)
    }
    await lab.run(5000)
    expect(scene.heard).toEqual([])
    expect(pxp.drops.announcement).toBe(1000)
  })

  it('costs four packets in a second at most when its address is forged without end', async () => {
    const scene = await known()
    for (let i = 0; i < 2000; i++) {
      scene.say(PCP, group())
      await scene.lab.run(5)
    }
    expect(scene.heard.length).toBeLessThanOrEqual(2 * 2 * 10)
    expect(scene.restarts).toEqual([])
  })

  it('is nothing but an announcement: requests, errors of mappings and noise are dropped', async () => {
    const scene = await known()
    for (const data of ['', '00', '00 00', '02 00 0000', '00 81 0000 00000000 1388 1388 00000e10', `02 81 00 02 ${'00'.repeat(20)}`]) {
      scene.say(bytes(data), group())
    }
    await scene.lab.run(5000)
    expect(scene.heard).toEqual([])
    expect(scene.pxp.drops.announcement).toBe(6)
  })

  it('is nothing to clients that were never answered', async () => {
    const scene = await open()
    const talker = await scene.router.local.bind({ family: 4, ip: scene.router.gatewayAddress()!.ip, port: 7 })
    talker.send(PCP, group())
    await scene.lab.run(5000)
    expect(scene.heard).toEqual([])
  })

  it('makes the clients forget what was refused', async () => {
    const scene = await known()
    const { lab, pxp, request } = scene
    scene.reply = pcpServer(scene, { code: 2, lifetime: 1800 })
    await lab.until(pxp.pcp.map(request(5000)).catch(() => {}))
    scene.reply = pcpServer(scene)
    scene.say(PCP, group())
    await lab.run(1100)
    await lab.until(pxp.pcp.map(request(5000)))
  })

  it('is not waited for after the end', async () => {
    const scene = await known()
    scene.say(PCP, group())
    await scene.lab.run(1)
    scene.pxp.close()
    await scene.lab.run(5000)
    expect(scene.heard).toEqual([])
  })

  it('is heard over IPv6 from its link-local address', async () => {
    const scene = await known({ family: 6, linkLocal: true })
    scene.say(PCP, group(6))
    await scene.lab.run(1100)
    expect(scene.heard.map(({ data }) => hexOf(data.subarray(0, 2)))).toEqual(['0200'])
  })

  it('is not listened for when that is not wanted, or the port is taken', async () => {
    for (const announcements of [false, true]) {
      const scene = await known({ announcements, blocked: announcements })
      scene.say(PCP, group())
      await scene.lab.run(5000)
      expect(scene.heard).toEqual([])
    }
  })
})
