/** Checks of a peer whose credentials we do not know yet: answered at once, and remembered until we do (RFC 8445 7.3). */
import type { Base } from '../candidates/index.ts'
import type { Address } from '../net/index.ts'
import type { CheckContent } from './check-message.ts'
import { MAX_EARLY_CHECKS } from './constants.ts'

export interface EarlyCheck {
  readonly base: Base
  readonly from: Address
  /** The user fragment that its sender goes by. */
  readonly sender: string
  readonly content: CheckContent
}

export class EarlyChecks {
  #kept: EarlyCheck[] = []

  /** False when there are too many already: then it is as if it had not come. A check that comes again needs no second place. */
  keep(check: EarlyCheck): boolean {
    const again = this.#kept.findIndex(
      ({ base, from, sender }) => base === check.base && from.key === check.from.key && sender === check.sender,
    )
    if (again >= 0) {
      // A nomination may be said once and not with later checks.
      if (saysMore(check.content, this.#kept[again]?.content)) this.#kept[again] = check
      return true
    }
    if (this.#kept.length >= MAX_EARLY_CHECKS) return false
    this.#kept.push(check)
    return true
  }

  /** Those of the peer, once. The rest is forgotten. */
  take(ufrag: string): readonly EarlyCheck[] {
    const kept = this.#kept
    this.#kept = []
    return kept.filter(({ sender }) => sender === ufrag)
  }
}

function saysMore({ useCandidate, nomination = 0 }: CheckContent, known: CheckContent | undefined): boolean {
  return useCandidate && (known?.useCandidate !== true || nomination > (known.nomination ?? 0))
}
