/** Credentials from the caller's callback: asked for once, kept while they are good, asked for again before they expire. */
import { SallyportError } from '../../errors.ts'
import type { Timer, Timers } from '../../net/index.ts'

/** Milliseconds that a callback may take. */
const PATIENCE = 15_000
/** Milliseconds: new ones are asked for no sooner. */
const SHORTEST_LIFE = 1_000

export interface RelayCredentials {
  readonly username: string
  readonly password: string
  /** On the network's clock (`clock.now()`), in milliseconds; undefined when they do not expire. */
  readonly expiresAt?: number
}

export class CredentialSource {
  readonly #timers: Timers
  readonly #relay: string
  readonly #callback: () => Promise<RelayCredentials>
  #asking: Promise<RelayCredentials> | undefined
  #kept: RelayCredentials | undefined
  #patience: Timer | undefined
  #renewAt = Number.POSITIVE_INFINITY

  constructor(timers: Timers, relay: string, callback: () => Promise<RelayCredentials>) {
    this.#timers = timers
    this.#relay = relay
    this.#callback = callback
  }

  /** When half of the life of those at hand is over; infinity when they do not expire. */
  get renewAt(): number {
    return this.#renewAt
  }

  /** Those at hand in the first half of their life, or new ones. Rejects with SallyportError `ERR_RELAY_CREDENTIALS`. */
  get(): Promise<RelayCredentials> {
    if (this.#kept !== undefined && this.#timers.now() < this.#renewAt) return Promise.resolve(this.#kept)
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  /** Nobody waits any more. */
  close(): void {
    this.#patience?.cancel()
  }

  /** A server did not take them. */
  forget(): void {
    this.#kept = undefined
    this.#renewAt = Number.POSITIVE_INFINITY
  }

  async #ask(): Promise<RelayCredentials> {
    const given = await this.#answer()
    const now = this.#timers.now()
    const { username, password, expiresAt } = given ?? {}
    if (typeof username !== 'string' || username === '' || typeof password !== 'string') {
      throw this.#error('credentials need a username and a password')
    }
    if (expiresAt !== undefined && !(expiresAt > now)) throw this.#error('the credentials have expired already')
    this.#kept = given
    this.#renewAt = expiresAt === undefined ? Number.POSITIVE_INFINITY : now + Math.max(SHORTEST_LIFE, (expiresAt - now) / 2)
    return given
  }

  #answer(): Promise<RelayCredentials> {
    return new Promise((resolve, reject) => {
      const timer = (this.#patience = this.#timers.after(PATIENCE, () => reject(this.#error(`no credentials within ${PATIENCE / 1000} s`))))
      const given = (async () => this.#callback())()
      given.then(
        (credentials) => {
          timer.cancel()
          resolve(credentials)
        },
        (cause: unknown) => {
          timer.cancel()
          reject(this.#error(`no credentials: ${cause instanceof Error ? cause.message : String(cause)}`, cause))
        },
      )
    })
  }

  #error(words: string, cause?: unknown): SallyportError {
    return new SallyportError('ERR_RELAY_CREDENTIALS', `relay ${this.#relay}: ${words}`, cause === undefined ? {} : { cause })
  }
}

export function sameCredentials(one: RelayCredentials, other: RelayCredentials): boolean {
  return one.username === other.username && one.password === other.password
}
