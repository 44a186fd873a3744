import { describe, expect, it } from 'vitest'
import { createLab, type LabHost } from '../../../src/lab/index.ts'
import { Address, type DatagramSocket, type Network } from '../../../src/net/index.ts'
import { createRelay, type RelayEvent, type RelayOptions } from '../../../src/relay/index.ts'
import { Attribute, MessageWriter, Method } from '../../../src/stun/index.ts'
import { open } from '../../lab/talk.ts'
import { CountingNetwork, NOTHING_LEFT } from '../../traversal/counting-network.ts'
import { setStage } from './stage.ts'
import { codeOf, TurnClient } from './turn-client.ts'

const USERS = { alice: 'wonder' }

describe('createRelay', () => {
  const host = (): Network => createLab({ families: [4, 6] }).host('relay')
  const refused = (options: Partial<RelayOptions>): Promise<unknown> =>
    createRelay({ network: host(), users: USERS, ...options }).catch((error: unknown) => error)

  it('needs a network, and a way to tell users: there is no open relay', async () => {
    await expect(createRelay({ users: USERS } as never)).rejects.toThrow(/^option network is missing/)
    await expect(createRelay({ network: host() })).rejects.toThrow(/no open relay/)
    expect(await refused({ users: {} })).toBeInstanceOf(TypeError)
    expect(await refused({ users: {}, secrets: [] })).toBeInstanceOf(TypeError)
  })

  it.each<[Partial<RelayOptions>, RegExp]>([
    [{ port: 70_000 }, /^port/],
    [{ tlsPort: -1 }, /^tlsPort/],
    [{ port: 1, alternatePort: 1 }, /^alternatePort/],
    [{ udp: false, tcp: false }, /^udp, tcp and tls/],
    [{ tls: { cert: 1, key: 2 } as never }, /^tls/],
    [{ tls: { cert: 'c', key: 'k' }, port: 5, tlsPort: 5 }, /^tlsPort/],
    [{ realm: '' }, /^realm/],
    [{ realm: 'x'.repeat(128) }, /^realm/],
    [{ users: { alice: '' } }, /^users/],
    [{ secrets: [''] }, /^secrets/],
    [{ authenticate: 5 as never }, /^authenticate/],
    [{ addresses: [] }, /^addresses/],
    [{ addresses: ['203.0.113.1', '203.0.113.1'] }, /^addresses/],
    [{ addresses: ['203.0.113.1', '0.0.0.0'] }, /^addresses/],
    [{ addresses: ['relay.example'] }, /not an IP address/],
    [{ relayAddresses: [] }, /^relayAddresses/],
    [{ relayAddresses: ['0.0.0.0'] }, /^relayAddresses/],
    [{ relayAddresses: ['203.0.113.1'], externalAddresses: ['9.9.9.9', '9.9.9.8'] }, /^externalAddresses/],
    [{ ports: { min: 0, max: 5 } }, /^ports/],
    [{ ports: { min: 6, max: 5 } }, /^ports/],
    [{ lifetimes: { standard: 0 } }, /^lifetimes.standard/],
    [{ lifetimes: { longest: 1000 } }, /^lifetimes.longest/],
    [{ quotas: { allocations: -1 } }, /^quotas.allocations/],
    [{ strangers: { burst: 0 } }, /^strangers.burst/],
    [{ strangers: { perSecond: 0 } }, /^strangers.perSecond/],
    [{ connections: { patience: 0 } }, /^connections.patience/],
    [{ peers: { allow: ['10.0.0.0/99'] } }, /10\.0\.0\.0\/99/],
    [{ nonceSecret: new Uint8Array(4) }, /^secret/],
    [{ nonceLifetime: 0 }, /^nonceLifetime/],
  ])('refuses %j', async (options, message) => {
    expect(await refused(options)).toMatchObject({ message: expect.stringMatching(message) })
  })

  it('rejects with ERR_BIND where a port is taken, and keeps nothing', async () => {
    const lab = createLab()
    const server = lab.host('relay')
    await server.listen({ family: 4, port: 3478 }, () => {})
    const network = new CountingNetwork(server)
    await expect(createRelay({ network, users: USERS })).rejects.toMatchObject({ code: 'ERR_BIND' })
    expect(network.left).toEqual(NOTHING_LEFT)
  })

  it('listens on any port for 0, on the same one over UDP and TCP', async () => {
    const relay = await createRelay({ network: host(), users: USERS, port: 0, addresses: ['203.0.113.1', '2001:db8::1'] })
    const { udp, tcp, tls } = relay.addresses
    expect(udp.map(({ key }) => key)).toEqual(tcp.map(({ key }) => key))
    expect([udp.length, tls]).toEqual([2, []])
    const ports = udp.map(({ port }) => port)
    expect(relay.uris).toEqual([
      `turn:203.0.113.1:${ports[0]}?transport=udp`,
      `turn:[2001:db8::1]:${ports[1]}?transport=udp`,
      `turn:203.0.113.1:${ports[0]}?transport=tcp`,
      `turn:[2001:db8::1]:${ports[1]}?transport=tcp`,
    ])
  })

  it('draws another port for 0 where the first one is taken for TCP, and keeps nothing of it', async () => {
    const server = host() as LabHost
    const taken: number[] = []
    /** Somebody else is at the first two that are drawn. */
    class Crowded extends CountingNetwork {
      override async listen(...[options, accept]: Parameters<Network['listen']>): ReturnType<Network['listen']> {
        if (taken.length < 2) taken.push((await server.listen(options, () => {})).local.port)
        return super.listen(options, accept)
      }
    }
    const network = new Crowded(server)
    const relay = await createRelay({ network, users: USERS, port: 0, addresses: ['203.0.113.1'] })
    const { udp, tcp } = relay.addresses
    expect(udp.map(({ key }) => key)).toEqual(tcp.map(({ key }) => key))
    expect([udp.length, taken.length, new Set([...taken, udp[0]!.port]).size]).toEqual([1, 2, 3])
    await relay.close()
    expect(network.left).toEqual(NOTHING_LEFT)
  })

  it('says in URIs what clients can reach, when it listens on the wildcard', async () => {
    const { relay } = await setStage()
    expect(relay.uris).toEqual([
      'turn:203.0.113.1?transport=udp',
      'turn:[2001:db8::1]?transport=udp',
      'turn:203.0.113.1?transport=tcp',
      'turn:[2001:db8::1]?transport=tcp',
    ])
  })
})

