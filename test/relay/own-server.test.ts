/** Our client on our server, over this machine's loopback and real time: what the lab shows of both holds on the system's sockets too. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Address, Family } from '../../src/net/index.ts'
import { type RelayTransport, restCredentials } from '../../src/relay/index.ts'
import { requires } from '../requirements.ts'
import { OwnRelay, RELAYED } from './own-relay.ts'
import { allocationOf, type Client, closeAll, echo, network, open, pause, talk, until } from './real-client.ts'

const SECRET = 'a shared secret'
/** Milliseconds. */
const NONCE_LIFETIME = 700

const TRANSPORTS = ['udp', 'tcp', 'tls'] as const
const FAMILIES = [4, 6] as const
const WAYS = TRANSPORTS.flatMap((transport) => FAMILIES.map((family) => [transport, family] as const))

describe('our client on our server', requires({ commands: { openssl: 'openssl' } }), () => {
  let own: OwnRelay

  beforeAll(async () => {
    own = await OwnRelay.start({ users: { alice: 'wonder' }, secrets: SECRET, nonceLifetime: NONCE_LIFETIME })
  })
  afterEach(closeAll)
  afterAll(() => own?.close())

  function uri(transport: RelayTransport, family: Family): string {
    const { ip, port } = own.at(transport, family)
    const host = family === 6 ? `[${ip}]` : ip
    return transport === 'tls' ? `turns:${host}:${port}` : `turn:${host}:${port}?transport=${transport}`
  }

  /** Past the life of its nonce everything goes on, under new ones. */
  async function outlive(client: Client, peer: Address): Promise<void> {
    const allocation = await allocationOf(client)
    await pause(2 * NONCE_LIFETIME)
    await talk(client, allocation, peer)
    expect(allocation.status().requests.staleNonces).toBeGreaterThan(0)
    expect(client.told).toEqual(['measured', 'allocated'])
  }

  it.each(WAYS)(
    'over %s and IPv%i it allocates in both families, talks, lives on past its nonce, and leaves nothing',
    async (transport, family) => {
      const client = open(uri(transport, family), { ca: own.ca, families: [4, 6] })
      const allocation = await allocationOf(client)
      expect(allocation.transport).toBe(transport)
      expect(allocation.mapped.ip).toBe(own.at(transport, family).ip)
      expect(allocation.relayed.map(({ ip }) => ip)).toEqual(Object.values(RELAYED))
      const [four, six] = await Promise.all(FAMILIES.map(echo))
      await outlive(client, four as Address)
      const { port } = allocation.mapped
      const ofThis = ({ client }: { readonly client: string }): boolean => client.endsWith(`:${port}`)
      expect(own.of('allocation-created', 'alice').filter(ofThis)).toHaveLength(1)
      client.heard.length = 0
      allocation.send(Uint8Array.of(6), six as Address, false)
      await until('an answer over IPv6', () => client.heard.some(({ from }) => from.key === six?.key))
      client.client.close()
      await until('its end', () => own.of('allocation-deleted', 'alice').some(ofThis))
    },
  )

  it('it races UDP and TCP where the server has both, and takes the one that is first', async () => {
    const { ip, port } = own.at('udp', 4)
    const client = open(`turn:${ip}:${port}`)
    const allocation = await allocationOf(client)
    expect(allocation.transport).toBe('udp')
    await talk(client, allocation, await echo(4))
  })

  it('it is let in with credentials from a shared secret, and not with others', async () => {
    const credentials = restCredentials({ secret: SECRET, user: 'carol', now: network.clock.wallTime() })
    const client = open(uri('udp', 4), { credentials: async () => credentials })
    await talk(client, await allocationOf(client), await echo(4))
    expect(own.of('allocation-created', 'carol')).toHaveLength(1)
    const other = open(uri('udp', 4), { credentials: async () => ({ ...credentials, password: 'guessed' }) })
    await until('a failure', () => other.told.includes('failed ERR_RELAY_CREDENTIALS'))
    expect(own.of('authentication-failed', 'carol').length).toBeGreaterThan(0)
  })

  it('over TLS it does not talk to a server that it does not know', async () => {
    const client = open(uri('tls', 4))
    await until('a failure', () => client.told.includes('failed ERR_RELAY_UNREACHABLE'))
    expect(client.client.failure?.message).toMatch(/TLS to .*certificate/i)
  })
})
