/**
 * One candidate pair: a base here, an address there, and what became of the checks between them (RFC 8445 6.1.2).
 * A pair keeps its identity for life: a peer-reflexive candidate that is signalled later only changes its label.
 */
import {
  type Base,
  type Candidate,
  comparePairPriority,
  type LocalCandidate,
  type PairPriority,
  pairPriority,
} from '../candidates/index.ts'
import type { Address } from '../net/index.ts'

/** RFC 8445 6.1.2.6. */
export type PairState = 'frozen' | 'waiting' | 'in-progress' | 'succeeded' | 'failed'

/** A check on its way. */
export interface Check {
  readonly key: string
  readonly sentAt: number
  /** The role claimed in it: a 487 refers to this one, not to the role of now (RFC 8445 7.2.5.1). */
  readonly controlling: boolean
  readonly useCandidate: boolean
  readonly nomination: number | undefined
  readonly priority: number
}

export class Pair {
  readonly base: Base
  /** Where checks and data go: the remote candidate's address, with our zone where it is link-local. */
  readonly to: Address
  /** The base's own candidate: reflexive ones are replaced by it (RFC 8445 6.1.2.4). */
  readonly local: LocalCandidate
  remote: Candidate
  state: PairState = 'frozen'
  priority: PairPriority
  /** Lower is checked earlier; see `likelihood`. */
  readonly likelihood: number
  /** The oldest first. */
  outstanding: Check[] = []
  /** Checks sent without an answer since the last one, or since it was revived. */
  unanswered = 0
  sent = 0
  /** The last check was an opener, which cannot be answered; see `caution.ts`. */
  opener = false
  firstOpenerAt: number | undefined
  received = 0
  nextCheckAt: number = Number.POSITIVE_INFINITY
  /** In the triggered-check queue. */
  triggered = false
  /** The local candidate that the peer sees, once a check succeeded (RFC 8445 7.2.5.3.2): set means the pair is valid. */
  mapped: LocalCandidate | undefined
  validSince: number | undefined
  lastResponseAt: number | undefined
  /** When consent is asked for next (RFC 7675). */
  consentAt: number = Number.POSITIVE_INFINITY
  /**
   * Milliseconds, smoothed: upward by an eighth as RFC 6298 2.3 does; downward by half, since only a busy machine makes an answer late, and none
   * makes it early.
   */
  rtt: number | undefined
  /** An authenticated check came in from there. */
  heard = false
  /** USE-CANDIDATE seen (controlled) or confirmed (controlling), with its nomination value; 0 where the peer sends none. */
  nominated: number | undefined
  /** When the peer nominated it last, where we are the controlled side. */
  nominatedAt = 0
  /** As the controlled side, remembered until our own check succeeds (RFC 8445 7.3.1.5). */
  nominationPending: number | undefined
  /** As the controlling side: what the next checks claim. */
  nominating: number | undefined
  /** The peer does not offer this address any more: the pair has to show again that it works. */
  suspect = false
  /** What is sent seems to get nowhere: asked quickly until there is an answer; see `question`. */
  questioned = false
  /** When the peer said that it gives up the relayed address at its end; infinity as a rule. */
  abandonedSince: number = Number.POSITIVE_INFINITY
  /** Datagrams of the peer's that came over it. */
  datagrams = 0
  /** Why it is failed, in words. */
  reason: string | undefined

  constructor(local: LocalCandidate, to: Address, remote: Candidate, controlling: boolean) {
    this.base = local.base
    this.local = local
    this.to = to
    this.remote = remote
    this.likelihood = likelihood(local.base, remote)
    this.priority = priorityOf(local, remote, controlling)
  }

  get valid(): boolean {
    return this.mapped !== undefined
  }

  get kind(): 'direct' | 'relay' {
    return this.base.kind === 'relay' || this.remote.type === 'relay' ? 'relay' : 'direct'
  }

  get foundation(): string {
    return `${this.local.foundation} ${this.remote.foundation}`
  }

  /** Since when it is known that it will not work for long; infinity as a rule. */
  get leavingSince(): number {
    return Math.min(this.abandonedSince, this.base.retiringSince)
  }

  /** Its checks follow each other quickly until there is an answer. */
  get hurried(): boolean {
    return this.suspect || this.questioned || this.nominating !== undefined
  }

  /** An answer after `rtt` milliseconds. */
  answered(now: number, rtt: number): void {
    this.received++
    this.unanswered = 0
    this.suspect = false
    this.questioned = false
    this.lastResponseAt = now
    this.rtt ??= rtt
    this.rtt += (rtt - this.rtt) / (rtt < this.rtt ? 2 : 8)
  }

  /** Nothing more is sent, unless the peer is heard from there again. */
  fail(reason: string): void {
    this.state = 'failed'
    this.reason = reason
    this.mapped = undefined
    this.validSince = undefined
    this.nominated = undefined
    this.nominating = undefined
    this.questioned = false
    this.nextCheckAt = Number.POSITIVE_INFINITY
    this.consentAt = Number.POSITIVE_INFINITY
  }

  /** The peer had withdrawn the address, and offers it again. */
  offeredAgain(): void {
    this.suspect = false
    if (this.state !== 'failed') return
    this.state = 'waiting'
    this.reason = undefined
    this.unanswered = 0
  }

  reprioritise(controlling: boolean): void {
    this.priority = priorityOf(this.local, this.remote, controlling)
  }
}

/** Order of ordinary checks: the likely first, then by pair priority (RFC 8445 6.1.4.2 has only the latter). */
export function byLikelihood(a: Pair, b: Pair): number {
  return a.likelihood - b.likelihood || comparePairPriority(a.priority, b.priority)
}

function priorityOf(local: Candidate, remote: Candidate, controlling: boolean): PairPriority {
  return controlling ? pairPriority(local.priority, remote.priority) : pairPriority(remote.priority, local.priority)
}

/**
 * With a check every 5 ms, a likely pair behind ten dead ones loses a round trip. Addresses on our own link first, then whatever is
 * reachable from anywhere, then relays, then private addresses of other people's networks, which answer only through a VPN.
 */
function likelihood(base: Base, remote: Candidate): number {
  if (base.kind === 'relay' || remote.type === 'relay') return 2
  const { scope } = remote.address
  if (scope === 'link-local' || scope === 'loopback') return 0
  if (remote.type !== 'host' || scope === 'global') return 1
  return base.links.some((link) => link.contains(remote.address)) ? 0 : 3
}
