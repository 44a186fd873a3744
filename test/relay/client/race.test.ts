import { describe, expect, it } from 'vitest'
import type { SallyportError } from '../../../src/errors.ts'
import { createLab, type PacketView } from '../../../src/lab/index.ts'
import { Address, Timers } from '../../../src/net/index.ts'
import { RelayClient, relayTransports } from '../../../src/relay/client/index.ts'
import { waysOf } from '../../../src/relay/client/race.ts'
import { Attribute, MessageWriter, Method, parseServerUri } from '../../../src/stun/index.ts'
import { FakeServer } from './fake-server.ts'
import { Scene } from './scene.ts'

const BOTH = { transports: ['udp', 'tcp'] } as const
/** Any transport. */
const uri = 'turn:relay.test'

const udpOf =
  (host: string) =>
  ({ host: from, protocol }: PacketView): 'drop' | undefined =>
    from === host && protocol === 'udp' ? 'drop' : undefined

describe('C66 the way to a relay', () => {
  it('is UDP where UDP goes, and TCP is not even tried', async () => {
    const scene = await Scene.allocated({ server: BOTH, uri })
    expect(scene.client.transport).toBe('udp')
    expect(scene.server.streams.size).toBe(0)
    expect(scene.last('allocated').at).toBe(80)
  })

  it('is TCP where UDP is dropped: a quarter of a second later, without a time-out', async () => {
    const scene = await Scene.open({ server: BOTH, uri })
    scene.lab.filter(udpOf('client'))
    scene.client.start()
    scene.client.allocate()
    await scene.run(1_000)
    expect(scene.allocation.transport).toBe('tcp')
    // 250 ms, then a round trip each for the connection, the challenge and the allocation.
    expect(scene.last('allocated').at).toBe(250 + 3 * 40)
  })

  it('is TCP at once where the system refuses to send over UDP', async () => {
    const scene = await Scene.open({ server: BOTH, uri })
    scene.lab.filter(({ host, protocol }) => (host === 'client' && protocol === 'udp' ? { fail: 'EPERM' } : undefined))
    scene.client.start()
    scene.client.allocate()
    await scene.run(1_000)
    expect(scene.allocation.transport).toBe('tcp')
    expect(scene.last('allocated').at).toBeCloseTo(3 * 40, 0)
  })

  it('leaves nothing open of those that lost', async () => {
    const scene = await Scene.open({ server: BOTH, uri, lab: { delay: 200 } })
    scene.client.start()
    scene.client.allocate()
    await scene.run(10_000)
    expect(scene.client.transport).toBe('udp')
    // The TCP connection was on its way, and has been given up.
    expect(scene.server.asked.filter(({ transport }) => transport === 'tcp')).toHaveLength(0)
    expect(scene.server.streams.size).toBe(0)
    scene.client.close()
    await scene.run(1_000)
    expect(scene.timers.size).toBe(0)
  })

  it('of two families, one of which leads nowhere, is found without a time-out, whichever it is', async () => {
    for (const dead of [4, 6] as const) {
      const lab = createLab({ delay: 20, families: [4, 6] })
      const relay = lab.host('relay')
      for (const family of [4, 6] as const) await FakeServer.open(relay, { family })
      lab.filter(({ to }) => (to.family === dead ? 'drop' : undefined))
      const host = lab.host('client')
      const at: number[] = []
      const text = 'turn:relay.test?transport=udp'
      const client = new RelayClient({
        network: host,
        timers: new Timers(host.clock),
        uri: parseServerUri(text),
        text,
        addresses: relay.addresses.map((address) => address.withPort(3478)),
        credentials: async () => ({ username: 'alice', password: 'wonder' }),
        families: [4],
        outlet: {
          measured: () => void at.push(host.clock.now()),
          allocated: () => {},
          doubted: () => undefined,
          ended: () => undefined,
          lost: () => {},
          failed: () => {},
          datagram: () => {},
          sendFailed: () => {},
          drained: () => {},
        },
      })
      client.start()
      await lab.run(1_000)
      expect(at).toEqual([dead === 6 ? 140 : 40])
      client.close()
    }
  })

  it('goes over TCP 250 ms after UDP, however many addresses there are', () => {
    const addresses = ['203.0.113.1', '203.0.113.2', '2001:db8::1'].map((ip) => Address.of(ip, 3_478))
    const ways = waysOf(['udp', 'tcp'], addresses, 'relay.test')
    let at = 0
    const timed = ways.map(({ transport, address, after }) => {
      at += after
      return `${at} ${transport} ${address.ip}`
    })
    expect(timed).toEqual([
      '0 udp 2001:db8::1',
      '100 udp 203.0.113.1',
      '200 udp 203.0.113.2',
      '250 tcp 2001:db8::1',
      '500 tcp 203.0.113.1',
      '750 tcp 203.0.113.2',
    ])
  })

  it('is measured without an allocation when none is wanted, and again every few minutes', async () => {
    const scene = await Scene.open()
    scene.client.start()
    await scene.run(1_000)
    expect(scene.whats()).toEqual(['measured'])
    expect([scene.client.rtt, scene.client.allocation, scene.credentialsAsked]).toEqual([40, undefined, 0])
    await scene.run(10 * 60_000)
    expect(scene.whats()).toEqual(['measured', 'measured', 'measured'])
    expect(scene.server.allocations.size).toBe(0)
  })

  it('that was measured a moment ago costs one round trip to the allocation', async () => {
    const scene = await Scene.open()
    scene.client.start()
    await scene.run(5_000)
    scene.client.allocate()
    await scene.run(100)
    expect(scene.last('allocated').at).toBe(5_040)
    expect(scene.server.asks(Method.Allocate)).toHaveLength(2)
  })

  it('is raced for again when the winner dies', async () => {
    const scene = await Scene.allocated({ server: BOTH, uri })
    scene.lab.filter(udpOf('client'))
    await scene.run(6_000)
    const now = scene.host.clock.now()
    scene.allocation.verify()
    await scene.run(3_000)
    expect(scene.whats()).toEqual(['measured', 'allocated', 'lost', 'measured', 'allocated'])
    expect(scene.last('lost')).toMatchObject({ at: now + 800, error: { code: 'ERR_RELAY_LOST' } })
    expect(scene.allocation.transport).toBe('tcp')
    expect(scene.last('allocated').at - now).toBeLessThan(2_000)
  })

  it('to nobody is told as such, with what became of each, and tried again after growing waits', async () => {
    const scene = await Scene.open({ server: BOTH, uri, client: { addresses: [Address.of('203.0.113.200', 3478)] } })
    scene.client.start()
    scene.client.allocate()
    await scene.run(200_000)
    const failed = scene.told.filter(({ what }) => what === 'failed')
    expect(failed.length).toBeGreaterThan(4)
    const { error } = scene.last('failed')
    expect(error.code).toBe('ERR_RELAY_UNREACHABLE')
    expect(error.report).toMatchObject([{ transport: 'udp' }, { transport: 'tcp' }])
    const gaps = failed.slice(1).map(({ at }, i) => at - failed[i]!.at)
    // Each attempt takes its time-outs; the waits between double.
    expect(gaps.at(-1)! - gaps[0]!).toBeGreaterThan(5_000)
    scene.client.close()
    expect(scene.timers.size).toBe(0)
  })

  it.each([
    ['turns:relay.test?transport=udp', 'ERR_RELAY_TRANSPORT'],
    ['stun:relay.test', 'ERR_URI'],
  ])('of %s is a typed error, told once and not tried again', async (text, code) => {
    const scene = await Scene.open({ uri: text })
    scene.client.start()
    scene.client.allocate()
    await scene.run(3_600_000)
    expect(scene.told).toMatchObject([{ what: 'failed', error: { code } }])
    expect(scene.server.asked).toEqual([])
    expect(() => relayTransports(parseServerUri(text), text)).toThrow(expect.objectContaining({ code }))
  })

  it('does not lead to a relay that asks for no credentials, whose allocation is given back', async () => {
    const scene = await Scene.open()
    scene.server.script = ({ method }) => {
      if (method !== Method.Allocate) return 'honest'
      return {
        success: (writer) => {
          writer
            .address(Attribute.XorRelayedAddress, Address.of('203.0.113.9', 5))
            .address(Attribute.XorMappedAddress, scene.server.address)
        },
      }
    }
    scene.client.start()
    scene.client.allocate()
    await scene.run(100)
    expect(scene.told).toMatchObject([{ what: 'failed', error: { code: 'ERR_RELAY_CREDENTIALS' } }])
    expect(scene.server.asks(Method.Refresh).map(({ message }) => message.uint32(Attribute.Lifetime))).toEqual([0])
  })

  it('takes an answer from nobody but the server', async () => {
    const scene = await Scene.open()
    scene.server.script = () => 'silence'
    scene.client.start()
    await scene.run(30)
    // Somebody who has seen the request answers it faster.
    const { message, client } = scene.server.asked[0]!
    const writer = new MessageWriter().start('error', Method.Allocate, message.transactionId).errorCode(401, '')
    scene.peer.socket.send(writer.text(Attribute.Realm, 'evil').text(Attribute.Nonce, 'evil').finish(), client)
    await scene.run(500)
    expect(scene.told).toEqual([])
  })
})

