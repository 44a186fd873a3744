/** One router as seen from one of our addresses: the clients of all protocols, opened when they are first needed, shared by all mappings there. */
import type { Network, Timers } from '../net/index.ts'
import type { MappingClient, MappingClientOptions, MappingProtocol, Uplink } from './protocol.ts'

/** Opens the clients for an uplink, the preferred protocol first. Rejects with SallyportError `ERR_BIND`. */
export type OpenClients = (
  options: MappingClientOptions,
  protocols: readonly MappingProtocol[],
  description: string,
) => Promise<readonly MappingClient[]>

export interface RouterOptions {
  readonly network: Network
  readonly timers: Timers
  readonly uplink: Uplink
  readonly protocols: readonly MappingProtocol[]
  readonly description: string
  readonly openClients: OpenClients
  readonly restarted: (client: MappingClient) => void
}

export class Router {
  readonly uplink: Uplink
  readonly #options: RouterOptions
  #clients: Promise<readonly MappingClient[]> | undefined
  #closed = false

  constructor(options: RouterOptions) {
    this.#options = options
    this.uplink = options.uplink
  }

  /** Rejects with SallyportError `ERR_BIND`; asked again, it tries again. */
  async clients(): Promise<readonly MappingClient[]> {
    const { network, timers, uplink, protocols, description, openClients, restarted } = this.#options
    this.#clients ??= openClients({ network, timers, uplink, restarted }, protocols, description)
    try {
      const clients = await this.#clients
      if (this.#closed) for (const client of clients) client.close()
      return clients
    } catch (error) {
      this.#clients = undefined
      throw error
    }
  }

  /** What is mapped stays. Idempotent. */
  close(): void {
    this.#closed = true
    void this.#clients?.then(
      (clients) => {
        for (const client of clients) client.close()
      },
      () => {},
    )
  }
}
