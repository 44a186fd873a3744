/**
 * Addresses a socket hears from, parsed once each, so that a datagram from a known remote costs two look-ups and no garbage, and none
 * when it comes after another one of the same remote: Node.js makes a new string for each datagram, which a look-up has to hash.
 */
import { Address } from '../address.ts'

/** Remotes kept before starting over. A session needs one or two; a sprayed source address costs no more than this. */
const LIMIT = 16_384

export class Remotes {
  readonly #limit: number
  /** None for a socket that hears from nobody: a relay may have thousands of them. */
  #byIp: Map<string, Map<number, Address>> | undefined
  #size = 0
  #lastIp = ''
  #lastPort = 0
  #last: Address | undefined

  constructor(limit: number = LIMIT) {
    this.#limit = limit
  }

  /** `ip` as the system writes it, zone included. Undefined for what is no address. */
  get(ip: string, port: number): Address | undefined {
    if (port === this.#lastPort && ip === this.#lastIp) return this.#last
    const address = this.#byIp?.get(ip)?.get(port) ?? this.#add(ip, port)
    this.#lastIp = ip
    this.#lastPort = port
    this.#last = address
    return address
  }

  #add(ip: string, port: number): Address | undefined {
    const address = Address.tryOf(ip, port)
    if (address === undefined) return undefined
    if (this.#byIp === undefined || this.#size >= this.#limit) {
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
