/**
 * Who sent a request (RFC 8489 9.2.4): static users, credentials from a shared secret, and whoever else an `authenticate` callback knows. The
 * nonce is looked at before any password: nobody is asked for anything by who cannot receive at the address that he writes from.
 */
import type { Timers } from '../../net/index.ts'
import { Attribute, type Claim, type LongTermVerifier, type Message, proves, StunError, type Verdict } from '../../stun/index.ts'
import { readRestUsername, restPassword } from '../rest-credentials.ts'
import type { Owner } from './accounts.ts'
import { within } from './deadline.ts'
import type { Link } from './link.ts'
import type { RelayOptions } from './options.ts'
import { sourceOf } from './strangers.ts'

/** Passwords asked for at once: in all, and for one source. Each holds its request and what waits with it. */
const MOST_ASKED = 1000
const MOST_ASKED_PER_SOURCE = 100
/** Milliseconds that a callback may take. A client gives up after 39.5 s (RFC 8489 6.2.1). */
const PATIENCE = 10_000

export interface Accepted {
  readonly kind: 'accepted'
  readonly owner: Owner
  /** The response goes out with MESSAGE-INTEGRITY-SHA256. */
  readonly sha256: boolean
}

export interface Refused {
  readonly kind: 'refused'
  readonly code: 400 | 401 | 438
  /** Whose credentials they claim to be, where they are wrong; undefined where the request has none, or an old nonce. */
  readonly user: string | undefined
  readonly reason: string
  /** It has the credentials all the same: who sent it is no stranger. */
  readonly proven: boolean
}

export type Identity = Accepted | Refused
/** Nothing to say to it now: the client will ask again. */
export type Busy = 'busy'

export interface AuthenticatorOptions extends Pick<RelayOptions, 'authenticate'> {
  readonly realm: string
  readonly verifier: LongTermVerifier
  readonly users: ReadonlyMap<string, string>
  readonly secrets: readonly string[]
  readonly timers: Timers
  /** Milliseconds since 1970: nonces and expiries are told by it, since other workers and services have it too. */
  readonly wallTime: () => number
  /** The callback failed. */
  readonly failed: (error: unknown) => void
}

const STALE: Refused = { kind: 'refused', code: StunError.StaleNonce, user: undefined, reason: 'stale nonce', proven: false }
const STALE_OF_OWNER: Refused = { ...STALE, proven: true }

export class Authenticator {
  readonly #options: AuthenticatorOptions
  #asked = 0
  readonly #askedBySource = new Map<string, number>()

  constructor(options: AuthenticatorOptions) {
    this.#options = options
  }

  /**
   * By the credentials of a standing allocation. Undefined when the request claims to be of another user.
   */
  ofOwner(request: Message, link: Link, owner: Owner): Identity | undefined {
    const { verifier, wallTime } = this.#options
    const claim = verifier.read(request, link.client, wallTime())
    if (claim.kind === 'rejected') return refused(claim.code, undefined, claim.reason)
    if (claim.username !== owner.username) return undefined
    const key = claim.algorithm === owner.algorithm ? owner.key : verifier.keyOf(owner.username, owner.password, claim.algorithm)
    if (!proves(request, key)) return claim.fresh ? refused(StunError.Unauthenticated, owner.user, 'wrong password') : STALE
    if (!claim.fresh) return STALE_OF_OWNER
    return accepted(request, owner, claim, key)
  }

  /** By all that is known of users. */
  ofAnyone(request: Message, link: Link): Identity | Promise<Identity | Busy> | Busy {
    const { verifier, users, secrets, authenticate, wallTime } = this.#options
    const now = wallTime()
    const claim = verifier.read(request, link.client, now)
    if (claim.kind === 'rejected') return refused(claim.code, undefined, claim.reason)
    if (!claim.fresh) return STALE
    const { username } = claim
    if (username === undefined) return refused(StunError.Unauthenticated, '', 'no such user')
    const password = users.get(username)
    if (password !== undefined) return this.#judge(request, claim, username, password)
    const timed = secrets.length === 0 ? undefined : readRestUsername(username)
    let failure = refused(StunError.Unauthenticated, username, 'no such user')
    if (timed !== undefined) {
      const user = timed.user === '' ? username : timed.user
      if (timed.expires <= now) failure = refused(StunError.Unauthenticated, user, 'credentials have expired')
      else {
        for (const secret of secrets) {
          const identity = this.#judge(request, claim, user, restPassword(secret, username))
          if (identity.kind === 'accepted') return identity
          failure = identity
        }
      }
    }
    return authenticate === undefined ? failure : this.#ask(request, claim, username, link, authenticate)
  }

  #ask(
    request: Message,
    claim: Claim,
    username: string,
    link: Link,
    authenticate: NonNullable<RelayOptions['authenticate']>,
  ): Identity | Promise<Identity | Busy> | Busy {
    const source = sourceOf(link.client)
    const ofSource = this.#askedBySource.get(source) ?? 0
    if (this.#asked >= MOST_ASKED || ofSource >= MOST_ASKED_PER_SOURCE) return 'busy'
    const { realm, failed } = this.#options
    let answer: string | undefined | PromiseLike<string | undefined>
    try {
      answer = authenticate(username, { client: link.client, transport: link.transport, realm })
    } catch (error) {
      failed(error)
      return 'busy'
    }
    if (answer === undefined || typeof answer === 'string') return this.#judge(request, claim, username, answer)
    this.#asked++
    this.#askedBySource.set(source, ofSource + 1)
    return this.#await(request, claim, username, source, answer)
  }

  async #await(
    request: Message,
    claim: Claim,
    username: string,
    source: string,
    answer: PromiseLike<string | undefined>,
  ): Promise<Identity | Busy> {
    const { timers, failed } = this.#options
    try {
      return this.#judge(request, claim, username, await within(timers, PATIENCE, answer))
    } catch (error) {
      failed(error)
      return 'busy'
    } finally {
      this.#asked--
      const left = (this.#askedBySource.get(source) ?? 1) - 1
      if (left === 0) this.#askedBySource.delete(source)
      else this.#askedBySource.set(source, left)
    }
  }

  /** @param user whom the quotas count */
  #judge(request: Message, claim: Claim, user: string, password: string | undefined): Identity {
    if (typeof password !== 'string') return refused(StunError.Unauthenticated, user, 'no such user')
    const verdict: Verdict = this.#options.verifier.judge(request, claim, password)
    if (verdict.kind === 'rejected') return refused(verdict.code, user, 'wrong password')
    const { username, key } = verdict
    return accepted(request, { username, password, user, algorithm: claim.algorithm, key }, claim, key)
  }
}

function accepted(request: Message, owner: Owner, claim: Claim, key: Owner['key']): Accepted {
  const same = owner.key === key
  return {
    kind: 'accepted',
    owner: same ? owner : { ...owner, key, algorithm: claim.algorithm },
    sha256: request.has(Attribute.PasswordAlgorithm),
  }
}

function refused(code: Refused['code'], user: string | undefined, reason: string): Refused {
  return { kind: 'refused', code, user, reason, proven: false }
}
