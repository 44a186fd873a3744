/** From a link to a router's services: searches, fetches the description of whoever answers, and takes the best that has what is needed. */
import { SallyportError } from '../../errors.ts'
import type { Timer } from '../../net/index.ts'
import { type Description, fetchDescription, type Service } from './description.ts'
import { closed, type HttpClient } from './http.ts'
import { type Responder, type SearchOptions, SsdpSearch } from './ssdp-search.ts'
import { loadXml } from './xml.ts'

/** Milliseconds until nobody has answered. */
const LONGEST_SEARCH = 3000
/** Milliseconds that another device waits for the router itself. */
const PATIENCE = 100

/** A router whose description has what is needed. */
export interface Found {
  readonly responder: Responder
  readonly description: Description
  /** Those that are needed, the preferred one first; at least one. */
  readonly services: readonly Service[]
}

export interface DiscoveryOptions extends Omit<SearchOptions, 'found'> {
  readonly http: HttpClient
  readonly needed: (service: Service) => boolean
  /** The first to hear of every answer that is looked at. */
  readonly answered: (responder: Responder) => void
}

/** One search, with its end. */
export class Discovery {
  readonly #options: DiscoveryOptions
  readonly #search: SsdpSearch
  readonly #deadlines: Timer[] = []
  readonly #waiting: Responder[] = []
  readonly #others: Found[] = []
  #settle: { readonly resolve: (found: Found) => void; readonly reject: (error: unknown) => void } | undefined
  #examining = 0
  /** Of them, what the router itself gave. */
  #examiningRouter = 0
  /** Nobody else is waited for. */
  #late = false
  /** Other devices than the router are looked at, too. */
  #open = false
  #failure: unknown

  constructor(options: DiscoveryOptions) {
    this.#options = options
    this.#search = new SsdpSearch({ ...options, found: (responder) => this.#found(responder) })
  }

  /** To be called once. Rejects with SallyportError `ERR_MAPPING_UNAVAILABLE`, `ERR_MAPPING_ANSWER`, `ERR_BIND`, `ERR_CLOSED`. */
  run(): Promise<Found> {
    const { timers } = this.#options
    // Loading takes longer than the router's answer, so it begins now; who needs it waits for it and sees what went wrong.
    loadXml().catch(() => {})
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#search.start().catch((error) => this.#end(error))
      const late = (): void => {
        this.#late = true
        this.#look()
      }
      this.#deadlines.push(timers.after(LONGEST_SEARCH, late))
    })
  }

  /** Idempotent. What `run` gave rejects. */
  close(): void {
    this.#end(closed())
  }

  #found(responder: Responder): void {
    this.#options.answered(responder)
    if (responder.isRouter || this.#open) {
      void this.#examine(responder)
      return
    }
    this.#waiting.push(responder)
    if (this.#waiting.length > 1) return
    const open = (): void => {
      this.#open = true
      for (const one of this.#waiting.splice(0)) void this.#examine(one)
      this.#look()
    }
    this.#deadlines.push(this.#options.timers.after(PATIENCE, open))
  }

  async #examine(responder: Responder): Promise<void> {
    this.#examining++
    if (responder.isRouter) this.#examiningRouter++
    try {
      const description = await fetchDescription(this.#options.http, responder.location)
      const services = description.services.filter(this.#options.needed)
      if (description.dropped > 0) this.#options.dropped('a control URL that leads elsewhere', responder.from)
      if (services.length === 0) {
        throw new SallyportError('ERR_MAPPING_UNAVAILABLE', `${responder.location.address.key} has no service that maps ports`)
      }
      const found = { responder, description, services }
      if (responder.isRouter) this.#end(found)
      else this.#others.push(found)
    } catch (error) {
      this.#failure = error
    }
    this.#examining--
    if (responder.isRouter) this.#examiningRouter--
    this.#look()
  }

  /** Whether another device will have to do, or nothing. */
  #look(): void {
    const [other] = this.#others
    // Its router, if it answers at all, has had the time of its own request.
    if (other !== undefined && this.#open && this.#examiningRouter === 0) this.#end(other)
    else if (this.#late && this.#examining === 0) {
      const { router } = this.#options.uplink
      const nobody = new SallyportError('ERR_MAPPING_UNAVAILABLE', `no UPnP router answers at ${router.host}, nor on its link`)
      this.#end(this.#failure ?? nobody)
    }
  }

  #end(result: unknown): void {
    const settle = this.#settle
    this.#settle = undefined
    this.#search.close()
    for (const timer of this.#deadlines.splice(0)) timer.cancel()
    if (settle === undefined) return
    if (isFound(result)) settle.resolve(result)
    else settle.reject(result)
  }
}

function isFound(result: unknown): result is Found {
  return typeof result === 'object' && result !== null && 'services' in result
}
