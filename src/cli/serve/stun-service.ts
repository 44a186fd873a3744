/** A STUN server that is no relay. */
import { nodeNetwork } from '../../net/node/index.ts'
import { createStunServer, type StunServer } from '../../stun/index.ts'
import type { Listening, Report, Service } from './service.ts'
import type { ServeSetup } from './setup.ts'

export class StunService implements Service {
  readonly listening: Listening
  readonly #server: StunServer

  private constructor(server: StunServer) {
    this.#server = server
    this.listening = { udp: server.addresses.map(({ key }) => key), tcp: [], tls: [], uris: [] }
  }

  static async open({ port, addresses, alternatePort }: ServeSetup): Promise<StunService> {
    const server = await createStunServer({
      network: nodeNetwork(),
      port,
      ...(addresses === undefined ? {} : { addresses }),
      ...(alternatePort === undefined ? {} : { alternatePort }),
    })
    return new StunService(server)
  }

  async report(): Promise<Report> {
    return { kind: 'stun', counters: this.#server.counters }
  }

  async renew(): Promise<void> {}

  /** It has nothing that could end. */
  async drain(): Promise<void> {}

  close(): Promise<void> {
    return this.#server.close()
  }
}
