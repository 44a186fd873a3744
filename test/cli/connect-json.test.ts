import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { carrySignals, jsonPeer, type Line, ON_LOOPBACK, Program } from './peers.ts'

/** Everything a test started has to end by itself once its input ends. */
const running: Program[] = []
let server: Program
let stun: string

function start(program: Program): Program {
  running.push(program)
  return program
}

function pair(...args: readonly string[]): [Program, Program] {
  return [start(jsonPeer(...args)), start(jsonPeer(...args))]
}

beforeEach(async () => {
  server = Program.sallyport('serve', '--json', '--port', '0', '--address', '127.0.0.1')
  const { listening } = await server.json('listening')
  stun = (listening as string[])[0] as string
})

afterEach(async () => {
  for (const program of running) program.end()
  await Promise.all(running.splice(0).map((program) => program.exit))
  server.kill('SIGTERM')
  expect(await server.exit).toBe(0)
})

describe('connect --json', () => {
  it('says done on both sides once data went both ways, and leaves with 0 when standard input ends', async () => {
    const [a, b] = pair('--stun', stun)
    carrySignals(a, b)
    carrySignals(b, a)
    for (const peer of [a, b]) {
      expect(await peer.json('done')).toEqual({ done: true, ms: expect.any(Number), local: 'host', remote: 'host', direct: true })
      expect(await peer.json('event')).toMatchObject({
        event: 'path',
        kind: 'direct',
        local: 'host',
        remoteAddress: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      })
    }
    a.end()
    b.end()
    expect([await a.exit, await b.exit]).toEqual([0, 0])
    expect([a.errors, b.errors]).toEqual(['', ''])
    expect([a.all('done').length, b.all('done').length]).toEqual([1, 1])
  })

  it('takes signals that come twice, in the wrong order, and late (C74)', async () => {
    const [a, b] = pair('--stun', stun)
    const held: (() => void)[] = []
    // Of every two signals the second goes first, and each goes twice.
    carrySignals(a, b, (line, deliver) => {
      held.push(() => deliver(line))
      if (held.length < 2) return
      for (const late of [...held.reverse(), ...held]) late()
      held.length = 0
    })
    // What b says waits until b has heard of a.
    const late: (() => void)[] = []
    let open = false
    carrySignals(b, a, (line, deliver) => (open ? deliver(line) : void late.push(() => deliver(line))))
    await b.find((line) => (line.includes('"ack"') ? line : undefined))
    open = true
    for (const deliver of late) deliver()
    expect(await a.json('done')).toMatchObject({ direct: true })
    expect(await b.json('done')).toMatchObject({ direct: true })
  })

  it('warns of lines that are no signals, and goes on', async () => {
    const [a, b] = pair()
    a.write('not JSON')
    a.write('{"offer": 1}')
    a.write('{"signal": {"v": 99}}')
    a.write('[]')
    a.write('')
    carrySignals(a, b)
    carrySignals(b, a)
    expect(await a.json('done')).toMatchObject({ direct: true })
    expect(a.all('warning').map(({ warning }) => warning)).toEqual([
      'line 1 of standard input is not JSON',
      'line 2 of standard input has no "signal"',
      expect.stringContaining('version 99'),
      'line 4 of standard input has no "signal"',
    ])
  })

  it('can be piped to another one, whose other lines it leaves unremarked', async () => {
    const [a, b] = pair('--events')
    // All of it, as two pipes would.
    a.each((line) => b.write(line))
    b.each((line) => a.write(line))
    await Promise.all([a.json('done'), b.json('done')])
    expect([...a.all('warning'), ...b.all('warning')]).toEqual([])
  })

  it('starts over when it is told to, and has a path of the new credentials (RFC 8445 9)', async () => {
    const [a, b] = pair()
    carrySignals(a, b)
    carrySignals(b, a)
    await Promise.all([a.json('done'), b.json('done')])
    const { ufrag } = (await a.json('signal')).signal as { ufrag: string }
    const paths = b.all('event').length
    a.write('{"restart":true}')
    await a.find((line) => (line.includes('"signal"') && !line.includes(`"ufrag":"${ufrag}"`) ? line : undefined))
    await b.find(() => (b.all('event').length > paths ? true : undefined))
    expect(a.all('warning')).toEqual([])
  })

  it('with --events tells of candidates, servers, checks and what the peer says', async () => {
    const [a, b] = pair('--stun', stun, '--events', '--say', 'good morning')
    carrySignals(a, b)
    carrySignals(b, a)
    await Promise.all([a.json('done'), b.json('done')])
    const event = (name: string): Promise<Line> =>
      a.find((line) => (line.includes(`"event":"${name}"`) ? (JSON.parse(line) as Line) : undefined))
    expect(await event('candidate')).toMatchObject({ type: 'host', address: expect.stringContaining('127.0.0.1') })
    expect(await event('server')).toMatchObject({ mapped: expect.stringContaining('127.0.0.1') })
    expect(await event('check')).toMatchObject({ local: { type: 'host' } })
    expect(await event('message')).toMatchObject({ text: 'good morning' })
  })

  it('says failed with a code and leaves with 1 when the peer does not come in time', async () => {
    const peer = start(jsonPeer('--timeout', '0.3'))
    expect(await peer.json('failed')).toMatchObject({
      failed: 'ERR_TIMEOUT',
      reason: expect.stringContaining('no signal came from the peer'),
    })
    // Standard input is still open: nothing of ours keeps the process.
    expect(await peer.exit).toBe(1)
  })

  it('says failed when the peer leaves before data went both ways', async () => {
    const [a, b] = pair()
    carrySignals(a, b)
    await b.find((line) => (line.includes('"ack"') ? line : undefined))
    a.end()
    expect(await b.json('failed')).toMatchObject({ failed: 'ERR_PEER_CLOSED' })
    expect(await b.exit).toBe(1)
  })

  it('stays when the peer leaves after data went both ways, until standard input ends', async () => {
    const [a, b] = pair()
    carrySignals(a, b)
    carrySignals(b, a)
    await Promise.all([a.json('done'), b.json('done')])
    a.end()
    await a.exit
    expect(await b.text('"ended"')).toContain('ERR_PEER_CLOSED')
    b.end()
    expect(await b.exit).toBe(0)
  })

  it('explains at the end with --verbose', async () => {
    const [a, b] = pair('--verbose')
    carrySignals(a, b)
    carrySignals(b, a)
    await Promise.all([a.json('done'), b.json('done')])
    a.end()
    await a.exit
    expect(a.errors).toContain('carries the data')
  })

  it('leaves cleanly on an interrupt', async () => {
    const peer = start(jsonPeer())
    await peer.json('signal')
    peer.kill('SIGINT')
    expect(await peer.exit).toBe(0)
  })

  it('offers only what --host names', async () => {
    const peer = start(jsonPeer())
    const { signal } = await peer.json('signal')
    const { candidates } = signal as { candidates: string[] }
    expect(candidates).toHaveLength(1)
    expect(candidates[0]).toContain(' 127.0.0.1 ')
  })

  it('says failed with ERR_BIND when the port is taken', async () => {
    const port = stun.split(':')[1] as string
    const peer = start(Program.sallyport('connect', '--json', ...ON_LOOPBACK, '--port', port))
    expect(await peer.json('failed')).toMatchObject({ failed: 'ERR_BIND' })
    expect(await peer.exit).toBe(1)
  })
})
