import { describe, expect, it } from 'vitest'
import { Address } from '../../src/net/index.ts'
import type { Lease } from '../../src/pmp/lease.ts'
import type { Proof } from '../../src/pmp/proof.ts'
import { HOUR, type Scene, type SceneOptions, scene, told } from './scripted.ts'

const MINUTE = 60_000

interface Leased extends Scene {
  readonly lease: Lease
}

/** A lease for port 5000 that has had time to come about. */
async function leased(options: SceneOptions = {}, prepare: (at: Scene) => void = () => {}): Promise<Leased> {
  const at = scene(options)
  prepare(at)
  const lease = at.mapper.add({ transport: 'udp', internal: Address.of('192.168.1.2', 5000) })
  await at.lab.run(1_000)
  return { ...at, lease }
}

function refuse(at: Scene, ...protocols: ('pcp' | 'nat-pmp' | 'upnp')[]): void {
  for (const protocol of protocols)
    Object.assign(at.router.scripts[protocol], { probe: 'ERR_MAPPING_UNAVAILABLE', map: 'ERR_MAPPING_UNAVAILABLE' })
}

/** When what was asked, from a moment on. */
function since({ router }: Scene, from: number): [number, string][] {
  return router.log
    .map((line): [number, string] => [Number(line.split(' ')[0]), line.replace(/^\S+ /, '')])
    .filter(([time, what]) => time >= from && !what.endsWith('probe'))
}

describe('how it comes about', () => {
  it('the preferred protocol makes it, for two hours', async () => {
    const { lease, lab, changes } = await leased()
    expect(told(lease)).toBe('203.0.113.9:5000 by pcp, unknown')
    expect(lease.expiresAt).toBe(10 + 2 * HOUR)
    expect(changes.slice(-2)).toEqual(['203.0.113.9:5000 by pcp, unknown', '203.0.113.9:5000 by pcp, unknown'])
    expect([lease.settled, lease.judged, lab.clock.now()]).toEqual([true, true, 1_000])
  })

  it('a router that refuses is asked again after a minute, then after twice as long each time, after half an hour at most', async () => {
    const at = await leased({ speaks: ['pcp'] }, ({ router }) => {
      router.scripts.pcp.map = 'ERR_MAPPING_REFUSED'
    })
    expect(at.lease.failure).toMatchObject({ code: 'ERR_MAPPING_REFUSED' })
    await at.lab.run(3 * HOUR)
    const times = since(at, 0).map(([time]) => Math.round(time / MINUTE))
    expect(times).toEqual([0, 1, 3, 7, 15, 31, 61, 91, 121, 151])
  })

  it('the address and port that the router gives count', async () => {
    const { lease } = await leased({}, ({ router }) => {
      router.scripts.pcp.map = { port: 40_000, ip: '198.51.100.7' }
    })
    expect(lease.grant?.external.key).toBe('198.51.100.7:40000')
  })

  it('for a socket on the wildcard the address is mapped that the router is asked from', async () => {
    const at = scene()
    const lease = at.mapper.add({ transport: 'udp', internal: Address.any(4, 5000) })
    await at.lab.run(100)
    expect(lease.grant?.internal.key).toBe('192.168.1.2:5000')
    expect(lease.request.internal.scope).toBe('unspecified')
  })

  it('what is granted late by another protocol is given back, and the one that is kept is asked for once more', async () => {
    const at = await leased({}, ({ router }) => {
      router.scripts.pcp.delay = 200
    })
    expect(at.lease.grant?.protocol).toBe('nat-pmp')
    expect(at.router.requests).toEqual(['pcp map udp 5000', 'nat-pmp map udp 5000', 'pcp unmap udp 5000', 'nat-pmp renew udp 5000'])
    expect(at.router.table.get('udp 5000')?.by).toBe('nat-pmp')
  })
})

