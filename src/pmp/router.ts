/** One router as seen from one of our addresses: the clients of all protocols, opened when they are first needed, shared by all mappings there. */
import type { Network, Timers } from '../net/index.ts'
import type { MappingClient, MappingClientOptions, Uplink } from './protocol.ts'
import type { MappingTerms } from './terms.ts'

/** The clients for one uplink. */
export interface OpenedClients {
  /** The preferred protocol first. */
  readonly clients: readonly MappingClient[]
  /** All of them, with the sockets that they share. What is mapped stays. Idempotent. */
  close(): void
}

/** Rejects with SallyportError `ERR_BIND`. */
export type OpenClients = (options: MappingClientOptions, terms: MappingTerms) => Promise<OpenedClients>

export interface RouterOptions {
  readonly network: Network
  readonly timers: Timers
  readonly uplink: Uplink
  readonly terms: MappingTerms
  readonly openClients: OpenClients
  readonly restarted: (client: MappingClient) => void
}

export class Router {
  readonly uplink: Uplink
  readonly #options: RouterOptions
  #opened: Promise<OpenedClients> | undefined
  #closed = false

  constructor(options: RouterOptions) {
    this.#options = options
    this.uplink = options.uplink
  }

  /** Rejects with SallyportError `ERR_BIND`; asked again, it tries again. */
  async clients(): Promise<readonly MappingClient[]> {
    const { network, timers, uplink, terms, openClients, restarted } = this.#options
    this.#opened ??= openClients({ network, timers, uplink, restarted }, terms)
    try {
      const opened = await this.#opened
      if (this.#closed) opened.close()
      return opened.clients
    } catch (error) {
      this.#opened = undefined
      throw error
    }
  }

  /** What is mapped stays. Idempotent. */
  close(): void {
    this.#closed = true
    void this.#opened?.then(
      (opened) => opened.close(),
      () => {},
    )
  }
}