describe('drain', () => {
  it('refuses new allocations with 508, lets those live that stand, and resolves when the last is gone', async () => {
    const { client, lab, relay } = await setStage()
    const [alice, late] = [await client(), await client()]
    await alice.allocate()
    let drained = false
    void relay.drain().then(() => {
      drained = true
    })
    expect(codeOf(await late.allocate())).toBe(508)
    expect(codeOf(await alice.refresh(600))).toBe('success')
    expect([drained, relay.status().draining]).toEqual([false, true])
    await alice.refresh(0)
    await lab.run(1)
    expect(drained).toBe(true)
  })

  it('resolves at once when there is none, and at close', async () => {
    const { client, relay } = await setStage()
    await (await client()).allocate()
    const drained = relay.drain()
    await relay.close()
    await drained
    await relay.drain()
  })
})

describe('close', () => {
  it('leaves no socket, no timer and no watcher behind, whatever went on', async () => {
    const lab = createLab()
    const server = lab.host('relay')
    const network = new CountingNetwork(server)
    const relay = await createRelay({
      network,
      users: USERS,
      peers: { private: true },
      authenticate: () => new Promise(() => {}),
    })
    const at = server.addresses[0]!.withPort(3478)
    const alice = await TurnClient.udp(lab, lab.host('alice'), at)
    await alice.allocate((writer) => writer.bytes(Attribute.EvenPort, Uint8Array.of(0x80)))
    await alice.bind(0x4000, Address.of('198.18.0.9', 9))
    await (await TurnClient.tcp(lab, lab.host('bob'), at)).allocate()
    await TurnClient.tcp(lab, lab.host('carol'), at)
    expect(network.left.sockets).toBe(5)
    await relay.close()
    await relay.close()
    expect(network.left).toEqual(NOTHING_LEFT)
    expect(relay.status()).toMatchObject({ allocations: 0, users: 0, connections: 0, reservations: 0 })
    // Nothing answers any more.
    const { data } = alice.write(Method.Refresh)
    expect(await alice.exchange(data)).toBeUndefined()
  })

  it('leaves nothing of allocations that were given up: sockets, timers, users', async () => {
    const lab = createLab()
    const server = lab.host('relay')
    const network = new CountingNetwork(server)
    const relay = await createRelay({ network, users: USERS, tcp: false })
    const alice = await TurnClient.udp(lab, lab.host('alice'), server.addresses[0]!.withPort(3478))
    for (let i = 0; i < 200; i++) {
      expect(codeOf(await alice.allocate())).toBe('success')
      expect(codeOf(await alice.refresh(0))).toBe('success')
    }
    expect(network.left).toMatchObject({ sockets: 2, timers: 0 })
    expect(relay.status()).toMatchObject({ allocations: 0, users: 0, counters: { allocationsCreated: 200 } })
  })
})

