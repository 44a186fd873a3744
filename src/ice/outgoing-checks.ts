/** The checks that are on their way: writes them, knows which pair an answer belongs to, and forgets them when they are too old. */
import { asPeerReflexive } from '../candidates/index.ts'
import type { Random } from '../net/index.ts'
import { type Message, transactionKey } from '../stun/index.ts'
import { type CheckSender, writeCheck } from './check-message.ts'
import { CHECK_LIFETIME } from './constants.ts'
import type { AgentOutlet } from './outlet.ts'
import type { Check, Pair } from './pair.ts'

/** What all checks of an agent have in common at the moment. */
export interface CheckTerms extends CheckSender {
  readonly controlling: boolean
  readonly renomination: boolean
}

export class OutgoingChecks {
  readonly #outlet: Pick<AgentOutlet, 'send' | 'expect' | 'forget'>
  readonly #random: Random

  constructor(outlet: Pick<AgentOutlet, 'send' | 'expect' | 'forget'>, random: Random) {
    this.#outlet = outlet
    this.#random = random
  }

  /** @param opener not to reach the peer's NAT */
  send(pair: Pair, terms: CheckTerms, opener: boolean, now: number): void {
    const transactionId = this.#random.bytes(12)
    // Again with every later check: the peer may have another agent for the same credentials by then, or see another address of ours.
    const nomination = terms.controlling ? (pair.nominating ?? (terms.renomination ? pair.nominated : undefined)) : undefined
    const check: Check = {
      key: transactionKey(transactionId),
      sentAt: now,
      controlling: terms.controlling,
      useCandidate: nomination !== undefined,
      nomination: terms.renomination ? nomination : undefined,
      priority: asPeerReflexive(pair.local.priority),
    }
    const destination = pair.remote.trial === true ? pair.to : undefined
    pair.outstanding.push(check)
    pair.sent++
    pair.opener = opener
    if (opener) pair.firstOpenerAt ??= now
    pair.unanswered++
    this.#outlet.expect(check.key, pair)
    this.#outlet.send(pair.base, pair.to, writeCheck(transactionId, { ...check, destination }, terms), opener)
  }

  /** The check that a response answers. */
  find(response: Message, pairs: readonly Pair[]): { readonly pair: Pair; readonly check: Check } | undefined {
    const key = response.transactionKey
    for (const pair of pairs) {
      const check = pair.outstanding.find((one) => one.key === key)
      if (check !== undefined) return { pair, check }
    }
    return undefined
  }

  forget(pair: Pair, check: Check): void {
    pair.outstanding = pair.outstanding.filter((one) => one !== check)
    this.#outlet.forget(check.key)
  }

  forgetAll(pair: Pair): void {
    for (const { key } of pair.outstanding) this.#outlet.forget(key)
    pair.outstanding = []
  }

  expire(pair: Pair, now: number): void {
    for (let oldest = pair.outstanding[0]; oldest !== undefined && now >= oldest.sentAt + CHECK_LIFETIME; oldest = pair.outstanding[0])
      this.forget(pair, oldest)
  }
}
