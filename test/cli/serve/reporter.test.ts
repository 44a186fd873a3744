import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { colours } from '../../../src/cli/format.ts'
import { JsonReporter, type Start, TextReporter } from '../../../src/cli/serve/reporter.ts'

const START: Start = {
  listening: { udp: ['192.0.2.1:3478'], tcp: ['192.0.2.1:3478'], tls: [], uris: ['turn:192.0.2.1?transport=udp'] },
  relay: true,
  metrics: undefined,
  workers: undefined,
  shared: false,
}
const WARNING = { event: 'warning', subject: 'buffers', message: 'sysctl -w net.core.rmem_max=4194304' } as const

let out: string[]
let err: string[]

beforeEach(() => {
  out = []
  err = []
  vi.spyOn(console, 'log').mockImplementation((line: string) => void out.push(line))
  vi.spyOn(console, 'error').mockImplementation((line: string) => void err.push(line))
  vi.spyOn(process.stdout, 'write').mockImplementation((line) => out.push(String(line)) > 0)
})

afterEach(() => {
  vi.restoreAllMocks()
})

function plain(): TextReporter {
  return new TextReporter(colours({ isTTY: false } as NodeJS.WriteStream))
}

describe('for people', () => {
  it('a warning of what happened at the start comes after where it listens, on standard error', () => {
    const reporter = plain()
    reporter.event(WARNING)
    expect([out, err]).toEqual([[], []])
    reporter.start(START)
    expect(out[0]).toBe('TURN relay and STUN server on 192.0.2.1:3478 udp')
    expect(out).toContain('TURN relay on 192.0.2.1:3478 tcp')
    expect(out).toContain('  for clients: turn:192.0.2.1?transport=udp')
    expect(err).toEqual([expect.stringContaining('net.core.rmem_max=4194304')])
  })

  it('a name from elsewhere does not steer the terminal', () => {
    const reporter = plain()
    reporter.start(START)
    const common = { client: '192.0.2.9:5', transport: 'udp', reason: 'wrong' } as const
    reporter.event({ event: 'authentication-failed', user: '\u001b[2Jmallory\n\u009b', ...common })
    expect(out.at(-1)).toContain('mallory')
    expect(out.at(-1)).not.toMatch(/\p{Cc}/u)
  })

  it('says which worker it was', () => {
    const reporter = plain()
    reporter.start({ ...START, workers: [{ worker: 1, pid: 7, udp: [] }], shared: true })
    expect(out).toContain('1 worker, on the same ports.')
    reporter.event({ event: 'worker-exited', pid: 7, how: 'SIGKILL', again: 20 }, 1)
    expect(err.at(-1)).toContain('worker 1 process 7 ended (SIGKILL)')
  })
})

describe('for programs', () => {
  it('where it listens is the first line, whatever happened before', () => {
    const reporter = new JsonReporter()
    reporter.event(WARNING)
    reporter.start({ ...START, metrics: 'http://127.0.0.1:9/metrics' })
    const lines = out.map((line) => JSON.parse(line))
    expect(lines).toEqual([
      {
        listening: ['192.0.2.1:3478'],
        tcp: ['192.0.2.1:3478'],
        tls: [],
        uris: [expect.any(String)],
        metrics: 'http://127.0.0.1:9/metrics',
      },
      { ...WARNING, time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) },
    ])
  })
})
