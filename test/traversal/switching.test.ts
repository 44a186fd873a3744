import { describe, expect, it } from 'vitest'
import type { Path } from '../../src/index.ts'
import { type LabHost, type NatPreset, nat as presets } from '../../src/lab/index.ts'
import { Attribute, Message } from '../../src/stun/index.ts'
import { createLab, join, makePeer, type Peer, say, serveStun } from './meeting.ts'

type Lab = ReturnType<typeof createLab>

interface Stage {
  readonly lab: Lab
  readonly a: Peer
  readonly b: Peer
  readonly host: LabHost
  /** Paths as they came, at either end. */
  readonly paths: { readonly a: Path[]; readonly b: Path[] }
  /** States that either end was in, other than connected, since it was. */
  readonly lapses: string[]
}

type Role = 'controlling' | 'controlled'

const nat = { ...presets.portRestricted, lifetime: 30_000 }

/** Both ends behind NATs that forget after 30 s; a on a slow access at first, and in that role. */
async function slowAccess(role: Role): Promise<Stage> {
  for (let seed = 1; seed < 30; seed++) {
    const stage = await meetSlowly(seed)
    if (stage.a.session.explain().role === role) return stage
  }
  throw new Error(`a was never ${role}`)
}

async function meetSlowly(seed: number): Promise<Stage> {
  const lab = createLab({ seed })
  await serveStun(lab)
  const host = lab.host('a', { behind: lab.router('slow', { nat, link: { delay: 100 } }) })
  const a = await makePeer(host, 'b')
  const b = await makePeer(lab.host('b', { behind: lab.router('rb', { nat }) }), 'a')
  const paths: Stage['paths'] = { a: [], b: [] }
  a.session.on('path', (path) => paths.a.push(path))
  b.session.on('path', (path) => paths.b.push(path))
  join(lab, a, b)
  await lab.until(Promise.all([a.session.ready, b.session.ready]))
  const lapses: string[] = []
  for (const { session } of [a, b]) session.on('state', (state) => lapses.push(state))
  return { lab, a, b, host, paths, lapses }
}

function addFastAccess({ lab, host }: Stage): string {
  return host.addInterface({ behind: lab.router('fast', { nat }) })
}

/** Says something from both ends every `interval` for so long. Returns what was said. */
async function talk({ lab, a, b }: Stage, milliseconds: number, interval: number, from: number): Promise<number> {
  let n = from
  for (let at = 0; at < milliseconds; at += interval, n++) {
    say(a, `${n}`)
    say(b, `${n}`)
    await lab.run(interval)
  }
  return n
}

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)
const heard = ({ inbox }: Peer): number[] => inbox.map(Number).sort((x, y) => x - y)

const ROLES: readonly Role[] = ['controlling', 'controlled']

describe('a better pair under data', () => {
  it.each(ROLES)('C71 takes over at both ends without losing or doubling a datagram; the end that gets it is %s', async (role) => {
    const stage = await slowAccess(role)
    const { lab, a, b, paths, lapses } = stage
    let said = await talk(stage, 3_000, 5, 0)
    addFastAccess(stage)
    said = await talk(stage, 12_000, 5, said)
    await lab.run(1_000)
    expect(heard(a)).toEqual(numbers(0, said))
    expect(heard(b)).toEqual(numbers(0, said))
    expect(lapses).toEqual([])
    // C72: each change is told, and once.
    expect(paths.a.map(({ rtt }) => rtt > 150)).toEqual([true, false])
    expect(paths.b.map(({ rtt }) => rtt > 150)).toEqual([true, false])
    expect(a.session.path).toMatchObject({ local: paths.b[1]?.remote })
  })

  it.each(ROLES)('C71 leaves the old pair open behind it: ten minutes later it carries on alone; %s', async (role) => {
    const stage = await slowAccess(role)
    const { lab, a, b, host, paths, lapses } = stage
    const name = addFastAccess(stage)
    await lab.run(600_000)
    expect(paths.a).toHaveLength(2)
    // Both NATs would have forgotten it many times over.
    expect(a.session.explain().pairs.filter(({ outcome }) => outcome === 'works, kept as a spare').length).toBeGreaterThanOrEqual(1)
    host.removeInterface(name)
    await lab.run(0)
    expect(a.session.path?.rtt).toBeGreaterThan(150)
    say(a, '1')
    await lab.run(500)
    say(b, '2')
    await lab.run(2_000)
    expect(heard(b)).toEqual([1])
    expect(heard(a)).toEqual([2])
    expect(lapses).toEqual([])
  })

  it.each(ROLES)('C79 that goes dead without a word gives way to the spare long before consent runs out; %s', async (role) => {
    const stage = await slowAccess(role)
    const { lab, a, b, host, lapses } = stage
    const name = addFastAccess(stage)
    await lab.run(30_000)
    expect(a.session.path?.rtt).toBeLessThan(150)
    host.linkOf(name).set({ loss: 1 })
    await lab.run(15_000)
    expect([a, b].map(({ session }) => (session.path?.rtt ?? 0) > 150)).toEqual([true, true])
    say(a, '1')
    say(b, '2')
    await lab.run(500)
    expect([heard(a), heard(b)]).toEqual([[2], [1]])
    expect(lapses).toEqual([])
  })
})

