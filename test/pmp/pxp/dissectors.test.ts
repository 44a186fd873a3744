/** What somebody else's code makes of our requests: Wireshark's dissectors for NAT-PMP and PCP. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Lab } from '../../../src/lab/index.ts'
import { requires } from '../../requirements.ts'
import { natPmpServer, open, pcpServer, type Scene } from './gateway.ts'

type Row = Readonly<Record<string, string>>

/** Those of the packets, as their senders sent them, that the filter lets through. */
function dissect(lab: Lab, filter: string, fields: readonly string[]): Row[] {
  const folder = mkdtempSync(join(tmpdir(), 'port-mapping-'))
  try {
    const file = join(folder, 'trace.pcapng')
    writeFileSync(file, lab.trace.pcapng())
    const args = ['-r', file, '-Y', `frame.comment == "send" && (${filter})`, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])]
    const output = execFileSync('tshark', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    const lines = output.split('\n').filter((line) => line !== '')
    return lines.map((line) => Object.fromEntries(line.split('\t').map((value, i) => [fields[i]!.replace(/^.*?\./, ''), value])))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function serving(family: 4 | 6): Promise<Scene> {
  const scene = await open({ family })
  const [natPmp, pcp] = [natPmpServer(scene), pcpServer(scene)]
  scene.reply = (data, heard) => natPmp(data, heard) ?? pcp(data, heard)
  scene.lab.trace.start()
  return scene
}

const COMPLAINTS =
  '_ws.malformed || _ws.expert.severity >= 0x600000 || nat-pmp.opcode.unknown || portcontrol.opcode.unknown || portcontrol.option.unknown'

describe('Wireshark', requires({ commands: { tshark: 'tshark' } }), () => {
  it('reads our NAT-PMP requests', { timeout: 60_000 }, async () => {
    const { lab, pxp, request } = await serving(4)
    const natPmp = pxp.natPmp!
    const grant = await lab.until(natPmp.map(request(5000, { transport: 'tcp', externalPort: 6000, lifetime: 3_600_000 })))
    await lab.until(natPmp.map(request(5001)))
    await lab.until(natPmp.unmap(grant))
    const fields = ['version', 'opcode', 'reserved', 'internal_port', 'external_port', 'pml'].map((name) => `nat-pmp.${name}`)
    expect(dissect(lab, 'udp.dstport == 5351 && nat-pmp', fields)).toEqual([
      { version: '0', opcode: '0', reserved: '', internal_port: '', external_port: '', pml: '' },
      { version: '0', opcode: '2', reserved: '0', internal_port: '5000', external_port: '6000', pml: '3600' },
      { version: '0', opcode: '1', reserved: '0', internal_port: '5001', external_port: '5001', pml: '7200' },
      { version: '0', opcode: '2', reserved: '0', internal_port: '5000', external_port: '0', pml: '0' },
    ])
    expect(dissect(lab, COMPLAINTS, ['frame.number'])).toEqual([])
  })

  it('reads our PCP requests', { timeout: 60_000 }, async () => {
    const { lab, pxp, request } = await serving(4)
    await lab.until(pxp.pcp.probe())
    const grant = await lab.until(pxp.pcp.map(request(5000, { exact: true, allow: ['198.51.100.0/24'] })))
    await lab.until(pxp.pcp.map(request(5000, { previous: grant, transport: 'tcp' })))
    await lab.until(pxp.pcp.unmap(grant))
    const fields = [
      ...['version', 'opcode', 'lifetime_req', 'client_ip', 'map.protocol', 'map.internal_port', 'map.req_sug_external_port'],
      ...['map.req_sug_external_ip', 'option.code', 'option.length', 'option.filter.prefix_length', 'option.filter.remote_peer_ip'],
    ].map((name) => `portcontrol.${name}`)
    const rows = dissect(lab, 'udp.dstport == 5351 && portcontrol', fields)
    expect(rows.map((row) => Object.values(row).join(' ').trim())).toEqual([
      '2 0 0 ::ffff:192.168.1.2',
      '2 1 7200 ::ffff:192.168.1.2 17 5000 5000 ::ffff:0.0.0.0 2,3 0,20 120 ::ffff:198.51.100.0',
      '2 1 7200 ::ffff:192.168.1.2 6 5000 5000 ::ffff:203.0.113.9',
      '2 1 0 ::ffff:192.168.1.2 17 5000 0 ::ffff:0.0.0.0',
    ])
    const nonces = dissect(lab, 'udp.dstport == 5351 && portcontrol.map.protocol == 17', ['portcontrol.map.nonce'])
    expect(new Set(nonces.map((row) => row['map.nonce'])).size).toBe(1)
    expect(dissect(lab, COMPLAINTS, ['frame.number'])).toEqual([])
  })

  it('reads our PCP requests over IPv6', { timeout: 60_000 }, async () => {
    const { lab, pxp, request } = await serving(6)
    await lab.until(pxp.pcp.map(request(5000)))
    const fields = ['portcontrol.client_ip', 'portcontrol.map.req_sug_external_ip', 'portcontrol.map.internal_port']
    expect(dissect(lab, 'udp.dstport == 5351 && portcontrol', fields)).toEqual([
      { client_ip: '2001:db8:1::2', 'map.req_sug_external_ip': '::', 'map.internal_port': '5000' },
    ])
    expect(dissect(lab, COMPLAINTS, ['frame.number'])).toEqual([])
  })
})
