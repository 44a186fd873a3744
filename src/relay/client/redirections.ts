/**
 * Which 300 Try Alternate is followed (RFC 8489 10, RFC 8656 7). It comes without integrity as a rule, so over UDP and TCP anybody on the path
 * can have written it: then only addresses that the caller named are gone to. Over TLS the server is known, and may name any.
 */
import type { Address, Scope } from '../../net/index.ts'
import { Attribute, type Message } from '../../stun/index.ts'
import type { Way } from './race.ts'

const MOST_HOPS = 3

/** From where to where: a relay on the internet has no business in somebody's network. */
const ALLOWED: Readonly<Record<Scope, readonly Scope[]>> = {
  global: ['global'],
  shared: ['global', 'shared'],
  private: ['global', 'shared', 'private'],
  'link-local': ['global', 'private', 'link-local'],
  loopback: ['global', 'shared', 'private', 'loopback'],
  unspecified: [],
  multicast: [],
}

export class Redirections {
  readonly #named: readonly Address[]
  readonly #seen = new Set<string>()
  #hops = 0

  /** @param named addresses of relays that the caller configured; their ports do not matter */
  constructor(named: readonly Address[]) {
    this.#named = named
  }

  follows(message: Message, from: Way): boolean {
    return this.#hops < MOST_HOPS && this.#target(message, from) !== undefined
  }

  /** Where it leads; counts as a hop. Undefined when it must not be followed. */
  take(message: Message, from: Way): Way | undefined {
    const to = this.#target(message, from)
    if (to === undefined || ++this.#hops > MOST_HOPS) return undefined
    this.#seen.add(keyOf(from, from.address)).add(keyOf(from, to))
    // RFC 8489 14.16: the certificate is to be for this name then.
    const domain = message.text(Attribute.AlternateDomain)
    return {
      transport: from.transport,
      address: to,
      after: 0,
      serverName: domain === undefined || domain === '' ? from.serverName : domain,
    }
  }

  #target(message: Message, from: Way): Address | undefined {
    const to = message.address(Attribute.AlternateServer)
    if (to === undefined || to.port === 0 || to.key === from.address.key || this.#seen.has(keyOf(from, to))) return undefined
    if (!ALLOWED[from.address.scope].includes(to.scope)) return undefined
    if (from.transport === 'tls') return to
    return to.sameIp(from.address) || this.#named.some((address) => address.sameIp(to)) ? to : undefined
  }
}

function keyOf({ transport }: Way, address: Address): string {
  return `${transport} ${address.key}`
}
