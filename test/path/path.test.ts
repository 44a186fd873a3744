import { describe, expect, it } from 'vitest'
import { Address } from '../../src/net/index.ts'
import { describePath, explain, pathOf, reportPairs, SessionLog } from '../../src/path/index.ts'
import { remote, Solo } from '../ice/solo.ts'

function connected(): Solo {
  return new Solo()
    .answerAll(20)
    .start([remote('192.0.2.1'), remote('192.0.2.2')])
    .run(500)
}

describe('a path', () => {
  it('is a frozen, JSON-safe snapshot of a pair, ours as the peer sees it', () => {
    const solo = new Solo().start([remote('192.0.2.1')])
    const [check] = solo.checks
    if (check !== undefined) solo.answer(check, { mapped: Address.of('203.0.113.7', 1_234) })
    const path = pathOf(solo.pair('192.0.2.1'))
    expect(path).toEqual({
      kind: 'direct',
      family: 4,
      local: { type: 'prflx', ip: '203.0.113.7', port: 1_234 },
      remote: { type: 'host', ip: '192.0.2.1', port: 6_000 },
      rtt: 0,
    })
    expect(JSON.parse(JSON.stringify(path))).toEqual(path)
    expect([path, path.local, path.remote].every(Object.isFrozen)).toBe(true)
  })

  it('is a relay’s when either end is', () => {
    const solo = new Solo().start([remote('192.0.2.1', 6_000, 'relay')])
    expect(pathOf(solo.pair('192.0.2.1')).kind).toBe('relay')
  })

  it('reads as one line, IPv6 in brackets', () => {
    const end = { type: 'host', ip: '2001:db8::1', port: 5 } as const
    expect(describePath({ kind: 'direct', family: 6, local: end, remote: { ...end, ip: 'fe80::1%eth0' }, rtt: 1.25 })).toBe(
      'direct: host [2001:db8::1]:5 to host [fe80::1%eth0]:5, 1.3 ms round trip',
    )
  })
})

describe('the report of pairs', () => {
  it('says of each what became of it', () => {
    const solo = connected()
    solo.tell((agent, now) => agent.addRemotes([remote('192.0.2.3'), remote('192.0.2.4')], now))
    solo.fail('192.0.2.3', 'ENETUNREACH')
    const outcomes = new Map(
      reportPairs(solo.agent, 7).map(({ remote: { address }, outcome, generation }) => [address, `${generation} ${outcome}`]),
    )
    expect(outcomes.get(`${solo.agent.selected?.to}`)).toBe('7 carries the data')
    expect([...outcomes.values()]).toContain('7 works, kept as a spare')
    expect(outcomes.get('192.0.2.3:6000')).toBe('7 ENETUNREACH')
  })

  it('is JSON-safe, and its explanation reads as text', () => {
    const solo = connected()
    const parts = {
      peer: 'b',
      state: 'connected',
      role: 'controlling' as const,
      path: undefined,
      pairs: reportPairs(solo.agent, 1),
      localCandidates: [],
      remoteCandidates: ['candidate:1 of the peer'],
      signals: { sent: 1, received: 1 },
      servers: ['stun:stun.example.net: no answer'],
      mappings: ['192.168.1.2:4000: no port mapping: 192.168.1.1 has not answered yet'],
      missing: ['relay turn:relay.example.net has no room'],
      notOffered: ['eth0 fe80::1: link-local'],
      refused: ['candidate not used: because', 'candidate not used: \u001b]0;mine\u0007\r\nall is well'],
      log: [{ at: 12.3, text: 'something happened' }],
    }
    const explanation = explain(parts)
    expect(JSON.parse(JSON.stringify(explanation))).toEqual(JSON.parse(JSON.stringify(parts)))
    expect(String(explanation).split('\n')).toEqual(
      expect.arrayContaining([
        'Session with b: connected, controlling.',
        'No path.',
        'Missing here: relay turn:relay.example.net has no room',
        '2 pairs tried:',
        '  candidate not used: because',
        // A peer's own words cannot move the cursor of who reads it, nor write a line of the report.
        '  candidate not used: \ufffd]0;mine\ufffd\ufffd\ufffdall is well',
        '  stun:stun.example.net: no answer',
        'Port mapping:',
        '  192.168.1.2:4000: no port mapping: 192.168.1.1 has not answered yet',
        '  eth0 fe80::1: link-local',
        '  candidate:1 of the peer',
      ]),
    )
    expect(String(explanation)).toContain('12 ms  something happened')
  })
})

describe('the log of a session', () => {
  it('counts time from the last start', () => {
    const log = new SessionLog('b')
    log.restart(1_000)
    log.note(1_250, 'later')
    expect(log.entries).toEqual([{ at: 250, text: 'later' }])
  })

  it('keeps the last 200 entries, whatever comes over the months', () => {
    const log = new SessionLog('b')
    for (let i = 0; i < 5_000; i++) {
      log.note(i, `note ${i}`)
      log.refuse(`refused ${i}`)
    }
    expect(log.entries).toHaveLength(200)
    expect(log.refused).toHaveLength(200)
    expect([log.entries.at(-1)?.text, log.refused.at(-1)]).toEqual(['note 4999', 'refused 4999'])
  })

  it('hands out copies', () => {
    const log = new SessionLog('b')
    log.note(1, 'one')
    ;(log.entries as unknown[]).push('forged')
    expect(log.entries).toHaveLength(1)
  })
})