describe('C68 connections to a relay', () => {
  it('that never open are given up after ten seconds, and tried again', async () => {
    const scene = await Scene.open({ server: { transports: [] }, uri: 'turn:relay.test?transport=tcp' })
    scene.lab.filter(({ protocol, to }) => (protocol === 'tcp' && to.port === 3478 ? 'drop' : undefined))
    scene.client.start()
    scene.client.allocate()
    await scene.run(9_999)
    expect(scene.told).toEqual([])
    await scene.run(2)
    expect(scene.told).toMatchObject([{ what: 'failed', error: { code: 'ERR_RELAY_UNREACHABLE' } }])
    await scene.run(12_000)
    expect(scene.whats()).toEqual(['failed', 'failed'])
  })

  it('that are refused are told at once', async () => {
    const scene = await Scene.open({ server: { transports: [] }, uri: 'turn:relay.test?transport=tcp' })
    scene.client.start()
    await scene.run(50)
    expect((scene.last('failed').error as SallyportError).message).toMatch(/ECONNREFUSED/)
  })

  it('that open and say nothing are given up after five seconds', async () => {
    const scene = await Scene.open({ server: { transports: ['tcp'] }, uri: 'turn:relay.test?transport=tcp' })
    scene.server.script = () => 'silence'
    scene.client.start()
    await scene.run(5_030)
    expect(scene.told).toEqual([])
    await scene.run(50)
    expect(scene.last('failed').error.code).toBe('ERR_RELAY_UNREACHABLE')
  })

  it('on which something else is spoken, such as telnet, are given up at once', async () => {
    const lab = createLab({ delay: 20 })
    const relay = lab.host('relay')
    await relay.listen({ family: 4, port: 3478 }, (stream) => void stream.write(Uint8Array.of(0xff, 0xfd, 0x18, 0xff, 0xfd, 0x20)))
    const host = lab.host('client')
    const text = `turn:${relay.addresses[0]!.ip}?transport=tcp`
    const errors: SallyportError[] = []
    const client = new RelayClient({
      network: host,
      timers: new Timers(host.clock),
      uri: parseServerUri(text),
      text,
      addresses: [relay.addresses[0]!.withPort(3478)],
      credentials: async () => ({ username: 'alice', password: 'wonder' }),
      families: [4],
      outlet: {
        measured: () => {},
        allocated: () => {},
        doubted: () => undefined,
        ended: () => undefined,
        lost: () => {},
        failed: (_, error) => void errors.push(error),
        datagram: () => {},
        sendFailed: () => {},
        drained: () => {},
      },
    })
    client.start()
    await lab.run(200)
    expect(errors[0]?.message).toMatch(/neither STUN nor ChannelData/)
    client.close()
  })
})
