/**
 * Port-mapped addresses: every base behind a router has its port mapped, by NAT-PMP, PCP or UPnP, and what packets from outside come in through
 * becomes a candidate. Toward peers it is a server-reflexive one, as RFC 8445 has no other word. What nobody can prove is on trial: peers of
 * our kind are asked to check it, and the first check that comes in is the proof.
 */
import type { Address, Network, Timer, Timers } from '../net/index.ts'
import { type Lease, type MappingProtocol, type MappingTerms, type OpenClients, PortMapper, reachOf } from '../pmp/index.ts'
import type { Transactions } from '../stun/index.ts'
import type { Base } from './candidate.ts'
import { MappingProver, targetsOf } from './mapping-proof.ts'
import type { RelayBase } from './relayed.ts'
import type { ReflexiveBinding } from './server-reflexive.ts'

/** Milliseconds, at most, that a first result counts among what is gathered at the start. */
const WAIT = 1_000

export interface PortMappedOptions<B extends Base> {
  readonly network: Network
  readonly timers: Timers
  readonly transactions: Transactions
  readonly openClients: OpenClients
  readonly terms: MappingTerms
  /** What servers see now, of all bases. */
  readonly bindings: () => readonly ReflexiveBinding[]
  /** Allocations to prove with. */
  readonly relays: () => readonly RelayBase[]
  /** A passive base beside another; undefined when there is none to be had. */
  readonly openPassive: (beside: B) => Promise<B | undefined>
  /** Ends it, which comes back as `removeBase`. */
  readonly closePassive: (beside: B) => void
  /** What `mapped` says of the base is new. */
  readonly changed: (base: B, mapped: readonly MappedAddress[]) => void
  /** `pending` is false from now on. */
  readonly settled: () => void
}

/** An address to offer, or to have tried. */
export interface MappedAddress {
  readonly address: Address
  /** The protocol and the router, e.g. `pcp 192.168.1.1`. */
  readonly by: string
  readonly mapping: 'proven' | 'trial'
}

/** What one router does for one of our ports. */
export interface MappingStatus {
  /** Our address. */
  readonly internal: string
  /** Undefined where there is none. */
  readonly router: string | undefined
  /** `asked`: no answer yet. `mapped`: granted, and not known to be dead. `none`: see `failure`. */
  readonly state: 'asked' | 'mapped' | 'none'
  readonly protocol: MappingProtocol | undefined
  /** The address that the router says it mapped. */
  readonly external: string | undefined
  /** The address that packets from outside came in at; undefined while none has. */
  readonly proven: string | undefined
  /**
   * What the router's own word for its address shows: `private` and `shared` (RFC 6598, a carrier's) mean another NAT behind it, `other` that
   * servers see us elsewhere, `untold` that it does not know.
   */
  readonly reach: 'public' | 'other' | 'private' | 'shared' | 'untold' | undefined
  /** Milliseconds; `Infinity` where it stands until it is deleted. */
  readonly expiresIn: number | undefined
  /** Why there is no mapping. */
  readonly failure: string | undefined
}

/** Where a lease's port is. */
interface Place<B extends Base> {
  readonly base: B
  /** Of the lease, when it was proven last; undefined while it has not been. */
  remade?: number
  /** The base whose answers from servers tell of the NAT: the same, or the one beside which a passive one was opened. */
  readonly seenFrom: B
}

export class PortMappedGatherer<B extends Base> {
  readonly #options: PortMappedOptions<B>
  readonly #mapper: PortMapper
  readonly #prover: MappingProver
  readonly #leases = new Map<Lease, Place<B>>()
  /** Beside which a passive base was opened, or is about to be. */
  readonly #doubled = new WeakSet<B>()
  /** Until the end of the wait. */
  #waiting: Timer | undefined
  #waited = false

