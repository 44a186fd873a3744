import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { MAIN } from '../kernel/json-peer.ts'
import { PORT_MAPPING } from '../kernel/miniupnpd.ts'
import { requires } from '../requirements.ts'

const bench = fileURLToPath(new URL('../../bench/port-mapping.js', import.meta.url))

describe('bench/port-mapping', requires({ ...PORT_MAPPING, also: { 'a build (npm run build)': existsSync(MAIN) } }), () => {
  // The others come from a registry: ours alone takes none.
  it('puts ours to its trials', { timeout: 60_000 }, () => {
    const words = ['sallyport', '--runs', '1', ...['IGDv1', 'IPv6', 'outside', 'close'].flatMap((trial) => ['--trial', trial])]
    const { stdout, stderr, status } = spawnSync(process.execPath, [bench, ...words], { encoding: 'utf8', timeout: 60_000 })
    const cells = new Map(stdout.split('\n').map((line) => [line.slice(0, 31).trim(), line.slice(31).trim()]))
    expect(status, stdout + stderr).toBe(0)
    for (const trial of ['maps by UPnP IGDv1', 'opens an IPv6 firewall', 'reachable from outside', 'nothing left after close'])
      expect(cells.get(trial)).toBe('yes')
    expect(Number(cells.get('time to mapped, ms'))).toBeGreaterThan(0)
  })
})