describe('proof', () => {
  it('what a packet came in through is proven', async () => {
    const { lease } = await leased({ prove: () => 'proven' })
    expect(lease.external?.key).toBe('203.0.113.9:5000')
  })

  it('what nobody can prove is kept, and not called proven', async () => {
    const { lease } = await leased()
    expect([lease.proof, lease.external, lease.grant?.protocol]).toEqual(['unknown', undefined, 'pcp'])
  })

  it('what does not forward is deleted before the next protocol is asked', async () => {
    const { lease, router } = await leased({ prove: ({ protocol }) => (protocol === 'nat-pmp' ? 'proven' : 'failed') })
    expect(told(lease)).toBe('203.0.113.9:5000 by nat-pmp, proven')
    expect(router.requests).toEqual(['pcp map udp 5000', 'pcp unmap udp 5000', 'nat-pmp map udp 5000'])
    expect(router.clashes).toEqual([])
  })

  it('where none forwards, nothing is left, and the failure says so for each', async () => {
    const { lease, router, changes } = await leased({ prove: () => 'failed' })
    expect(lease.failure).toMatchObject({
      code: 'ERR_MAPPING_UNPROVEN',
      report: ['pcp', 'nat-pmp', 'upnp'].map((protocol) => ({
        protocol,
        code: 'ERR_MAPPING_UNPROVEN',
        message: `the router granted 203.0.113.9:5000 by ${protocol}, but nothing comes through`,
      })),
    })
    expect(router.ports).toEqual([])
    expect(changes.at(-1)).toBe('ERR_MAPPING_UNPROVEN')
  })

  it('a router that grants and never forwards is asked more and more rarely', async () => {
    const at = await leased({ speaks: ['pcp'], prove: () => 'failed' })
    await at.lab.run(3 * HOUR)
    const times = since(at, 0)
      .filter(([, what]) => what.startsWith('pcp map'))
      .map(([time]) => Math.round(time / MINUTE))
    expect(times).toEqual([0, 1, 3, 7, 15, 31, 61, 91, 121, 151])
  })

  it('one that stops forwarding is deleted and made again, by the same protocol', async () => {
    let works = true
    const at = await leased({ prove: () => (works ? 'proven' : 'failed') })
    works = false
    await at.lab.run(70_000)
    const [, ...again] = at.router.requests
    expect(again.slice(0, 2)).toEqual(['pcp unmap udp 5000', 'pcp map udp 5000'])
    works = true
    await at.lab.run(2 * MINUTE)
    expect(told(at.lease)).toContain('proven')
  })

  it('who cannot look has nothing to say against what was seen', async () => {
    let kind: Proof['kind'] = 'proven'
    const { lease, lab, router } = await leased({ prove: () => kind })
    kind = 'unknown'
    await lab.run(5 * MINUTE)
    expect([lease.proof, router.requests.length]).toEqual(['proven', 1])
  })

  it('it is tried again when somebody is there to prove it, whatever those before are still at, and no more once it is proven', async () => {
    let tried = 0
    const prove = (): Proof['kind'] | Promise<Proof['kind']> => (++tried === 1 ? new Promise(() => {}) : 'proven')
    const { lease, lab } = await leased({ prove })
    expect([lease.proof, tried]).toEqual(['unknown', 1])
    lease.proveAgain()
    await lab.run(100)
    expect([lease.proof, tried]).toEqual(['proven', 2])
    lease.proveAgain()
    await lab.run(100)
    expect(tried).toBe(2)
  })

  it('one that somebody else has proven is not given up for packets that were lost before', async () => {
    let answer: (kind: Proof['kind']) => void = () => {}
    const at = await leased({
      prove: () =>
        new Promise((resolve) => {
          answer = resolve
        }),
    })
    const seen = Address.of('203.0.113.9', 5000)
    at.lease.proven(seen)
    answer('failed')
    await at.lab.run(100)
    expect([at.lease.external?.key, at.router.requests.length]).toEqual([seen.key, 1])
  })

  it('the address that a packet came in at counts, whatever the router says', async () => {
    const { lease } = await leased()
    lease.proven(Address.of('198.51.100.1', 6000))
    expect([lease.external?.key, lease.grant?.external.key]).toEqual(['198.51.100.1:6000', '203.0.113.9:5000'])
  })
})

