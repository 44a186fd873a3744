/** A relay of ours on this machine's loopback, in both families and over UDP, TCP and TLS, for clients of any kind. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Family } from '../../src/net/index.ts'
import { nodeNetwork } from '../../src/net/node/index.ts'
import { createRelay, type Relay, type RelayEvent, type RelayOptions, type RelayTransport } from '../../src/relay/index.ts'
import { makeIdentity } from '../net/tls-identity.ts'

const IPS: Readonly<Record<Family, string>> = { 4: '127.0.0.1', 6: '::1' }
/** Where relayed addresses are: of IPv4 at one of their own, which tells what came by the relay from what came past it. */
export const RELAYED: Readonly<Record<Family, string>> = { 4: '127.0.0.2', 6: '::1' }

export type EventOf<Name extends RelayEvent['event']> = Extract<RelayEvent, { readonly event: Name }>

export class OwnRelay {
  readonly relay: Relay
  /** Of its certificate, which nobody else trusts. */
  readonly ca: string
  /** A file with that. */
  readonly caFile: string
  readonly #folder: string
  readonly #events: RelayEvent[]

  private constructor(relay: Relay, ca: string, events: RelayEvent[]) {
    this.relay = relay
    this.ca = ca
    this.#events = events
    this.#folder = mkdtempSync(join(tmpdir(), 'relay-'))
    this.caFile = join(this.#folder, 'ca.pem')
    writeFileSync(this.caFile, ca)
  }

  /** Its clients all come from one address, and are many: what it bounds for each address is wide. */
  static async start(options: Partial<RelayOptions>): Promise<OwnRelay> {
    const events: RelayEvent[] = []
    const tls = makeIdentity('localhost', IPS[6])
    const relay = await createRelay({
      network: nodeNetwork(),
      port: 0,
      tlsPort: 0,
      addresses: Object.values(IPS),
      relayAddresses: Object.values(RELAYED),
      tls,
      peers: { private: true },
      strangers: { perSecond: 1000, burst: 1000 },
      connections: { strangersPerSource: 1000 },
      log: (event) => events.push(event),
      ...options,
    })
    return new OwnRelay(relay, tls.cert, events)
  }

  at(transport: RelayTransport, family: Family): { readonly ip: string; readonly port: number } {
    const address = this.relay.addresses[transport].find((one) => one.family === family)
    if (address === undefined) throw new Error(`it listens on no ${transport} over IPv${family}`)
    return { ip: address.ip, port: address.port }
  }

  /** Of one user, what happened so far. */
  of<Name extends RelayEvent['event']>(name: Name, user: string): EventOf<Name>[] {
    return this.#events.filter((event): event is EventOf<Name> => event.event === name && 'user' in event && event.user === user)
  }

  /** For the reader of a failure: what it logged of a user, and its numbers. */
  account(user: string): string {
    const events = this.#events.filter((event) => !('user' in event) || event.user === user)
    return [...events.slice(-50), this.relay.status()].map((one) => JSON.stringify(one)).join('\n')
  }

  async close(): Promise<void> {
    await this.relay.close()
    rmSync(this.#folder, { recursive: true })
  }
}
