/**
 * One mapping from one router, by whichever protocol it speaks. All are asked at once; only one mapping is asked for at a time, since two
 * for one port get into each other's way on the router. The protocols are preferred in the order of the clients, as far as their
 * answers come at about the same time.
 */
import type { SallyportError } from '../errors.ts'
import type { Timer, Timers } from '../net/index.ts'
import { asMappingError, mostTelling } from './failures.ts'
import type { Grant, MappingClient, MappingProtocol, MappingRequest } from './protocol.ts'

/** Milliseconds that a better protocol is waited for once a lesser one has answered; less where the lesser one was quicker than that. */
const LONGEST_GRACE = 50

type Progress = 'probing' | 'ready' | 'mapping' | 'failed'

export interface AcquisitionOptions {
  readonly timers: Timers
  /** The best first. */
  readonly clients: readonly MappingClient[]
  readonly request: MappingRequest
  /** What protocols that are not asked again have come to before. */
  readonly earlier?: ReadonlyMap<MappingProtocol, SallyportError>
  /** Once at most; or `failed`, with the most telling error of all protocols. */
  readonly granted: (client: MappingClient, grant: Grant) => void
  readonly failed: (error: SallyportError) => void
  /** One that came after another was taken, or after `cancel`: to be given back. Never rejects. */
  readonly late: (client: MappingClient, grant: Grant) => Promise<void>
}

export class Acquisition {
  readonly #options: AcquisitionOptions
  readonly #progress = new Map<MappingClient, Progress>()
  readonly #failures: Map<MappingProtocol, SallyportError>
  readonly #startedAt: number
  /** From then on nobody better is waited for. */
  #graceEnds = Number.POSITIVE_INFINITY
  /** Requests for a mapping, and what follows from those that were granted late. */
  readonly #asked: Promise<void>[] = []
  #timer: Timer | undefined
  #over = false

  constructor(options: AcquisitionOptions) {
    this.#options = options
    this.#failures = new Map(options.earlier)
    this.#startedAt = options.timers.now()
  }

  /** To be called once. */
  start(): void {
    for (const client of this.#options.clients) {
      // A PCP server that is none is told by the mapping request as well as by a question before it, a round trip earlier.
      if (client.protocol === 'pcp') this.#map(client)
      else void this.#probe(client)
    }
    this.#advance()
  }

  /** What is granted from now on is late. Idempotent. */
  cancel(): void {
    this.#timer?.cancel()
    this.#over = true
  }

  /** Once it was cancelled, or had a result: resolves when nothing can be granted any more, and what came late is given back. */
  get ended(): Promise<unknown> {
    return Promise.all(this.#asked)
  }

  async #probe(client: MappingClient): Promise<void> {
    this.#progress.set(client, 'probing')
    try {
      await client.probe()
    } catch (error) {
      this.#failed(client, error)
      return
    }
    this.#progress.set(client, 'ready')
    const now = this.#options.timers.now()
    this.#graceEnds = Math.min(this.#graceEnds, now + Math.min(now - this.#startedAt, LONGEST_GRACE))
    this.#advance()
  }

  #map(client: MappingClient): void {
    this.#progress.set(client, 'mapping')
    const asked = client.map(this.#options.request).then(
      (grant) => {
        if (this.#over) return this.#options.late(client, grant)
        this.cancel()
        this.#options.granted(client, grant)
        return undefined
      },
      (error) => this.#failed(client, error),
    )
    this.#asked.push(asked)
  }

  #failed(client: MappingClient, error: unknown): void {
    this.#progress.set(client, 'failed')
    this.#failures.set(client.protocol, asMappingError(error))
    this.#advance()
  }

  #advance(): void {
    if (this.#over) return
    this.#timer?.cancel()
    const { clients, timers, failed } = this.#options
    // PCP's request is out from the beginning; any other is the one that is waited for.
    if (clients.some((client) => client.protocol !== 'pcp' && this.#progress.get(client) === 'mapping')) return
    const patient = timers.now() < this.#graceEnds
    for (const client of clients) {
      const progress = this.#progress.get(client)
      if (progress === 'ready') {
        this.#map(client)
        return
      }
      if (progress === 'failed' || !patient) continue
      if (this.#graceEnds < Number.POSITIVE_INFINITY) this.#timer = timers.at(this.#graceEnds, () => this.#advance())
      return
    }
    if (clients.some((client) => this.#progress.get(client) !== 'failed')) return
    this.cancel()
    failed(mostTelling(this.#failures))
  }
}
