/** What the protocols' servers share: the router's options, faults, leases and clock, and the host on whose addresses they answer. */
import type { Address, Clock, Family, InterfaceAddress } from '../../net/index.ts'
import type { LabHost } from '../host.ts'
import type { SeededRandom } from '../random.ts'
import type { Leases } from './leases.ts'
import { affects, type PortMappingFaults, type PortMappingOptions, type PortMappingProtocol } from './options.ts'

/** Another host on the LAN, which pretends to be the router. */
export interface Neighbour {
  readonly host: LabHost
  /** Where its device describes itself. */
  url(family: Family): string
  /** Answers a search of SSDP. */
  found(target: string, to: Address): void
}

export interface Setting {
  readonly host: LabHost
  readonly clock: Clock
  readonly random: SeededRandom
  readonly options: PortMappingOptions
  /** As they are now. */
  readonly faults: () => PortMappingFaults
  readonly leases: Leases
  /** Made when first needed. */
  readonly neighbour: () => Neighbour
  /** IPv4 is translated. */
  readonly translates: boolean
  /** IPv6 passes a firewall. */
  readonly firewalled: boolean
  /** The external IPv4 address as it is told; empty for none. */
  readonly told: () => string
  /** RFC 6886 3.6, RFC 6887 8.5: seconds since the service started. */
  readonly epochSeconds: () => number
  /** UPnP Device Architecture 2.0 1.2: grows with every start. */
  readonly bootId: () => number
}

/** Why nothing is mapped at all, in the order in which it counts. */
export function obstacle(setting: Setting, protocol: PortMappingProtocol): 'refused' | 'offline' | 'full' | undefined {
  const { refused, offline, full } = setting.faults()
  if (affects(refused, protocol)) return 'refused'
  if (affects(offline, protocol)) return 'offline'
  return affects(full, protocol) ? 'full' : undefined
}

/** Milliseconds granted for milliseconds asked for, within what a protocol grants by default. */
export function granted(
  { options, faults }: Setting,
  lifetime: number,
  { shortest = 0, longest }: { readonly shortest?: number; readonly longest: number },
): number {
  const { leases = {} } = options
  const cap = faults().longestLease ?? Number.POSITIVE_INFINITY
  return Math.min(Math.max(lifetime, leases.shortest ?? shortest), leases.longest ?? longest, cap)
}

/** The router's own address on the LAN, as its hosts know it. */
export function own(host: LabHost, family: Family): InterfaceAddress | undefined {
  return host.interfaces.list().find(({ internal, address }) => !internal && address.family === family && address.scope !== 'link-local')
}

/** An address as 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 6887 5). */
export function bytes16(address: Address): Uint8Array {
  if (address.family === 6) return address.bytes
  const bytes = new Uint8Array(16)
  bytes.fill(0xff, 10, 12)
  bytes.set(address.bytes, 12)
  return bytes
}