describe('renewal', () => {
  it('is due between 1/2 and 5/8 of the lifetime, by chance', async () => {
    const times = new Set<number>()
    for (let seed = 1; seed <= 12; seed++) {
      const at = await leased({ seed })
      await at.lab.run(1.3 * HOUR)
      const [renewal] = since(at, 1_000)
      expect(renewal?.[1]).toBe('pcp renew udp 5000')
      expect(renewal![0]).toBeGreaterThanOrEqual(10 + HOUR)
      expect(renewal![0]).toBeLessThanOrEqual(10 + 1.25 * HOUR)
      times.add(renewal![0])
    }
    expect(times.size).toBe(12)
  })

  it('suggests the port that the router gave', async () => {
    const asked: number[] = []
    const at = await leased({}, ({ router }) => {
      router.scripts.pcp.map = ({ externalPort }) => {
        asked.push(externalPort)
        return { port: 40_000 }
      }
    })
    await at.lab.run(1.3 * HOUR)
    expect(asked).toEqual([5000, 40_000])
  })

  it('is tried again at 3/4, 7/8 and so on while nobody answers, and ends with the lifetime', async () => {
    const at = await leased({ speaks: ['pcp'] })
    at.router.scripts.pcp.map = 'silent'
    await at.lab.run(2 * HOUR - 10_000)
    const parts = since(at, 1_000).map(([time]) => (time - 10) / (2 * HOUR))
    for (const [i, least] of [1 / 2, 3 / 4, 7 / 8, 15 / 16, 31 / 32].entries()) {
      expect(parts[i]).toBeGreaterThanOrEqual(least)
      expect(parts[i]).toBeLessThan(least + (1 - least) / 4 + 0.001)
    }
    expect(told(at.lease)).toContain('by pcp')
    await at.lab.run(15_000)
    expect(told(at.lease)).toBe('ERR_MAPPING_UNAVAILABLE')
    const times = since(at, 1_000).map(([time]) => time)
    expect(Math.min(...times.slice(1).map((time, i) => time - times[i]!))).toBeGreaterThanOrEqual(3_750)
  })

  it('that is refused is a mapping by the next protocol, and nothing is left of the old one', async () => {
    const at = await leased()
    at.router.scripts.pcp.map = 'ERR_MAPPING_REFUSED'
    await at.lab.run(1.3 * HOUR)
    expect(told(at.lease)).toContain('by nat-pmp')
    expect(at.router.requests.slice(1)).toEqual(['pcp renew udp 5000', 'pcp unmap udp 5000', 'pcp map udp 5000', 'nat-pmp map udp 5000'])
    expect(at.router.table.get('udp 5000')?.by).toBe('nat-pmp')
  })

  it('keeps the proof where nothing changes, and proves what does', async () => {
    let tried = 0
    const at = await leased({
      speaks: ['pcp'],
      lifetime: 10 * MINUTE,
      prove: () => {
        tried++
        return tried === 1 ? 'proven' : 'unknown'
      },
    })
    await at.lab.run(7 * MINUTE)
    expect(told(at.lease)).toBe('203.0.113.9:5000 by pcp, proven')
    at.router.ip = '203.0.113.10'
    await at.lab.run(2 * MINUTE)
    expect(told(at.lease)).toBe('203.0.113.10:5000 by pcp, unknown')
  })

  it('comes every ten minutes by UPnP, however long the lease', async () => {
    const at = await leased({ speaks: ['upnp'], lifetime: 24 * HOUR })
    await at.lab.run(55 * MINUTE)
    const times = since(at, 1_000).map(([time]) => time)
    expect(times.map((time) => Math.round(time / (10 * MINUTE)))).toEqual([1, 2, 3, 4, 5])
  })

  it('comes even for a mapping that stands until it is deleted, by UPnP', async () => {
    const at = await leased({ speaks: ['upnp'] }, ({ router }) => {
      router.scripts.upnp.map = { lifetime: Number.POSITIVE_INFINITY }
    })
    expect(at.lease.expiresAt).toBe(Number.POSITIVE_INFINITY)
    await at.lab.run(25 * MINUTE)
    expect(at.router.requests.slice(1)).toEqual(['upnp map udp 5000', 'upnp renew udp 5000', 'upnp renew udp 5000'])
    await at.lab.until(at.mapper.close())
    expect(at.router.ports).toEqual([])
  })

  it('never comes sooner than after 4 s, however short the lease', async () => {
    const at = await leased({ speaks: ['nat-pmp'] }, ({ router }) => {
      router.scripts['nat-pmp'].map = { lifetime: 1 }
    })
    await at.lab.run(20_000)
    const times = since(at, 1).map(([time]) => time)
    expect(times.length).toBeGreaterThan(3)
    expect(Math.min(...times.slice(1).map((time, i) => time - times[i]!))).toBeGreaterThanOrEqual(4_000)
  })
})

