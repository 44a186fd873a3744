/** Wireshark's dissectors on all that passes between `mapPort` and a real router, in each protocol: well-formed, with the right things in it. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requires } from '../requirements.ts'
import { MAIN } from './json-peer.ts'
import { MappingPeer } from './mapping-peer.ts'
import { Miniupnpd, PORT_MAPPING } from './miniupnpd.ts'
import { KernelNet } from './namespaces.ts'
import { type Home, home } from './places.ts'

const PORT = 4_001
const LIFETIME = 7_200

const NEEDS = {
  ...PORT_MAPPING,
  commands: { ...PORT_MAPPING.commands, tshark: 'tshark' },
  also: { 'a build (npm run build)': existsSync(MAIN) },
}

describe('what Wireshark makes of port mapping', requires(NEEDS), () => {
  let net: KernelNet
  let at: Home
  let router: string
  const folder = mkdtempSync(join(tmpdir(), 'port-mapping-'))
  const file = join(folder, 'all.pcapng')

  beforeAll(async () => {
    net = await KernelNet.create()
    at = await home(net, 'home')
    router = `${at.router.lan.prefix4}.1`
    const daemon = await Miniupnpd.start(net, at.router)
    const capture = net.exec(at.host, 'tshark', ['-i', 'eth0', '-w', file], { stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = new Promise((resolve) => capture.once('exit', resolve))
    await new Promise<void>((resolve) => {
      createInterface({ input: capture.stderr as NodeJS.ReadableStream }).on('line', (line) => {
        if (line.includes('Capture started')) resolve()
      })
    })
    for (const [via, family] of [
      ['pcp', 4],
      ['nat-pmp', 4],
      ['upnp', 4],
      ['pcp', 6],
      ['upnp', 6],
    ] as const) {
      const peer = new MappingPeer(net, at.host, { internalPort: PORT, via: [via], family })
      expect((await peer.mapped()).event).toBe('mapped')
      expect(await peer.end()).toBe(0)
    }
    // What was captured last is not in the file yet.
    await new Promise((resolve) => setTimeout(resolve, 500))
    capture.kill('SIGINT')
    await ended
    await daemon.remove()
  })

  afterAll(async () => {
    await net?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Of each packet that fits the filter, the fields, tab-separated. */
  async function read(filter: string, ...fields: readonly string[]): Promise<readonly string[]> {
    const args = ['-r', file, '-Y', filter, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])]
    const text = await net.output(at.host, 'tshark', ...args)
    return text.split('\n').filter((line) => line !== '')
  }

  it('nothing malformed, and nothing to warn of', async () => {
    expect((await read('udp.port == 5351 || ssdp || http', 'frame.number')).length).toBeGreaterThan(30)
    expect(await read('_ws.malformed || _ws.expert.severity >= 0x600000', 'frame.number', '_ws.expert.message')).toEqual([])
  })

  it('NAT-PMP: the address, a mapping, its deletion', async () => {
    const fields = ['opcode', 'internal_port', 'external_port', 'pml'].map((field) => `nat-pmp.${field}`)
    expect(await read(`nat-pmp && ip.dst == ${router}`, ...fields)).toEqual([
      '0\t\t\t',
      `1\t${PORT}\t${PORT}\t${LIFETIME}`,
      `1\t${PORT}\t0\t0`,
    ])
    expect(await read('nat-pmp.reserved != 0', 'frame.number')).toEqual([])
    // Success, all of them.
    expect(new Set(await read('nat-pmp && nat-pmp.result_code', 'nat-pmp.result_code'))).toEqual(new Set(['0']))
  })

  it.for([4, 6] as const)('PCP over IPv%i: a mapping and its deletion, under one nonce', async (family) => {
    const { ip4, ip6 } = at.host
    const [client, any, source] = family === 4 ? [`::ffff:${ip4}`, '::ffff:0.0.0.0', `ip.src == ${ip4}`] : [ip6, '::', `ipv6.src == ${ip6}`]
    const fields = ['opcode', 'lifetime_req', 'client_ip', 'map.protocol', 'map.internal_port'].map((field) => `portcontrol.${field}`)
    const suggested = ['portcontrol.map.req_sug_external_port', 'portcontrol.map.req_sug_external_ip']
    expect(await read(`portcontrol.version == 2 && ${source}`, ...fields, ...suggested)).toEqual([
      `1\t${LIFETIME}\t${client}\t17\t${PORT}\t${PORT}\t${any}`,
      `1\t0\t${client}\t17\t${PORT}\t0\t${any}`,
    ])
    const nonces = await read(`portcontrol.version == 2 && ${source}`, 'portcontrol.map.nonce')
    expect(new Set(nonces).size).toBe(1)
    expect(nonces[0]).toMatch(/^[0-9a-f]{24}$/)
  })

  it('SSDP: searches as UPnP Device Architecture 1.3.2 has them, to the router and to the group', async () => {
    const searches = await read('ssdp && http.request.method == "M-SEARCH"', 'ip.dst', 'ipv6.dst', 'http.request.line')
    const to = new Set(searches.map((line) => line.split('\t').slice(0, 2).join('')))
    expect(to).toEqual(new Set([router, '239.255.255.250', `${at.router.lan.prefix6}:1`, 'ff02::c']))
    for (const search of searches) expect(search).toMatch(/HOST: \S+:1900\\r\\n,MAN: "ssdp:discover"\\r\\n,MX: [1-5]\\r\\n,ST: \S+\\r\\n/)
  })

  it('SOAP: each action to its service, in the case and the order that routers want', async () => {
    const posts = await read('http.request.method == "POST"', 'http.request.line', 'xml.cdata')
    const asked = posts.flatMap((line) => {
      const [, action = ''] = /SOAPAction: "urn:schemas-upnp-org:service:(\S+)"/.exec(line) ?? []
      return /#(?:Add|Delete)/.test(action) ? [`${action} ${line.split('\t')[1] ?? ''}`] : []
    })
    expect(asked.map((line) => line.replace(/^(\S*DeletePinhole) \d+$/, '$1 id'))).toEqual([
      `WANIPConnection:2#AddAnyPortMapping ${PORT},UDP,${PORT},${at.host.ip4},1,sallyport,${LIFETIME}`,
      `WANIPConnection:2#DeletePortMapping ${PORT},UDP`,
      `WANIPv6FirewallControl:1#AddPinhole 0,${at.host.ip6},${PORT},17,${LIFETIME}`,
      'WANIPv6FirewallControl:1#DeletePinhole id',
    ])
  })
})
