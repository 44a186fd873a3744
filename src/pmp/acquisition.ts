/**
 * One mapping from one router, by whichever protocol it speaks. All are asked at once; only one mapping is asked for at a time, since two
 * for one port get into each other's way on the router. The protocols are preferred in the order of the clients, as far as their
 * answers come at about the same time.
 */
import type { SallyportError } from '../errors.ts'
import type { Timer, Timers } from '../net/index.ts'
import { mostTelling } from './failures.ts'
import type { Grant, MappingClient, MappingRequest } from './protocol.ts'

/** Milliseconds that a better protocol is waited for once a lesser one has answered; less where the lesser one was quicker than that. */
const LONGEST_GRACE = 50

type Progress = 'probing' | 'ready' | 'mapping' | 'failed'

export interface AcquisitionOptions {
  readonly timers: Timers
  /** The best first. */
  readonly clients: readonly MappingClient[]
  readonly request: MappingRequest
  /** One that came after another was taken: to be given back. */
  readonly late: (client: MappingClient, grant: Grant) => Promise<void>
}

export interface Acquired {
  readonly client: MappingClient
  readonly grant: Grant
}

export class Acquisition {
  readonly #options: AcquisitionOptions
  readonly #progress = new Map<MappingClient, Progress>()
  readonly #failures: SallyportError[] = []
  readonly #startedAt: number
  /** From then on nobody better is waited for. */
  #graceEnds = Number.POSITIVE_INFINITY
  /** Requests for a mapping. */
  readonly #asked: Promise<void>[] = []
  #timer: Timer | undefined
  #settle: { readonly resolve: (acquired: Acquired) => void; readonly reject: (error: SallyportError) => void } | undefined

  constructor(options: AcquisitionOptions) {
    this.#options = options
    this.#startedAt = options.timers.now()
  }

  /** Rejects with SallyportError, the most telling one of all protocols, when none grants anything. To be called once. */
  run(): Promise<Acquired> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      for (const client of this.#options.clients) {
        // A PCP server that is none is told by the mapping request as well as by a question before it, a round trip earlier.
        if (client.protocol === 'pcp') this.#map(client)
        else this.#probe(client)
      }
      this.#advance()
    })
  }

  /** What is granted from now on is late. Idempotent. */
  cancel(): void {
    this.#timer?.cancel()
    this.#settle = undefined
  }

  /** Resolves when nothing can be granted any more, and what came late is given back. */
  get ended(): Promise<unknown> {
    return Promise.all(this.#asked)
  }

  #probe(client: MappingClient): void {
    this.#progress.set(client, 'probing')
    client.probe().then(
      () => {
        this.#progress.set(client, 'ready')
        const now = this.#options.timers.now()
        this.#graceEnds = Math.min(this.#graceEnds, now + Math.min(now - this.#startedAt, LONGEST_GRACE))
        this.#advance()
      },
      (error) => this.#failed(client, error),
    )
  }

  #map(client: MappingClient): void {
    this.#progress.set(client, 'mapping')
    const asked = client.map(this.#options.request).then(
      (grant) => {
        const settle = this.#settle
        if (settle === undefined) return this.#options.late(client, grant)
        this.cancel()
        settle.resolve({ client, grant })
        return undefined
      },
      (error) => this.#failed(client, error),
    )
    this.#asked.push(asked)
  }

  #failed(client: MappingClient, error: SallyportError): void {
    this.#progress.set(client, 'failed')
    this.#failures.push(error)
    this.#advance()
  }

  #advance(): void {
    if (this.#settle === undefined) return
    this.#timer?.cancel()
    const { clients, timers } = this.#options
    const patient = timers.now() < this.#graceEnds
    for (const client of clients) {
      const progress = this.#progress.get(client)
      if (progress === 'ready') {
        this.#map(client)
        return
      }
      if (progress === 'failed') continue
      // PCP's request is out from the beginning; any other is the one that is waited for.
      if (progress === 'mapping' && client.protocol !== 'pcp') return
      if (!patient) continue
      if (this.#graceEnds < Number.POSITIVE_INFINITY) this.#timer = timers.at(this.#graceEnds, () => this.#advance())
      return
    }
    if (clients.some((client) => this.#progress.get(client) !== 'failed')) return
    const { reject } = this.#settle
    this.cancel()
    reject(mostTelling(this.#failures))
  }
}
