/** What a user with good credentials can take: as many allocations as he may have, and nothing that does not come back. */
import { afterEach, describe, expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import { Message } from '../../../src/stun/index.ts'
import { Party } from './party.ts'
import { ServerProcess } from './server-process.ts'
import { ALLOCATE, CREATE_PERMISSION, lifetime, newId, REFRESH, sealed, UDP, xorPeer } from './wire.ts'
import { Witness } from './witness.ts'

const ATTEMPTS = 100_000
const CYCLES = 10_000
/** Requests at once: their answers fit the smallest buffer of a socket. */
const BATCH = 64
/** Bytes of heap: ten for each attempt. */
const HELD_SLACK = 1 << 20
const RESIDENT_SLACK = 48 << 20

const servers: ServerProcess[] = []
const parties: { close(): void }[] = []

afterEach(async () => {
  for (const party of parties.splice(0)) party.close()
  for (const server of servers.splice(0)) await server.stop()
})

async function start(...args: readonly string[]): Promise<{ server: ServerProcess; witness: Witness }> {
  const server = await ServerProcess.serve('--allow-private-peers', ...args)
  servers.push(server)
  const witness = await Witness.over(await Party.udp(server.udp[0]!, 'alice'))
  parties.push(witness)
  return { server, witness }
}

async function partyOf(made: Promise<Party>): Promise<Party> {
  const party = await made
  parties.push(party)
  return party
}

describe('a user who has all that he may have', { timeout: 300_000 }, () => {
  it(`gets 486 to ${ATTEMPTS} attempts more, which leave nothing, and others get their allocations`, async () => {
    const { server, witness } = await start('--max-user-allocations', '4')
    const mallory: Party[] = []
    for (let i = 0; i < 12; i++) mallory.push(await partyOf(Party.udp(server.udp[0]!)))
    const first = await Promise.all(mallory.map((party) => party.allocate()))
    expect(first.filter((one) => one === 486)).toHaveLength(8)
    const refused = mallory.filter((_, i) => first[i] === 486)
    const codes = new Map<number | undefined, number>()
    for (const party of refused) {
      party.heard = (data) => {
        const code = Message.read(data)?.errorCode()?.code
        codes.set(code, (codes.get(code) ?? 0) + 1)
      }
    }
    const bob = await partyOf(Party.udp(server.udp[0]!, 'bob'))
    let before = await server.memory()
    const descriptors = server.descriptors()
    for (let third = 1; third <= 3; third++) {
      while ((codes.get(486) ?? 0) < (ATTEMPTS * third) / 3) {
        for (let i = 0; i < BATCH; i++) {
          const party = refused[i % refused.length]!
          party.send(sealed(ALLOCATE, UDP, party.credentials!))
        }
        await witness.beat()
      }
      expect(await bob.allocate()).toBeInstanceOf(Address)
      expect((await bob.request(REFRESH, () => lifetime(0))).code).toBeUndefined()
      if (third === 1) before = await server.memory()
    }
    const after = await server.memory()
    expect([...codes.keys()]).toEqual([486])
    expect(after.held - before.held).toBeLessThan(HELD_SLACK)
    expect(after.resident - before.resident).toBeLessThan(RESIDENT_SLACK)
    await server.descriptorsDownTo(descriptors)
    // Four of mallory's, and the witness.
    expect(await server.metric('relay_allocations')).toBe(5)
    expect([witness.damaged, server.trouble]).toEqual([[], ''])
  })

  it('has room for peers up to a bound, and 508 above it', async () => {
    const { server, witness } = await start()
    const party = await partyOf(Party.udp(server.udp[0]!))
    await party.allocate()
    const codes: (number | undefined)[] = []
    for (let i = 0; i < 50; i++) {
      const peers = (id: Buffer): Buffer => Buffer.concat(Array.from({ length: 100 }, (_, k) => xorPeer(Buffer.of(8, 8, i, k), 9, id)))
      codes.push((await party.request(CREATE_PERMISSION, peers)).code)
    }
    expect(codes).toEqual([...Array(10).fill(undefined), ...Array(40).fill(508)])
    await witness.beat()
    expect(await server.metric('relay_permissions')).toBe(1_001)
  })
})

describe('allocations that come and go', { timeout: 300_000 }, () => {
  /** Of relayed addresses, but for a few, and of the quota: what is not given back is missed soon. The ports are not those that systems draw. */
  const PORTS = 16

  it(`${CYCLES} times leave no descriptor, no port and no memory behind`, async () => {
    const { server, witness } = await start('--relay-ports', `21000-${21003 + PORTS}`, '--max-user-allocations', String(PORTS))
    const mallory: Party[] = []
    for (let i = 0; i < PORTS; i++) mallory.push(await partyOf(Party.udp(server.udp[0]!)))
    for (const party of mallory) await party.challenge()
    const descriptors = server.descriptors()
    const cycle = async (party: Party): Promise<void> => {
      expect(await party.allocate()).toBeInstanceOf(Address)
      expect((await party.request(REFRESH, () => lifetime(0))).code).toBeUndefined()
    }
    let before = await server.memory()
    for (let third = 0; third < 3; third++) {
      for (let round = 0; round < CYCLES / PORTS / 3; round++) await Promise.all([...mallory.map(cycle), witness.beat()])
      if (third === 0) before = await server.memory()
    }
    const after = await server.memory()
    expect(after.held - before.held).toBeLessThan(HELD_SLACK)
    expect(after.resident - before.resident).toBeLessThan(RESIDENT_SLACK)
    await server.descriptorsDownTo(descriptors)
    expect(await server.metric('relay_allocations_created_total')).toBeGreaterThan(CYCLES)
    expect(await server.metric('relay_allocations')).toBe(1)
    expect([witness.damaged, server.trouble]).toEqual([[], ''])
  })

  it('with connections that are cut give back their place, their port and their descriptors', async () => {
    const { server, witness } = await start('--relay-ports', '21100-21105', '--max-user-allocations', '3')
    const descriptors = server.descriptors()
    const once = async (): Promise<void> => {
      const party = await Party.tcp(server.tcp[0]!)
      // The one before it may be on its way out.
      while (typeof (await party.allocate()) === 'number') await witness.beat()
      party.stream?.resetAndDestroy()
      party.close()
    }
    let before = await server.memory()
    for (let third = 0; third < 3; third++) {
      for (let round = 0; round < 100; round++) await Promise.all([once(), once(), once(), witness.beat()])
      if (third === 0) before = await server.memory()
    }
    await server.descriptorsDownTo(descriptors)
    expect((await server.memory()).held - before.held).toBeLessThan(HELD_SLACK)
    expect([await server.metric('relay_allocations'), await server.metric('relay_connections')]).toEqual([1, 0])
    expect([witness.damaged, server.trouble]).toEqual([[], ''])
  })

  it('of a client that asks for pairs and gives up one of each are no more than he may have', async () => {
    const { server, witness } = await start('--max-user-allocations', '10')
    const party = await partyOf(Party.udp(server.udp[0]!))
    const codes: (number | undefined)[] = []
    for (let i = 0; i < 20; i++) {
      // EVEN-PORT with the bit that keeps the port above for 30 s.
      const pair = Buffer.concat([UDP, Buffer.from('0018000180000000', 'hex')])
      const credentials = party.credentials ?? (await party.challenge())
      codes.push((await party.ask(sealed(ALLOCATE, pair, credentials, newId()))).code)
      if (codes.at(-1) === undefined) await party.request(REFRESH, () => lifetime(0))
    }
    // Nine ports are kept; with the tenth place there is no pair.
    expect(codes).toEqual([...Array(9).fill(undefined), ...Array(11).fill(486)])
    await witness.beat()
    expect(await server.metric('relay_reservations')).toBe(9)
  })
})
