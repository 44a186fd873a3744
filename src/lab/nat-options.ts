/** What a NAT can be told to be, in the words of RFC 4787, and ready-made ones under the names people use. */

/** RFC 4787 4.1: what a mapping depends on. Endpoint-independent, address-dependent, address and port-dependent. */
export type NatMapping = 'EIM' | 'ADM' | 'APDM'

/** RFC 4787 5: from whom a mapping lets packets in. */
export type NatFiltering = 'EIF' | 'ADF' | 'APDF'

/**
 * How external ports are given out, RFC 4787 4.2.
 * - `preserving`: the internal port, or the next free one above it when it is taken.
 * - `random`: any free port.
 * - `sequential`: one after the other, whoever asks. `{ delta }`: the same in larger or negative steps.
 * - `{ block }`: random within a block of so many ports that each internal address has for itself, as carriers do.
 */
export type PortAllocation = 'preserving' | 'random' | 'sequential' | { readonly delta: number } | { readonly block: number }

/** RFC 4787 REQ-2: whether one internal address always gets the same of several public addresses. */
export type Pooling = 'paired' | 'arbitrary'

export interface NatOptions {
  readonly mapping: NatMapping
  readonly filtering: NatFiltering
  readonly ports: PortAllocation
  /** Milliseconds that a UDP mapping and the filter's memory of a peer live after the last outbound packet. Default 120,000. */
  readonly lifetime?: number
  /** Inbound packets refresh too (RFC 4787 REQ-6 leaves it open). Default false. */
  readonly inboundRefresh?: boolean
  /** RFC 4787 REQ-9: two hosts inside can meet by external addresses. Default false. */
  readonly hairpin?: boolean
  /** Most sessions (mapping and peer) of each protocol; what would be one more is refused. Default: no limit. */
  readonly sessions?: number
  /**
   * A refused inbound packet leaves an entry for its sender and the external port it went to, which pushes the host's own later packet
   * to that sender to another port: Linux conntrack on a router whose INPUT chain accepts. Further packets renew it. Default false.
   */
  readonly poisoning?: boolean
  /** First and last external port; default [1024, 65535]. */
  readonly portRange?: readonly [number, number]
  /** Default `paired`. Only with several public addresses. */
  readonly pooling?: Pooling
}

export type NatPreset =
  | 'fullCone'
  | 'addressRestricted'
  | 'portRestricted'
  | 'linux'
  | 'symmetricSequential'
  | 'symmetricRandom'
  | 'symmetricPreserving'
  | 'symmetricAddressRestricted'
  | 'carrier'
  | 'carrierBlock'

/** NATs by the names of RFC 3489 and of the field. Spread one to change it: `{ ...nat.portRestricted, lifetime: 30_000 }`. */
export const nat: Readonly<Record<NatPreset, NatOptions>> = {
  fullCone: { mapping: 'EIM', filtering: 'EIF', ports: 'preserving' },
  addressRestricted: { mapping: 'EIM', filtering: 'ADF', ports: 'preserving' },
  portRestricted: { mapping: 'EIM', filtering: 'APDF', ports: 'preserving' },
  /** A home router on Linux that accepts packets to itself: port-restricted, refreshed both ways, poisonable. */
  linux: { mapping: 'EIM', filtering: 'APDF', ports: 'preserving', inboundRefresh: true, poisoning: true },
  symmetricSequential: { mapping: 'APDM', filtering: 'APDF', ports: 'sequential' },
  symmetricRandom: { mapping: 'APDM', filtering: 'APDF', ports: 'random' },
  /** Keeps the port for the first peer and goes up by one for each further one. */
  symmetricPreserving: { mapping: 'APDM', filtering: 'APDF', ports: 'preserving' },
  /** A new port for each address, not for each port: one of the milder hard NATs. */
  symmetricAddressRestricted: { mapping: 'ADM', filtering: 'ADF', ports: 'random' },
  /** A carrier's NAT as RFC 6888 asks for it. */
  carrier: { mapping: 'EIM', filtering: 'EIF', ports: 'random', hairpin: true },
  /** A carrier's hard NAT with a block of ports for each subscriber. */
  carrierBlock: { mapping: 'APDM', filtering: 'APDF', ports: { block: 1024 }, lifetime: 35_000 },
}

/** @throws RangeError for an unknown preset or a value that makes no sense */
export function natOptions(value: NatOptions | NatPreset): NatOptions {
  const options = typeof value === 'string' ? nat[value] : value
  if (options === undefined) throw new RangeError(`nat: no such preset: ${String(value)}`)
  const [first, last] = options.portRange ?? [1024, 65535]
  if (!(first >= 1 && last <= 65535 && first <= last)) throw new RangeError(`nat: portRange makes no sense: ${first}-${last}`)
  if (!((options.lifetime ?? 1) > 0)) throw new RangeError(`nat: lifetime must be more than 0: ${options.lifetime}`)
  if (!((options.sessions ?? 1) > 0)) throw new RangeError(`nat: sessions must be more than 0: ${options.sessions}`)
  const { ports } = options
  if (typeof ports === 'object') {
    const step = 'delta' in ports ? ports.delta : ports.block
    if (!Number.isInteger(step) || step === 0) throw new RangeError(`nat: ports: not a step or block size: ${step}`)
    if ('block' in ports && (step < 1 || step > last - first + 1)) throw new RangeError(`nat: ports: block does not fit the range: ${step}`)
  }
  return options
}
