/** Who allocations belong to: credentials, and the users whose quotas they count against. */
import type { IntegrityKey, PasswordAlgorithm } from '../../stun/index.ts'
import { Bandwidth } from './bandwidth.ts'

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
  readonly #accounts = new Map<string, Account>()

  /** @param bytesPerSecond of each user; Infinity for no limit */
  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond
  }

  get size(): number {
    return this.#accounts.size
  }

  /** One more allocation. @param now milliseconds on the clock that the bandwidth will be asked with */
  open(user: string, now: number): Account {
    let account = this.#accounts.get(user)
    if (account === undefined) {
      const bandwidth = this.#bytesPerSecond === Number.POSITIVE_INFINITY ? undefined : new Bandwidth(this.#bytesPerSecond, now)
      account = { user, allocations: 0, bandwidth }
      this.#accounts.set(user, account)
    }
    account.allocations++
    return account
  }

  /** One less. */
  close(account: Account): void {
    if (--account.allocations === 0) this.#accounts.delete(account.user)
  }
}
