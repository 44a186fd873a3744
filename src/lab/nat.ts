/**
 * The behaviour of a NAT by RFC 4787 as a pure table: addresses and times go in, translated addresses or the reason for a refusal come
 * out. One table per protocol. How ports are chosen is in ports.ts; routing, hop limits and hairpinning are the router's.
 */
import type { Address, Prefix } from '../net/index.ts'
import type { NatOptions } from './nat-options.ts'
import type { DropReason, Protocol } from './packet.ts'
import { PortAllocator, type PublicPool } from './ports.ts'
import type { SeededRandom } from './random.ts'

/** Milliseconds that TCP mappings live: RFC 5382 REQ-5, two hours and four minutes. */
const TCP_LIFETIME = 7_440_000

/** Milliseconds that a poisoned entry lives: Linux's timeout of a UDP flow without an answer. */
const POISON_LIFETIME = 30_000

export interface MappingInfo {
  readonly protocol: Protocol
  readonly internal: Address
  readonly external: Address
  /** Peers (IP, or IP and port, as the filter has it; ranges where a forward is limited to them) that may send in; empty where everybody may. */
  readonly permitted: readonly string[]
  /** Virtual milliseconds; Infinity for one made by `forward` without a lifetime. */
  readonly expiresAt: number
}

/** What a forward may be limited to. */
export interface ForwardLimits {
  /** Virtual milliseconds. */
  readonly expiresAt: number
  /** Who may send in; everybody by default. */
  readonly allow?: readonly Prefix[] | undefined
}

const FOREVER: ForwardLimits = { expiresAt: Number.POSITIVE_INFINITY }

interface Permit {
  expires: number
}

class Mapping {
  readonly internal: Address
  readonly external: Address
  readonly fixed: boolean
  expires: number
  /** Of a fixed one: who may send in; undefined where everybody may. */
  allow: readonly Prefix[] | undefined
  /** Its key among the endpoint's mappings by peer; undefined when it is the shared one. */
  peer: string | undefined
  /** The peers that were sent to; by IP with ADF, else by IP and port. */
  readonly permits = new Map<string, Permit>()

  constructor(internal: Address, external: Address, expires: number, fixed: boolean) {
    this.internal = internal
    this.external = external
    this.expires = expires
    this.fixed = fixed
    this.allow = undefined
  }
}

/** The mappings of one internal address and port. */
class Endpoint {
  shared: Mapping | undefined
  /** By the peer: all of them with ADM and APDM, only those that poison has pushed aside with EIM. */
  readonly byPeer = new Map<string, Mapping>()
  /** Peers that came in first by another mapping than the one that packets to them would get: the answers leave by it. */
  readonly answers = new Map<string, { readonly mapping: Mapping; expires: number }>()

  get empty(): boolean {
    return this.shared === undefined && this.byPeer.size === 0 && this.answers.size === 0
  }
}

export class NatTable {
  readonly #protocol: Protocol
  readonly #options: NatOptions
  readonly #lifetime: number
  readonly #endpoints = new Map<string, Endpoint>()
  readonly #external = new Map<string, Mapping>()
  /** External address, then peer, to the end of the entry. */
  readonly #poison = new Map<string, Map<string, number>>()
  readonly #ports: PortAllocator
  #sessions = 0
  #sweepAt = 4096

  constructor(protocol: Protocol, options: NatOptions, pool: PublicPool, random: SeededRandom) {
    this.#protocol = protocol
    this.#options = options
    this.#lifetime = protocol === 'tcp' ? TCP_LIFETIME : (options.lifetime ?? 120_000)
    this.#ports = new PortAllocator(options, pool, random)
  }

