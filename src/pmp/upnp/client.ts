/**
 * UPnP as a mapping client: over IPv4 the Internet Gateway Device, versions 1 and 2, over IPv6 its firewall control. Looks for the router
 * when first asked, and again when it does not answer any more where it was.
 */
import { diagnose } from '../../diagnostics.ts'
import { SallyportError } from '../../errors.ts'
import type { Grant, MappingClient, MappingClientOptions, MappingRequest, RouterFacts, Uplink } from '../protocol.ts'
import { Announcements } from './announcements.ts'
import { Discovery } from './discovery.ts'
import { Gateway } from './gateway.ts'
import { closed, HttpClient } from './http.ts'

const LONGEST_NAME = 60
const DEFAULT_NAME = 'sallyport'

export interface UpnpClientOptions extends MappingClientOptions {
  /** What the router lists mappings as: ASCII letters, digits, `.`, `_`, `-` and spaces, at most 60. Default `sallyport`. */
  readonly description?: string
}

export class UpnpClient implements MappingClient {
  readonly protocol = 'upnp'
  readonly uplink: Uplink
  readonly #options: UpnpClientOptions
  readonly #http: HttpClient
  readonly #name: string
  #announcements: Announcements | undefined
  #discovery: Discovery | undefined
  #gateway: Promise<Gateway> | undefined
  #dropped = 0
  #closed = false

  constructor(options: UpnpClientOptions) {
    const { network, timers, uplink, description = DEFAULT_NAME } = options
    this.#options = options
    this.uplink = uplink
    this.#http = new HttpClient({ network, timers, from: uplink.local.address })
    this.#name = /^[\w. -]+$/.test(description) ? description.slice(0, LONGEST_NAME) : DEFAULT_NAME
  }

  /** Answers and URLs that lead elsewhere or make no sense, so far. */
  get dropped(): number {
    return this.#dropped
  }

  probe(): Promise<RouterFacts> {
    return this.#ask((gateway) => gateway.facts())
  }

  async map(request: MappingRequest): Promise<Grant> {
    // A remote host could be named, but only one, and routers refuse it or pass it over.
    if (request.allow !== undefined && request.allow.length > 0) {
      throw new SallyportError('ERR_MAPPING_REFUSED', 'a UPnP router does not choose who may send in')
    }
    return this.#ask((gateway) => gateway.map(request))
  }

  unmap(grant: Grant): Promise<void> {
    return this.#ask((gateway) => gateway.unmap(grant))
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#http.close()
    this.#announcements?.close()
    this.#discovery?.close()
    this.#gateway = undefined
  }

  /** A router that was found earlier may have moved its services since, by a restart: then it is looked for once more. */
  async #ask<T>(question: (gateway: Gateway) => Promise<T>): Promise<T> {
    if (this.#closed) throw closed()
    const known = this.#gateway
    const gateway = await (known ?? this.#find())
    try {
      return await question(gateway)
    } catch (error) {
      if (this.#closed) throw closed()
      const moved = error instanceof SallyportError && (error.code === 'ERR_MAPPING_UNAVAILABLE' || error.code === 'ERR_MAPPING_ANSWER')
      if (known === undefined || !moved) throw error
      if (this.#gateway === known) this.#gateway = undefined
    }
    return question(await (this.#gateway ?? this.#find()))
  }

  #find(): Promise<Gateway> {
    const finding = this.#discover()
    this.#gateway = finding
    finding.catch(() => {
      if (this.#gateway === finding) this.#gateway = undefined
    })
    return finding
  }

  async #discover(): Promise<Gateway> {
    const { network, timers, uplink } = this.#options
    const announcements = this.#listen()
    const family = uplink.local.address.family
    const discovery = new Discovery({
      network,
      timers,
      uplink,
      http: this.#http,
      needed: ({ kind }) => (kind === 'WANIPv6FirewallControl') === (family === 6),
      answered: ({ isRouter, message, from }) => isRouter && announcements.learn(message, from),
      dropped: (reason, from) => {
        this.#dropped++
        diagnose('drop', () => ({ event: 'upnp-answer', reason, from: from.key }))
      },
    })
    this.#discovery = discovery
    const found = await discovery.run()
    // Where the route names the router by its link-local address, it may answer from another one.
    announcements.learn(found.responder.message, found.responder.from)
    return new Gateway({ found, http: this.#http, network, description: this.#name })
  }

  #listen(): Announcements {
    if (this.#announcements !== undefined) return this.#announcements
    const { network, timers, uplink, restarted } = this.#options
    const again = (): void => {
      this.#gateway = undefined
      restarted(this)
    }
    this.#announcements = new Announcements({ network, timers, uplink, restarted: again })
    void this.#announcements.start()
    return this.#announcements
  }
}
