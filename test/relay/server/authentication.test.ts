import { describe, expect, it } from 'vitest'
import { EPOCH } from '../../../src/lab/clock.ts'
import { Address } from '../../../src/net/index.ts'
import { restCredentials } from '../../../src/relay/index.ts'
import { Attribute, IntegrityKey, LongTermCredential, Message, MessageWriter, Method } from '../../../src/stun/index.ts'
import { type Stage, setStage } from './stage.ts'
import { channelData, codeOf, TurnClient, UDP } from './turn-client.ts'

const transport = (writer: MessageWriter): unknown => writer.uint32(Attribute.RequestedTransport, UDP)

/** A client that has been challenged and has not met the challenge. */
async function challenged(stage: Stage, username = 'alice', password = 'wonder'): Promise<TurnClient> {
  const client = await stage.client()
  client.credential = new LongTermCredential(username, password)
  const { data, attempt } = client.write(Method.Allocate, transport)
  client.credential.react((await client.exchange(data))!, attempt!)
  return client
}

describe('credentials', () => {
  it('RFC 8489 9.2.4: of a static user with the right password are accepted, with a wrong one or of nobody refused with 401', async () => {
    const stage = await setStage()
    const exchange = async (client: TurnClient): Promise<unknown> =>
      codeOf(await client.exchange(client.write(Method.Allocate, transport).data))
    expect(await exchange(await challenged(stage))).toBe('success')
    expect(await exchange(await challenged(stage, 'alice', 'wrong'))).toBe(401)
    expect(await exchange(await challenged(stage, 'nobody', 'wonder'))).toBe(401)
    expect(await exchange(await challenged(stage, '__proto__', 'wonder'))).toBe(401)
    expect(stage.relay.status().counters.authenticationFailures).toBe(3)
    const failed = stage.events.filter(({ event }) => event === 'authentication-failed')
    expect(failed.map((event) => 'user' in event && event.user)).toEqual(['alice', 'nobody', '__proto__'])
    expect(JSON.stringify(stage.events)).not.toContain('wonder')
  })

  it('from any of the shared secrets are accepted until they expire, and count for their user whatever their expiry', async () => {
    const stage = await setStage({ secrets: ['new', 'old'], quotas: { allocationsPerUser: 2 } })
    const { lab } = stage
    const make = (secret: string, ttl: number): TurnClient['credential'] => {
      const { username, password } = restCredentials({ secret, user: 'carol', ttl, now: EPOCH + lab.clock.now() })
      return new LongTermCredential(username, password)
    }
    const codes: unknown[] = []
    for (const credential of [make('new', 60_000), make('old', 90_000), make('other', 60_000), make('new', 120_000)]) {
      const client = await stage.client()
      client.credential = credential
      codes.push(codeOf(await client.allocate()))
    }
    expect(codes).toEqual(['success', 'success', 401, 486])
    expect(stage.events.at(-1)).toMatchObject({ event: 'refused', user: 'carol', code: 486 })
    const late = await stage.client()
    late.credential = make('new', 10_000)
    await lab.run(11_000)
    expect(codeOf(await late.allocate())).toBe(401)
    expect(stage.events.at(-1)).toMatchObject({ event: 'authentication-failed', reason: 'credentials have expired' })
  })

  it('that expire leave the allocation that stands', async () => {
    const stage = await setStage({ secrets: 's' })
    const client = await stage.client()
    const { username, password } = restCredentials({ secret: 's', user: 'carol', ttl: 10_000, now: EPOCH + stage.lab.clock.now() })
    client.credential = new LongTermCredential(username, password)
    await client.allocate()
    await stage.lab.run(60_000)
    expect(codeOf(await client.refresh(600))).toBe('success')
  })

  it.each(['SHA-256', 'MD5'] as const)('RFC 8489 9.2.4: work with %s alone', async (algorithm) => {
    const stage = await setStage({ algorithms: [algorithm] })
    const client = await stage.client()
    const response = await client.allocate()
    expect([codeOf(response), response.has(Attribute.MessageIntegritySha256)]).toEqual(['success', true])
    expect(codeOf(await client.refresh(600))).toBe('success')
  })

  it('of RFC 5389 work: MD5, MESSAGE-INTEGRITY and no list of algorithms', async () => {
    const stage = await setStage({ algorithms: [] })
    const response = await (await stage.client()).allocate()
    expect([codeOf(response), response.has(Attribute.MessageIntegrity)]).toEqual(['success', true])
  })

  it('RFC 8489 9.2.4: a response is authenticated by the same, errors too', async () => {
    const stage = await setStage()
    const client = await challenged(stage)
    const key = IntegrityKey.longTerm('alice', 'sallyport', 'wonder', 'SHA-256')
    for (const [method, code] of [
      [Method.Refresh, 437],
      [Method.Allocate, 400],
    ] as const) {
      const response = (await client.exchange(client.write(method, (writer) => writer.uint32(Attribute.Lifetime, 600)).data))!
      expect([codeOf(response), response.integritySha256(key)]).toEqual([code, 'valid'])
    }
  })
})