describe('a router that starts anew', () => {
  it('is asked at once, and the mapping is back within 2 s', async () => {
    const at = await leased({ prove: () => 'proven' })
    at.router.restart()
    at.client('pcp').noticeRestart()
    await at.lab.run(2_000)
    expect(at.router.ports).toEqual(['udp 5000'])
    expect(at.router.requests.at(-1)).toBe('pcp renew udp 5000')
    expect(told(at.lease)).toContain('proven')
  })

  it('is asked by the others when it does not speak the protocol any more', async () => {
    const at = await leased()
    at.router.restart()
    refuse(at, 'pcp')
    at.client('pcp').noticeRestart()
    await at.lab.run(2_000)
    expect(told(at.lease)).toContain('by nat-pmp')
    expect(at.router.table.get('udp 5000')?.by).toBe('nat-pmp')
  })

  it('is asked again at once when it had nothing to give', async () => {
    const at = await leased({ speaks: ['pcp'] }, ({ router }) => {
      router.scripts.pcp.map = 'ERR_MAPPING_CAPACITY'
    })
    at.router.scripts.pcp.map = {}
    at.client('pcp').noticeRestart()
    await at.lab.run(100)
    expect(told(at.lease)).toContain('by pcp')
  })

  it('makes the holder look when another protocol says so', async () => {
    const at = await leased()
    const before = at.router.log.length
    at.client('upnp').noticeRestart()
    await at.lab.run(100)
    expect(at.router.log.slice(before).map((line) => line.replace(/^\S+ /, ''))).toEqual(['pcp probe'])
  })

  it('is asked once in 4 s at most, however often it is said', async () => {
    const at = await leased()
    const from = at.lab.clock.now()
    for (let i = 0; i < 100; i++) {
      at.client('pcp').noticeRestart()
      await at.lab.run(100)
    }
    const times = since(at, from).map(([time]) => time - from)
    expect(times).toEqual([0, 4_000, 8_000])
  })

  it('that says so in every answer is not asked without end', async () => {
    const at = await leased({}, (scene) => {
      scene.router.scripts.pcp.map = () => {
        scene.client('pcp').noticeRestart()
        return {}
      }
    })
    at.client('pcp').noticeRestart()
    await at.lab.run(30_000)
    expect(at.router.requests.length).toBeLessThan(4)
  })

  it('does not disturb a lease that another router keeps', async () => {
    const at = await leased()
    const other = await leased()
    at.lease.restarted(other.client('pcp'))
    await at.lab.run(1_000)
    expect(at.router.requests).toEqual(['pcp map udp 5000'])
  })

  it('and says so while it is being asked is not asked twice', async () => {
    const at = scene({ speaks: ['nat-pmp'] })
    at.mapper.add({ transport: 'udp', internal: Address.of('192.168.1.2', 5000) })
    await at.lab.run(5)
    at.client('nat-pmp').noticeRestart()
    await at.lab.run(1_000)
    expect(at.router.requests).toEqual(['pcp map udp 5000', 'nat-pmp map udp 5000'])
  })
})

