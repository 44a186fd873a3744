import { describe, expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import type { RelayCredentials } from '../../../src/relay/client/index.ts'
import { Attribute, IntegrityKey, MessageWriter, Method } from '../../../src/stun/index.ts'
import { texts } from '../../lab/talk.ts'
import { Scene } from './scene.ts'

const MINUTE = 60_000

describe('C66 authentication', () => {
  it.each([
    ['of RFC 5389, with MD5', []],
    ['of RFC 8489, with SHA-256', ['SHA-256', 'MD5'] as const],
  ])('with a server %s: data goes both ways', async (_, algorithms) => {
    const scene = await Scene.allocated({ server: { algorithms } })
    const { message } = scene.server.authentic(Method.Allocate)[0]!
    expect(message.has(Attribute.MessageIntegritySha256)).toBe(algorithms.length > 0)
    scene.send('hello')
    await scene.run(200)
    scene.answer('back')
    await scene.run(200)
    expect([texts(scene.peer), scene.heard.map(({ text }) => text)]).toEqual([['hello'], ['back']])
  })

  it.each([
    ['Refresh', Method.Refresh],
    ['CreatePermission', Method.CreatePermission],
    ['ChannelBind', Method.ChannelBind],
  ] as const)('goes on under a new nonce when the old one is stale, on %s', async (_, method) => {
    const scene = await Scene.allocated()
    if (method === Method.ChannelBind) {
      scene.send('x', false)
      await scene.run(500)
    }
    scene.server.expireNonces()
    if (method === Method.Refresh) scene.allocation.verify()
    else scene.send('y', method === Method.ChannelBind)
    await scene.run(1_000)
    const asked = scene.server.asks(method)
    expect(asked.map(({ authenticated }) => authenticated)).toEqual([false, true])
    expect(scene.allocation.status().requests.staleNonces).toBe(method === Method.Refresh ? 0 : 1)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
  })

  it('survives a nonce that goes stale between the challenge and the Allocate, and while it is given back', async () => {
    const scene = await Scene.open()
    scene.client.start()
    await scene.run(1_000)
    scene.server.expireNonces()
    scene.client.allocate()
    await scene.run(200)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
    scene.server.expireNonces()
    scene.client.release()
    await scene.run(1_000)
    expect(scene.server.allocations.size).toBe(0)
  })

  it('is given up when the server calls every nonce stale, and begins anew', async () => {
    const scene = await Scene.allocated()
    let nonce = 0
    scene.server.script = ({ method }) => {
      if (method !== Method.CreatePermission) return 'honest'
      return { code: 438, write: (w) => void w.text(Attribute.Realm, 'fake.example').text(Attribute.Nonce, `${nonce++}`) }
    }
    scene.send('x')
    await scene.run(1_000)
    expect(nonce).toBe(5)
    // The allocation is none the worse for it, but a second one is made beside it.
    expect(scene.whats()).toEqual(['measured', 'allocated', 'measured', 'allocated'])
  })

  it('believes no answer that does not prove itself, and waits for one that does', async () => {
    const scene = await Scene.allocated()
    let forged = 0
    scene.server.script = ({ method }) => (method === Method.CreatePermission && forged++ === 0 ? { code: 403, unproven: true } : 'honest')
    scene.send('x', false)
    await scene.run(500)
    expect(forged).toBe(2)
    expect(texts(scene.peer)).toEqual(['x'])
    expect(scene.failures).toEqual([])
    expect(scene.allocation.status().requests.unproven).toBe(1)
  })

  it('believes no success that does not prove itself', async () => {
    const scene = await Scene.open()
    scene.server.script = ({ method, authenticated, client }) => {
      if (method !== Method.Allocate || !authenticated) return 'honest'
      const relayed = Address.of('203.0.113.99', 9)
      return {
        success: (w) => void w.address(Attribute.XorRelayedAddress, relayed).address(Attribute.XorMappedAddress, client),
        unproven: true,
      }
    }
    scene.client.start()
    scene.client.allocate()
    await scene.run(15_000)
    expect(scene.last('failed').error.code).toBe('ERR_RELAY_UNREACHABLE')
    expect(scene.client.allocation).toBeUndefined()
  })

  it('takes an error without integrity for what it says when nothing better comes within a second: some servers leave it out', async () => {
    const scene = await Scene.open()
    scene.server.script = ({ method, authenticated }) =>
      method === Method.Allocate && authenticated ? { code: 486, unproven: true } : 'honest'
    scene.client.start()
    scene.client.allocate()
    await scene.run(1_200)
    expect(scene.last('failed')).toMatchObject({ at: 40 + 40 + 1_000, error: { code: 'ERR_RELAY_QUOTA' } })
  })

  it('sends one request at a time, also when many are due', async () => {
    const scene = await Scene.allocated()
    let open = 0
    let most = 0
    scene.server.script = () => {
      open++
      most = Math.max(most, open)
      return 'honest'
    }
    // The answer is here a round trip after the request was sent, half of it after it came.
    scene.lab.filter(({ host, protocol }) => {
      if (host === 'relay' && protocol === 'udp') open = 0
      return 'pass'
    })
    for (let i = 1; i <= 30; i++) scene.send('x', true, Address.of('198.18.7.7', i))
    scene.allocation.expect(Address.of('198.18.7.8', 1))
    await scene.run(3_000)
    expect(scene.server.channelNumbers.length).toBeGreaterThanOrEqual(8)
    expect(most).toBe(1)
  })
})

describe('C66 credentials', () => {
  it('that the server refuses are told, and asked for anew each time', async () => {
    let password = 'wrong'
    const scene = await Scene.open({ client: { credentials: async () => ({ username: 'alice', password }) } })
    scene.client.start()
    scene.client.allocate()
    await scene.run(500)
    expect(scene.last('failed').error.code).toBe('ERR_RELAY_CREDENTIALS')
    // Once more at once, in case that the first ones had expired; then not before some seconds.
    expect([scene.credentialsAsked, scene.server.asks(Method.Allocate).length]).toEqual([2, 2])
    await scene.run(3_000)
    expect(scene.credentialsAsked).toBe(2)
    password = 'wonder'
    await scene.run(10_000)
    expect(scene.client.allocation).toBeDefined()
  })

  it('that expired before they were used are replaced without a failure', async () => {
    let n = 0
    const scene = await Scene.open({ client: { credentials: async () => ({ username: 'alice', password: n++ === 0 ? 'old' : 'wonder' }) } })
    scene.client.start()
    scene.client.allocate()
    await scene.run(500)
    expect(scene.whats().filter((what) => what !== 'measured')).toEqual(['allocated'])
  })

  it.each<[string, () => Promise<RelayCredentials>]>([
    ['fail to come', async () => Promise.reject(new Error('no network'))],
    [
      'are thrown',
      () => {
        throw new Error('no network')
      },
    ],
    ['are none', async () => ({}) as RelayCredentials],
    ['have no name', async () => ({ username: '', password: 'x' })],
    ['have expired', async () => ({ username: 'alice', password: 'wonder', expiresAt: 0 })],
  ])('that %s are a typed error, and asked for again later', async (_, credentials) => {
    const scene = await Scene.open({ client: { credentials } })
    scene.client.start()
    scene.client.allocate()
    await scene.run(500)
    expect(scene.last('failed').error.code).toBe('ERR_RELAY_CREDENTIALS')
    const asked = scene.credentialsAsked
    await scene.run(10_000)
    expect(scene.credentialsAsked).toBeGreaterThan(asked)
    scene.client.close()
    expect(scene.timers.size).toBe(0)
  })

  it('that never come are given up after 15 s; closing does not wait for them', async () => {
    const scene = await Scene.open({ client: { credentials: () => new Promise(() => {}) } })
    scene.client.start()
    scene.client.allocate()
    await scene.run(16_000)
    expect(scene.last('failed').error.code).toBe('ERR_RELAY_CREDENTIALS')
    await scene.run(8_000)
    scene.client.close()
    expect(scene.timers.size).toBe(0)
  })

  it('that expire are renewed at half of their life, by a second allocation beside the first', async () => {
    const lives: number[] = []
    const scene: Scene = await Scene.open({
      server: { users: { 'one:alice': 'a', 'two:alice': 'b' } },
      client: {
        credentials: async () => {
          const now = scene.host.clock.now()
          lives.push(now)
          const first = lives.length === 1
          return { username: first ? 'one:alice' : 'two:alice', password: first ? 'a' : 'b', expiresAt: now + (first ? 10 * MINUTE : 1e9) }
        },
      },
    })
    scene.client.start()
    scene.client.allocate()
    await scene.run(1_000)
    const first = scene.allocation
    await scene.run(5 * MINUTE + 1_000)
    expect(lives).toEqual([0, 5 * MINUTE])
    const second = scene.allocation
    expect(second).not.toBe(first)
    expect(scene.whats()).toEqual(['measured', 'allocated', 'measured', 'allocated'])
    // Both carry data for ten seconds, then the first is given back.
    expect([first.alive, second.alive, scene.server.allocations.size]).toEqual([true, true, 2])
    first.send(new TextEncoder().encode('old'), scene.peer.address, true)
    second.send(new TextEncoder().encode('new'), scene.peer.address, true)
    await scene.run(1_000)
    expect(texts(scene.peer).sort()).toEqual(['new', 'old'])
    await scene.run(10_000)
    expect([first.alive, second.alive, scene.server.allocations.size]).toEqual([false, true, 1])
    expect(scene.whats()).toEqual(['measured', 'allocated', 'measured', 'allocated', 'ended'])
  })

  it('that come again unchanged leave the allocation as it is', async () => {
    const scene: Scene = await Scene.open({
      client: { credentials: async () => ({ username: 'alice', password: 'wonder', expiresAt: scene.host.clock.now() + 2 * MINUTE }) },
    })
    scene.client.start()
    scene.client.allocate()
    await scene.run(10 * MINUTE)
    expect(scene.credentialsAsked).toBeGreaterThan(8)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
  })

  it('that a server stops taking in mid-life are replaced at once, and the allocation with them', async () => {
    const users: Record<string, string> = { alice: 'wonder' }
    let password = 'wonder'
    const scene = await Scene.allocated({ server: { users }, client: { credentials: async () => ({ username: 'alice', password }) } })
    const first = scene.allocation
    users.alice = password = 'changed'
    scene.send('x')
    await scene.run(1_000)
    expect(scene.allocation).not.toBe(first)
    expect(scene.whats()).toEqual(['measured', 'allocated', 'measured', 'allocated'])
  })

  it('that a server refuses with 400 and no integrity, as pion does, are told and replaced as with 401', async () => {
    let password = 'wonder'
    const scene = await Scene.allocated({ client: { credentials: async () => ({ username: 'alice', password }) } })
    let good = 'wonder'
    scene.server.script = ({ message }) => {
      const signed = message.has(Attribute.MessageIntegrity)
      const valid = message.integrity(IntegrityKey.longTerm('alice', 'fake.example', good)) === 'valid'
      return signed && !valid ? { code: 400, unproven: true } : 'honest'
    }
    good = 'changed'
    scene.allocation.verify()
    await scene.run(900)
    // It lives on; whether it would have without a doubt that nobody can dispel is another matter.
    expect(scene.last('lost').error.code).toBe('ERR_RELAY_LOST')
    await scene.run(2_000)
    expect(scene.last('failed').error.code).toBe('ERR_RELAY_CREDENTIALS')
    good = password = 'wonder'
    await scene.run(20_000)
    expect(scene.client.allocation).toBeDefined()
    const asked = scene.credentialsAsked
    good = 'changed'
    // At the next refresh.
    await scene.run(400_000)
    expect(scene.credentialsAsked).toBeGreaterThan(asked)
  })

  it('never appear in what is told', async () => {
    const scene = await Scene.open({ client: { credentials: async () => ({ username: 'alice', password: 'secret-word' }) } })
    scene.client.start()
    scene.client.allocate()
    await scene.run(500)
    const { error } = scene.last('failed')
    expect(JSON.stringify([error.message, String(error.cause), error.report])).not.toContain('secret-word')
  })
})

describe('C66 refusals', () => {
  it.each([
    [403, 'ERR_RELAY_FORBIDDEN'],
    [437, 'ERR_RELAY_MISMATCH'],
    [440, 'ERR_RELAY_FAMILY'],
    [441, 'ERR_RELAY_CREDENTIALS'],
    [442, 'ERR_RELAY_TRANSPORT'],
    [486, 'ERR_RELAY_QUOTA'],
    [508, 'ERR_RELAY_CAPACITY'],
    [300, 'ERR_RELAY_REDIRECT'],
    [400, 'ERR_RELAY_REFUSED'],
    [420, 'ERR_RELAY_REFUSED'],
    [500, 'ERR_RELAY_REFUSED'],
  ])('error %i is %s', async (code, expected) => {
    const scene = await Scene.open()
    scene.server.script = ({ method, authenticated }) => (method === Method.Allocate && authenticated ? { code } : 'honest')
    scene.client.start()
    scene.client.allocate()
    await scene.run(2_000)
    const { error } = scene.last('failed')
    expect([error.code, scene.client.failure?.code]).toEqual([expected, expected])
    expect(error.message).toContain(`${code}`)
  })

  it('before any credentials are told the same way', async () => {
    const scene = await Scene.open()
    scene.server.script = () => ({ code: 508 })
    scene.client.start()
    await scene.run(100)
    expect(scene.last('failed').error.code).toBe('ERR_RELAY_CAPACITY')
  })

  it('of a full server are followed by waits from 5 s to 5 min, spread by chance', async () => {
    const scene = await Scene.open()
    scene.server.script = ({ authenticated }) => (authenticated ? { code: 508 } : 'honest')
    scene.client.start()
    scene.client.allocate()
    await scene.run(60 * MINUTE)
    const at = scene.told.filter(({ what }) => what === 'failed').map((one) => one.at)
    const gaps = at.slice(1).map((time, i) => (time - at[i]!) / 1_000)
    expect(gaps[0]).toBeGreaterThan(4)
    expect(gaps[0]).toBeLessThan(6.5)
    for (const [i, gap] of gaps.entries()) {
      const middle = Math.min(300, 5 * 2 ** i)
      expect(gap).toBeGreaterThan(middle * 0.79)
      expect(gap).toBeLessThan(middle * 1.21 + 1)
    }
    expect(gaps.length).toBeGreaterThan(12)
    scene.server.script = () => 'honest'
    scene.client.networkChanged()
    await scene.run(1_000)
    expect(scene.client.allocation).toBeDefined()
  })

  it('437 on Allocate: another port is taken at once', async () => {
    const scene = await Scene.open()
    let mismatches = 2
    scene.server.script = ({ method, authenticated }) =>
      method === Method.Allocate && authenticated && mismatches-- > 0 ? { code: 437 } : 'honest'
    scene.client.start()
    scene.client.allocate()
    await scene.run(500)
    expect(scene.whats().filter((what) => what !== 'measured')).toEqual(['allocated'])
    const ports = scene.server.authentic(Method.Allocate).map(({ client }) => client.port)
    expect(new Set(ports).size).toBe(3)
  })

  it('437 on any later request: the server was restarted, the allocation is lost, and another one is made at once', async () => {
    for (const how of ['refresh', 'permission', 'channel'] as const) {
      const scene = await Scene.allocated()
      scene.send('x', false)
      await scene.run(6_000)
      scene.server.restart()
      const at = scene.host.clock.now()
      if (how === 'refresh') scene.allocation.verify()
      if (how === 'permission') scene.send('x', false, Address.of('198.18.7.7', 9))
      if (how === 'channel') scene.send('x')
      await scene.run(1_000)
      expect(scene.whats()).toEqual(['measured', 'allocated', 'lost', 'measured', 'allocated'])
      expect(scene.last('lost').error.code).toBe('ERR_RELAY_MISMATCH')
      expect(scene.last('allocated').at - at).toBeLessThanOrEqual(200)
    }
  })

  it('an allocation that is lost right after it was made is not made again without end', async () => {
    const scene = await Scene.open()
    scene.server.script = ({ method }) => (method === Method.Refresh ? { code: 437 } : 'honest')
    scene.client.start()
    scene.client.allocate()
    for (let i = 0; i < 600; i++) {
      await scene.run(100)
      scene.client.allocation?.verify()
    }
    expect(scene.told.filter(({ what }) => what === 'lost').length).toBeLessThan(10)
  })
})

describe('C66 doubt', () => {
  it('is answered by one Refresh, and the allocation lives on', async () => {
    const scene = await Scene.allocated()
    scene.allocation.verify()
    scene.allocation.verify()
    await scene.run(2_000)
    expect(scene.server.asks(Method.Refresh)).toHaveLength(1)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
    expect(scene.allocation.counters.verifications).toBe(1)
  })

  it('raised again and again costs no more than a Refresh every half second', async () => {
    const scene = await Scene.allocated()
    for (let i = 0; i < 1_000; i++) {
      scene.allocation.verify()
      await scene.run(10)
    }
    expect(scene.server.asks(Method.Refresh).length).toBeLessThanOrEqual(20)
  })

  it('ends in a loss after 800 ms of silence, in which the server was asked four times', async () => {
    const scene = await Scene.allocated()
    await scene.run(10_000)
    scene.server.script = () => 'silence'
    const at = scene.host.clock.now()
    scene.allocation.verify()
    await scene.run(799)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
    await scene.run(2)
    expect(scene.whats()).toEqual(['measured', 'allocated', 'lost'])
    const asked = scene.server.asks(Method.Refresh)
    expect(asked.map((one) => one.at - at - 20)).toEqual([0, 100, 250, 475])
    expect(new Set(asked.map(({ message }) => message.transactionKey)).size).toBe(4)
  })

  it('on a long way lasts three round trips', async () => {
    const scene = await Scene.allocated({ lab: { delay: 200 } })
    await scene.run(10_000)
    scene.server.script = () => 'silence'
    scene.allocation.verify()
    await scene.run(1_199)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
    await scene.run(2)
    expect(scene.last('lost').error.code).toBe('ERR_RELAY_LOST')
  })

  it('is put off a little, not dispelled, by data that comes meanwhile', async () => {
    const scene = await Scene.allocated()
    scene.send('x')
    await scene.run(10_000)
    scene.server.script = () => 'silence'
    scene.allocation.verify()
    let survived = 0
    while (!scene.whats().includes('lost') && survived < 10_000) {
      scene.answer('data')
      await scene.run(100)
      survived += 100
    }
    expect(survived).toBeGreaterThan(1_600)
    expect(survived).toBeLessThan(3_000)
  })

  it('is raised when the system refuses to send to the server, and when the network changed', async () => {
    const scene = await Scene.allocated()
    const stop = scene.lab.filter(({ host, protocol }) => (host === 'client' && protocol === 'udp' ? { fail: 'EPERM' } : undefined))
    scene.send('x', false)
    await scene.run(50)
    expect(scene.allocation.counters.verifications).toBe(1)
    stop()
    await scene.run(1_000)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
    scene.client.networkChanged()
    await scene.run(1_000)
    expect(scene.allocation.counters.verifications).toBe(2)
  })

  it('is not needed when the stream closes: the allocation is lost at once', async () => {
    const scene = await Scene.allocated({ server: { transports: ['tcp'] }, uri: 'turn:relay.test?transport=tcp' })
    await scene.run(10_000)
    const at = scene.host.clock.now()
    scene.server.restart()
    await scene.run(1_000)
    expect(scene.whats()).toEqual(['measured', 'allocated', 'lost', 'measured', 'allocated'])
    expect(scene.last('lost').at - at).toBeLessThanOrEqual(21)
  })

  it('over TCP a request that is not answered within five seconds ends the stream, and another one is opened', async () => {
    const scene = await Scene.allocated({ server: { transports: ['tcp'] }, uri: 'turn:relay.test?transport=tcp' })
    scene.server.script = ({ method }) => (method === Method.CreatePermission ? 'silence' : 'honest')
    await scene.run(10_000)
    const at = scene.host.clock.now()
    scene.send('x', false)
    await scene.run(6_000)
    expect(scene.last('lost')).toMatchObject({ at: at + 5_000, error: { code: 'ERR_RELAY_LOST' } })
    expect(scene.client.allocation).toBeDefined()
  })
})

describe('C66 nothing from strangers', () => {
  it('changes the state of an allocation: forged data, indications and answers from elsewhere are not seen', async () => {
    const scene = await Scene.allocated()
    scene.send('x')
    await scene.run(500)
    const { received, dropped } = scene.allocation.counters
    const { client } = scene.server.asked[0]!
    const writer = new MessageWriter().start('indication', Method.Data, new Uint8Array(12))
    const forged = writer.address(Attribute.XorPeerAddress, scene.peer.address).bytes(Attribute.Data, Uint8Array.of(1)).finish().slice()
    scene.peer.socket.send(forged, client)
    scene.peer.socket.send(Uint8Array.of(0x40, 0, 0, 1, 9), client)
    await scene.run(500)
    expect(scene.allocation.counters).toMatchObject({ received, dropped })
    expect(scene.heard).toEqual([])
  })

  it('also not any bytes from the server: random ones are counted drops', async () => {
    const scene = await Scene.allocated()
    scene.send('x')
    await scene.run(500)
    for (let i = 0; i < 2_000; i++) {
      const bytes = scene.lab.host(`noise${i}`).random.bytes(i % 60)
      if (i % 3 === 0) bytes[0] = 0x40
      scene.server.inject(bytes)
    }
    await scene.run(500)
    expect(scene.whats()).toEqual(['measured', 'allocated'])
    scene.send('still here')
    await scene.run(200)
    expect(texts(scene.peer)).toContain('still here')
  })
})
