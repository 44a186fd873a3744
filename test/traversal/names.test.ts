/** A peer that hides its addresses behind names under `.local`, as browsers do, on a LAN of the virtual internet. */
import { describe, expect, it } from 'vitest'
import { createTraversal, type Signal } from '../../src/index.ts'
import type { Lab, LabHost } from '../../src/lab/index.ts'
import { CountingNetwork } from './counting-network.ts'
import { createLab, makePeer, meet, type Peer } from './meeting.ts'

const NAME = '1f4712db-ea17-4bcf-a596-105139dfd8bf.local'

interface Home {
  readonly lab: Lab
  readonly a: Peer
  readonly b: Peer
  readonly hostB: LabHost
  readonly network: CountingNetwork
}

/** Both on one LAN. What `b` says goes to `a` through `rewrite`; nothing that `a` says reaches `b` while `mute`. */
async function home(rewrite: (candidates: readonly string[], ip: string) => readonly string[], mute = false): Promise<Home> {
  const lab = createLab({ delay: 20 })
  const router = lab.router('home')
  const hostB = lab.host('b', { behind: router })
  const { ip } = hostB.addresses[0]!
  const network = new CountingNetwork(lab.host('a', { behind: router }))
  const a = meet('a', await createTraversal({ network }), 'b')
  const b = await makePeer(hostB, 'a', { servers: [] })
  const [endA, endB] = lab.channel<string>()
  a.session.on('signal', (signal) => {
    if (!mute) endA.send(JSON.stringify(signal))
  })
  b.session.on('signal', (signal) => endB.send(JSON.stringify({ ...signal, candidates: rewrite(signal.candidates, ip) })))
  endA.onMessage((text) => void a.session.signal(JSON.parse(text) as Signal))
  endB.onMessage((text) => void b.session.signal(JSON.parse(text) as Signal))
  return { lab, a, b, hostB, network }
}

/** `a` alone, and the host of a peer whose signals the test makes up. */
async function alone(): Promise<Omit<Home, 'b'>> {
  const lab = createLab()
  const router = lab.router('home')
  const hostB = lab.host('b', { behind: router })
  const network = new CountingNetwork(lab.host('a', { behind: router }))
  return { lab, hostB, network, a: meet('a', await createTraversal({ network }), 'b') }
}

const hide = (lines: readonly string[], ip: string): string[] => lines.map((line) => line.replace(` ${ip} `, ` ${NAME} `))
const both = (lines: readonly string[], ip: string): string[] => [...hide(lines, ip), ...lines]

/** What `a` knows of the addresses of `b`. */
function offered({ a }: Pick<Home, 'a'>): readonly string[] {
  return a.session.explain().remoteCandidates
}

/** A signal as another agent gives it: one of many, and nothing is taken back. */
function foreign(candidates: readonly string[], ufrag = 'abcd'): Signal {
  return { v: 1, ufrag, pwd: 'x'.repeat(22), candidates }
}

const line = (name: string, port = 5_000): string => `candidate:1 1 udp 2130706431 ${name} ${port} typ host`

