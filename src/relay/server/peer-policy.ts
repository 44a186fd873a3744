/**
 * Which peers a relay sends to and lets in. One check for permissions, channels, Send and each datagram on its way, on one form of an address:
 * a peer must not become another one by being spelt differently. RFC 8656 21, RFC 6156 9.1.
 */
import { Address, Prefix } from '../../net/index.ts'

/** What no option permits: nowhere (RFC 1122 3.2.1.3), groups, reserved, and tunnels that lead back (RFC 6156 9.1). */
const NEVER = prefixes('0.0.0.0/8 224.0.0.0/4 240.0.0.0/4 ff00::/8 2001::/32 2002::/16')

/** The special-purpose registries (RFC 6890), as far as they are not reached from everywhere, and what is private, beside those above. */
const DENIED_BY_DEFAULT = prefixes(
  '10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15',
  '198.51.100.0/24 203.0.113.0/24 ::1/128 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001:2::/48 2001:10::/28 2001:20::/28 2001:db8::/32',
  '3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10',
)

/** Where an IPv6 address has an IPv4 address in it: the prefix, and the first of its four bytes. */
const EMBEDDINGS: readonly { readonly prefix: Prefix; readonly at: number }[] = [
  { prefix: Prefix.parse('::/96'), at: 12 }, // IPv4-compatible, RFC 4291 2.5.5.1
  { prefix: Prefix.parse('::ffff:0:0:0/96'), at: 12 }, // SIIT, RFC 2765 2.1
  { prefix: Prefix.parse('64:ff9b::/96'), at: 12 }, // NAT64, RFC 6052 2.1
  { prefix: Prefix.parse('2002::/16'), at: 2 }, // 6to4, RFC 3056 2
]
const LOOPBACK_6 = Prefix.parse('::1/128')

/**
 * The address that a datagram to this one may end at: the IPv4 address that is embedded, or the address itself. IPv4-mapped ones (RFC 4291
 * 2.5.5.2) are IPv4 already wherever an `Address` is made.
 */
export function canonical(address: Address): Address {
  // ::1 lies within the IPv4-compatible range, and is none.
  if (address.family === 4 || LOOPBACK_6.contains(address)) return address
  for (const { prefix, at } of EMBEDDINGS) {
    if (prefix.contains(address)) return Address.fromBytes(address.bytes.subarray(at, at + 4), address.port)
  }
  return address
}

export type PeerVerdict =
  | 'permitted'
  /** A relayed address of this very relay, which somebody has just now. */
  | 'relayed'
  | 'denied'

export interface PeerPolicyOptions {
  readonly allow: readonly Prefix[]
  readonly deny: readonly Prefix[]
  readonly private: boolean
  /** Whether somebody has this relayed address just now. */
  readonly relayed: (address: Address) => boolean
}

export class PeerPolicy {
  readonly #options: PeerPolicyOptions
  #own: ReadonlySet<string> = new Set()
  #listening: ReadonlySet<number> = new Set()
  #version = 0

  constructor(options: PeerPolicyOptions) {
    this.#options = options
  }

  /** Changes whenever a verdict may have: one that is kept is good for as long as this is the same. */
  get version(): number {
    return this.#version
  }

  /**
   * Takes the addresses of this machine, with those that a NAT in front of it has for it, and the ports of the relay's listeners. Before it
   * there are none.
   */
  setOwn(own: readonly Address[], listening: readonly number[]): void {
    this.#own = new Set(own.map(({ ip }) => ip))
    this.#listening = new Set(listening)
    this.#version++
  }

  /** The port counts: of this machine's addresses, those that are relayed addresses may be reached, and nothing else. */
  judge(peer: Address): PeerVerdict {
    const inner = canonical(peer)
    if (this.#own.has(peer.ip) || this.#own.has(inner.ip)) {
      if (this.#listening.has(peer.port)) return 'denied'
      if (this.#options.relayed(peer)) return 'relayed'
      if (!this.#options.private) return 'denied'
    }
    // What is told by either form counts: a range may be given in terms of the one or the other.
    return this.#permits(peer) && (inner === peer || this.#permits(inner)) ? 'permitted' : 'denied'
  }

  #permits(address: Address): boolean {
    const { allow, deny } = this.#options
    if (within(address, NEVER)) return false
    if (within(address, allow)) return true
    return !within(address, deny) && (this.#options.private || !within(address, DENIED_BY_DEFAULT))
  }
}

function within(address: Address, ranges: readonly Prefix[]): boolean {
  for (const range of ranges) if (range.contains(address)) return true
  return false
}

function prefixes(...lists: readonly string[]): readonly Prefix[] {
  return lists.flatMap((list) => list.split(' ').map((text) => Prefix.parse(text)))
}