describe('an authenticate callback', () => {
  it('is asked once the nonce has proved the address, with who asks, and may take its time', async () => {
    const asked: unknown[] = []
    const stage = await setStage({
      users: {},
      authenticate: (username, { client, transport: by, realm }) => {
        asked.push([username, client.key, by, realm])
        return new Promise((resolve) => stage.lab.after(500, () => resolve(username === 'carol' ? 'secret' : undefined)))
      },
    })
    const carol = await challenged(stage, 'carol', 'secret')
    const forged = carol.write(Method.Allocate, transport).data
    const mallory = await stage.client()
    expect(codeOf(await mallory.exchange(forged))).toBe(438)
    expect(asked).toEqual([])
    expect(codeOf(await carol.exchange(forged))).toBe('success')
    expect(asked).toEqual([['carol', carol.local.key, 'udp', 'sallyport']])
    expect(codeOf(await carol.refresh(600))).toBe('success')
    expect(codeOf(await (await challenged(stage, 'dave')).allocate())).toBe(401)
    expect(asked).toHaveLength(2)
  })

  it('may answer at once', async () => {
    const stage = await setStage({ users: {}, authenticate: () => 'secret' })
    expect(codeOf(await (await challenged(stage, 'carol', 'secret')).allocate())).toBe('success')
  })

  it.each<[string, () => never | Promise<string>]>([
    [
      'throws',
      () => {
        throw new Error('no database')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no database'))],
  ])('that %s is logged, and the request goes unanswered', async (_what, authenticate) => {
    const stage = await setStage({ users: {}, authenticate })
    const carol = await challenged(stage, 'carol')
    expect(await carol.exchange(carol.write(Method.Allocate, transport).data)).toBeUndefined()
    expect(stage.events).toEqual([{ event: 'warning', subject: 'authenticate', message: 'authenticate failed: no database' }])
  })

  it('that never answers is given up after 10 s, and holds a bounded number of requests, few of one source', async () => {
    const stage = await setStage({ users: {}, authenticate: () => new Promise(() => {}), strangers: { perSecond: 1e6, burst: 1e6 } })
    const { lab, server } = stage
    const host = lab.host('crowd')
    const clients: TurnClient[] = []
    for (let i = 0; i < 110; i++) clients.push(await TurnClient.udp(lab, host, server.addresses[0]!.withPort(3478)))
    for (const client of clients) {
      const { data, attempt } = client.write(Method.Allocate, transport)
      client.credential.react((await client.exchange(data, 50))!, attempt!)
    }
    for (const client of clients) client.send(client.write(Method.Allocate, transport).data)
    await lab.run(100)
    expect(stage.relay.status().counters.ignored.busy).toBe(10)
    await lab.run(11_000)
    expect(stage.events.filter(({ event }) => event === 'warning')).toHaveLength(100)
    expect(stage.relay.status().counters.ignored.busy).toBe(110)
  })

  it('may take its time: what comes meanwhile waits, but neither much of it nor what is large', async () => {
    let answer: (password: string) => void = () => {}
    const stage = await setStage({ users: {}, authenticate: () => new Promise((resolve) => (answer = resolve)) })
    const carol = await challenged(stage, 'carol', 'secret')
    carol.send(carol.write(Method.Allocate, transport).data)
    const permissions = [1, 1, 100].map((peers) =>
      carol.write(Method.CreatePermission, (writer) => {
        for (let i = 0; i < peers; i++) writer.address(Attribute.XorPeerAddress, Address.of(`198.18.7.${i}`, 9))
      }),
    )
    // The third is good too, and has 1,200 bytes; what has 3,000 does not wait.
    for (const { data } of permissions) carol.send(data)
    carol.send(channelData(0x4000, 'x'.repeat(3000)))
    for (let i = 0; i < 20; i++) carol.send(channelData(0x4000, 'x'))
    await stage.lab.run(100)
    expect(stage.relay.status().counters.ignored.busy).toBe(1 + 20 - 13)
    answer('secret')
    await stage.lab.run(100)
    const { permissions: installed, counters } = stage.relay.status()
    expect([installed, counters.drops['no-channel']]).toEqual([100, 13])
  })

  it('that answers when the relay is closed changes nothing', async () => {
    let answer: (password: string) => void = () => {}
    const stage = await setStage({ users: {}, authenticate: () => new Promise((resolve) => (answer = resolve)) })
    const carol = await challenged(stage, 'carol', 'secret')
    carol.send(carol.write(Method.Allocate, transport).data)
    await stage.lab.run(100)
    await stage.relay.close()
    answer('secret')
    await stage.lab.run(100)
    expect([stage.relay.status().allocations, stage.events]).toEqual([0, []])
  })
})

describe('nonces', () => {
  it('RFC 8489 9.2.4: grow stale after ten minutes, which is answered with 438, and the allocation lives on', async () => {
    const stage = await setStage()
    const client = await stage.client()
    await client.allocate((writer) => writer.uint32(Attribute.Lifetime, 3600))
    await stage.lab.run(601_000)
    const { data } = client.write(Method.Refresh, (writer) => writer.uint32(Attribute.Lifetime, 600))
    expect(codeOf(await client.exchange(data))).toBe(438)
    expect(codeOf(await client.refresh(600))).toBe('success')
  })

  it('of another address, of another port, and changed ones are stale', async () => {
    const stage = await setStage()
    const alice = await challenged(stage)
    const { data } = alice.write(Method.Allocate, transport)
    const host = stage.lab.host('other')
    expect(codeOf(await (await TurnClient.udp(stage.lab, host, stage.at)).exchange(data))).toBe(438)
    const at = new TextDecoder('latin1').decode(data).indexOf('obMatJos2')
    for (const place of [15, 25]) {
      const changed = data.slice()
      changed[at + place]! ^= 1
      expect(codeOf(await alice.exchange(changed))).toBe(438)
    }
    expect(codeOf(await alice.exchange(data))).toBe('success')
  })

  it('that are stale are told so to who has an allocation, however many strangers use his address', async () => {
    const stage = await setStage({ strangers: { perSecond: 1, burst: 2 } })
    const client = await stage.client()
    await client.allocate((writer) => writer.uint32(Attribute.Lifetime, 3600))
    await stage.lab.run(700_000)
    const binding = new MessageWriter().start('request', Method.Binding, new Uint8Array(12)).finish().slice()
    for (let i = 0; i < 10; i++) client.send(binding)
    expect(codeOf(await client.refresh(600))).toBe('success')
    expect(stage.relay.status().counters.ignored.limited).toBe(8)
  })
})

describe('requests on an allocation', () => {
  it('RFC 8656 5: of another user are refused with 441, Allocate with 437, and change nothing', async () => {
    const stage = await setStage()
    const client = await stage.client()
    await client.allocate()
    client.credential = new LongTermCredential('bob', 'builder')
    expect(codeOf(await client.refresh(0))).toBe(441)
    expect(codeOf(await client.permit(stage.at))).toBe(441)
    expect(codeOf(await client.allocate())).toBe(437)
    client.credential = new LongTermCredential('bob', 'wrong')
    const { data, attempt } = client.write(Method.Refresh, (writer) => writer.uint32(Attribute.Lifetime, 0))
    client.credential.react((await client.exchange(data))!, attempt!)
    expect(codeOf(await client.exchange(client.write(Method.Refresh, (writer) => writer.uint32(Attribute.Lifetime, 0)).data))).toBe(401)
    expect(stage.relay.status().allocations).toBe(1)
  })

  it('without an allocation are refused with 437, which the client can believe', async () => {
    const stage = await setStage({ users: {}, authenticate: async () => 'wonder' })
    const client = await challenged(stage)
    const { data, attempt } = client.write(Method.Refresh, (writer) => writer.uint32(Attribute.Lifetime, 600))
    const response = (await client.exchange(data))!
    expect([codeOf(response), client.credential.accepts(response, attempt!)]).toEqual([437, true])
  })

  it('RFC 8489 14.5: are read as far as their integrity goes: what was appended to them is not there', async () => {
    const stage = await setStage()
    const client = await stage.client()
    await client.allocate()
    const { data } = client.write(Method.Refresh)
    const longer = new Uint8Array(data.length + 8)
    longer.set(data)
    // LIFETIME 0
    longer.set([0, Attribute.Lifetime, 0, 4, 0, 0, 0, 0], data.length)
    new DataView(longer.buffer).setUint16(2, longer.length - 20)
    const response = (await client.exchange(longer))!
    expect([codeOf(response), response.uint32(Attribute.Lifetime)]).toEqual(['success', 600])
    expect(stage.relay.status().allocations).toBe(1)
  })

  it('whose integrity is damaged are refused with 401', async () => {
    const stage = await setStage()
    const client = await stage.client()
    await client.allocate()
    const { data } = client.write(Method.Refresh, (writer) => writer.uint32(Attribute.Lifetime, 0))
    data[data.length - 1]! ^= 1
    expect(codeOf(await client.exchange(data))).toBe(401)
    expect(Message.read(data)?.method).toBe(Method.Refresh)
    expect(stage.relay.status().allocations).toBe(1)
  })

  it('go on when the client changes from SHA-256 to MD5 integrity in mid-life', async () => {
    const stage = await setStage()
    const client = await stage.client()
    const nonce = (await client.exchange(client.write(Method.Allocate, transport).data))!.text(Attribute.Nonce)!
    await client.allocate()
    const writer = new MessageWriter().start('request', Method.Refresh, new Uint8Array(12).fill(9))
    writer.text(Attribute.Username, 'alice').text(Attribute.Realm, 'sallyport').text(Attribute.Nonce, nonce)
    const response = await client.exchange(writer.integrity(IntegrityKey.longTerm('alice', 'sallyport', 'wonder')).finish())
    expect([codeOf(response), response?.has(Attribute.MessageIntegrity)]).toEqual(['success', true])
  })
})
