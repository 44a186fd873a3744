/** Whether a mapping forwards: only a packet from outside tells. */
import type { Address } from '../net/index.ts'
import type { Grant, MappingRequest } from './protocol.ts'

/**
 * `proven`: a packet sent to `external` from outside has come in; it may be another address than the router says. `failed`: packets were sent
 * and none came in. `unknown`: nobody is there to send one.
 */
export type Proof = { readonly kind: 'proven'; readonly external: Address } | { readonly kind: 'failed' } | { readonly kind: 'unknown' }

/** Never rejects. `request` is what the lease was made with: the same object each time. */
export type Prove = (grant: Grant, request: MappingRequest) => Promise<Proof>

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

/** For a failure's words; empty for what says nothing. */
export function describeReach(address: Address): string {
  const reach = reachOf(address)
  if (reach === 'private') return `: the router's own address, ${address.ip}, is a private one, so another NAT stands behind it`
  if (reach === 'shared') return `: the router's own address, ${address.ip}, is a carrier's (RFC 6598), whose NAT stands behind it`
  return reach === 'untold' ? ': the router has no public address, or does not tell it' : ''
}
