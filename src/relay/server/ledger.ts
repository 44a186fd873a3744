/** Who counts allocations against the quotas: one relay for itself, or something that several workers share. */

export type LedgerVerdict =
  | 'granted'
  /** The user has as many as one may have: 486. */
  | 'user-quota'
  /** There are as many as there may be in all: 508. */
  | 'capacity'

export interface Ledger {
  /**
   * One more allocation of a user. What is granted is given back by `release`, once. A promise that rejects, or takes more than 10 s, counts as
   * 'capacity'; when it is granted after that it is given back.
   */
  take(user: string): LedgerVerdict | Promise<LedgerVerdict>
  release(user: string): void
  /**
   * Whether an address, such as `192.0.2.1:49152`, is a relayed address that another worker of this relay has just now. Asked for each datagram
   * to this machine's own relay addresses, so it must be quick. None by default.
   */
  relayed?(address: string): boolean
}

/** The counts of one relay. */
export class LocalLedger implements Ledger {
  readonly #total: number
  readonly #perUser: number
  readonly #users = new Map<string, number>()
  #taken = 0

  constructor(total: number, perUser: number) {
    this.#total = total
    this.#perUser = perUser
  }

  take(user: string): LedgerVerdict {
    const own = this.#users.get(user) ?? 0
    if (own >= this.#perUser) return 'user-quota'
    if (this.#taken >= this.#total) return 'capacity'
    this.#users.set(user, own + 1)
    this.#taken++
    return 'granted'
  }

  release(user: string): void {
    const own = this.#users.get(user)
    if (own === undefined) return
    if (own === 1) this.#users.delete(user)
    else this.#users.set(user, own - 1)
    this.#taken--
  }
}