describe('Binding', () => {
  it('is answered, also as RFC 3489 had it', async () => {
    const { client, relay } = await setStage()
    const alice = await client()
    const { data } = alice.write(Method.Binding, () => {}, false)
    expect((await alice.exchange(data))?.address(Attribute.XorMappedAddress)?.key).toBe(alice.local.key)
    alice.send(Uint8Array.of(0, 1, 0, 0, ...new Uint8Array(16)))
    await alice.lab.run(100)
    expect([alice.heard.length, relay.status().counters.bindings]).toEqual([1, 2])
  })

  it('RFC 5780: from two addresses, tells the other one and answers from it', async () => {
    const lab = createLab()
    const server = lab.host('relay', { addresses: ['203.0.113.1', '203.0.113.2'] })
    const relay = await createRelay({ network: server, users: USERS, addresses: ['203.0.113.1', '203.0.113.2'], peers: { private: true } })
    expect(relay.addresses.udp.map(({ key }) => key)).toEqual([
      '203.0.113.1:3478',
      '203.0.113.2:3478',
      '203.0.113.1:3479',
      '203.0.113.2:3479',
    ])
    const host = lab.host('alice')
    const alice = await TurnClient.udp(lab, host, Address.of('203.0.113.1', 3478))
    const { data } = alice.write(Method.Binding, () => {}, false)
    expect((await alice.exchange(data))?.address(Attribute.OtherAddress)?.key).toBe('203.0.113.2:3479')
    const asker = await open(host)
    const change = new MessageWriter().start('request', Method.Binding, new Uint8Array(12)).uint32(Attribute.ChangeRequest, 6)
    asker.socket.send(change.finish().slice(), Address.of('203.0.113.1', 3478))
    await lab.run(100)
    expect(asker.heard[0]?.from.key).toBe('203.0.113.2:3479')
    for (const at of relay.addresses.udp) {
      const client = await TurnClient.udp(lab, host, at)
      expect(codeOf(await client.allocate())).toBe('success')
    }
  })
})

describe('warnings', () => {
  /** A network whose sockets have smaller buffers than are asked for. */
  function stingy(network: Network, granted: number): Network {
    return Object.assign(Object.create(network) as Network, {
      clock: network.clock,
      random: network.random,
      interfaces: network.interfaces,
      bind: async (options: Parameters<Network['bind']>[0]): Promise<DatagramSocket> => {
        const socket = await network.bind(options)
        return Object.defineProperty(socket, 'buffer', { value: granted })
      },
      listen: network.listen.bind(network),
    })
  }

  it('say once what to set when the system gives smaller buffers', async () => {
    const lab = createLab()
    const events: RelayEvent[] = []
    const network = stingy(lab.host('relay'), 212_992)
    await createRelay({ network, users: USERS, log: (event) => events.push(event) })
    expect(events).toHaveLength(1)
    expect(events[0]).toMatchObject({
      event: 'warning',
      subject: 'buffers',
      message: expect.stringMatching(/sysctl -w net.core.rmem_max=4194304/),
    })
  })

  it('do not come when they are large enough', async () => {
    const lab = createLab()
    const events: RelayEvent[] = []
    await createRelay({ network: stingy(lab.host('relay'), 4 << 20), users: USERS, log: (event) => events.push(event) })
    expect(events).toEqual([])
  })

  it('come when the system has no socket for a relayed address, which is refused with 508', async () => {
    const lab = createLab()
    const server = lab.host('relay')
    const events: RelayEvent[] = []
    const relay = await createRelay({ network: server, users: USERS, relayAddresses: ['198.18.9.9'], log: (event) => events.push(event) })
    const alice = await TurnClient.udp(lab, lab.host('alice'), server.addresses[0]!.withPort(3478))
    for (let i = 0; i < 2; i++) expect(codeOf(await alice.allocate())).toBe(508)
    expect(events.filter(({ event }) => event === 'warning')).toMatchObject([{ subject: 'sockets' }])
    expect(relay.status().allocations).toBe(0)
  })

  it('come when a listener is gone with its address', async () => {
    const { lab, server, events, relay, client } = await setStage({ addresses: ['203.0.113.1'] })
    await (await client()).allocate()
    server.moveTo(lab.internet)
    await lab.run(1000)
    expect(events.at(-1)).toMatchObject({
      event: 'warning',
      subject: 'sockets',
      message: expect.stringMatching(/203\.0\.113\.1:3478 is gone/),
    })
    expect(relay.status().allocations).toBe(0)
  })

  it('and all that is logged may meet a log that throws', async () => {
    const { client } = await setStage({
      log: () => {
        throw new Error('disk full')
      },
    })
    expect(codeOf(await (await client()).allocate())).toBe('success')
  })
})

it('an interface that goes takes its allocations with it, and its address is no own one any more', async () => {
  const { client, lab, relay, server, events } = await setStage()
  await (await client()).allocate()
  server.moveTo(lab.internet)
  await lab.run(1000)
  expect(relay.status().allocations).toBe(0)
  expect(events.at(-1)).toMatchObject({ event: 'allocation-deleted', reason: 'socket-lost' })
})
