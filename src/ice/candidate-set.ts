/** The candidates of one agent: ours by base, the peer's by address, and those that checks reveal on either side. */
import type { Base, Candidate, LocalCandidate } from '../candidates/index.ts'
import type { Address } from '../net/index.ts'
import { MAX_REMOTE_CANDIDATES } from './constants.ts'

export class CandidateSet {
  // Made anew at each change, which is rare: an array that grows reserves room for seventeen.
  #bases: readonly LocalCandidate[] = []
  #locals: readonly LocalCandidate[] = []
  #remotes: readonly Candidate[] = []
  /** Peer-reflexive candidates ever learnt: for foundations that no other has. */
  #learnt = 0
  #ended = false

  /** One for each base: what checks leave from (RFC 8445 6.1.2.4). */
  get bases(): readonly LocalCandidate[] {
    return this.#bases
  }

  get remotes(): readonly Candidate[] {
    return this.#remotes
  }

  ofBase(base: Base): LocalCandidate | undefined {
    return this.#bases.find((local) => local.base === base)
  }

  /** True when it brings a base that can be checked from. */
  addLocal(candidate: LocalCandidate): boolean {
    const { type, base } = candidate
    if (this.#find(base, candidate.address) === undefined) this.#locals = [...this.#locals, candidate]
    // A hidden base is used when a server has seen it, and goes by what the server saw.
    if ((type !== 'host' && type !== 'relay' && !base.hidden && !base.passive) || this.ofBase(base) !== undefined) return false
    this.#bases = [...this.#bases, candidate]
    return true
  }

  removeBase(base: Base): void {
    const stays = (local: LocalCandidate): boolean => local.base !== base
    this.#bases = this.#bases.filter(stays)
    this.#locals = this.#locals.filter(stays)
  }

  /** The peer said that there are no more. */
  end(): void {
    this.#ended = true
  }

  /**
   * Undefined when it is used; `known` when it says nothing new; else why it is refused.
   * @param named told by name before the end of candidates, perhaps, and known by address only now
   */
  addRemote(candidate: Candidate, named: boolean): 'known' | string | undefined {
    const { key } = candidate.address
    const known = this.#remoteOf(key)
    // Only a peer-reflexive one, seen before it was signalled, takes the better label (RFC 8838 11); and a trial begins or is over.
    if (known !== undefined && known.type !== 'prflx' && known.trial === candidate.trial) return 'known'
    // RFC 8838 14. One that a check showed before may still be named.
    if (known === undefined && this.#ended && !named) return 'it comes after the end of candidates'
    if (known === undefined && this.#countRemotes(false) >= MAX_REMOTE_CANDIDATES)
      return `more than ${MAX_REMOTE_CANDIDATES} remote candidates`
    this.#remotes = [...this.#remotes.filter((remote) => remote !== known), candidate]
    return undefined
  }

  /** Forgets signalled candidates that are not offered any more, and returns them. */
  withdraw(offered: readonly Candidate[]): readonly Candidate[] {
    const kept = new Set(offered.map(({ address }) => address.key))
    const gone = this.remotes.filter(({ type, address }) => type !== 'prflx' && !kept.has(address.key))
    this.#remotes = this.#remotes.filter((remote) => !gone.includes(remote))
    return gone
  }

  /**
   * The remote candidate a check came from: a known one, or a peer-reflexive one learnt now (RFC 8445 7.3.1.3).
   * Undefined when there are too many already.
   */
  remoteAt(from: Address, priority: number): Candidate | undefined {
    const known = this.#remoteOf(from.key)
    if (known !== undefined || this.#countRemotes(true) >= MAX_REMOTE_CANDIDATES) return known
    const foundation = `prflx${++this.#learnt}`
    const remote: Candidate = { type: 'prflx', address: from, foundation, priority, component: 1, related: undefined }
    this.#remotes = [...this.#remotes, remote]
    return remote
  }

  /** The local candidate that the peer sees: a known one, or a peer-reflexive one learnt now (RFC 8445 7.2.5.3.1). */
  localAt(base: LocalCandidate, mapped: Address, priority: number): LocalCandidate {
    let local = this.#find(base.base, mapped)
    if (local === undefined) {
      const foundation = `prflx${++this.#learnt}`
      local = {
        type: 'prflx',
        address: mapped,
        base: base.base,
        foundation,
        priority,
        component: 1,
        related: base.address,
        server: undefined,
      }
      // A peer that shows another address each time, or a NAT that does, is not remembered for ever.
      if (this.#locals.length < MAX_REMOTE_CANDIDATES) this.#locals = [...this.#locals, local]
    }
    return local
  }

  #find(base: Base, address: Address): LocalCandidate | undefined {
    return this.#locals.find((local) => local.base === base && local.address.key === address.key)
  }

  #remoteOf(key: string): Candidate | undefined {
    return this.#remotes.find(({ address }) => address.key === key)
  }

  /** So many of either sort: peer-reflexive ones must not shut out what is signalled. */
  #countRemotes(peerReflexive: boolean): number {
    return this.#remotes.filter(({ type }) => (type === 'prflx') === peerReflexive).length
  }
}
