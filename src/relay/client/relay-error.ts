/** A relay's refusals (RFC 8489 14.8, RFC 8656 19) as errors for people and programs. */
import { type ErrorCode, type ErrorDetail, SallyportError } from '../../errors.ts'
import { StunError } from '../../stun/index.ts'

interface Meaning {
  readonly code: ErrorCode
  readonly words: string
}

const MEANINGS: ReadonlyMap<number, Meaning> = new Map<number, Meaning>([
  [StunError.TryAlternate, { code: 'ERR_RELAY_REDIRECT', words: 'names another relay, which cannot be followed' }],
  [StunError.Unauthenticated, { code: 'ERR_RELAY_CREDENTIALS', words: 'refuses user name or password' }],
  [StunError.Forbidden, { code: 'ERR_RELAY_FORBIDDEN', words: 'will not serve us' }],
  [StunError.AllocationMismatch, { code: 'ERR_RELAY_MISMATCH', words: 'does not know the allocation, or has another one of ours' }],
  [StunError.AddressFamilyNotSupported, { code: 'ERR_RELAY_FAMILY', words: 'has no relayed address of the family that is wanted' }],
  [StunError.WrongCredentials, { code: 'ERR_RELAY_CREDENTIALS', words: 'gave the allocation to another user name' }],
  [StunError.UnsupportedTransport, { code: 'ERR_RELAY_TRANSPORT', words: 'does not relay UDP' }],
  [StunError.PeerAddressFamilyMismatch, { code: 'ERR_RELAY_FAMILY', words: "has no relayed address of the peer's family" }],
  [StunError.AllocationQuotaReached, { code: 'ERR_RELAY_QUOTA', words: 'grants this user no more allocations' }],
  [StunError.InsufficientCapacity, { code: 'ERR_RELAY_CAPACITY', words: 'has no room' }],
])

/** What an error response to Allocate or Refresh means. `relay` is how the relay was configured, for people. */
export function refusal(relay: string, code: number, reason: string): SallyportError {
  const { code: ours, words } = MEANINGS.get(code) ?? { code: 'ERR_RELAY_REFUSED', words: 'refuses' }
  return relayError(ours, relay, `${words}: ${code} ${reason}`.trimEnd())
}

export function relayError(code: ErrorCode, relay: string, words: string, detail: ErrorDetail = {}): SallyportError {
  return new SallyportError(code, `relay ${relay} ${words}`, detail)
}
