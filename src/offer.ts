/** What a traversal offers to its peers: the local candidates of every kind, the same for all sessions (RFC 8445 5.1). */
import type { HostBase } from './bases.ts'
import {
  type Base,
  candidatePriority,
  Foundations,
  isRedundant,
  type LocalCandidate,
  localPreference,
  type ReflexiveBinding,
  type RelayBase,
} from './candidates/index.ts'
import { Address } from './net/index.ts'

export class Offer {
  readonly #foundations = new Foundations()
  readonly #added: (candidate: LocalCandidate) => void
  #candidates: readonly LocalCandidate[] = []

  /** @param added hears of each that says something new */
  constructor(added: (candidate: LocalCandidate) => void) {
    this.#added = added
  }

  /** Another list at each change. */
  get candidates(): readonly LocalCandidate[] {
    return this.#candidates
  }

  addHost(base: HostBase): void {
    base.addresses.forEach((address, index) => {
      this.#add({
        type: 'host',
        address,
        base,
        foundation: this.#foundations.of('host', base, address.ip),
        priority: candidatePriority('host', localPreference(base.rank, index)),
        component: 1,
        related: undefined,
        server: undefined,
      })
    })
  }

  /** What a server sees now; what it saw before is no longer so, unless another of `all` still shows it. */
  addReflexive({ base, server, mapped }: ReflexiveBinding, all: readonly ReflexiveBinding[]): void {
    if (mapped === undefined) return
    const isOld = (other: LocalCandidate): boolean =>
      other.type === 'srflx' &&
      other.mapping === undefined &&
      other.base === base &&
      other.server === server.uri &&
      other.address.key !== mapped.key
    const shown = all.filter((other) => other.base === base).map((other) => other.mapped?.key)
    this.#candidates = this.#candidates.filter((other) => !isOld(other) || shown.includes(other.address.key))
    this.#add({
      type: 'srflx',
      address: mapped,
      base,
      foundation: this.#foundations.of('srflx', base, server.address.ip),
      priority: this.#srflxPriority(base),
      component: 1,
      related: relatedTo(base.address, base.hidden),
      server: server.uri,
    })
  }

  /** @param hidden the user wants nobody to learn of our own addresses, not even of those outside */
  addRelayed(base: RelayBase, hidden: boolean): void {
    const { address, allocation, rank, server } = base
    this.#add({
      type: 'relay',
      address,
      base,
      foundation: this.#foundations.of('relay', base, allocation.server.ip),
      // IPv6 first (RFC 8421 4), each its own (RFC 8445 5.1.2.1).
      priority: candidatePriority('relay', localPreference(rank, address.family === 6 ? 0 : 1)),
      component: 1,
      related: relatedTo(allocation.mapped, hidden),
      server,
    })
  }

  /**
   * What the router mapped on our request. Sought before what servers see, since it lets everybody in: on many NATs it is the same address, and
   * then it is one candidate.
   */
  setMapped(base: Base, mapped: readonly { readonly address: Address; readonly by: string; readonly mapping: 'proven' | 'trial' }[]): void {
    const stays = (other: LocalCandidate): boolean =>
      other.base !== base ||
      other.mapping === undefined ||
      mapped.some(({ address, mapping }) => address.key === other.address.key && mapping === other.mapping)
    if (!this.#candidates.every(stays)) this.#candidates = this.#candidates.filter(stays)
    for (const { address, by, mapping } of mapped) {
      this.#add({
        type: 'srflx',
        address,
        base,
        foundation: this.#foundations.of('srflx', base, by),
        priority: candidatePriority('srflx', localPreference(base.rank, 0)),
        component: 1,
        related: relatedTo(base.address, base.hidden),
        server: by,
        mapping,
      })
    }
  }

  removeBase(base: Base): void {
    this.#candidates = this.#candidates.filter((candidate) => candidate.base !== base)
  }

  /** The first that no other candidate of this base has: each its own (RFC 8445 5.1.2.1). The very first is what the router maps. */
  #srflxPriority(base: Base): number {
    const taken = new Set(this.#candidates.filter((other) => other.type === 'srflx' && other.base === base).map(({ priority }) => priority))
    let index = 1
    while (index <= taken.size && taken.has(candidatePriority('srflx', localPreference(base.rank, index)))) index++
    return candidatePriority('srflx', localPreference(base.rank, index))
  }

  /**
   * Unless it says nothing new (RFC 8445 5.1.3): no NAT, or the same mapping again. What is on trial takes nobody's place: it is told to some
   * peers only.
   */
  #add(candidate: LocalCandidate): void {
    const onTrial = candidate.mapping === 'trial'
    if (this.#candidates.some((other) => (other.mapping === 'trial') === onTrial && isRedundant(other, candidate))) return
    this.#candidates = [...this.#candidates, candidate]
    this.#added(candidate)
  }
}

/** RFC 8839 5.1 has the wildcard, and port 9, for who does not want to tell. */
function relatedTo(address: Address, hidden: boolean): Address {
  return hidden ? Address.any(address.family, 9) : address
}
