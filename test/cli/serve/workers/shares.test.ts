import { describe, expect, it } from 'vitest'
import type { RelaySetup } from '../../../../src/cli/serve/setup.ts'
import { assertApart, shareOf, withPorts } from '../../../../src/cli/serve/workers/shares.ts'
import { UsageError } from '../../../../src/cli/usage.ts'
import { createLab } from '../../../../src/lab/index.ts'

const SETUP: RelaySetup = { port: 3478, tlsPort: 5349, quotas: { allocations: 100, allocationsPerUser: 10 } }

function shares(setup: RelaySetup, count: number, shared: boolean): readonly RelaySetup[] {
  return Array.from({ length: count }, (_, index) => shareOf(setup, index, count, shared))
}

describe('the ports of relayed addresses', () => {
  it.each([
    [49_152, 65_535, 2],
    [49_152, 65_535, 7],
    [50_001, 50_050, 4],
    [50_000, 50_007, 4],
  ])('%i to %i are shared among workers without meeting: %i of them', (min, max, count) => {
    const ports = shares({ ...SETUP, ports: { min, max } }, count, true).map((share) => share.ports as { min: number; max: number })
    const sizes = ports.map((range) => range.max - range.min + 1)
    for (const [index, range] of ports.entries()) {
      expect(range.min % 2).toBe(0) // for pairs
      expect(range.max).toBeGreaterThan(range.min)
      if (index > 0) expect(range.min).toBe((ports[index - 1]?.max ?? 0) + 1)
    }
    expect(ports[0]?.min).toBe(min + (min % 2))
    expect(ports.at(-1)?.max).toBe(max)
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThan(2 * count)
  })

  it('that are not two for each worker are refused', () => {
    expect(() => shares({ ...SETUP, ports: { min: 50_000, max: 50_004 } }, 3, true)).toThrow(UsageError)
  })
})

describe('the ports to listen on', () => {
  it('are the same for all where they can be shared', () => {
    expect(shares(SETUP, 3, true).map(({ port, tlsPort, reusePort }) => [port, tlsPort, reusePort])).toEqual([
      [3478, 5349, true],
      [3478, 5349, true],
      [3478, 5349, true],
    ])
  })

  it('are the next one for each where they cannot, with the second ports of RFC 5780 behind all of them', () => {
    const ports = shares(SETUP, 3, false).map(({ port, tlsPort, alternatePort, reusePort }) => [port, tlsPort, alternatePort, reusePort])
    expect(ports).toEqual([
      [3478, 5349, 3481, false],
      [3479, 5350, 3482, false],
      [3480, 5351, 3483, false],
    ])
  })

  it('may be any', () => {
    expect(shares({ ...SETUP, port: 0 }, 2, false).map(({ port, alternatePort }) => [port, alternatePort])).toEqual([
      [0, undefined],
      [0, undefined],
    ])
  })

  it('are refused when they do not suffice', () => {
    expect(() => shares({ ...SETUP, port: 65_534 }, 4, false)).toThrow(/--port 65534 leaves no ports for 4 workers/)
  })

  it('are refused when those of TLS come among the others', () => {
    const tls = { cert: '', key: '' }
    expect(() => assertApart({ ...SETUP, tls, tlsPort: 3480 }, 3, false)).toThrow(UsageError)
    expect(() => assertApart({ ...SETUP, tls, tlsPort: 3481 }, 3, false)).not.toThrow()
    expect(() => assertApart({ ...SETUP, tls, tlsPort: 3480 }, 3, true)).not.toThrow()
    expect(() => assertApart({ ...SETUP, tlsPort: 3480 }, 3, false)).not.toThrow()
  })

  it('are drawn before a worker begins where they may be any, so that it can come back to them', async () => {
    const network = createLab({ seed: 1 }).host('relay')
    const { port, tlsPort, alternatePort } = await withPorts({ ...SETUP, port: 0, tlsPort: 0 }, network)
    const drawn = [port, tlsPort, alternatePort]
    expect(new Set(drawn).size).toBe(3)
    for (const one of drawn) expect(one).toBeGreaterThan(0)
    // Free for both.
    const socket = await network.bind({ family: 4, port: port ?? 0 })
    const listener = await network.listen({ family: 4, port: port ?? 0 }, () => {})
    socket.close()
    listener.close()
    expect(await withPorts(SETUP, network)).toBe(SETUP)
  })
})

it('bytes a second in all are divided; other quotas are counted together', () => {
  const quotas = { allocations: 100, allocationsPerUser: 10, bytesPerSecond: 1_000, bytesPerSecondPerUser: 300 }
  for (const share of shares({ ...SETUP, quotas }, 4, true)) expect(share.quotas).toEqual({ ...quotas, bytesPerSecond: 250 })
})
