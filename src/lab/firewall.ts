/** Stateful packet filters, of routers (RFC 6092 for IPv6) and of hosts: inside speaks first. Nothing is translated here. */
import type { Address } from '../net/index.ts'
import type { ForwardLimits } from './nat.ts'
import type { NatFiltering } from './nat-options.ts'
import type { Packet, Protocol } from './packet.ts'

export interface FirewallOptions {
  /**
   * Who may send in once a flow was opened from inside: everybody (RFC 6092 REC-11), the address, or the address and port that was sent to.
   * Default `APDF`, as almost everywhere in the field.
   */
  readonly filtering?: NatFiltering
  /** Milliseconds that a UDP flow stays open after its last packet in either direction. Default 120,000. */
  readonly lifetime?: number
  /** Ports of the inside that are open to everybody. */
  readonly open?: readonly number[]
}

/** Milliseconds that TCP flows stay open: RFC 6092 REC-35. */
const TCP_LIFETIME = 7_440_000

export class Firewall {
  readonly options: Readonly<FirewallOptions>
  readonly #flows = new Map<string, Map<string, number>>()
  /** By protocol and inside address; few routers ever have one. */
  #pinholes: Map<string, ForwardLimits> | undefined
  #made = 0

  constructor(options: FirewallOptions) {
    this.options = options
  }

  /** Notes a packet that leaves. */
  outbound(packet: Packet, now: number): void {
    const inside = `${packet.protocol} ${packet.from.key}`
    let peers = this.#flows.get(inside)
    if (peers === undefined) {
      peers = new Map()
      this.#flows.set(inside, peers)
    }
    const peer = this.#peer(packet.to)
    if (!peers.has(peer) && ++this.#made % 4096 === 0) this.#sweep(now)
    peers.set(peer, now + this.#lifetime(packet))
  }

  /** Whether a packet may come in. */
  inbound(packet: Packet, now: number): boolean {
    if (this.options.open?.includes(packet.to.port) === true) return true
    const peers = this.#flows.get(`${packet.protocol} ${packet.to.key}`)
    const peer = this.#peer(packet.from)
    if (peers === undefined || (peers.get(peer) ?? 0) <= now)
      return this.#pinholes !== undefined && this.#pinhole(packet, this.#pinholes, now)
    peers.set(peer, now + this.#lifetime(packet))
    return true
  }

  /** Opens one inside address and port until an end. */
  open(protocol: Protocol, inside: Address, limits: ForwardLimits): void {
    this.#pinholes ??= new Map()
    this.#pinholes.set(`${protocol} ${inside.key}`, limits)
  }

  close(protocol: Protocol, inside: Address): void {
    this.#pinholes?.delete(`${protocol} ${inside.key}`)
  }

  clear(): void {
    this.#flows.clear()
    this.#pinholes = undefined
  }

  #pinhole({ protocol, from, to }: Packet, pinholes: Map<string, ForwardLimits>, now: number): boolean {
    const key = `${protocol} ${to.key}`
    const found = pinholes.get(key)
    if (found === undefined) return false
    if (found.expiresAt <= now) {
      pinholes.delete(key)
      return false
    }
    return found.allow === undefined || found.allow.some((prefix) => prefix.contains(from))
  }

  #peer(remote: Address): string {
    const { filtering = 'APDF' } = this.options
    return filtering === 'EIF' ? '' : filtering === 'ADF' ? remote.ip : remote.key
  }

  #lifetime(packet: Packet): number {
    return packet.protocol === 'tcp' ? TCP_LIFETIME : (this.options.lifetime ?? 120_000)
  }

  #sweep(now: number): void {
    for (const [inside, peers] of this.#flows) {
      for (const [peer, expires] of peers) if (expires <= now) peers.delete(peer)
      if (peers.size === 0) this.#flows.delete(inside)
    }
  }
}
