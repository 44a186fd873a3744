/**
 * coturn's TURN client on our relay: transports × channels and Send indications × families, and what else it can. `npm run interop` has it run
 * past the life of its nonce too.
 */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Family } from '../../src/net/index.ts'
import type { RelayTransport } from '../../src/relay/index.ts'
import { type EventOf, OwnRelay, RELAYED } from '../relay/own-relay.ts'
import { requires } from '../requirements.ts'
import { Echo, TURNUTILS, type UclientOptions, type UclientResult, uclient } from './turnutils.ts'

const WHOLE = process.env.INTEROP === 'all'
const PASSWORD = 'a password'
const SECRET = 'a shared secret'
/** Milliseconds. */
const NONCE_LIFETIME = 3_000

interface Run extends Pick<UclientOptions, 'by' | 'more' | 'messages' | 'interval' | 'length'> {
  readonly name: string
  readonly transport: RelayTransport
  /** How it reaches the relay. */
  readonly over: Family
  /** Of the relayed addresses, and of the peer. */
  readonly relayed: Family
  readonly rest?: boolean
  /** Messages in all. */
  readonly expected: number
}

const BASE = { over: 4, relayed: 4, more: ['-c'], expected: 20 } as const

const RUNS: readonly Run[] = [
  ...(['udp', 'tcp', 'tls'] as const).flatMap(
    (transport) =>
      [
        ...([4, 6] as const).flatMap((family) =>
          (['channels', 'indications'] as const).map(
            (by): Run => ({ ...BASE, name: `over ${transport}, IPv${family}, by ${by}`, transport, over: family, relayed: family, by }),
          ),
        ),
        { ...BASE, name: `over ${transport} with credentials from a shared secret`, transport, rest: true },
        { ...BASE, name: `over ${transport}, IPv4, for relayed addresses of IPv6`, transport, relayed: 6 },
        {
          ...BASE,
          name: `over ${transport} to another one of it, from relayed address to relayed address`,
          transport,
          more: ['-y', '-m', '2', '-c'],
          expected: 40,
        },
        {
          ...BASE,
          name: `over ${transport}, thrice at once, 1,200 bytes at a time`,
          transport,
          more: ['-m', '3', '-c'],
          length: 1200,
          expected: 60,
        },
      ] satisfies Run[],
  ),
  { ...BASE, name: 'for a pair of ports (EVEN-PORT and RESERVATION-TOKEN)', transport: 'udp', more: ['-m', '2'], expected: 40 },
  { ...BASE, name: 'over IPv6, for relayed addresses of IPv4', transport: 'udp', over: 6 },
  { ...BASE, name: 'that pads ChannelData over UDP', transport: 'udp', more: ['-D', '-c'] },
  { ...BASE, name: 'that asks for more permissions and channels than it needs', transport: 'tcp', more: ['-G', '-c'] },
  ...(WHOLE
    ? (['udp', 'tls'] as const).map(
        (transport): Run => ({
          ...BASE,
          name: `over ${transport} for 36 s, past the life of its nonce`,
          transport,
          messages: 900,
          interval: 40,
          expected: 900,
        }),
      )
    : []),
]

describe("coturn's client", requires({ ...TURNUTILS, commands: { ...TURNUTILS.commands, openssl: 'openssl' } }), () => {
  let own: OwnRelay
  let echoes: Record<Family, Echo>
  // It takes five seconds and hardly any work: all at once.
  const results = new Map<Run, Promise<UclientResult>>()

  beforeAll(async () => {
    const users = Object.fromEntries(RUNS.map((run) => [userOf(run), PASSWORD]))
    own = await OwnRelay.start({ users, secrets: SECRET, nonceLifetime: NONCE_LIFETIME })
    const [four, six] = await Promise.all([Echo.start('127.0.0.1'), Echo.start('::1')])
    echoes = { 4: four, 6: six }
    for (const run of RUNS) results.set(run, start(run))
  })

  afterAll(async () => {
    await Promise.allSettled(results.values())
    await Promise.all([own.close(), echoes[4].close(), echoes[6].close()])
  })

  function start(run: Run): Promise<UclientResult> {
    const { transport, over, relayed, rest = false } = run
    return uclient({
      ...run,
      ...own.at(transport, over),
      user: userOf(run),
      password: rest ? { of: 'rest', secret: SECRET } : { of: 'user', text: PASSWORD },
      peer: echoes[relayed],
      // So slowly that no two messages come together as a rule: see below.
      ...(transport === 'tls' ? { ca: own.caFile, interval: 40 } : {}),
    })
  }

  for (const run of RUNS)
    it(`${run.name}: all that it sends comes back, and it leaves`, { timeout: 90_000 }, async () => {
      const { transport, relayed, expected } = run
      const result = (await results.get(run)) as UclientResult
      const account = `${result.output}\n${own.account(userOf(run))}`
      expect(result, account).toMatchObject({ code: 0, sent: expected })
      const made = own.of('allocation-created', userOf(run))
      // Over UDP it lets go of some and leaves others to their fate. What ends with a connection ends a moment after it.
      const ended = (): readonly EventOf<'allocation-deleted'>[] => own.of('allocation-deleted', userOf(run))
      if (transport !== 'udp') await vi.waitFor(() => expect(ended(), account).toHaveLength(made.length), 10_000)
      const gone = ended()
      for (const one of made) {
        expect(one.transport).toBe(transport)
        expect(one.relayed.some((address) => address.startsWith(relayed === 4 ? `${RELAYED[4]}:` : `[${RELAYED[6]}]:`))).toBe(true)
      }
      const ports = made.flatMap((one) => one.relayed.map((address) => Number(address.replace(/.*:/, ''))))
      if (run.more?.includes('-c') === false) expect(ports.some((port) => port % 2 === 0 && ports.includes(port + 1))).toBe(true)
      for (const { reason } of gone) expect(transport === 'udp' ? ['released'] : ['released', 'disconnected']).toContain(reason)
      if (transport !== 'tls') return expect(result.received, account).toBe(expected)
      // It takes each record of TLS for one message, and of those that came together counts the first: the relay knows better.
      expect(result.received, account).toBeGreaterThan(0)
      expect(
        gone.reduce((sum, { packetsToClient }) => sum + packetsToClient, 0),
        account,
      ).toBe(expected)
    })

  it('is not let in with a wrong password', async () => {
    const password = { of: 'user', text: 'guessed' } as const
    const { output } = await uclient({ transport: 'udp', ...own.at('udp', 4), user: 'user0', password, peer: echoes[4] })
    expect(output).toMatch(/Cannot complete Allocation/)
    expect(own.of('authentication-failed', 'user0').length).toBeGreaterThan(0)
  })

  it.runIf(WHOLE)('has gone on after its nonce was refused as stale', async () => {
    await Promise.all(results.values())
    expect(own.relay.status().counters.errors[438]).toBeGreaterThan(0)
  })
})

/** Its own, so that what happened can be told apart. */
function userOf(run: Run): string {
  return `user${RUNS.indexOf(run)}`
}
