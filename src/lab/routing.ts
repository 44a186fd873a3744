/**
 * Which interface of a host a packet leaves by and what its source is. A socket bound to an address sends from the interface that has
 * it (the strong host model, RFC 1122 3.3.4.2); otherwise the destination decides, then the order of the interfaces.
 */
import { Address, type Family, type SendFailure } from '../net/index.ts'
import type { AddressOnLink, Nic } from './segment.ts'

/** The name of every host's interface to itself. */
export const LOOPBACK = 'lo'

/** `nic` is undefined for what stays within the host. */
export interface Route {
  readonly nic: Nic | undefined
  readonly from: Address
}

interface Cached {
  readonly nic: Nic | undefined
  readonly ip: Address
}

export class Routing {
  readonly loopback: readonly Address[] = [Address.of('127.0.0.1', 0), Address.of('::1', 0)]
  readonly #nics: Nic[] = []
  readonly #own = new Map<string, Nic | undefined>()
  /** Sources by local and remote key: a flow asks once. */
  readonly #cache = new Map<Address, Map<string, Route>>()

  constructor() {
    this.#index()
  }

  get nics(): readonly Nic[] {
    return this.#nics
  }

  add(nic: Nic, index: number): void {
    this.#nics.splice(index, 0, nic)
    this.#index()
  }

  remove(nic: Nic): void {
    this.#nics.splice(this.#nics.indexOf(nic), 1)
    this.#index()
  }

  has(ip: string): boolean {
    return this.#own.has(ip)
  }

  /** Whether an address is on the LAN of the interface that has one of ours. There is no multicast on the public internet. */
  neighbours(own: Address, ip: string): boolean {
    const segment = this.#own.get(own.ip)?.segment
    return segment !== undefined && !segment.public && segment.has(ip)
  }

  /** The zone of a link-local address counts, RFC 4007. */
  hasExactly(address: Address): boolean {
    if (!this.#own.has(address.ip)) return false
    return address.scope !== 'link-local' || this.#own.get(address.ip)?.name === address.zone
  }

  /** The way for a packet from a bound address, or errno's word for there being none. */
  route(local: Address, to: Address): Route | SendFailure {
    let flows = this.#cache.get(local)
    const known = flows?.get(to.zone === '' ? to.ip : to.key)
    if (known !== undefined) return known
    const found = this.#find(local, to)
    if (typeof found === 'string') return found
    const route = { nic: found.nic, from: found.ip.withPort(local.port) }
    if (flows === undefined) {
      // Sockets come and go: what they leave behind must not grow for ever.
      if (this.#cache.size > 1024) this.#cache.clear()
      flows = new Map()
      this.#cache.set(local, flows)
    } else if (flows.size > 4096) {
      flows.clear()
    }
    flows.set(to.zone === '' ? to.ip : to.key, route)
    return route
  }

  /** The way to a group by the interface of a name. */
  groupRoute(local: Address, group: Address, link: string): Route | SendFailure {
    if (local.family !== group.family) return 'EAFNOSUPPORT'
    const bound = local.scope !== 'unspecified'
    if (link === LOOPBACK) return { nic: undefined, from: bound ? local : this.#loopbackOf(local.family).withPort(local.port) }
    const nic = this.#nics.find((one) => one.name === link)
    const source = nic === undefined ? undefined : sourceOn(nic, group)
    if (nic === undefined || source === undefined) return 'ENETUNREACH'
    return { nic, from: bound ? local : source.withPort(local.port) }
  }

  /** The source that a socket bound to nothing, or to `from`, would use; port 0 unless `from` has one. */
  source(to: Address, from: Address = Address.any(to.family)): Address | SendFailure {
    if (from.scope !== 'unspecified' && !this.hasExactly(from)) return 'EADDRNOTAVAIL'
    const found = this.#find(from, to)
    return typeof found === 'string' ? found : found.ip
  }

  /** Two networks may give a host the same private address: the preferred interface's counts. */
  #index(): void {
    this.#own.clear()
    this.#cache.clear()
    for (const address of this.loopback) this.#own.set(address.ip, undefined)
    for (const nic of this.#nics) {
      for (const { address } of nic.addresses) if (!this.#own.has(address.ip)) this.#own.set(address.ip, nic)
    }
  }

  #loopbackOf(wanted: Family): Address {
    return this.loopback.find(({ family }) => family === wanted) as Address
  }

  #find(local: Address, to: Address): Cached | SendFailure {
    if (local.family !== to.family) return 'EAFNOSUPPORT'
    if (to.scope === 'unspecified') return 'EINVAL'
    const bound = local.scope !== 'unspecified'
    if (to.scope === 'loopback' || this.#own.has(to.ip)) {
      return { nic: undefined, ip: bound ? local : to.scope === 'loopback' ? this.#loopbackOf(to.family) : to }
    }
    if (local.scope === 'loopback') return 'EINVAL'
    if (bound) {
      const nic = this.#own.get(local.ip)
      if (nic === undefined) return 'EADDRNOTAVAIL'
      return reaches(nic, to) ? { nic, ip: local } : 'ENETUNREACH'
    }
    // RFC 4007 6: a link-local destination means nothing without its zone.
    if (to.scope === 'link-local' && to.family === 6 && to.zone === '') return 'EINVAL'
    const nic =
      this.#nics.find((one) => one.segment.onLink(to) && !one.segment.public && reaches(one, to)) ??
      this.#nics.find((one) => reaches(one, to))
    if (nic === undefined) return 'ENETUNREACH'
    return { nic, ip: sourceOn(nic, to) as Address }
  }
}

function reaches(nic: Nic, to: Address): boolean {
  if (to.scope === 'link-local' && to.zone !== '' && to.zone !== nic.name) return false
  if (sourceOn(nic, to) === undefined) return false
  return nic.segment.onLink(to) || nic.segment.gateway !== undefined
}

/** The interface's source for a destination: the same scope first, deprecated ones last, temporary ones preferred (RFC 6724 5). */
function sourceOn(nic: Nic, to: Address): Address | undefined {
  const local = to.scope === 'link-local' || (to.scope === 'multicast' && to.family === 6)
  const fitting = nic.addresses.filter(({ address }) => {
    if (address.family !== to.family) return false
    return to.family === 4 || (address.scope === 'link-local') === local
  })
  const rank = (entry: AddressOnLink): number => (entry.deprecated ? 2 : 0) + (entry.temporary ? 0 : 1)
  const [first] = fitting
  return first === undefined ? undefined : fitting.reduce((best, one) => (rank(one) < rank(best) ? one : best), first).address
}