  constructor(options: PortMappedOptions<B>) {
    this.#options = options
    const { network, timers, transactions, openClients, terms, bindings, relays } = options
    this.#prover = new MappingProver({ timers, transactions, bindings, relays })
    this.#mapper = new PortMapper({
      network,
      timers,
      openClients,
      terms,
      prove: (grant, request) => {
        const [, place] = [...this.#leases].find(([lease]) => lease.request === request) ?? []
        return place === undefined ? Promise.resolve({ kind: 'unknown' }) : this.#prover.prove(place.base, grant, place.seenFrom)
      },
      changed: (lease) => this.#changed(lease),
    })
  }

  /** A first result is awaited, and may still be waited for. */
  get pending(): boolean {
    return this.#waiting !== undefined
  }

  get status(): readonly MappingStatus[] {
    return [...this.#leases].map(([lease, place]) => this.#statusOf(lease, place))
  }

  addBase(base: B): void {
    const { scope } = base.address
    if (scope === 'loopback' || scope === 'link-local') return
    this.#add({ base, seenFrom: base })
    if (this.#waited) return
    this.#waited = true
    this.#waiting = this.#options.timers.after(WAIT, () => this.#settle())
  }

  removeBase(base: Base): void {
    for (const [lease, { base: mapped, seenFrom }] of [...this.#leases]) {
      if (mapped !== base) continue
      this.#remove(lease)
      // Of the two sockets the one that is mapped is gone: back to the other, unless that goes as well now.
      if (seenFrom !== base) {
        this.#doubled.delete(seenFrom)
        this.#add({ base: seenFrom, seenFrom })
      }
    }
  }

  networkChanged(): void {
    this.#mapper.networkChanged()
  }

  /** Somebody is there to prove with who was not before, or servers see something else. */
  proversChanged(): void {
    for (const [lease, place] of [...this.#leases]) {
      // What came in came in at another NAT's address, or at one that this NAT has no more.
      if (this.#isOutdated(lease, place)) lease.disproven()
      else if (this.#prover.able) lease.proveAgain()
      this.#changed(lease)
    }
  }

  /** Proven where a packet could not come in now, as far as servers and the router tell. */
  #isOutdated({ grant, external }: Lease, { seenFrom }: Place<B>): boolean {
    if (grant === undefined || external === undefined) return false
    const seen = this.#seenOf(seenFrom)
    return seen.length > 0 && !targetsOf(grant, seen).some((target) => target.equals(external))
  }

  /** Nothing seems to come in at this base. */
  doubt(base: Base): void {
    this.#mapper.doubt(base.address)
  }

  /**
   * A peer's check to this address has come in. It counts for what is on trial there, and for nothing else that a peer may say.
   * @param asked we had sent to where it came from
   */
  reached(base: Base, address: Address, asked: boolean): void {
    for (const [lease, place] of this.#leases) {
      if (place.base !== base) continue
      const onTrial = this.#mappedOf(lease, place).some((mapped) => mapped.mapping === 'trial' && mapped.address.equals(address))
      // Where the NAT sends us out from that very address, it lets in the answers of whoever we sent to, mapping or not.
      const isHole = asked && this.#seenOf(base).some((seen) => seen.equals(address))
      if (onTrial && !isHole) lease.proven(address)
    }
  }

  sendFailed(base: Base, to: Address): void {
    this.#prover.sendFailed(base, to)
  }

  /** Deletes what was mapped, within a second. Never rejects. */
  async close(): Promise<void> {
    this.#leases.clear()
    this.#waiting?.cancel()
    await this.#mapper.close()
  }

  #add(place: Place<B>): void {
    const lease = this.#mapper.add({ transport: 'udp', internal: place.base.address })
    this.#leases.set(lease, place)
  }

  #remove(lease: Lease): void {
    this.#leases.delete(lease)
    void this.#mapper.remove(lease)
  }

  #changed(lease: Lease): void {
    const place = this.#leases.get(lease)
    if (place === undefined) return
    if (this.#needsAnother(lease, place)) void this.#double(lease, place)
    else if (this.#isSpoilt(lease, place)) this.#options.closePassive(place.seenFrom)
    else this.#options.changed(place.base, this.#mappedOf(lease, place))
    if (this.#waiting !== undefined && [...this.#leases.keys()].every(({ settled }) => settled)) this.#settle()
  }

  /** What the socket sends does not leave from what is mapped: see `Base.passive`. */
  #needsAnother({ grant }: Lease, { base, seenFrom }: Place<B>): boolean {
    if (grant === undefined || grant.internal.family === 6 || base !== seenFrom || this.#doubled.has(base)) return false
    const seen = this.#seenOf(seenFrom)
    return seen.length > 0 && !targetsOf(grant, seen).some((target) => seen.some(({ key }) => key === target.key))
  }

  /**
   * The mapping was gone for a while: what a session went on sending from the passive socket got a mapping of its own by the NAT, and answers would
   * leave by that one for as long as it lives. A fresh socket has none.
   */
  #isSpoilt({ external, remade }: Lease, place: Place<B>): boolean {
    if (place.base === place.seenFrom) return false
    if (place.remade !== undefined && (external === undefined || remade !== place.remade)) return true
    if (external !== undefined) place.remade = remade
    return false
  }

  async #double(lease: Lease, { base }: Place<B>): Promise<void> {
    this.#doubled.add(base)
    const passive = await this.#options.openPassive(base)
    if (!this.#leases.has(lease)) return
    if (passive === undefined) this.#changed(lease)
    else {
      this.#remove(lease)
      this.#options.changed(base, [])
      this.#add({ base: passive, seenFrom: base })
    }
  }

  #settle(): void {
    this.#waiting?.cancel()
    this.#waiting = undefined
    this.#options.settled()
  }

  #mappedOf({ grant, external, judged, router }: Lease, { seenFrom }: Place<B>): readonly MappedAddress[] {
    // The address of an IPv6 base is the same inside and outside, and a host candidate already.
    if (grant === undefined || grant.internal.family === 6) return []
    const by = `${grant.protocol} ${router?.uplink.router.host}`
    if (external !== undefined) return [{ address: external, by, mapping: 'proven' }]
    // Nobody's path should depend on what we will know ourselves in a moment. Who can prove it may turn out to be unable.
    if (this.#prover.able && !judged) return []
    return targetsOf(grant, this.#seenOf(seenFrom)).map((address) => ({ address, by, mapping: 'trial' }))
  }

  #seenOf(base: Base): readonly Address[] {
    return this.#options
      .bindings()
      .flatMap((binding) => (binding.base === base && binding.failure === undefined ? (binding.mapped ?? []) : []))
  }

  #statusOf(lease: Lease, { base, seenFrom }: Place<B>): MappingStatus {
    const { grant, external, failure, router, settled, expiresAt } = lease
    const seen = this.#seenOf(seenFrom)
    const reach = grant === undefined ? undefined : reachOf(grant.external)
    const other = reach === 'public' && seen.length > 0 && grant?.internal.family === 4 && !seen.some((one) => one.sameIp(grant.external))
    return {
      internal: base.address.key,
      router: router?.uplink.router.host,
      state: grant !== undefined ? 'mapped' : settled ? 'none' : 'asked',
      protocol: grant?.protocol,
      external: grant?.external.key,
      proven: external?.key,
      reach: other ? 'other' : reach,
      expiresIn: grant === undefined ? undefined : Math.max(0, expiresAt - this.#options.timers.now()),
      failure: failure?.message,
    }
  }
}
