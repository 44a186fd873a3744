/** A relay in this process. */
import type { TlsIdentity } from '../../net/index.ts'
import { nodeNetwork } from '../../net/node/index.ts'
import { createRelay, type Relay } from '../../relay/index.ts'
import { limited } from './limited.ts'
import type { Listening, Report, Service, Tell } from './service.ts'
import type { RelaySetup } from './setup.ts'

export class RelayService implements Service {
  readonly listening: Listening
  readonly #relay: Relay

  private constructor(relay: Relay) {
    this.#relay = relay
    this.listening = listeningOf(relay)
  }

  static async open(setup: RelaySetup, tell: Tell): Promise<RelayService> {
    return new RelayService(await createRelay({ ...setup, network: nodeNetwork(), log: limited(tell) }))
  }

  async report(): Promise<Report> {
    return { kind: 'relay', status: this.#relay.status(), workers: [], restarts: 0 }
  }

  async renew(tls: TlsIdentity): Promise<void> {
    this.#relay.renew(tls)
  }

  drain(): Promise<void> {
    return this.#relay.drain()
  }

  close(): Promise<void> {
    return this.#relay.close()
  }
}

export function listeningOf({ addresses, uris }: Relay): Listening {
  const keys = (transport: keyof typeof addresses): readonly string[] => addresses[transport].map(({ key }) => key)
  return { udp: keys('udp'), tcp: keys('tcp'), tls: keys('tls'), uris }
}
