/** Who allocations belong to: credentials, and the users whose quotas they count against. */

import type { Timers } from '../../net/index.ts'
import type { IntegrityKey, PasswordAlgorithm } from '../../stun/index.ts'
import { Bandwidth } from './bandwidth.ts'

/** Milliseconds after which a bucket is full whatever was taken from it: before, it must not be forgotten. */
const BUCKET_MEMORY = 1000

/** The credentials that an allocation was made with. Requests on it must have the same (RFC 8656 5). */
export interface Owner {
  readonly username: string
  readonly password: string
  /** Whom the quotas count: the user name, without the expiry that credentials from a shared secret begin with. */
  readonly user: string
  readonly algorithm: PasswordAlgorithm
  readonly key: IntegrityKey
}

/** A user who has allocations. */
export interface Account {
  readonly user: string
  allocations: number
  readonly bandwidth: Bandwidth | undefined
}

export class Accounts {
  readonly #bytesPerSecond: number
  readonly #timers: Timers
  readonly #accounts = new Map<string, Account>()
  #users = 0

  /** @param bytesPerSecond of each user; Infinity for no limit */
  constructor(bytesPerSecond: number, timers: Timers) {
    this.#bytesPerSecond = bytesPerSecond
    this.#timers = timers
  }

  /** Users who have an allocation. */
  get size(): number {
    return this.#users
  }

  /** One more allocation. */
  open(user: string): Account {
    let account = this.#accounts.get(user)
    if (account === undefined) {
      const bandwidth =
        this.#bytesPerSecond === Number.POSITIVE_INFINITY ? undefined : new Bandwidth(this.#bytesPerSecond, this.#timers.now())
      account = { user, allocations: 0, bandwidth }
      this.#accounts.set(user, account)
    }
    if (account.allocations++ === 0) this.#users++
    return account
  }

  /** One less. */
  close(account: Account): void {
    if (--account.allocations > 0) return
    this.#users--
    if (account.bandwidth === undefined) this.#accounts.delete(account.user)
    // Who gives up an allocation and makes another must not get another second's worth by it.
    else this.#timers.after(BUCKET_MEMORY, () => this.#forget(account))
  }

  #forget(account: Account): void {
    if (account.allocations === 0 && this.#accounts.get(account.user) === account) this.#accounts.delete(account.user)
  }
}
