/** `sallyport doctor`, and `connect --port-mapping`, on a real router: what they say of one, and that they leave nothing there. */
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requires } from '../requirements.ts'
import { Miniupnpd, PORT_MAPPING } from './miniupnpd.ts'
import { KernelNet, type Node } from './namespaces.ts'
import { type Home, home } from './places.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const TURN = ['--turn-user', 'ann', '--turn-pass', 'secret']

type Line = Readonly<Record<string, unknown>>

interface Report {
  readonly portMapping: {
    readonly routers: readonly { readonly family: number; readonly protocols: readonly { protocol: string; answers: boolean }[] }[]
    readonly trials: readonly { readonly grants: readonly { protocol: string; external: string; samePort: boolean; verdict: string }[] }[]
  }
  readonly findings: readonly { readonly code: string }[]
}

describe('the command line, behind miniupnpd', requires({ ...PORT_MAPPING, also: { 'a build (npm run build)': existsSync(MAIN) } }), () => {
  let net: KernelNet
  let at: Home
  let outside: Node
  let daemon: Miniupnpd

  beforeAll(async () => {
    net = await KernelNet.create()
    at = await home(net, 'home')
    outside = await net.host('outside')
    daemon = await Miniupnpd.start(net, at.router)
    const relay = net.exec(outside, process.execPath, [MAIN, 'serve', '--json', '--address', outside.ip4, '--user', 'ann:secret'])
    await once(relay.stdout ?? relay, 'data') // its addresses: it listens
  })

  afterAll(async () => {
    await daemon?.remove()
    await net?.close()
  })

  async function examine(...args: readonly string[]): Promise<Report> {
    return JSON.parse(await net.output(at.host, process.execPath, MAIN, 'doctor', '--json', ...args)) as Report
  }

  function grantOf({ portMapping }: Report): Report['portMapping']['trials'][number]['grants'][number] | undefined {
    return portMapping.trials[0]?.grants[0]
  }

  it('doctor says that mappings work once a packet from the relay has come in, and deletes its own', async () => {
    const report = await examine('--server', `turn:${outside.ip4}`, ...TURN)
    const spoken = report.portMapping.routers.map(({ family, protocols }) => [family, protocols.filter(({ answers }) => answers).length])
    expect(spoken).toEqual([
      [4, 3],
      [6, 2],
    ])
    expect(report.findings.map(({ code }) => code)).toEqual(['works', 'pinholes'])
    expect(grantOf(report)).toMatchObject({
      protocol: 'pcp',
      external: expect.stringMatching(new RegExp(`^${at.router.ip4}:`)),
      samePort: true,
      verdict: 'proven',
    })
    expect(await daemon.rules()).toEqual([])
  })

  it('doctor deletes its mapping when it is interrupted, and ends with 1', async () => {
    // Nobody is there at that port, so that it waits for an answer.
    const doctor = net.exec(at.host, process.execPath, [MAIN, 'doctor', '--server', `turn:${at.router.lan.prefix4}.99`, ...TURN])
    const ended = once(doctor, 'exit')
    while ((await daemon.openings()).length === 0) await new Promise((resolve) => setTimeout(resolve, 20))
    doctor.kill('SIGINT')
    expect(await ended).toEqual([1, null])
    expect(await daemon.rules()).toEqual([])
  })

  it('connect tells of mappings with --port-mapping, explains them, and deletes them at the end', async () => {
    const turn = ['--turn', outside.ip4, ...TURN]
    const args = ['connect', '--json', '--events', '--verbose', '--port-mapping', '--host', at.host.ip4, ...turn]
    const peer = net.exec(at.host, process.execPath, [MAIN, ...args], { stdio: 'pipe' })
    const ended = once(peer, 'exit')
    let explanation = ''
    peer.stderr?.on('data', (chunk) => {
      explanation += String(chunk)
    })
    if (peer.stdout === null) throw new Error('no output')
    const mappings: Line[] = []
    for await (const line of createInterface({ input: peer.stdout })) {
      const told = JSON.parse(line) as Line
      if (told.event === 'mapping') mappings.push(told)
      if (told.proven !== undefined) break
    }
    const last = mappings.at(-1)
    const external = `${at.router.ip4}:${String(last?.internal).split(':')[1]}`
    expect(last).toMatchObject({ state: 'mapped', protocol: 'pcp', external, proven: external, reach: 'public' })
    expect(await daemon.openings()).toHaveLength(1)
    peer.stdin?.end()
    expect(await ended).toEqual([0, null])
    expect(explanation).toContain(`mapped to ${external} by pcp of ${at.router.lan.prefix4}.1, proven: packets from outside come in`)
    expect(await daemon.rules()).toEqual([])
  })

  it('doctor says that no router answers where none does', async () => {
    await daemon.kill()
    const report = await examine()
    expect(report.findings.map(({ code }) => code)).toEqual(['no-protocol', 'no-pinholes'])
    expect(report.portMapping.trials).toEqual([])
  })
})
