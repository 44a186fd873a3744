/**
 * What a candidate is (RFC 8445 5.1). How each kind comes about is in the file named after the kind; text forms are in `sdp.ts`.
 */
import type { Address, Prefix } from '../net/index.ts'

export type CandidateType = 'host' | 'srflx' | 'prflx' | 'relay'

/** An address at which a peer might be reached. */
export interface Candidate {
  readonly type: CandidateType
  readonly address: Address
  /** 1 to 32 ice-chars; equal for candidates that share type, base IP, server and transport (RFC 8445 5.1.1.3). */
  readonly foundation: string
  /** 1 to 2^31 - 1 (RFC 8445 5.1.2). */
  readonly priority: number
  /** 1 to 256; this library uses one component, 1. */
  readonly component: number
  /** The base of a reflexive candidate, the mapped address of a relayed one; only informative. */
  readonly related: Address | undefined
  /** The peer does not know yet whether packets come in there, and hopes to learn it from our checks. */
  readonly trial?: boolean
}

/** A candidate whose address hides behind a name under `.local`: one with an address as soon as somebody on the link answers for it. */
export interface NamedCandidate extends Omit<Candidate, 'address'> {
  /** Lower case. */
  readonly name: string
  readonly port: number
}

/**
 * Where checks and data really leave from: a socket on a host address, or an allocation on a relay (RFC 8445 4, "base").
 * Several candidates share one base; one pair per base and remote address is all that can differ on the wire.
 */
export interface Base {
  readonly kind: 'host' | 'relay'
  /** Unique within its traversal. */
  readonly id: number
  /** The bound or relayed address; an unspecified IP when the socket is bound to the wildcard. */
  readonly address: Address
  /** What is on the link, that is, reached without a router. */
  readonly links: readonly Prefix[]
  /** 0 is the best; becomes the local preference. */
  readonly rank: number
  /** The user wants nobody to learn of this address: it is neither told nor shown by a packet that no NAT would change. */
  readonly hidden: boolean
  /**
   * Only for what comes in by a port mapping: nothing is sent first from here. A NAT that gives each destination another port would go on using that
   * one for the answers to a peer that we had sent to before, and the peer's NAT would not take them.
   */
  readonly passive: boolean
  /** It will be closed soon: what works elsewhere should go there before. When that was known; infinity as a rule. */
  readonly retiringSince: number
  /**
   * As `DatagramSocket.send`: never throws; false when the queue is full; `report` asks to be told when the system refuses.
   * An `opener` travels a few hops only: through our own NAT, not to the peer's.
   */
  send(data: Uint8Array, to: Address, report?: boolean, opener?: boolean): boolean
  /** Something will be sent there soon: a relay can prepare for it. */
  expect(to: Address): void
  /** Nothing seems to get through: time to see whether what lies behind is still there. */
  verify(): void
}

export interface LocalCandidate extends Candidate {
  readonly base: Base
  /** The server that showed or gave it, as configured. */
  readonly server: string | undefined
  /** Mapped by the router on our request: a packet from outside has come in, or that is still to be seen. */
  readonly mapping?: 'proven' | 'trial'
}

/** Same address from the same base: one of them says nothing new (RFC 8445 5.1.3). */
export function isRedundant(a: LocalCandidate, b: LocalCandidate): boolean {
  return a.base === b.base && a.address.key === b.address.key
}
