/**
 * Addresses a socket hears from, parsed once each, so that a datagram from a known remote costs two look-ups and no garbage, and none
 * when it comes after another one of the same remote: Node.js makes a new string for each datagram, which a look-up has to hash.
 */
import { Address } from '../address.ts'

/** Remotes kept before starting over. A session needs one or two; sprayed source addresses cost no more than this, 10 MB. */
const LIMIT = 16_384

class RemoteTable {
  readonly #limit: number
  #byIp = new Map<string, Map<number, Address>>()
  #size = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  get(ip: string, port: number): Address | undefined {
    return this.#byIp.get(ip)?.get(port) ?? this.#add(ip, port)
  }

  #add(ip: string, port: number): Address | undefined {
    const address = Address.tryOf(ip, port)
    if (address === undefined) return undefined
    if (this.#size >= this.#limit) {
      this.#byIp = new Map()
      this.#size = 0
    }
    let ports = this.#byIp.get(ip)
    if (ports === undefined) {
      ports = new Map()
      this.#byIp.set(ip, ports)
    }
    ports.set(port, address)
    this.#size++
    return address
  }
}

/** One for all sockets of the process: a relay may have thousands of them, and whoever wants can spray each. */
const ALL = new RemoteTable(LIMIT)

/** Those of one socket. */
export class Remotes {
  readonly #table: RemoteTable
  #lastIp = ''
  #lastPort = 0
  #last: Address | undefined

  /** @param limit remotes kept, in a table of its own; by default the one that all share */
  constructor(limit?: number) {
    this.#table = limit === undefined ? ALL : new RemoteTable(limit)
  }

  /** `ip` as the system writes it, zone included. Undefined for what is no address. */
  get(ip: string, port: number): Address | undefined {
    if (port === this.#lastPort && ip === this.#lastIp) return this.#last
    const address = this.#table.get(ip, port)
    this.#lastIp = ip
    this.#lastPort = port
    this.#last = address
    return address
  }
}
