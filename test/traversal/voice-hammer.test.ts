/** RFC 8445 19.5.1: a peer that names other people's addresses, in the hope that we flood them. */
import { describe, expect, it } from 'vitest'
import { createTraversal, type Session, type Signal } from '../../src/index.ts'
import { createLab, type Lab } from '../../src/lab/index.ts'
import { Message } from '../../src/stun/index.ts'

const PWD = 'p'.repeat(24)
const line = (ip: string, port = 5000, index = 0, type = 'host'): string =>
  `candidate:${index + 1} 1 udp ${2_000_000_000 - index} ${ip} ${port} typ ${type}`
const victim = (index: number): string => `198.51.${100 + (index >> 8)}.${index & 255}`
/** As our own agents write them; `number` counts the changes. */
const own = (number: number, candidates: readonly string[], more: Partial<Signal> = {}): Signal => ({
  v: 1,
  id: 'feedfeedfeedfeed',
  seq: number,
  ufrag: 'attacker',
  pwd: PWD,
  candidates,
  ...more,
})

/** Runs an attack on one session of a host with one address, and counts our checks by the IP address that they went to. */
async function attack(signalling: (session: Session, lab: Lab) => Promise<void>, ufrag?: (ours: string) => void) {
  const lab = createLab({ seed: 1, families: [4] })
  const traversal = await createTraversal({ network: lab.host('a') })
  const session = traversal.connect({ peer: 'attacker' })
  // Somebody has to be asked for again: an attempt that failed has ended.
  session.on('state', (state) => {
    if (state === 'idle') queueMicrotask(() => traversal.connect({ peer: 'attacker' }))
  })
  session.on('signal', (signal) => ufrag?.(signal.ufrag))
  lab.trace.start()
  await signalling(session, lab)
  const checks = new Map<string, number>()
  for (const { event, at, to, data } of lab.trace.records) {
    if (event !== 'send' || at !== 'a' || Message.read(data)?.class !== 'request') continue
    checks.set(to.ip, (checks.get(to.ip) ?? 0) + 1)
  }
  await traversal.close()
  return { most: Math.max(...checks.values()), total: [...checks.values()].reduce((sum, count) => sum + count, 0), victims: checks.size }
}

describe('a peer that signals addresses of third parties', () => {
  it('makes us send 10 checks to each of 64, and no more', async () => {
    const { most, total, victims } = await attack(async (session, lab) => {
      const candidates = Array.from({ length: 128 }, (_, i) => line(victim(i), 5000, i))
      session.signal({ v: 1, ufrag: 'attacker', pwd: PWD, candidates })
      await lab.run(600_000)
    })
    expect(victims).toBe(64)
    expect(most).toBe(10)
    expect(total).toBe(640)
  })

  it('no more to what it calls its mapped addresses than to any of its others', async () => {
    const lines = (n: number, ip: (i: number) => string): readonly string[] =>
      Array.from({ length: 8 }, (_, i) => line(ip(i), 5000 + n * 8 + i, i, 'srflx raddr 0.0.0.0 rport 9'))
    for (const ip of [victim, () => victim(1)]) {
      const as = (what: (n: number) => Partial<Signal>) =>
        attack(async (session, lab) => {
          for (let n = 0; n < 20; n++) {
            session.signal(own(n + 1, [], what(n)))
            await lab.run(1_000)
          }
          await lab.run(300_000)
        })
      const trials = await as((n) => ({ trials: lines(n, ip) }))
      expect(trials).toEqual(await as((n) => ({ candidates: lines(n, ip) })))
      expect(trials.total).toBeGreaterThan(50)
    }
    const tooMany = await attack(async (session, lab) => {
      const trials = Array.from({ length: 9 }, (_, i) => line(victim(i), 5000, i, 'srflx raddr 0.0.0.0 rport 9'))
      expect(session.signal(own(1, [], { trials }))).toBe(false)
      await lab.run(60_000)
    })
    expect(tooMany.total).toBe(0)
  })

  it('10,000 in one signal are none', async () => {
    const { total } = await attack(async (session, lab) => {
      const candidates = Array.from({ length: 10_000 }, (_, i) => line(victim(i), 5000, i))
      expect(session.signal({ v: 1, ufrag: 'attacker', pwd: PWD, candidates })).toBe(false)
      await lab.run(60_000)
    })
    expect(total).toBe(0)
  })

  it('10,000 in a hundred signals, each with other ones, cost 10 for each and 1,000 with 2 a second in all', async () => {
    const { most, total } = await attack(async (session, lab) => {
      for (let n = 0; n < 100; n++) {
        session.signal(
          own(
            n + 1,
            Array.from({ length: 100 }, (_, i) => line(victim(n * 100 + i), 5000, i)),
          ),
        )
        await lab.run(3_000)
      }
      await lab.run(300_000)
    })
    expect(most).toBeLessThanOrEqual(10)
    expect(total).toBeGreaterThan(1_000)
    expect(total).toBeLessThanOrEqual(1_000 + 600 * 2)
  })

  it('one address under 64 ports gets 60 at once and 12 a minute', async () => {
    const { most, victims } = await attack(async (session, lab) => {
      session.signal({ v: 1, ufrag: 'attacker', pwd: PWD, candidates: Array.from({ length: 64 }, (_, i) => line(victim(1), 5000 + i, i)) })
      await lab.run(60_000)
    })
    expect(victims).toBe(1)
    expect(most).toBeGreaterThanOrEqual(60)
    expect(most).toBeLessThanOrEqual(60 + 12)
  })

  it.each(['restarting each second', 'withdrawing it and naming it again'])('no more to one address by %s for ten minutes', async (how) => {
    let ours = ''
    const { most } = await attack(
      async (session, lab) => {
        for (let n = 1; n <= 600; n++) {
          const restarting = how.startsWith('restarting')
          const candidates = restarting || n % 2 === 0 ? [line(victim(1))] : []
          session.signal(own(n, candidates, { for: ours, ...(restarting ? { ufrag: `attacker${n}` } : {}) }))
          await lab.run(1_000)
        }
      },
      (ufrag) => {
        ours = ufrag
      },
    )
    expect(most).toBeGreaterThan(60)
    expect(most).toBeLessThanOrEqual(60 + 120)
  })

  it('as if a server had seen them, and begins anew each second, gets 60 openers for one and 20 a minute beside the checks', async () => {
    const { most } = await attack(async (session, lab) => {
      const candidates = Array.from({ length: 64 }, (_, i) => line(victim(1), 5000 + i, i, 'srflx'))
      for (let n = 1; n <= 60; n++) {
        session.signal(own(n, candidates, { ufrag: `attacker${n}` }))
        await lab.run(1_000)
      }
    })
    expect(most).toBeGreaterThanOrEqual(60)
    expect(most).toBeLessThanOrEqual(60 + 20 + 60 + 12)
  })

  it('that never says it knows us keeps four of them under a check each 15 s for half an hour, and then nothing', async () => {
    const { most, total } = await attack(async (session, lab) => {
      const candidates = Array.from({ length: 64 }, (_, i) => line(`8.8.${i}.1`, 5000, i))
      session.signal(own(1, candidates))
      await lab.run(7_200_000)
    })
    expect(most).toBeLessThanOrEqual(10 + 120)
    expect(total).toBeLessThanOrEqual(64 * 10 + 4 * 120)
  })
})
