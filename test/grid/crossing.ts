/**
 * What becomes of a packet at a router, for the rule of the grid: RFC 4787's mapping, filtering and hairpinning, and stateful firewalls
 * (RFC 6092). Ports have names instead of numbers: whoever was not shown one cannot know it. Nothing is ever forgotten.
 */
import type { Router } from '../../src/lab/index.ts'

export interface Endpoint {
  readonly ip: string
  readonly port: string
}

export function keyOf({ ip, port }: Endpoint): string {
  return `${ip} ${port}`
}

export function isV6(ip: string): boolean {
  return ip.includes(':')
}

/** Whether a router changes this address on the way out. */
export function translates({ nat }: Router, ip: string): boolean {
  return nat !== false && !isV6(ip)
}

/** As much of a remote endpoint as counts for a mapping or a filter. */
function part(dependence: 'EI' | 'AD' | 'APD', remote: Endpoint): string {
  return dependence === 'EI' ? '' : dependence === 'AD' ? remote.ip : keyOf(remote)
}

/** One external endpoint, or one open flow of a firewall. */
interface Mapping {
  readonly inside: Endpoint
  readonly outside: Endpoint
  /** Who was sent to from here, by as much as the filter looks at. */
  readonly permitted: Set<string>
}

export class Crossing {
  readonly #router: Router
  readonly #changed: () => void
  readonly #byInside = new Map<string, Mapping>()
  readonly #byOutside = new Map<string, Mapping>()
  /** By inside and remote endpoint: the mapping that a session with the remote began on, from either direction. */
  readonly #sessions = new Map<string, Mapping>()

  constructor(router: Router, changed: () => void) {
    this.#router = router
    this.#changed = changed
  }

  /** Whether an address is one of those that the NAT gives out. */
  isOwn({ ip }: Endpoint): boolean {
    return translates(this.#router, ip) && this.#router.addresses.some((address) => address.ip === ip)
  }

  /** The source of a packet after it left; undefined when it does not. */
  outward(from: Endpoint, to: Endpoint): Endpoint | undefined {
    const { nat, blockUdp } = this.#router
    if (blockUdp || (this.isOwn(to) && (nat === false || nat.hairpin !== true))) return undefined
    const session = `${keyOf(from)} ${keyOf(to)}`
    const mapping = this.#sessions.get(session) ?? this.#mapping(from, to)
    const permit = part(this.#filtering(from.ip), to)
    if (!mapping.permitted.has(permit)) {
      mapping.permitted.add(permit)
      this.#changed()
    }
    this.#sessions.set(session, mapping)
    return mapping.outside
  }

  /** The destination of a packet after it came in; undefined when it does not. */
  inward(to: Endpoint, from: Endpoint): Endpoint | undefined {
    if (this.#router.blockUdp) return undefined
    if (!translates(this.#router, to.ip) && this.#router.firewall === false) return to
    const mapping = this.#byOutside.get(keyOf(to))
    const filtering = this.#filtering(to.ip)
    if (mapping === undefined || (filtering !== 'EI' && !mapping.permitted.has(part(filtering, from)))) return undefined
    // A NAT keeps sessions: the answer leaves by the mapping that the question came in by, whatever a packet of one's own would get.
    const session = `${keyOf(mapping.inside)} ${keyOf(from)}`
    if (!this.#sessions.has(session)) this.#sessions.set(session, mapping)
    return mapping.inside
  }

  #filtering(ip: string): 'EI' | 'AD' | 'APD' {
    const { nat, firewall } = this.#router
    const filtering = nat !== false && !isV6(ip) ? nat.filtering : firewall === false ? 'EIF' : (firewall.filtering ?? 'APDF')
    return filtering === 'EIF' ? 'EI' : filtering === 'ADF' ? 'AD' : 'APD'
  }

  #mapping(from: Endpoint, to: Endpoint): Mapping {
    const { nat, name, addresses } = this.#router
    const translated = nat !== false && !isV6(from.ip)
    const dependence = !translated || nat.mapping === 'EIM' ? 'EI' : nat.mapping === 'ADM' ? 'AD' : 'APD'
    const key = `${keyOf(from)} ${part(dependence, to)}`
    let mapping = this.#byInside.get(key)
    if (mapping === undefined) {
      const pool = translated ? addresses.filter(({ family }) => family === 4) : []
      // Another address for each mapping is the worst that arbitrary pooling (RFC 4787 4.1) can do.
      const index = translated && nat.pooling === 'arbitrary' ? this.#byInside.size % pool.length : 0
      const outside = translated ? { ip: (pool[index] as (typeof pool)[number]).ip, port: `${name}.${this.#byInside.size}` } : from
      mapping = { inside: from, outside, permitted: new Set() }
      this.#byInside.set(key, mapping)
      this.#byOutside.set(keyOf(outside), mapping)
      this.#changed()
    }
    return mapping
  }
}
