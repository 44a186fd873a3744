/** What several servers' answers say of the NAT in front of a socket (RFC 4787 4.1), without asking anything more. */
import type { Address } from '../net/index.ts'

/**
 * `none`: every server sees an address of the socket's own. `shared`: all see one other address, which peers can be told. `per-destination`:
 * they see different ones, so that what a server sees is not what a peer will see (a hard, or symmetric, NAT).
 */
export type Mapping = 'none' | 'shared' | 'per-destination'

/**
 * @param own addresses of the socket; @param seen what each server sees now
 * Undefined when that does not tell: one server alone cannot show the difference.
 */
export function mappingOf(own: readonly Address[], seen: readonly Address[]): Mapping | undefined {
  const keys = new Set(seen.map(({ key }) => key))
  if (keys.size > 1) return 'per-destination'
  if (own.some(({ key }) => keys.has(key))) return 'none'
  return seen.length > 1 ? 'shared' : undefined
}