describe('looks', () => {
  it('about once a minute, and at once when in doubt, every 5 s at most', async () => {
    const at = await leased()
    await at.lab.run(10 * MINUTE)
    const looks = (): number => at.router.log.filter((line) => line.endsWith('pcp probe')).length
    expect(looks()).toBeGreaterThanOrEqual(9)
    expect(looks()).toBeLessThanOrEqual(11)
    const before = looks()
    for (let i = 0; i < 100; i++) {
      at.mapper.doubt(Address.of('192.168.1.2', 5000))
      await at.lab.run(100)
    }
    expect(looks() - before).toBe(2)
  })

  it('doubts about other addresses are none', async () => {
    const at = await leased()
    at.mapper.doubt(Address.of('192.168.1.2', 5001))
    await at.lab.run(100)
    expect(at.router.log.filter((line) => line.endsWith('pcp probe'))).toEqual([])
  })

  it.each(['203.0.113.9', '0.0.0.0'])('another external address than %s is noticed, and the mapping is asked for again', async (ip) => {
    const at = await leased({ speaks: ['pcp'] }, ({ router }) => {
      router.ip = ip
    })
    at.router.ip = '203.0.113.77'
    at.lease.doubt()
    await at.lab.run(100)
    expect(told(at.lease)).toBe('203.0.113.77:5000 by pcp, unknown')
  })

  it('a router that does not answer a look keeps its mapping', async () => {
    const at = await leased({ speaks: ['pcp'] })
    at.router.scripts.pcp.probe = 'silent'
    await at.lab.run(10 * MINUTE)
    expect(told(at.lease)).toContain('by pcp')
  })
})

describe('the end', () => {
  it('deletes the mapping', async () => {
    const at = await leased()
    await at.lab.until(at.mapper.remove(at.lease))
    expect([at.router.ports, at.mapper.leases]).toEqual([[], []])
  })

  it('deletes after a renewal that is under way, not beside it', async () => {
    const at = await leased({ speaks: ['upnp'] })
    at.router.scripts.upnp.delay = 100
    at.lease.recheck()
    await at.lab.run(10)
    at.router.scripts.upnp.delay = 10
    await at.lab.until(at.mapper.close())
    expect(at.router.ports).toEqual([])
    expect(at.router.requests.slice(-2)).toEqual(['upnp renew udp 5000', 'upnp unmap udp 5000'])
  })

  it('while a mapping is asked for, it is deleted when it comes', async () => {
    const at = scene()
    at.router.scripts.pcp.delay = 300
    at.mapper.add({ transport: 'udp', internal: Address.of('192.168.1.2', 5000) })
    await at.lab.run(1)
    await at.lab.until(at.mapper.close())
    expect([at.router.ports, at.router.requests]).toEqual([[], ['pcp map udp 5000', 'pcp unmap udp 5000']])
    expect(at.lab.clock.now()).toBe(600)
  })

  it('while one that does not forward is deleted, waits for that', async () => {
    const at = scene({ prove: () => 'failed' })
    at.mapper.add({ transport: 'udp', internal: Address.of('192.168.1.2', 5000) })
    await at.lab.run(12)
    await at.lab.until(at.mapper.close())
    expect([at.router.ports, at.router.requests]).toEqual([[], ['pcp map udp 5000', 'pcp unmap udp 5000']])
  })

  it('a port that is given up and wanted again is deleted before it is asked for', async () => {
    const at = await leased({ speaks: ['upnp'] })
    void at.mapper.remove(at.lease)
    const again = at.mapper.add({ transport: 'udp', internal: Address.of('192.168.1.2', 5000) })
    await at.lab.run(1_000)
    expect(at.router.clashes).toEqual([])
    expect([told(again), at.router.ports]).toEqual(['203.0.113.9:5000 by upnp, unknown', ['udp 5000']])
  })
})
