/**
 * The virtual grid with a router on one side, the nearest, that maps ports: a peer behind it alone is reached by everybody, and behind a
 * carrier's NAT as far as that one lets others in.
 */
import { describe, expect, it } from 'vitest'
import { meetIn } from '../../bench/connect/meet.js'
import { hostBehind, KINDS } from '../../bench/connect/topologies.js'
import { createTraversal, type IceServer, type TraversalOptions } from '../../src/index.ts'
import { createLab, type Lab, type PortMappingOptions, type PortMappingProtocol } from '../../src/lab/index.ts'
import { loadXml } from '../../src/pmp/upnp/index.ts'
import { createRelay } from '../../src/relay/index.ts'
import { createStunServer } from '../../src/stun/index.ts'
import { PROTOCOLS, speaking } from '../traversal/mapped.ts'
import { canMeet } from './reachable.ts'

type Kind = (typeof KINDS)[number]

const library = {
  createLab,
  createTraversal: (options: TraversalOptions = {}) => createTraversal({ ...options, portMapping: true }),
  createStunServer,
}
const fullCone = { mapping: 'EIM', filtering: 'EIF', ports: 'preserving' } as const

/** With the nearest router, if there is one, changed. */
function hosts(lab: Lab, a: Kind, b: Kind, nearest: object): readonly [ReturnType<Lab['host']>, ReturnType<Lab['host']>] {
  const routers = (a.routers as readonly object[]).map((router, index) => (index === 0 ? { ...router, ...nearest } : router))
  return [hostBehind(lab, 'a', routers), hostBehind(lab, 'b', b.routers)]
}

async function serveRelay(lab: Lab): Promise<readonly IceServer[]> {
  const host = lab.host('relay')
  await createRelay({ network: host, users: { ann: 'secret' }, peers: { private: true } })
  return host.addresses.map((address) => ({ urls: `turn:${address.withPort(3478).key}`, username: 'ann', credential: 'secret' }))
}

interface Meeting {
  readonly portMapping: PortMappingOptions | boolean
  readonly relay: boolean
}

async function meet(a: Kind, b: Kind, { portMapping, relay }: Meeting): Promise<readonly (string | undefined)[]> {
  await loadXml()
  const cell = { name: `${a.name} × ${b.name}`, build: (lab: Lab) => hosts(lab, a, b, { portMapping }) }
  const meeting = await meetIn(library, cell as never, { linger: 3_000, ...(relay ? { relays: serveRelay } : {}) })
  return meeting.sides.map(({ path }) => path?.kind)
}

/** As if the nearest router were a full cone: that is what a mapping makes of it for the port. */
function expected(a: Kind, b: Kind): 'direct' | 'relay' {
  const twin = createLab()
  const servers = ['stun1', 'stun2'].flatMap((name) => twin.host(name).addresses.map(({ ip }) => ip))
  const translating = a.routers.length > 0 && a.short !== 'fw'
  const [hostA, hostB] = hosts(twin, a, b, translating ? { nat: fullCone } : {})
  return canMeet(hostA, hostB, servers) ? 'direct' : 'relay'
}

describe('with a relay, and a router that maps ports on one side', () => {
  it.for(KINDS.flatMap((a) => KINDS.map((b) => ({ name: `${a.name} × ${b.name}`, a, b }))))('$name', async ({ a, b }) => {
    const kind = expected(a, b)
    expect(await meet(a, b, { portMapping: true, relay: true })).toEqual([kind, kind])
  })
})

describe('hard × hard', () => {
  const hard = KINDS.find(({ short }) => short === 'symR') as Kind
  it.for(PROTOCOLS.flatMap((protocol) => [true, false].map((relay) => [protocol, relay] as const)))(
    'with %s on one side: direct, a relay being there: %s',
    async ([protocol, relay]: readonly [PortMappingProtocol, boolean]) => {
      expect(await meet(hard, hard, { portMapping: speaking([protocol]), relay })).toEqual(['direct', 'direct'])
    },
  )
  it('without: over the relay, or not at all', async () => {
    expect(await meet(hard, hard, { portMapping: false, relay: true })).toEqual(['relay', 'relay'])
    expect(await meet(hard, hard, { portMapping: false, relay: false })).toEqual([undefined, undefined])
  })
})
