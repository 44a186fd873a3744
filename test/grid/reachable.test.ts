import { describe, expect, it } from 'vitest'
import { hostBehind } from '../../bench/connect/topologies.js'
import { createLab, type NatFiltering, type NatMapping, type NatOptions, type NatPreset, type RouterOptions } from '../../src/lab/index.ts'
import { canMeet } from './reachable.ts'

type Way = readonly RouterOptions[]

/** Nothing runs here: the rule reads what was built. */
function rule(a: Way, b: Way): boolean {
  const lab = createLab({ families: [4, 6] })
  const servers = [lab.host('stun1', { families: [4] }), lab.host('stun2', { families: [4] })]
  return canMeet(
    hostBehind(lab, 'a', a, { families: [4] }),
    hostBehind(lab, 'b', b, { families: [4] }),
    servers.flatMap(({ addresses }) => addresses.map(({ ip }) => ip)),
  )
}

const behind = (...nats: readonly (NatPreset | NatOptions)[]): Way => nats.map((nat) => ({ nat }))

const CONES: readonly NatPreset[] = ['fullCone', 'addressRestricted', 'portRestricted']
const SYMMETRIC: readonly NatPreset[] = [
  'symmetricSequential',
  'symmetricRandom',
  'symmetricPreserving',
  'symmetricAddressRestricted',
  'carrierBlock',
]

describe('the rule of the grid', () => {
  it('lets any two cones meet', () => {
    for (const a of CONES) for (const b of CONES) expect(rule(behind(a), behind(b)), `${a} × ${b}`).toBe(true)
  })

  it('lets everything meet a host in the open', () => {
    for (const nat of [...CONES, ...SYMMETRIC]) {
      expect(rule([], behind(nat)), nat).toBe(true)
      expect(rule(behind(nat), []), nat).toBe(true)
    }
  })

  it('lets a symmetric NAT meet full cone and address-restricted, but not port-restricted', () => {
    for (const nat of SYMMETRIC) {
      expect(rule(behind(nat), behind('fullCone')), nat).toBe(true)
      expect(rule(behind(nat), behind('addressRestricted')), nat).toBe(true)
      expect(rule(behind(nat), behind('portRestricted')), nat).toBe(false)
    }
  })

  it('lets no two symmetric NATs meet', () => {
    for (const a of SYMMETRIC) for (const b of SYMMETRIC) expect(rule(behind(a), behind(b)), `${a} × ${b}`).toBe(false)
  })

  it('takes the port-restricted home before a full-cone carrier for port-restricted', () => {
    expect(rule(behind('portRestricted', 'carrier'), behind('symmetricRandom'))).toBe(false)
    expect(rule(behind('fullCone', 'carrier'), behind('symmetricRandom'))).toBe(true)
    expect(rule(behind('portRestricted', 'carrier'), behind('portRestricted'))).toBe(true)
  })

  it('takes a chain with one symmetric NAT for symmetric, wherever it stands', () => {
    for (const chain of [behind('symmetricRandom', 'fullCone'), behind('fullCone', 'symmetricRandom')]) {
      expect(rule(chain, behind('portRestricted'))).toBe(false)
      expect(rule(chain, behind('addressRestricted'))).toBe(true)
    }
  })

  it('takes a stateful firewall before a public address for port-restricted, and none for open', () => {
    expect(rule([{ nat: false }], behind('symmetricRandom'))).toBe(false)
    expect(rule([{ nat: false, firewall: { filtering: 'ADF' } }], behind('symmetricRandom'))).toBe(true)
    expect(rule([{ nat: false, firewall: false }], behind('symmetricRandom'))).toBe(true)
  })

  it('agrees with what follows on paper for each mapping × filtering against each other', () => {
    for (const a of BEHAVIOURS) {
      for (const b of BEHAVIOURS) {
        const ways = [behind({ ...a, ports: 'random' }), behind({ ...b, ports: 'random' })] as const
        expect(rule(...ways), `${a.mapping} ${a.filtering} × ${b.mapping} ${b.filtering}`).toBe(onPaper(a, b))
      }
    }
  })

  it('lets two homes behind one carrier meet where it hairpins, and only there', () => {
    for (const hairpin of [true, false]) {
      const lab = createLab()
      const cgn = lab.router('cgn', { nat: 'carrier', hairpin })
      const [a, b] = ['a', 'b'].map((name) => lab.host(name, { behind: lab.router(`home of ${name}`, { behind: cgn }) }))
      expect(canMeet(a!, b!, [lab.host('stun').addresses[0]!.ip])).toBe(hairpin)
    }
  })

  it('lets two hosts on one LAN meet whatever the router does', () => {
    const lab = createLab()
    const router = lab.router('router', { nat: 'symmetricRandom', blockUdp: true })
    expect(canMeet(lab.host('a', { behind: router }), lab.host('b', { behind: router }), [])).toBe(true)
  })

  it('lets nobody meet through a router that blocks UDP', () => {
    expect(rule([{ nat: 'fullCone', blockUdp: true }], [])).toBe(false)
    expect(rule([], [{ nat: 'fullCone', blockUdp: true }])).toBe(false)
  })

  it('needs no server where a host is in the open, and one where none is', () => {
    const lab = createLab()
    const [a, b, open] = [hostBehind(lab, 'a', behind('portRestricted')), hostBehind(lab, 'b', behind('portRestricted')), lab.host('open')]
    expect(canMeet(a, open, [])).toBe(true)
    expect(canMeet(a, b, [])).toBe(false)
  })

  it('keeps the families apart', () => {
    const lab = createLab({ families: [4, 6] })
    const hard = lab.router('hard', { nat: 'symmetricRandom' })
    const a = lab.host('a', { behind: hard })
    const b = lab.host('b', { behind: lab.router('other', { nat: 'symmetricRandom' }) })
    expect(canMeet(a, b, [])).toBe(true)
    expect(canMeet(a, lab.host('c', { families: [6] }), [])).toBe(true)
    expect(canMeet(lab.host('d', { families: [4] }), lab.host('e', { families: [6] }), [])).toBe(false)
  })
})

interface Behaviour {
  readonly mapping: NatMapping
  readonly filtering: NatFiltering
}

const BEHAVIOURS: readonly Behaviour[] = (['EIM', 'ADM', 'APDM'] as const).flatMap((mapping) =>
  (['EIF', 'ADF', 'APDF'] as const).map((filtering) => ({ mapping, filtering })),
)

/** For one NAT on either side, by hand: who is known where, and who is let in. */
function onPaper(a: Behaviour, b: Behaviour): boolean {
  if (a.mapping === 'EIM' && b.mapping === 'EIM') return true
  // The known side has to take in a port that it could not send to first; its own packets have started a session meanwhile, by a mapping
  // that nobody knows, so that an open filter on the other side is of no use.
  if (a.mapping === 'EIM') return a.filtering !== 'APDF'
  if (b.mapping === 'EIM') return b.filtering !== 'APDF'
  // Both come from unknown ports. A mapping made for the STUN server and open to all takes the packet in and lets the answer out.
  return a.filtering === 'EIF' || b.filtering === 'EIF'
}
