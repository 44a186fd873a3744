/**
 * What the three port mapping protocols have in common: NAT-PMP (RFC 6886), PCP (RFC 6887) and UPnP IGD. A client speaks one of them to
 * one router from one of our addresses; the mapper chooses among clients, proves, renews and deletes.
 */
import type { Address, InterfaceAddress, Network, Timers } from '../net/index.ts'

/** In the order of preference: leases honoured, answers in one packet. */
export const MAPPING_PROTOCOLS = ['pcp', 'nat-pmp', 'upnp'] as const
export type MappingProtocol = (typeof MAPPING_PROTOCOLS)[number]

export type MappingTransport = 'udp' | 'tcp'

/** One of our addresses and the router on its link. */
export interface Uplink {
  readonly local: InterfaceAddress
  /** Port 0; of the same family. */
  readonly router: Address
}

/** What a router is asked for. */
export interface MappingRequest {
  readonly transport: MappingTransport
  /** Ours: the address of the uplink and the port. */
  readonly internal: Address
  /** The external port wanted, 1 to 65535; the router may give another. */
  readonly externalPort: number
  /** Milliseconds wanted; the router may give more or less. */
  readonly lifetime: number
  /** Another external port is useless: fail instead (PCP's PREFER_FAILURE). False by default. */
  readonly exact?: boolean
  /** Who alone may send in, as prefixes (PCP's FILTER); everybody by default. Other protocols cannot and fail. */
  readonly allow?: readonly string[]
  /** A renewal: what this client granted before. The same mapping is meant, with its port, nonce and id. */
  readonly previous?: Grant
}

/** A router's word that there is a mapping; whether it forwards is another question. */
export interface Grant {
  readonly protocol: MappingProtocol
  readonly transport: MappingTransport
  readonly internal: Address
  /** As the router says. Its IP is unspecified when the router does not tell; for a pinhole in an IPv6 firewall it is `internal`. */
  readonly external: Address
  /** Milliseconds from now; `Infinity` for one that stands until it is deleted. */
  readonly lifetime: number
  /** What the client needs to renew and delete it: PCP's nonce, a UPnP service and its id. Opaque to others. */
  readonly memory: unknown
}

/** What a router says of itself, without any mapping made. */
export interface RouterFacts {
  readonly protocol: MappingProtocol
  /** The external IP as the router says, port 0; undefined when it does not tell. */
  readonly external: Address | undefined
  /** UPnP: the device's own words, cut to 64 printable characters each. */
  readonly model?: string
  /** UPnP: the service used, e.g. `WANIPConnection:2`, and the state it says it is in. */
  readonly service?: string
  readonly state?: string
}

export interface MappingClient {
  readonly protocol: MappingProtocol
  readonly uplink: Uplink
  /**
   * Asks whether the router speaks this protocol; makes no mapping. Once it has answered, later calls ask again for the external address only.
   * Rejects with SallyportError `ERR_MAPPING_UNAVAILABLE` when nobody answers within a few seconds, or another `ERR_MAPPING_…`.
   */
  probe(): Promise<RouterFacts>
  /** Makes or renews a mapping. `probe` need not have been called. Rejects with SallyportError `ERR_MAPPING_…` or `ERR_CLOSED`. */
  map(request: MappingRequest): Promise<Grant>
  /** Deletes it. What is gone already counts as deleted. Rejects like `map` when the router does not confirm. */
  unmap(grant: Grant): Promise<void>
  /** Pending calls reject with SallyportError `ERR_CLOSED`. What was mapped stays. Idempotent. */
  close(): void
}

export interface MappingClientOptions {
  readonly network: Network
  readonly timers: Timers
  readonly uplink: Uplink
  /** The router has lost its mappings or says so (its epoch went back, it announced a restart): they have to be asked for again. */
  readonly restarted: (client: MappingClient) => void
  /**
   * What shows the router that a mapping is ours, for those that may not be deleted yet: PCP's nonces, which are to outlive the client. Who comes
   * back to a router after a while elsewhere finds the old mapping still there. Kept by the client itself by default.
   */
  readonly nonces?: Map<string, Uint8Array>
}