describe('a peer behind a name under .local', () => {
  it('C19 is found when somebody on the link answers for the name', async () => {
    const met = await home(hide, true)
    const { lab, a, hostB } = met
    const { ip } = hostB.addresses[0]!
    lab.dns.set(NAME, [ip], 5)
    const path = await lab.until(a.session.ready)
    expect(path).toMatchObject({ kind: 'direct', remote: { type: 'host', ip } })
    expect(String(a.session.explain())).toContain(`${NAME} is ${ip}`)
  })

  it.each([
    ['that nobody answers for', undefined],
    ['that is answered for never', Number.POSITIVE_INFINITY],
    ['that is answered for after 9 s', 9_000],
  ])('C19 delays nothing else by a name %s', async (_what, delay) => {
    const times: number[] = []
    for (const rewrite of [both, (lines: readonly string[]) => lines]) {
      const { lab, a, hostB } = await home(rewrite)
      if (delay !== undefined) lab.dns.set(NAME, [hostB.addresses[0]!.ip], delay)
      await lab.until(a.session.ready)
      times.push(lab.clock.now())
    }
    expect(times[0]).toBe(times[1])
  })

  it('C19 is given up on by that name after 10 s, with the reason, and everything is given back', async () => {
    const met = await home(hide)
    const { lab, a, network } = met
    await lab.run(9_000)
    expect(network.left.lookups).toBe(1)
    await lab.run(2_000)
    expect(network.left.lookups).toBe(0)
    expect(a.session.explain().refused).toEqual([`${NAME}: nobody on our links answered for it within 10 s`])
  })

  it('C19 is added late, when the name turns up while it is asked for again', async () => {
    const met = await home(hide, true)
    const { lab, a, hostB } = met
    lab.after(5_000, () => lab.dns.set(NAME, [hostB.addresses[0]!.ip]))
    await lab.run(6_900)
    expect(offered(met)).toEqual([])
    await lab.until(a.session.ready)
    expect(lab.clock.now()).toBeLessThan(7_200)
  })

  it('C19 is asked for once, however often it is signalled, and kept while its line is in the signal', async () => {
    const met = await home(hide)
    const { lab, a, b, hostB, network } = met
    lab.dns.set(NAME, [hostB.addresses[0]!.ip])
    await lab.until(a.session.ready)
    const lookups = network.localLookups
    // More news from the peer: another list, and another one after it.
    hostB.addInterface({ behind: hostB.behind! })
    await lab.run(5_000)
    b.session.restart()
    await lab.run(5_000)
    expect(network.localLookups).toBe(lookups)
    expect(offered(met)).toContainEqual(expect.stringMatching(`${hostB.addresses[0]!.ip} .* typ host`))
    expect(a.session.state).toBe('connected')
  })

  it('C19 is withdrawn with its line: before the answer it never becomes a candidate, after it it goes', async () => {
    for (const answer of [50, 3_000]) {
      let offers = true
      const met = await home((lines, ip) => (offers ? hide(lines, ip) : []), true)
      const { lab, hostB } = met
      lab.dns.set(NAME, [hostB.addresses[0]!.ip], answer)
      // A name that stands for somebody else: nothing proves itself there.
      lab.filter(({ host, protocol }) => (host === 'b' && protocol === 'udp' ? 'drop' : undefined))
      await lab.run(1_000)
      expect(offered(met)).toHaveLength(answer === 50 ? 1 : 0)
      offers = false
      hostB.addInterface({ behind: hostB.behind! })
      await lab.run(10_000)
      expect(offered(met)).toEqual([])
    }
  })

  it('C19 is not asked for after the session was closed', async () => {
    const met = await home(hide, true)
    const { lab, a, hostB, network } = met
    lab.dns.set(NAME, [hostB.addresses[0]!.ip], 3_000)
    await lab.run(1_000)
    expect(network.left.lookups).toBe(1)
    await a.session.close()
    await lab.run(0)
    expect(network.left.lookups).toBe(0)
    await lab.run(10_000)
    expect(offered(met)).toEqual([])
    expect(a.session.explain().refused).toEqual([])
  })

  it('C19 has at most 8 names asked for at a time, and another 8 once their 10 s are over', async () => {
    const { lab, a, network } = await alone()
    a.session.signal(foreign(Array.from({ length: 100 }, (_, i) => line(`name-${i}.local`))))
    await lab.run(0)
    expect(network.localLookups).toBe(8)
    const { refused } = a.session.explain()
    expect(refused).toHaveLength(92)
    expect(refused[0]).toBe('name-8.local: more than 8 names')
    // Taking names back does not make room any sooner.
    for (let round = 0; round < 20; round++) {
      a.session.signal(foreign([line(`other-${round}.local`)], `uf${round}g`))
      await lab.run(450)
    }
    expect(network.localLookups).toBe(8)
    await lab.run(2_000)
    for (let round = 0; round < 20; round++) a.session.signal(foreign([line(`later-${round}.local`)], `u${round}fg`))
    expect(network.localLookups).toBe(16)
  })

  it('C19 may have several ports under one name, which is asked for once, and may offer them one by one', async () => {
    const met = await alone()
    const { lab, a, hostB, network } = met
    const { ip } = hostB.addresses[0]!
    lab.dns.set(NAME, [ip], 100)
    a.session.signal(foreign([line(NAME, 5_000)]))
    a.session.signal(foreign([line(NAME, 5_001)]))
    await lab.run(150)
    a.session.signal(foreign([line(NAME.toUpperCase(), 5_002)]))
    for (let port = 6_000; port < 6_010; port++) a.session.signal(foreign([line(NAME, port)]))
    expect(offered(met)).toHaveLength(8)
    expect(offered(met).slice(0, 3)).toEqual([5_000, 5_001, 5_002].map((port) => line(ip, port)))
    expect(network.localLookups).toBe(1)
  })

  it('C19 is added when the answer comes after the end of candidates; a name that itself comes after the end is not', async () => {
    const met = await alone()
    const { lab, a, hostB, network } = met
    const { ip } = hostB.addresses[0]!
    lab.dns.set(NAME, [ip], 100)
    a.session.signal({ ...foreign([line(NAME)]), end: true })
    a.session.signal(foreign([line(NAME, 5_001), line('late.local')]))
    await lab.run(1_000)
    expect(offered(met)).toEqual([line(ip)])
    expect(network.localLookups).toBe(1)
    const reason = 'it comes after the end of candidates'
    expect(a.session.explain().refused).toEqual([`${NAME}: ${reason}`, `late.local: ${reason}`])
    // Until it starts over.
    a.session.signal(foreign([line(NAME, 5_001)], 'anew'))
    expect(offered(met)).toEqual([line(ip, 5_001)])
  })

  it('C19 stands for nothing when the answer is no address to send to', async () => {
    const met = await alone()
    const { lab, a, network } = met
    network.dns.lookupLocal = () => Promise.resolve('224.0.0.1')
    a.session.signal(foreign([line(NAME)]))
    await lab.run(0)
    expect(offered(met)).toEqual([])
    expect(a.session.explain().refused).toEqual([`${NAME}: nothing can be sent to 224.0.0.1`])
  })

  it('C19 is refused by any other name, and nobody is asked', async () => {
    const { lab, a, network } = await alone()
    a.session.signal(foreign([line('tracker.example.net'), line('a.b.local')]))
    await lab.run(0)
    expect(network.localLookups + network.lookups).toBe(0)
    expect(a.session.explain().refused).toHaveLength(2)
  })
})
