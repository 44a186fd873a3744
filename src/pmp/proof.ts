/** Whether a mapping forwards: only a packet from outside tells. */
import type { Address } from '../net/index.ts'
import type { Grant } from './protocol.ts'

/**
 * `proven`: a packet sent to `external` from outside has come in; it may be another address than the router says. `failed`: packets were sent
 * and none came in. `unknown`: nobody is there to send one.
 */
export type Proof = { readonly kind: 'proven'; readonly external: Address } | { readonly kind: 'failed' } | { readonly kind: 'unknown' }

/** Never rejects. */
export type Prove = (grant: Grant) => Promise<Proof>

/** For those who have nobody outside. */
export const nobodyProves: Prove = async () => ({ kind: 'unknown' })

/**
 * What an external address says of what stands behind the router. `public`: nothing, as far as it knows. `private`, `shared`: another NAT,
 * at home or a carrier's (RFC 6598). `untold`: the router does not know it or does not tell.
 */
export type Reach = 'public' | 'private' | 'shared' | 'untold'

export function reachOf({ scope }: Address): Reach {
  if (scope === 'global') return 'public'
  if (scope === 'shared') return 'shared'
  return scope === 'private' ? 'private' : 'untold'
}
