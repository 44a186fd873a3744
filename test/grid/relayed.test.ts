/**
 * The virtual grid with a relay: the same cells as in grid.test.ts, and the same with UDP blocked on one side or both. Everybody connects, and
 * where plain ICE can get a direct path it carries the data in the end.
 */
import { describe, expect, it } from 'vitest'
import { meetIn } from '../../bench/connect/meet.js'
import { type Cell, hostBehind, KINDS, PAIRS, RELATIONS } from '../../bench/connect/topologies.js'
import { createTraversal, type IceServer } from '../../src/index.ts'
import { createLab, type Lab } from '../../src/lab/index.ts'
import { createRelay } from '../../src/relay/index.ts'
import { createStunServer } from '../../src/stun/index.ts'
import { canMeet } from './reachable.ts'

const library = { createLab, createTraversal, createStunServer }

async function serveRelay(lab: Lab, scheme: 'turn' | 'turns'): Promise<readonly IceServer[]> {
  const host = lab.host('relay')
  const relay = { network: host, users: { ann: 'secret' }, peers: { private: true } }
  await createRelay(scheme === 'turn' ? relay : { ...relay, tls: { cert: 'in the lab', key: 'there is none' } })
  const port = scheme === 'turn' ? 3478 : 5349
  return host.addresses
    .slice(0, 1)
    .map((address) => ({ urls: `${scheme}:${address.withPort(port).key}`, username: 'ann', credential: 'secret' }))
}

async function checkCell(cell: Cell, scheme: 'turn' | 'turns', direct: 'as the rule says' | 'never'): Promise<void> {
  const meeting = await meetIn(library, cell, {
    relays: (lab: Lab) => serveRelay(lab, scheme),
    inspect: ([a, b], servers) => canMeet(a, b, servers),
    linger: 3_000,
  })
  const account = meeting.explanations.join('\n')
  const kind = direct !== 'never' && meeting.judged ? 'direct' : 'relay'
  for (const { path, inbox } of meeting.sides) {
    expect(path?.kind, account).toBe(kind)
    expect([...inbox].sort(), account).toEqual(['answer', 'question'])
  }
}

const blocked = [{ blockUdp: true }]
/** A network that lets no UDP out, against every kind of network, itself included. */
const WITHOUT_UDP: readonly Cell[] = [...KINDS, { name: 'no UDP', short: 'noudp', routers: blocked }].flatMap((kind) => [
  { name: `no UDP × ${kind.name}`, build: (lab: Lab) => [hostBehind(lab, 'a', blocked), hostBehind(lab, 'b', kind.routers)] },
  { name: `${kind.name} × no UDP`, build: (lab: Lab) => [hostBehind(lab, 'a', kind.routers), hostBehind(lab, 'b', blocked)] },
]) as never

describe('with a relay all pairs connect, directly where plain ICE can', () => {
  it.for(PAIRS)('$name', (cell) => checkCell(cell, 'turn', 'as the rule says'))
  it.for(RELATIONS)('$name', (cell) => checkCell(cell, 'turn', 'as the rule says'))
})

describe('with a relay over TCP a network without UDP connects, too', () => {
  it.for(WITHOUT_UDP)('$name', (cell) => checkCell(cell, 'turn', 'never'))
})

describe('and over TLS', () => {
  it.for(WITHOUT_UDP)('$name', (cell) => checkCell(cell, 'turns', 'never'))
})
