/** The checks that are on their way: writes them, knows which pair an answer belongs to, and forgets them when they are too old. */
import { asPeerReflexive } from '../candidates/index.ts'
import type { Random } from '../net/index.ts'
import { type IntegrityKey, type Message, transactionKey } from '../stun/index.ts'
import { writeCheck } from './check-message.ts'
import { CHECK_LIFETIME } from './constants.ts'
import type { AgentOutlet } from './outlet.ts'
import type { Check, Pair } from './pair.ts'

/** What all checks of an agent have in common at the moment. */
export interface CheckTerms {
  /** `theirs:ours`. */
  readonly username: string
  /** Of the peer's password. */
  readonly key: IntegrityKey
  readonly controlling: boolean
  readonly tieBreaker: bigint
  readonly renomination: boolean
}

export class OutgoingChecks {
  readonly #outlet: Pick<AgentOutlet, 'send' | 'expect' | 'forget'>
  readonly #random: Random
  readonly #pairs = new Map<string, Pair>()

  constructor(outlet: Pick<AgentOutlet, 'send' | 'expect' | 'forget'>, random: Random) {
    this.#outlet = outlet
    this.#random = random
  }

  /** @param opener not to reach the peer's NAT */
  send(pair: Pair, terms: CheckTerms, opener: boolean, now: number): void {
    const transactionId = this.#random.bytes(12)
    const check: Check = {
      key: transactionKey(transactionId),
      sentAt: now,
      controlling: terms.controlling,
      useCandidate: terms.controlling && pair.nominating !== undefined,
      nomination: terms.renomination ? pair.nominating : undefined,
      priority: asPeerReflexive(pair.local.priority),
    }
    pair.outstanding.set(check.key, check)
    pair.sent++
    pair.opener = opener
    if (opener) pair.firstOpenerAt ??= now
    pair.unanswered++
    this.#pairs.set(check.key, pair)
    this.#outlet.expect(check.key)
    this.#outlet.send(pair.base, pair.to, writeCheck({ ...check, ...terms, transactionId }), opener)
  }

  /** The check that a response answers. */
  find(response: Message): { readonly pair: Pair; readonly check: Check } | undefined {
    const pair = this.#pairs.get(response.transactionKey)
    const check = pair?.outstanding.get(response.transactionKey)
    return pair === undefined || check === undefined ? undefined : { pair, check }
  }

  forget(pair: Pair, check: Check): void {
    pair.outstanding.delete(check.key)
    this.#pairs.delete(check.key)
    this.#outlet.forget(check.key)
  }

  forgetAll(pair: Pair): void {
    for (const check of pair.outstanding.values()) this.forget(pair, check)
  }

  expire(pair: Pair, now: number): void {
    for (const check of pair.outstanding.values()) if (now >= check.sentAt + CHECK_LIFETIME) this.forget(pair, check)
  }

  clear(): void {
    for (const pair of new Set(this.#pairs.values())) this.forgetAll(pair)
  }
}