  /** The external address for a packet from inside, RFC 4787 REQ-1; makes the mapping and opens the filter. */
  outbound(internal: Address, remote: Address, now: number): Address | DropReason {
    const endpoint = this.#endpoints.get(internal.key)
    let mapping = endpoint === undefined ? undefined : this.#find(endpoint, remote, now)
    const key = this.#options.filtering === 'ADF' ? remote.ip : remote.key
    const permit = mapping?.permits.get(key)
    if (mapping === undefined || permit === undefined || permit.expires <= now) {
      if (permit === undefined && !this.#room(now)) return 'nat-full'
      if (mapping === undefined) {
        const made = this.#make(internal, remote, now)
        if (typeof made === 'string') return made
        mapping = made
      }
      if (permit === undefined) {
        mapping.permits.set(key, { expires: now + this.#lifetime })
        this.#sessions++
      }
    }
    // REQ-6: outbound packets refresh.
    if (permit !== undefined) permit.expires = now + this.#lifetime
    if (!mapping.fixed) mapping.expires = now + this.#lifetime
    return mapping.external
  }

  /** The internal address for a packet from outside, RFC 4787 REQ-8, or why it stays outside. */
  inbound(external: Address, remote: Address, now: number): Address | DropReason {
    if (this.#poisoned(external, remote, now)) {
      this.#leave(external, remote, now)
      return 'poisoned'
    }
    const mapping = this.#alive(external.key, now)
    if (mapping === undefined) {
      this.#leave(external, remote, now)
      return 'no-mapping'
    }
    const { filtering, inboundRefresh } = this.#options
    if (filtering !== 'EIF' || inboundRefresh === true) {
      const permit = mapping.permits.get(filtering === 'ADF' ? remote.ip : remote.key)
      const open = permit !== undefined && permit.expires > now
      if (!open && filtering !== 'EIF' && !mapping.fixed) {
        this.#leave(external, remote, now)
        return 'filtered'
      }
      if (inboundRefresh === true && !mapping.fixed) {
        mapping.expires = now + this.#lifetime
        if (open) permit.expires = now + this.#lifetime
      }
    }
    if (mapping.allow !== undefined && !mapping.allow.some((prefix) => prefix.contains(remote))) return 'filtered'
    if (mapping.fixed || (this.#options.mapping !== 'EIM' && filtering !== 'APDF')) this.#expectAnswer(mapping, remote, now)
    return mapping.internal
  }

  /**
   * A mapping made by hand or by a port mapping protocol, whoever sends in; made again it gets a new end, and flows go on. False when the
   * port is taken.
   */
  forward(internal: Address, external: Address, now: number, { expiresAt, allow }: ForwardLimits = FOREVER): boolean {
    const standing = this.#alive(external.key, now)
    if (standing !== undefined && !standing.internal.equals(internal)) return false
    let mapping = standing
    if (mapping?.fixed !== true) {
      if (mapping !== undefined) this.#remove(mapping)
      mapping = new Mapping(internal, external, expiresAt, true)
      this.#external.set(external.key, mapping)
    }
    mapping.expires = expiresAt
    mapping.allow = allow
    return true
  }

  unforward(external: Address): void {
    const mapping = this.#external.get(external.key)
    if (mapping?.fixed === true) this.#remove(mapping)
  }

  mappings(now: number): MappingInfo[] {
    const result: MappingInfo[] = []
    for (const { internal, external, permits, expires, fixed, allow } of this.#external.values()) {
      if (expires <= now) continue
      const open = this.#options.filtering === 'EIF' || fixed
      const permitted =
        allow !== undefined ? allow.map(String) : open ? [] : [...permits].filter(([, permit]) => permit.expires > now).map(([key]) => key)
      result.push({ protocol: this.#protocol, internal, external, permitted, expiresAt: expires })
    }
    return result
  }

  /** A session is of both directions: the answer to what came in leaves by the mapping by which it came, unless one stood before. */
  #expectAnswer(mapping: Mapping, remote: Address, now: number): void {
    const endpoint = this.#endpoint(mapping.internal)
    const own = this.#find(endpoint, remote, now)
    const permit = own?.permits.get(this.#options.filtering === 'ADF' ? remote.ip : remote.key)
    if (own !== mapping && permit !== undefined && permit.expires > now) return
    const expires = now + this.#lifetime
    const answer = endpoint.answers.get(remote.key)
    if (answer?.mapping === mapping) answer.expires = expires
    else if (own !== mapping) endpoint.answers.set(remote.key, { mapping, expires })
  }

  #find(endpoint: Endpoint, remote: Address, now: number): Mapping | undefined {
    const { mapping } = this.#options
    const answer = endpoint.answers.size === 0 ? undefined : endpoint.answers.get(remote.key)
    if (answer !== undefined && answer.expires > now && this.#external.get(answer.mapping.external.key) === answer.mapping) {
      answer.expires = now + this.#lifetime
      return answer.mapping
    }
    if (mapping === 'EIM') {
      const aside = endpoint.byPeer.size === 0 ? undefined : endpoint.byPeer.get(remote.key)
      if (aside !== undefined && aside.expires > now) return aside
      const { shared } = endpoint
      if (shared === undefined || this.#poisoned(shared.external, remote, now)) return undefined
      return shared.expires > now ? shared : undefined
    }
    const found = endpoint.byPeer.get(mapping === 'ADM' ? remote.ip : remote.key)
    return found !== undefined && found.expires > now ? found : undefined
  }

  #make(internal: Address, remote: Address, now: number): Mapping | DropReason {
    const { mapping } = this.#options
    const own = mapping === 'EIM' ? this.#forwarded(internal, now) : undefined
    if (own !== undefined && !this.#poisoned(own.external, remote, now)) {
      this.#endpoint(internal).shared = own
      return own
    }
    const preferred = this.#ports.preferred(internal)
    let pushed = false
    const external = this.#ports.allocate(internal, (candidate) => {
      if (this.#alive(candidate.key, now) !== undefined) return false
      if (!this.#poisoned(candidate, remote, now)) return true
      pushed ||= candidate.key === preferred?.key
      return false
    })
    if (external === undefined) return 'no-port'
    const made = new Mapping(internal, external, now + this.#lifetime, false)
    this.#external.set(external.key, made)
    const endpoint = this.#endpoint(internal)
    // The tuple that poison has taken is one peer's: for all others the mapping stands, or can still be made, on the port it should have.
    const aside = pushed || (endpoint.shared !== undefined && endpoint.shared.expires > now)
    if (mapping === 'EIM' && !aside) {
      endpoint.shared = made
    } else {
      made.peer = mapping === 'ADM' ? remote.ip : remote.key
      endpoint.byPeer.set(made.peer, made)
    }
    return made
  }

  #endpoint(internal: Address): Endpoint {
    const standing = this.#endpoints.get(internal.key)
    if (standing !== undefined) return standing
    const endpoint = new Endpoint()
    this.#endpoints.set(internal.key, endpoint)
    return endpoint
  }

  /** A forward of this endpoint to the port that it has inside as well: both are then one mapping. */
  #forwarded(internal: Address, now: number): Mapping | undefined {
    if (this.#options.ports !== 'preserving') return undefined
    const wanted = this.#ports.preferred(internal)
    const mapping = wanted === undefined ? undefined : this.#alive(wanted.key, now)
    return mapping?.fixed === true && mapping.internal.equals(internal) ? mapping : undefined
  }

  #alive(externalKey: string, now: number): Mapping | undefined {
    const mapping = this.#external.get(externalKey)
    if (mapping === undefined || mapping.expires > now) return mapping
    this.#remove(mapping)
    return undefined
  }

  #remove(mapping: Mapping): void {
    this.#external.delete(mapping.external.key)
    this.#sessions -= mapping.permits.size
    mapping.permits.clear()
    const endpoint = this.#endpoints.get(mapping.internal.key)
    if (endpoint === undefined) return
    if (endpoint.shared === mapping) endpoint.shared = undefined
    if (mapping.peer !== undefined && endpoint.byPeer.get(mapping.peer) === mapping) endpoint.byPeer.delete(mapping.peer)
    if (endpoint.empty) this.#endpoints.delete(mapping.internal.key)
  }

  /** Whether one more session fits. Sweeps the expired ones out when the table is full, and now and then for the memory's sake. */
  #room(now: number): boolean {
    const limit = this.#options.sessions ?? Number.POSITIVE_INFINITY
    if (this.#sessions >= limit || this.#sessions >= this.#sweepAt) {
      this.#sweep(now)
      this.#sweepAt = Math.max(4096, this.#sessions * 2)
    }
    return this.#sessions < limit
  }

  #sweep(now: number): void {
    for (const mapping of [...this.#external.values()]) {
      if (mapping.expires <= now) {
        this.#remove(mapping)
        continue
      }
      for (const [key, permit] of mapping.permits) {
        if (permit.expires > now) continue
        mapping.permits.delete(key)
        this.#sessions--
      }
    }
    for (const [internal, endpoint] of this.#endpoints) {
      for (const [peer, answer] of endpoint.answers) if (answer.expires <= now) endpoint.answers.delete(peer)
      if (endpoint.empty) this.#endpoints.delete(internal)
    }
    for (const [external, peers] of this.#poison) {
      for (const [peer, expires] of peers) if (expires <= now) peers.delete(peer)
      if (peers.size === 0) this.#poison.delete(external)
    }
  }

  #poisoned(external: Address, remote: Address, now: number): boolean {
    if (this.#poison.size === 0) return false
    return (this.#poison.get(external.key)?.get(remote.key) ?? 0) > now
  }

  #leave(external: Address, remote: Address, now: number): void {
    if (this.#options.poisoning !== true) return
    const peers = this.#poison.get(external.key) ?? new Map<string, number>()
    this.#poison.set(external.key, peers.set(remote.key, now + POISON_LIFETIME))
  }
}
