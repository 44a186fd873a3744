/** Role conflicts (RFC 8445 7.3.1.1): what to do about a check whose sender claims our own role. */
import type { CheckContent } from './check-message.ts'

export type RoleDecision = 'agree' | 'switch' | 'refuse'

/** `switch`: take the other role and answer as usual. `refuse`: keep ours and answer 487. */
export function decideRole(controlling: boolean, tieBreaker: bigint, check: CheckContent): RoleDecision {
  if (check.senderControlling !== controlling) return 'agree'
  // Our own check, sent back to us by something on the way: no conflict with anybody.
  if (check.tieBreaker === tieBreaker) return 'agree'
  const ours = tieBreaker > check.tieBreaker
  // The larger tie-breaker is or becomes controlling.
  return ours === controlling ? 'refuse' : 'switch'
}