describe('before there is a nomination', () => {
  it('C50 C51 both ends have a path and carry data while every nomination is lost, and one gets through later', async () => {
    const lab = createLab({ seed: 3 })
    await serveStun(lab)
    const a = await makePeer(lab.host('a', { behind: lab.router('ra') }), 'b')
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
    join(lab, a, b)
    let lost = 0
    const heal = lab.filter(({ data }) => {
      if (Message.read(data)?.has(Attribute.UseCandidate) !== true) return undefined
      lost++
      return 'drop'
    })
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 1_000 })
    const lapses: string[] = []
    for (const { session } of [a, b]) session.on('state', (state) => lapses.push(state))
    const stage = { lab, a, b } as Stage
    const said = await talk(stage, 3_000, 50, 0)
    expect(lost).toBeGreaterThan(3)
    for (const peer of [a, b]) expect(heard(peer).length).toBeGreaterThanOrEqual(said - 2)
    heal()
    await lab.run(15_000)
    expect(a.session.explain().pairs.some(({ nominated }) => nominated)).toBe(true)
    expect(b.session.explain().pairs.some(({ nominated }) => nominated)).toBe(true)
    expect([heard(a), heard(b)]).toEqual([numbers(0, said), numbers(0, said)])
    expect(lapses).toEqual([])
  })

  it('C72 the first valid pair carries data at once, and `path` tells when a better one takes over', async () => {
    const lab = createLab({ seed: 3, families: [4, 6] })
    await serveStun(lab)
    const a = await makePeer(lab.host('a', { behind: lab.router('ra') }), 'b')
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
    // IPv6 has the higher priority, and is broken for the first half second.
    const heal = lab.filter(({ to, data }) =>
      to.family === 6 && Message.read(data)?.has(Attribute.Username) === true ? 'drop' : undefined,
    )
    const paths: { at: number; family: number }[] = []
    a.session.on('path', ({ family }) => {
      paths.push({ at: lab.clock.now(), family })
      if (paths.length === 1) say(a, 'at once')
    })
    join(lab, a, b)
    const first = await lab.until(a.session.ready, { within: 500 })
    expect(first.family).toBe(4)
    await lab.run(100)
    expect(b.inbox).toEqual(['at once'])
    heal()
    await lab.run(10_000)
    expect(paths.map(({ family }) => family)).toEqual([4, 6])
    expect([a.session.path?.family, b.session.path?.family]).toEqual([6, 6])
  })
})

describe('C80 what the two ends say of the path', () => {
  const easy = ['none', 'fullCone', 'portRestricted'] as const
  const homes: readonly (readonly [NatPreset | 'none', NatPreset | 'none'])[] = [
    ...easy.flatMap((x) => easy.map((y) => [x, y] as const)),
    ['linux', 'linux'],
    ['symmetricSequential', 'none'],
    ['symmetricSequential', 'fullCone'],
    ['symmetricRandom', 'addressRestricted'],
  ]

  it.each(homes)('is each other’s mirror image: %s and %s', async (x, y) => {
    const lab = createLab({ seed: 5 })
    await serveStun(lab)
    const place = (name: string, kind: NatPreset | 'none'): LabHost =>
      lab.host(name, kind === 'none' ? {} : { behind: lab.router(`r${name}`, { nat: kind }) })
    const a = await makePeer(place('a', x), 'b')
    const b = await makePeer(place('b', y), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]), { within: 5_000 })
    await lab.run(5_000)
    const [ofA, ofB] = [a, b].map(({ session }) => session.path as Path) as [Path, Path]
    const ends = ({ ip, port }: Path['local']): string => `${ip} ${port}`
    expect([ends(ofA.local), ends(ofA.remote)]).toEqual([ends(ofB.remote), ends(ofB.local)])
  })
})

describe('C65 of two paths of a session', () => {
  /** The second one is slower by so many milliseconds each way. */
  async function twoAccesses(slower: number, jitter = 0): Promise<{ lab: Lab; host: LabHost; a: Peer; changes: number[] }> {
    const lab = createLab({ seed: 4, jitter })
    await serveStun(lab)
    const host = lab.host('a', {
      interfaces: [{ behind: lab.router('one') }, { behind: lab.router('two', { link: { delay: 10 + slower } }) }],
    })
    const a = await makePeer(host, 'b')
    const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
    join(lab, a, b)
    await lab.until(Promise.all([a.session.ready, b.session.ready]))
    await lab.run(20_000)
    const changes: number[] = []
    a.session.on('path', () => changes.push(lab.clock.now()))
    return { lab, host, a, changes }
  }

  it('one that is faster by a few milliseconds, or wavers, does not take over', async () => {
    const { lab, changes } = await twoAccesses(2, 6)
    await lab.run(1_800_000)
    expect(changes).toEqual([])
  })

  it('one that is faster by much does, once, within a minute of showing it', async () => {
    const { lab, host, a, changes } = await twoAccesses(20)
    const before = a.session.path?.rtt ?? 0
    host.linkOf('eth0').set({ delay: 60 })
    await lab.run(60_000)
    expect(changes).toHaveLength(1)
    expect(a.session.path?.rtt).toBeGreaterThan(before)
    await lab.run(600_000)
    expect(changes).toHaveLength(1)
  })
})
