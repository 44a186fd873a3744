/** Our client on coturn, over this machine's loopback and real time. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Address } from '../../src/net/index.ts'
import { restCredentials } from '../../src/relay/rest-credentials.ts'
import { requires } from '../requirements.ts'
import { COTURN, type Coturn, makeCertificate, startCoturn } from './coturn.ts'
import { allocationOf, closeAll, echo, network, open, pause, talk, until } from './real-client.ts'

afterEach(closeAll)

describe('C66 C67 C68 on coturn', requires(COTURN), () => {
  let coturn: Coturn
  let certificate: ReturnType<typeof makeCertificate>

  beforeAll(async () => {
    certificate = makeCertificate()
    coturn = await startCoturn({ tls: certificate })
  })
  afterAll(async () => {
    await coturn?.kill()
    certificate?.remove()
  })

  it.each([
    ['UDP over IPv4', () => `turn:127.0.0.1:${coturn.port}?transport=udp`, 'udp', 4],
    ['TCP over IPv4', () => `turn:127.0.0.1:${coturn.port}?transport=tcp`, 'tcp', 4],
    ['TLS by name', () => `turns:relay.test:${coturn.tlsPort}`, 'tls', 4],
    ['TLS by address', () => `turns:127.0.0.1:${coturn.tlsPort}`, 'tls', 4],
    ['UDP over IPv6', () => `turn:[::1]:${coturn.port}?transport=udp`, 'udp', 6],
    ['TCP over IPv6', () => `turn:[::1]:${coturn.port}?transport=tcp`, 'tcp', 6],
    ['TLS over IPv6', () => `turns:[::1]:${coturn.tlsPort}`, 'tls', 6],
    ['whatever is faster', () => `turn:127.0.0.1:${coturn.port}`, 'udp', 4],
  ] as const)('%s: an allocation, and data intact both ways', async (_, uri, transport, family) => {
    const client = open(uri(), { ca: certificate.ca })
    const allocation = await allocationOf(client)
    expect(allocation.transport).toBe(transport)
    expect(allocation.mapped.family).toBe(family)
    expect(allocation.relayed.map((address) => address.family)).toEqual([4])
    await talk(client, allocation, await echo(4))
    expect(client.told).toEqual(['measured', 'allocated'])
  })

  it.each(['udp', 'tcp'] as const)('an IPv6 relayed address over %s, and data to an IPv6 peer', async (transport) => {
    const client = open(`turn:127.0.0.1:${coturn.port}?transport=${transport}`, { families: [6] })
    const allocation = await allocationOf(client)
    expect(allocation.relayed.map(({ family }) => family)).toEqual([6])
    await talk(client, allocation, await echo(6))
  })

  it('a certificate that nobody we know signed is refused, and the failure says so', async () => {
    const client = open(`turns:relay.test:${coturn.tlsPort}`)
    await until('a failure', () => client.told.includes('failed ERR_RELAY_UNREACHABLE'))
    expect(client.client.failure?.message).toMatch(/TLS to .*certificate/i)
  })

  it('asked for both families it gives what it has', async () => {
    const client = open(`turn:127.0.0.1:${coturn.port}`, { families: [4, 6] })
    const allocation = await allocationOf(client)
    // coturn before 4.8 knows ADDITIONAL-ADDRESS-FAMILY under another number only.
    expect(allocation.relayed[0]?.family).toBe(4)
    await talk(client, allocation, await echo(4))
  })

  it('many permissions are granted in one request', async () => {
    const client = open(`turn:127.0.0.1:${coturn.port}?transport=udp`)
    const allocation = await allocationOf(client)
    const before = allocation.status().requests.requests
    for (let i = 1; i <= 20; i++) allocation.expect(Address.of(`127.0.1.${i}`, 1))
    await until('20 permissions', () => allocation.status().permissions === 20)
    expect(allocation.status().requests.requests - before).toBe(1)
  })

  it('a wrong password is told as such', async () => {
    const client = open(`turn:127.0.0.1:${coturn.port}`, { credentials: async () => ({ username: 'alice', password: 'no' }) })
    await until('a failure', () => client.told.includes('failed ERR_RELAY_CREDENTIALS'))
    expect(client.client.allocation).toBeUndefined()
  })
})

describe('C66 C67 on coturn as others run it', requires(COTURN), () => {
  let coturn: Coturn | undefined

  afterEach(async () => {
    await coturn?.kill()
    coturn = undefined
  })

  it.each(['udp', 'tcp'] as const)(
    'nonces that go stale: refresh, permissions and channels over %s go on under new ones',
    async (transport) => {
      coturn = await startCoturn({ args: ['--stale-nonce=1'] })
      const client = open(`turn:127.0.0.1:${coturn.port}?transport=${transport}`)
      const allocation = await allocationOf(client)
      await pause(2_100)
      allocation.verify()
      await pause(2_100)
      await talk(client, allocation, await echo(4))
      expect(allocation.status().requests.staleNonces).toBeGreaterThan(0)
      expect(client.told).toEqual(['measured', 'allocated'])
    },
  )

  it('a user with too many allocations is told of the quota', async () => {
    coturn = await startCoturn({ args: ['--user-quota=1'] })
    const first = open(`turn:127.0.0.1:${coturn.port}`)
    await allocationOf(first)
    const second = open(`turn:127.0.0.1:${coturn.port}`)
    await until('a failure', () => second.told.includes('failed ERR_RELAY_QUOTA'))
    // What is given back is free for the other, once coturn has noticed.
    first.client.release()
    await pause(2_500)
    second.client.networkChanged()
    await until('the second allocation', () => second.client.allocation)
    expect(first.told).toEqual(['measured', 'allocated'])
  })

  it('a peer that the relay denies is told as EACCES, and takes nothing from the others', async () => {
    coturn = await startCoturn({ args: ['--denied-peer-ip=127.0.1.0-127.0.1.255'] })
    const client = open(`turn:127.0.0.1:${coturn.port}`)
    const allocation = await allocationOf(client)
    allocation.send(Uint8Array.of(1), Address.of('127.0.1.1', 9), false)
    await talk(client, allocation, await echo(4))
    expect(client.failures).toEqual(['EACCES 127.0.1.1'])
  })

  it('after a restart there is a new allocation within two seconds of the first doubt', async () => {
    coturn = await startCoturn()
    const { port } = coturn
    const client = open(`turn:127.0.0.1:${port}?transport=udp`)
    const first = await allocationOf(client)
    await coturn.kill()
    coturn = await startCoturn({ port })
    const before = network.clock.now()
    first.verify()
    const second = await until('another allocation', () => client.client.allocation !== first && client.client.allocation)
    expect(network.clock.now() - before).toBeLessThan(2_000)
    expect(client.told).toEqual(['measured', 'allocated', 'lost ERR_RELAY_MISMATCH', 'measured', 'allocated'])
    await talk(client, second, await echo(4))
  })

  it('a stream that a dying server closes is lost at once, and comes again with the server', async () => {
    coturn = await startCoturn()
    const { port } = coturn
    const client = open(`turn:127.0.0.1:${port}?transport=tcp`)
    await allocationOf(client)
    await coturn.kill()
    await until('the loss', () => client.told.includes('lost ERR_RELAY_LOST'))
    coturn = await startCoturn({ port })
    await until('another allocation', () => client.client.allocation)
  })

  it('a redirection to the same host is followed', async () => {
    const other = await startCoturn()
    try {
      coturn = await startCoturn({ args: [`--alternate-server=127.0.0.1:${other.port}`] })
      const client = open(`turn:127.0.0.1:${coturn.port}`)
      const allocation = await allocationOf(client)
      expect(allocation.server.port).toBe(other.port)
    } finally {
      await other.kill()
    }
  })

  it('credentials from a shared secret are taken, and renewed by a second allocation before they expire', async () => {
    coturn = await startCoturn({ users: [], args: ['--use-auth-secret', '--static-auth-secret=shared'] })
    let asked = 0
    const client = open(`turn:127.0.0.1:${coturn.port}?transport=udp`, {
      credentials: async () => {
        const made = restCredentials({ secret: 'shared', user: `user${++asked}`, ttl: 60_000, now: network.clock.wallTime() })
        return { ...made, expiresAt: network.clock.now() + (asked === 1 ? 2_000 : 60_000) }
      },
    })
    const first = await allocationOf(client)
    const second = await until('a second allocation', () => client.client.allocation !== first && client.client.allocation)
    expect(first.alive).toBe(true)
    await talk(client, second, await echo(4))
    expect(asked).toBe(2)
    expect(client.told).toEqual(['measured', 'allocated', 'measured', 'allocated'])
  })
})
