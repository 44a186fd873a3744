/** Port mapping under attack and in bad luck: what must not be believed, what must not be lost, and what must not be told. */
import { afterEach, describe, expect, it } from 'vitest'
import { createTraversal, type Traversal } from '../../src/index.ts'
import { Address } from '../../src/net/index.ts'
import { Attribute, Message, MessageWriter, Method } from '../../src/stun/index.ts'
import { CountingNetwork, NOTHING_LEFT } from './counting-network.ts'
import { closeAll, expectNoDeadCandidate, type Home, home, keep, mappedAt, mapping, PROTOCOLS, speaking, start } from './mapped.ts'
import { join, makePeer, meet, type Peer, SERVER } from './meeting.ts'
import { turn } from './relays.ts'

async function meetSomebody(
  at: Home,
  traversal: Traversal,
  nat: 'symmetricRandom' | 'fullCone' | 'portRestricted' = 'symmetricRandom',
  name = 'b',
): Promise<{ a: Peer; b: Peer }> {
  const { lab } = at
  const a = meet('a', traversal, name)
  const b = await lab.until(makePeer(lab.host(name, { behind: lab.router(`of ${name}`, { nat }) }), 'a'))
  keep(at, b.traversal)
  join(lab, a, b)
  return { a, b }
}

afterEach(closeAll)

/** A STUN server that claims another address, and answers as it likes. */
async function liar({ lab }: Home, other: string, answers: boolean): Promise<string> {
  const host = lab.host('liar')
  const ip = host.addresses[0]?.ip as string
  const socket = await host.bind({ family: 4, ip, port: 3478 })
  const writer = new MessageWriter(256)
  socket.handle({
    datagram: (data, from) => {
      const message = Message.read(data)
      if (message === undefined || message.class !== 'request') return
      if (message.has(Attribute.ChangeRequest) && !answers) return
      socket.send(
        writer
          .start('success', Method.Binding, message.transactionId)
          .address(Attribute.XorMappedAddress, from)
          .address(Attribute.OtherAddress, Address.of(other === '' ? ip : other, 3479))
          .fingerprint()
          .finish()
          .slice(),
        from,
      )
    },
    sendFailed: () => {},
    drained: () => {},
    lost: () => {},
  })
  return `stun:${ip}`
}

describe('on trial', () => {
  it('what servers see as well is offered to everybody, whatever comes of the trial', async () => {
    const at = await home(true, 'portRestricted')
    const traversal = await start(at, { servers: [SERVER] })
    await at.lab.run(3_000)
    const { mapped } = traversal.status().servers[0] as { mapped?: string }
    expect(traversal.status().candidates.join()).toContain(` ${String(mapped).split(':')[1]} typ srflx`)
  })

  it('a check that came through the hole we made ourselves proves nothing', async () => {
    const at = await home({ faults: { ghost: true } }, 'portRestricted')
    const traversal = await start(at, { servers: [SERVER] })
    const { a, b } = await meetSomebody(at, traversal, 'portRestricted')
    await at.lab.until(Promise.all([a.session.ready, b.session.ready]))
    await at.lab.run(10_000)
    expect(mapping(traversal).proven).toBeUndefined()
  })

  it('also behind a server that claims to prove and does not', async () => {
    const at = await home(true)
    const traversal = await start(at, { servers: [SERVER, await liar(at, '192.0.2.99', false)] })
    await at.lab.run(15_000)
    const { a, b } = await meetSomebody(at, traversal)
    await at.lab.until(Promise.all([a.session.ready, b.session.ready]))
    expect(a.session.path?.kind).toBe('direct')
    expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal))
  })

  it('what a peer proved is not proven any more when servers see another address', async () => {
    const at = await home({ faults: { externalAddress: '10.1.2.3' } })
    const traversal = await start(at, { servers: [SERVER] })
    const { a, b } = await meetSomebody(at, traversal)
    await at.lab.until(Promise.all([a.session.ready, b.session.ready]))
    await at.lab.run(5_000)
    expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal))
    at.router.reboot({ renumber: true })
    await at.lab.run(90_000)
    expectNoDeadCandidate(traversal, at.router)
  })
})

describe('a server that claims another address', () => {
  it.for(['portRestricted', 'symmetricRandom'] as const)('and answers from its own proves nothing, behind a %s NAT', async (nat) => {
    const at = await home({ faults: { ghost: true } }, nat)
    const traversal = await start(at, { servers: [await liar(at, '', true)] })
    await at.lab.run(20_000)
    expect(mapping(traversal).proven).toBeUndefined()
  })
})

describe('roaming', () => {
  it.for(PROTOCOLS)('%s: back with the same address at a router that still has the mapping, it is there again', async (protocol) => {
    const at = await home(speaking([protocol]), 'portRestricted')
    const traversal = await start(at, { port: 4_000 })
    await at.lab.run(3_000)
    const office = at.lab.router('office', { nat: 'portRestricted' })
    const addresses = at.host.addresses.map(({ ip }) => ip)
    for (let i = 0; i < 3; i++) {
      at.host.moveTo(office)
      await at.lab.run(60_000)
      at.host.moveTo(at.router, { addresses })
      await at.lab.run(60_000)
      expect(mapping(traversal).proven).toBe(mappedAt(at.router, traversal) ?? 'nothing')
    }
  })
})

describe('hidden hosts', () => {
  it('private addresses are in no signal', async () => {
    for (const nat of ['portRestricted', 'symmetricRandom'] as const)
      for (const servers of [[SERVER], [SERVER, turn('relay')]]) {
        const at = await home(true, nat)
        const traversal = await start(at, { servers, hosts: { offer: false } })
        const signals: string[] = []
        const { a, b } = await meetSomebody(at, traversal)
        a.session.on('signal', (signal) => signals.push(JSON.stringify(signal)))
        await at.lab.until(Promise.all([a.session.ready, b.session.ready]))
        await at.lab.run(70_000)
        expect(signals.join() + traversal.status().candidates.join()).not.toContain('192.168.')
      }
  })
})

describe('close', () => {
  it.for([0, 1, 2, 5, 30, 90, 130, 210, 700, 4_000, 8_000])('after %i ms: within a second, and nothing is left', async (time) => {
    for (const faults of [{}, { silent: true }, { ghost: true }, { delay: 2_000 }])
      for (const nat of ['portRestricted', 'symmetricRandom'] as const) {
        const at = await home({ faults }, nat)
        const network = new CountingNetwork(at.host)
        const traversal = await at.lab.until(createTraversal({ network, servers: [SERVER, turn('relay')], portMapping: true }))
        await at.lab.run(time)
        const from = at.lab.clock.now()
        await at.lab.until(traversal.close())
        expect(at.lab.clock.now() - from).toBeLessThanOrEqual(1_000)
        expect(network.left).toEqual(NOTHING_LEFT)
        const { sends } = network
        await at.lab.run(60_000)
        expect({ ...network.left, sends: network.sends }).toEqual({ ...NOTHING_LEFT, sends })
      }
  })
})
