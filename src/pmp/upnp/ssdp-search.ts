/**
 * Finds the routers on one link by SSDP: asks the known router itself, then the link's group, three times. Answers come from any port, and
 * from other addresses than the router's where two routers share one (CARP, VRRP); what they lead to has to be the router or whoever
 * answered.
 */
import {
  Address,
  type DatagramHandler,
  type DatagramSocket,
  type InterfaceAddress,
  type Network,
  Prefix,
  type Timer,
  type Timers,
} from '../../net/index.ts'
import type { Uplink } from '../protocol.ts'
import { formatHttpUrl, type HttpUrl, parseHttpUrl } from './http-url.ts'
import {
  isGatewayType,
  readSsdp,
  SEARCH_ALL,
  SEARCH_TARGETS,
  SSDP_GROUP,
  SSDP_PORT,
  type SsdpMessage,
  searchMessage,
} from './ssdp-message.ts'

/** Milliseconds after the first round; datagrams get lost, and multicast on Wi-Fi more than others. */
const REPEATS = [500, 1500]
/** Different answers that are looked at; a LAN has two or three that qualify. */
const MOST_RESPONDERS = 16

/** Somebody who says that a description is to be had from him. */
export interface Responder {
  readonly location: HttpUrl
  /** It is the router that was asked for, not somebody else on the link. */
  readonly isRouter: boolean
  readonly message: SsdpMessage
  readonly from: Address
}

export interface SearchOptions {
  readonly network: Network
  readonly timers: Timers
  readonly uplink: Uplink
  /** Each once, by its location. */
  readonly found: (responder: Responder) => void
  /** Answers that lead elsewhere or make no sense. */
  readonly dropped: (reason: string, from: Address) => void
}

export class SsdpSearch implements DatagramHandler {
  readonly #options: SearchOptions
  readonly #seen = new Set<string>()
  readonly #timers: Timer[] = []
  #socket: DatagramSocket | undefined
  #closed = false

  constructor(options: SearchOptions) {
    this.#options = options
  }

  /** Resolves when the first round is out. Rejects with SallyportError `ERR_BIND`. */
  async start(): Promise<void> {
    const { network, timers, uplink } = this.#options
    const { address } = uplink.local
    const socket = await network.bind({ family: address.family, ip: address.host, multicast: { on: uplink.local } })
    if (this.#closed) {
      socket.close()
      return
    }
    this.#socket = socket
    socket.handle(this)
    this.#ask(SEARCH_TARGETS[address.family])
    for (const delay of REPEATS) {
      this.#timers.push(timers.after(delay, () => this.#ask([...SEARCH_TARGETS[address.family], SEARCH_ALL])))
    }
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true
    for (const timer of this.#timers.splice(0)) timer.cancel()
    this.#socket?.close()
    this.#socket = undefined
  }

  /** The router first: that opens a firewall of this host for its answers, and needs no multicast. */
  #ask(targets: readonly string[]): void {
    const { router, local } = this.#options.uplink
    const { family } = local.address
    const group = SSDP_GROUP[family]
    const zone = family === 6 ? `%${local.address.zone === '' ? local.name : local.address.zone}` : ''
    for (const to of [router.withPort(SSDP_PORT), Address.of(`${group}${zone}`, SSDP_PORT)]) {
      for (const target of targets) this.#socket?.send(searchMessage(target, family), to)
    }
  }

  datagram(data: Uint8Array, from: Address): void {
    if (this.#closed) return
    const answer = this.#read(data, from)
    if (typeof answer === 'string') {
      this.#options.dropped(answer, from)
      return
    }
    const key = formatHttpUrl(answer.location)
    if (this.#seen.has(key)) return
    if (this.#seen.size >= MOST_RESPONDERS) {
      this.#options.dropped('too many', from)
      return
    }
    this.#seen.add(key)
    this.#options.found(answer)
  }

  /** A string says why not. */
  #read(data: Uint8Array, from: Address): Responder | string {
    const { router, local } = this.#options.uplink
    const message = readSsdp(data)
    if (message?.kind !== 'response') return 'no answer'
    const location = parseHttpUrl(message.headers.get('location') ?? '', router.zone || from.zone)
    if (location === undefined) return 'no location to follow'
    const { address } = location
    const onLink = isOnLink(address, local)
    // Over IPv6 routers answer from their link-local address, and name a global one.
    const isRouter = address.sameIp(router) || (address.family === 6 && from.sameIp(router) && onLink)
    if (isRouter) return { location, isRouter, message, from }
    if (!address.sameIp(from) || !onLink) return 'leads elsewhere'
    // Another device that answers `ssdp:all` is no router; the router itself may say it by any of its types.
    return isGatewayType(message.headers.get('st')) ? { location, isRouter, message, from } : 'no router'
  }

  sendFailed(): void {}
  drained(): void {}
  /** The address went: nobody will answer, and the search's owner has a deadline. */
  lost(): void {
    this.close()
  }
}

function isOnLink(address: Address, { address: local, prefixLength }: InterfaceAddress): boolean {
  if (address.family !== local.family) return false
  return address.scope === 'link-local' || Prefix.around(local, prefixLength).contains(address)
}
