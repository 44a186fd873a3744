/** Counts the allocations of all workers together, and knows whose they are: what a worker that died had is given back. */
import type { LedgerVerdict } from '../../../relay/index.ts'

export class SharedLedger {
  readonly #total: number
  readonly #perUser: number
  /** Of all workers. */
  readonly #users = new Map<string, number>()
  readonly #workers = new Map<number, Map<string, number>>()
  #taken = 0

  constructor(total: number, perUser: number) {
    this.#total = total
    this.#perUser = perUser
  }

  /** Users with an allocation, whichever worker they are on. */
  get users(): number {
    return this.#users.size
  }

  get taken(): number {
    return this.#taken
  }

  take(worker: number, user: string): LedgerVerdict {
    if ((this.#users.get(user) ?? 0) >= this.#perUser) return 'user-quota'
    if (this.#taken >= this.#total) return 'capacity'
    this.#taken++
    add(this.#users, user, 1)
    const own = this.#workers.get(worker) ?? new Map<string, number>()
    this.#workers.set(worker, own)
    add(own, user, 1)
    return 'granted'
  }

  release(worker: number, user: string): void {
    const own = this.#workers.get(worker)
    if (own?.has(user) !== true) return
    add(own, user, -1)
    add(this.#users, user, -1)
    this.#taken--
  }

  /** The worker has none any more. */
  forget(worker: number): void {
    for (const [user, count] of this.#workers.get(worker) ?? []) {
      add(this.#users, user, -count)
      this.#taken -= count
    }
    this.#workers.delete(worker)
  }
}

/** None is no entry. */
function add(counts: Map<string, number>, user: string, change: number): void {
  const count = (counts.get(user) ?? 0) + change
  if (count === 0) counts.delete(user)
  else counts.set(user, count)
}
