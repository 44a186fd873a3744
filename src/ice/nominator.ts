/**
 * Keeps track of nomination: whom we nominated when we control, whom the peer did when it does, and so which pair is selected.
 * What to prefer is `nomination.ts`'s.
 */
import { bestValid, followed, isDoubtful, toNominate, toRenominate } from './nomination.ts'
import type { Pair } from './pair.ts'

/** Counts the nominations of all agents of a session: the peer may follow them by one agent, which takes only a higher value. */
export interface Nominations {
  count: number
}

export class Nominator {
  #nominee: Pair | undefined
  #changedAt = Number.NEGATIVE_INFINITY
  readonly #nominations: Nominations
  #firstValidAt: number | undefined
  /** When to decide again; infinity for never. */
  decideAt: number = Number.POSITIVE_INFINITY

  constructor(nominations: Nominations) {
    this.#nominations = nominations
  }

  /** Something became valid. */
  validated(now: number): void {
    this.#firstValidAt ??= now
  }

  /** The pair works no longer. */
  dropped(pair: Pair): void {
    if (pair === this.#nominee) this.#nominee = undefined
  }

  /** After a role change nothing that we nominated counts. */
  reset(): void {
    if (this.#nominee !== undefined) this.#nominee.nominating = undefined
    this.#nominee = undefined
    this.decideAt = Number.POSITIVE_INFINITY
  }

  /** As the controlling side: the pair to nominate now, marked as such; undefined when there is no news. */
  nominate(pairs: readonly Pair[], renomination: boolean, now: number): Pair | undefined {
    if (this.#firstValidAt === undefined) return undefined
    this.decideAt = Number.POSITIVE_INFINITY
    const next = renomination ? toRenominate(pairs, this.#nominee, this.#changedAt, now) : this.#once(pairs, this.#firstValidAt, now)
    if (typeof next === 'number') this.decideAt = next
    if (typeof next === 'number' || next === undefined) return undefined
    if (this.#nominee !== undefined) this.#nominee.nominating = undefined
    this.#nominee = next
    this.#changedAt = now
    next.nominating = ++this.#nominations.count
    next.unanswered = 0
    return next
  }

  /** The nominated pair, or the best valid one for as long as there is none: nobody waits for a nomination to send (RFC 8445 12.1). */
  select(pairs: readonly Pair[], controlling: boolean): Pair | undefined {
    const chosen = controlling ? this.#nominee : followed(pairs)
    if (chosen?.valid === true && !isDoubtful(chosen)) return chosen
    // Also against the peer's word: it may not have noticed yet, as what it sends may still arrive.
    const best = bestValid(pairs, chosen)
    return chosen?.valid === true && (best === undefined || isDoubtful(best)) ? chosen : best
  }

  #once(pairs: readonly Pair[], firstValidAt: number, now: number): Pair | number | undefined {
    return this.#nominee === undefined ? toNominate(pairs, firstValidAt, now) : undefined
  }
}
