/** One router as seen from one of our addresses: the clients of all protocols, opened when they are first needed, shared by all mappings there. */
import type { Network, Timers } from '../net/index.ts'
import type { MappingClient, MappingClientOptions, Uplink } from './protocol.ts'
import type { MappingTerms } from './terms.ts'

/** Opens the clients for an uplink, the preferred protocol first. Rejects with SallyportError `ERR_BIND`. */
export type OpenClients = (options: MappingClientOptions, terms: MappingTerms) => Promise<readonly MappingClient[]>

export interface RouterOptions {
  readonly network: Network
  readonly timers: Timers
  readonly uplink: Uplink
  readonly terms: MappingTerms
  readonly openClients: OpenClients
  readonly restarted: (client: MappingClient) => void
  readonly nonces: Map<string, Uint8Array>
}

export class Router {
  readonly uplink: Uplink
  readonly #options: RouterOptions
  readonly #work = new Map<string, Set<Promise<unknown>>>()
  #clients: Promise<readonly MappingClient[]> | undefined
  #closed = false

  constructor(options: RouterOptions) {
    this.#options = options
    this.uplink = options.uplink
  }

  /** Rejects with SallyportError `ERR_BIND`; asked again, it tries again. */
  async clients(): Promise<readonly MappingClient[]> {
    const { network, timers, uplink, terms, openClients, restarted, nonces } = this.#options
    const opening = this.#clients ?? openClients({ network, timers, uplink, restarted, nonces }, terms)
    this.#clients = opening
    try {
      const clients = await opening
      if (this.#closed) for (const client of clients) client.close()
      return clients
    } catch (error) {
      if (this.#clients === opening) this.#clients = undefined
      throw error
    }
  }

  /** Something that changes what the router has mapped for this port of ours, or may do so yet. Must not reject. */
  track(port: string, work: Promise<unknown>): void {
    const all = this.#work.get(port) ?? new Set()
    this.#work.set(port, all.add(work))
    void work.then(() => {
      all.delete(work)
      if (all.size === 0 && this.#work.get(port) === all) this.#work.delete(port)
    })
  }

  /** Resolves when all that is under way for this port, or for all, is over: what it deletes must not be what is asked for next. */
  async idle(port?: string): Promise<void> {
    const works = port === undefined ? [...this.#work.values()] : [this.#work.get(port) ?? []]
    await Promise.all(works.flatMap((work) => [...work]))
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
