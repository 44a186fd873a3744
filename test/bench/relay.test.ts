import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { requires } from '../requirements.ts'

const bench = fileURLToPath(new URL('../../bench/relay.js', import.meta.url))

/** Rows by name, as numbers: what goes by is not said here. Goals are for a quiet machine and a longer run, so the exit code says nothing. */
function run(part: string): ReadonlyMap<string, readonly number[]> {
  const words = [bench, part, '--rounds', '1', '--seconds', '0.05', '--allocations', '50']
  const { stdout } = spawnSync(process.execPath, words, { encoding: 'utf8', timeout: 60_000 })
  const rows = stdout.split('\n').map((line): [string, number[]] => {
    const [name = '', ...cells] = line.slice(0, 92).trim().split(/ {2,}/)
    return [name, cells.map((cell) => Number(cell.replaceAll(',', '').replace(' %', '')))]
  })
  return new Map(rows)
}

describe('bench/relay', requires({ commands: { cc: 'gcc', taskset: 'util-linux', turnserver: 'coturn' } }), () => {
  it.for(['sallyport', 'coturn', 'forwarder', 'net'])('gets packets through %s', { timeout: 60_000 }, (name) => {
    expect(throughput().get(name)?.[0]).toBeGreaterThan(0)
  })

  it('compares two workers with one', { timeout: 60_000 }, () => {
    expect(run('workers').get('two')?.[1]).toBeGreaterThan(0)
  })

  it.for(['direct', 'sallyport', 'coturn', 'forwarder'])('tells how long a packet takes through %s', { timeout: 60_000 }, (name) => {
    expect(latency().get(name)?.[0]).toBeGreaterThan(0)
  })

  it('makes allocations on both servers', { timeout: 60_000 }, () => {
    const rows = run('allocations')
    expect(rows.get('sallyport')?.[0]).toBeGreaterThan(0)
    expect(rows.get('coturn')?.[0]).toBeGreaterThan(0)
  })
})

let throughputRows: ReturnType<typeof run> | undefined
let latencyRows: ReturnType<typeof run> | undefined
const throughput = () => (throughputRows ??= run('throughput'))
const latency = () => (latencyRows ??= run('latency'))
