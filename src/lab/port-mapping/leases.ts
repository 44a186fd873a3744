/** What a router's port mapping service remembers, whichever protocol it was asked in, and the forwards and pinholes that follow from it. */
import type { Address } from '../../net/index.ts'
import type { Protocol } from '../packet.ts'
import type { ForwardOptions } from '../router.ts'
import { affects, type PortMappingFaults, type PortMappingProtocol } from './options.ts'

/** What a router's port mapping service remembers. */
export interface PortMappingInfo {
  /** In which it was made, or renewed last. */
  readonly protocol: PortMappingProtocol
  readonly transport: Protocol
  /** The router's true address, whatever it tells; for a pinhole the same as `internal`. */
  readonly external: Address
  readonly internal: Address
  /** Virtual milliseconds; Infinity where it stays until it is deleted. */
  readonly expiresAt: number
  /** UPnP's; empty otherwise. */
  readonly description: string
}

/** What carries the mappings out: the router. */
export interface Forwarder {
  forward(transport: Protocol, externalPort: number, internal: Address, options: ForwardOptions): boolean
  unforward(transport: Protocol, externalPort: number): void
  openPinhole(transport: Protocol, internal: Address, options: ForwardOptions): void
  closePinhole(transport: Protocol, internal: Address): void
}

/** It says yes and does nothing. */
export const idle: Forwarder = { forward: () => true, unforward: () => {}, openPinhole: () => {}, closePinhole: () => {} }

export interface LeaseRequest {
  readonly protocol: PortMappingProtocol
  readonly transport: Protocol
  readonly internal: Address
  /** 0 for any. */
  readonly externalPort: number
  /** Milliseconds. */
  readonly lifetime: number
  /** No other external port will do. */
  readonly exact: boolean
  readonly allow?: readonly string[]
  readonly nonce?: string
  readonly description?: string
}

export class Lease {
  readonly transport: Protocol
  readonly internal: Address
  readonly externalPort: number
  /** UPnP's number of a pinhole. */
  readonly id: number
  /** Not translated. */
  readonly pinhole: boolean
  expiresAt: number
  request: LeaseRequest

  constructor(request: LeaseRequest, externalPort: number, id: number, pinhole: boolean, expiresAt: number) {
    this.transport = request.transport
    this.internal = request.internal
    this.externalPort = externalPort
    this.id = id
    this.pinhole = pinhole
    this.expiresAt = expiresAt
    this.request = request
  }
}

export interface LeasesOptions {
  readonly now: () => number
  readonly faults: () => PortMappingFaults
  readonly forwarder: Forwarder
  /** Whether IPv4 is translated. */
  readonly translates: boolean
}

/** Below it are ports that hosts do not get. */
const FIRST_PORT = 1024

export class Leases {
  readonly #options: LeasesOptions
  readonly #leases = new Set<Lease>()
  #made = 0

  constructor(options: LeasesOptions) {
    this.#options = options
  }

  all(): readonly Lease[] {
    const now = this.#options.now()
    for (const lease of this.#leases) if (lease.expiresAt <= now) this.#leases.delete(lease)
    return [...this.#leases]
  }

  /** The lease that an inside address and port have from a protocol. */
  of(protocol: PortMappingProtocol, transport: Protocol, internal: Address): Lease | undefined {
    return this.all().find(
      (lease) => lease.request.protocol === protocol && lease.transport === transport && lease.internal.equals(internal),
    )
  }

  /** The translated lease that has an external port. */
  at(transport: Protocol, externalPort: number): Lease | undefined {
    return this.all().find((lease) => !lease.pinhole && lease.transport === transport && lease.externalPort === externalPort)
  }

  /** Renews what stands, or grants a port: the one wanted, else, unless that is useless, the next one that is free. */
  grant(request: LeaseRequest, standing?: Lease): Lease | 'taken' {
    if (standing !== undefined) {
      const other = request.externalPort !== 0 && request.externalPort !== standing.externalPort
      return request.exact && other ? 'taken' : this.#renew(standing, request)
    }
    const { internal, externalPort } = request
    if (internal.family === 6 || !this.#options.translates) return this.#make(request, internal.port, true) ?? 'taken'
    const first = externalPort === 0 ? internal.port : externalPort
    const count = request.exact ? 1 : this.#options.faults().taken === true ? 0 : 0x1_0000 - FIRST_PORT
    for (let i = 0; i < count; i++) {
      const port = i === 0 ? first : FIRST_PORT + ((Math.max(0, first - FIRST_PORT) + i) % count)
      const lease = this.#take(request, port)
      if (lease !== undefined) return lease
    }
    return 'taken'
  }

  remove(lease: Lease): void {
    this.#leases.delete(lease)
    this.#shut(lease)
    // Two protocols may have asked for one pinhole.
    const { pinhole, transport, internal } = lease
    const other = pinhole ? this.all().find((one) => one.transport === transport && one.internal.equals(internal)) : undefined
    if (other !== undefined) this.#open(other)
  }

  /** Ends all, as a restart of the service does. */
  clear(): void {
    for (const lease of this.all()) this.remove(lease)
  }

  /** The router has forgotten them all already. */
  forget(): void {
    this.#leases.clear()
  }

  /** Brings what stands in line with the faults. */
  apply(): void {
    for (const lease of this.all()) if (!this.#open(lease)) this.#shut(lease)
  }

  #take(request: LeaseRequest, port: number): Lease | undefined {
    const { taken } = this.#options.faults()
    if (port < FIRST_PORT || taken === true || taken?.includes(port)) return undefined
    const lease = this.at(request.transport, port)
    if (lease === undefined) return this.#make(request, port, false)
    // One protocol may go on with what another made; PCP's nonce keeps its own (RFC 6887 11.3).
    const owned = lease.request.nonce !== undefined && lease.request.protocol !== request.protocol
    return lease.internal.equals(request.internal) && !owned ? this.#renew(lease, request) : undefined
  }

  #make(request: LeaseRequest, port: number, pinhole: boolean): Lease | undefined {
    const lease = new Lease(request, port, ++this.#made, pinhole, this.#options.now() + request.lifetime)
    if (!this.#ghost(lease) && !this.#open(lease)) return undefined
    this.#leases.add(lease)
    return lease
  }

  #renew(lease: Lease, request: LeaseRequest): Lease {
    lease.expiresAt = this.#options.now() + request.lifetime
    lease.request = request
    this.#open(lease)
    return lease
  }

  #ghost({ request }: Lease): boolean {
    return affects(this.#options.faults().ghost, request.protocol)
  }

  /** False where nothing is forwarded. */
  #open(lease: Lease): boolean {
    if (this.#ghost(lease)) return false
    const { transport, internal, externalPort, request } = lease
    const options = { lifetime: lease.expiresAt - this.#options.now(), ...(request.allow === undefined ? {} : { allow: request.allow }) }
    if (!lease.pinhole) return this.#options.forwarder.forward(transport, externalPort, internal, options)
    this.#options.forwarder.openPinhole(transport, internal, options)
    return true
  }

  #shut({ pinhole, transport, internal, externalPort }: Lease): void {
    if (pinhole) this.#options.forwarder.closePinhole(transport, internal)
    else this.#options.forwarder.unforward(transport, externalPort)
  }
}
