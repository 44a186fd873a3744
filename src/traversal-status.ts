/** What `traversal.status()` tells, and how reports put it into words. */
import {
  type Base,
  type Mapping,
  type MappingStatus,
  mappingOf,
  type ReflexiveBinding,
  type RelayServerStatus,
} from './candidates/index.ts'
import type { DropCounters } from './demultiplexer.ts'
import type { Address } from './net/index.ts'

export interface ServerStatus {
  /** As configured. */
  readonly server: string
  /** Where it is; undefined while its name is not resolved. */
  readonly address: string | undefined
  /** Our address that asked. */
  readonly from: string | undefined
  /** Our address as the server saw it. */
  readonly mapped: string | undefined
  /** The other address that it says it can send from (RFC 5780 7.4); undefined where it has none. */
  readonly other: string | undefined
  /** Milliseconds. */
  readonly rtt: number | undefined
  /** Why there is no answer now; undefined when there is one, or one is awaited. */
  readonly failure: string | undefined
}

export interface NatStatus {
  /** Our address that asked. */
  readonly from: string
  /**
   * How the NAT in front of it gives out addresses. `none`: there is no NAT. `shared`: one for all destinations. `per-destination`: another
   * one for each, so peers behind NATs that are not open to everybody will hardly be met. Undefined while fewer than two servers answered.
   */
  readonly mapping: Mapping | undefined
}

export interface TraversalStatus {
  /** Bound sockets. */
  readonly sockets: readonly string[]
  /** What is offered to peers now, as `candidate:` lines. */
  readonly candidates: readonly string[]
  /** Addresses of this machine that are not offered, with the reason. */
  readonly refused: readonly string[]
  readonly servers: readonly ServerStatus[]
  /** The `turn:` servers as relays; as servers that show addresses they are among `servers`, too. */
  readonly relays: readonly RelayServerStatus[]
  /** What routers map for us, with `portMapping`. */
  readonly mappings: readonly MappingStatus[]
  /** What the servers' answers say of the NATs, for each socket that a server answered. */
  readonly nats: readonly NatStatus[]
  readonly sessions: number
  readonly dropped: Readonly<DropCounters>
}

/** @param unresolved servers whose names have no address yet, with the reason; empty while the look-up runs */
export function serverStatus(unresolved: ReadonlyMap<string, string>, bindings: readonly ReflexiveBinding[]): readonly ServerStatus[] {
  return [
    ...[...unresolved].map(([server, failure]) => ({ ...UNASKED, server, failure: failure === '' ? undefined : failure })),
    ...bindings.map(({ base, server, mapped, other, rtt, failure }) => ({
      server: server.uri,
      address: server.address.key,
      from: base.address.key,
      mapped: mapped?.key,
      other: other?.key,
      rtt,
      failure,
    })),
  ]
}

export function natStatus(
  bases: readonly (Base & { readonly addresses: readonly Address[] })[],
  bindings: readonly ReflexiveBinding[],
): readonly NatStatus[] {
  return bases.flatMap((base) => {
    // What a server saw before it fell silent may be long over.
    const answered = bindings.filter((binding) => binding.base === base && binding.failure === undefined)
    const seen = answered.flatMap(({ mapped }) => mapped ?? [])
    return seen.length === 0 ? [] : [{ from: base.address.key, mapping: mappingOf(base.addresses, seen) }]
  })
}

export function describeServer({ server, address, from, mapped, rtt, failure }: ServerStatus): string {
  const what = failure ?? (mapped === undefined ? 'not answered yet' : `sees us at ${mapped}, ${(rtt ?? 0).toFixed(1)} ms`)
  return from === undefined ? `${server}: ${what}` : `${server} (${address}) from ${from}: ${what}`
}

export function describeRelay({ server, state, transport, rtt, relayed, failure }: RelayServerStatus): string {
  const over = transport === undefined ? '' : ` over ${transport}`
  if (state === 'allocated') return `${server}: relays at ${relayed.join(' and ')}${over}, ${(rtt ?? 0).toFixed(1)} ms`
  if (state === 'reserve') return `${server}: in reserve, ${(rtt ?? 0).toFixed(1)} ms${over}`
  return `${server}: no relay${over}: ${failure ?? 'not answered yet'}`
}

/** What was mapped and whether that is known to work, or why there is nothing. */
export function describeMapping({ internal, router, state, protocol, external, proven, reach, failure }: MappingFacts): string {
  if (state !== 'mapped') {
    const why = failure ?? (router === undefined ? 'no router is known yet' : `${router} has not answered yet`)
    return `${internal}: no port mapping: ${why}`
  }
  const by = `by ${protocol} of ${router}`
  // An IPv6 address is the same outside: what is mapped there is a hole in a firewall.
  const what = external === internal ? `open ${by}` : `mapped to ${external} ${by}`
  if (proven === undefined) return `${internal}: ${what}, on trial: nothing has come in from outside yet${reservation(reach)}`
  return `${internal}: ${what}, proven: packets from outside come in${proven === external ? '' : ` at ${proven}`}`
}

/** For a mapping that nothing has come in through. */
function reservation(reach: MappingStatus['reach']): string {
  switch (reach) {
    case 'private':
      return '; the router’s own address is a private one, so another NAT stands behind it'
    case 'shared':
      return '; the router’s own address is a carrier’s (RFC 6598), whose NAT stands behind it'
    case 'other':
      return '; servers see us at another address'
    case 'untold':
      return '; the router does not tell its address'
    default:
      return ''
  }
}

/** Only what explains why a path is missing. */
export function describeNats(nats: readonly NatStatus[]): readonly string[] {
  const hard = nats.filter(({ mapping }) => mapping === 'per-destination')
  return hard.map(
    ({ from }) => `${from} is seen at another address by each server: its NAT is a hard one, peers will not find it where servers do`,
  )
}

/** What stays true while nothing happens. */
export type MappingFacts = Omit<MappingStatus, 'expiresIn'>

const UNASKED = { address: undefined, from: undefined, mapped: undefined, other: undefined, rtt: undefined }
