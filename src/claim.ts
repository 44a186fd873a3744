/**
 * The right to what comes from one address to one base. Nothing in a datagram would tell two sessions apart there, so one session has it;
 * several generations of that session may share it.
 */
import type { Base } from './candidates/index.ts'
import type { DataReceiver } from './demultiplexer.ts'
import type { Pair } from './ice/index.ts'
import type { Address, SendFailure } from './net/index.ts'
import type { Message } from './stun/index.ts'

/** A pair that was answered this recently, in milliseconds, keeps its address although it failed since. */
const FRESH = 10_000

/** A check that is answered before there can be a pair gives its sender the right to send data, for as long as its consent lasts. */
const PROMISE = 30_000

/** What an address is claimed for. */
export type Claimed = Pair | Promised

/** A check that was answered before the peer's credentials were known: the peer may take the address for valid from now on. */
export class Promised {
  readonly base: Base
  readonly to: Address
  readonly state = 'waiting'
  readonly valid = false
  readonly lastResponseAt = undefined
  datagrams = 0
  #until: number

  constructor(base: Base, to: Address, now: number) {
    this.base = base
    this.to = to
    this.#until = now + PROMISE
  }

  renew(now: number): void {
    this.#until = now + PROMISE
  }

  holds(now: number): boolean {
    return now < this.#until
  }
}

/** A generation, as far as claims go. */
export interface Claimant {
  /** The same for both ends of a session, and different for every session: how two of them agree on who gives way. */
  readonly order: string
  deliver(data: Uint8Array): void
  /** Keeps a datagram until its pair is valid, or drops and counts it. */
  hold(data: Uint8Array, pair: Claimed): void
  /** Counts a datagram that may be another session's. */
  refuse(): void
  recognises(message: Message): boolean
  /** The system refused to send there. */
  sendFailed(base: Base, to: Address, failure: SendFailure): void
}

export class Claim implements DataReceiver {
  /** Whose it is: the session. */
  readonly owner: object
  #shares: readonly { readonly claimant: Claimant; readonly pair: Claimed }[] = []

  /** When it was taken over from another session, or after one: its data may still be on its way, and none is kept until a pair is valid. */
  readonly #takenAt: number | undefined

  constructor(owner: object, takenAt: number | undefined) {
    this.owner = owner
    this.#takenAt = takenAt
  }

  share(claimant: Claimant, pair: Claimed): void {
    if (!this.#shares.some((share) => share.pair === pair)) this.#shares = [...this.#shares, { claimant, pair }]
  }

  /** True when nobody is left. */
  leave(pair: Claimed): boolean {
    this.#shares = this.#shares.filter((share) => share.pair !== pair)
    return this.#shares.length === 0
  }

  handleData(data: Uint8Array): void {
    const shares = this.#shares
    for (let i = 0; i < shares.length; i++) {
      const share = shares[i] as (typeof shares)[number]
      if (share.pair.valid) {
        share.pair.datagrams++
        share.claimant.deliver(data)
        return
      }
    }
    const last = shares.at(-1)
    if (this.#takenAt !== undefined) last?.claimant.refuse()
    else last?.claimant.hold(data, last.pair)
  }

  recognises(message: Message): boolean {
    return this.#shares.some(({ claimant }) => claimant.recognises(message))
  }

  sendFailed(failure: SendFailure): void {
    for (const { claimant, pair } of this.#shares) claimant.sendFailed(pair.base, pair.to, failure)
  }

  /**
   * An answer to a check of that time shows that the address is ours. To an earlier one it does not: the peer may have closed our session
   * since, and been told meanwhile that the other one may use the address.
   */
  isProvenBy(sentAt: number): boolean {
    return this.#takenAt === undefined || sentAt >= this.#takenAt
  }

  /** The peer may send data there: the address is nobody else's, not even to ask. */
  inUse(now: number): boolean {
    return this.#shares.some(({ pair }) => (pair instanceof Promised ? pair.holds(now) : pair.valid))
  }

  /**
   * Gives way to another session: when its own pairs are dead, or, with none alive yet, by an order that both ends see alike. Never while
   * it is in use, however long ago the last answer was: the peer may send there for as long as its own consent lasts.
   */
  yieldsTo(other: Claimant, now: number): boolean {
    if (this.inUse(now)) return false
    return this.#shares.every(({ claimant, pair: { state, lastResponseAt = Number.NEGATIVE_INFINITY } }) =>
      state === 'failed' ? now - lastResponseAt >= FRESH : other.order < claimant.order,
    )
  }
}
