/**
 * The right to what comes from one address to one base. Nothing in a datagram would tell two sessions apart there, so one session has it;
 * several generations of that session may share it.
 */
import type { DataReceiver } from './demultiplexer.ts'
import type { Pair } from './ice/index.ts'
import type { SendFailure } from './net/index.ts'
import type { Message } from './stun/index.ts'

/** Another session's pair that was answered this recently, in milliseconds, keeps its address. */
const FRESH = 10_000

/** A generation, as far as claims go. */
export interface Claimant {
  /** The same for both ends of a session, and different for every session: how two of them agree on who gives way. */
  readonly order: string
  deliver(data: Uint8Array): void
  /** Keeps a datagram until its pair is valid, or drops and counts it. */
  hold(data: Uint8Array, pair: Pair): void
  recognises(message: Message): boolean
  refused(pair: Pair, failure: SendFailure): void
}

export class Claim implements DataReceiver {
  /** Whose it is: the session. */
  readonly owner: object
  #shares: readonly { readonly claimant: Claimant; readonly pair: Pair }[] = []

  constructor(owner: object) {
    this.owner = owner
  }

  share(claimant: Claimant, pair: Pair): void {
    if (!this.#shares.some((share) => share.pair === pair)) this.#shares = [...this.#shares, { claimant, pair }]
  }

  /** True when nobody is left. */
  leave(pair: Pair): boolean {
    this.#shares = this.#shares.filter((share) => share.pair !== pair)
    return this.#shares.length === 0
  }

  handleData(data: Uint8Array): void {
    const shares = this.#shares
    for (let i = 0; i < shares.length; i++) {
      const share = shares[i] as (typeof shares)[number]
      if (share.pair.valid) {
        share.claimant.deliver(data)
        return
      }
    }
    const last = shares.at(-1)
    last?.claimant.hold(data, last.pair)
  }

  recognises(message: Message): boolean {
    return this.#shares.some(({ claimant }) => claimant.recognises(message))
  }

  sendFailed(failure: SendFailure): void {
    for (const { claimant, pair } of this.#shares) claimant.refused(pair, failure)
  }

  /** Gives way to another session: when its own pairs are dead, or, with none alive yet, by an order that both ends see alike. */
  yieldsTo(other: Claimant, now: number): boolean {
    return this.#shares.every(({ claimant, pair: { state, valid, lastResponseAt = Number.NEGATIVE_INFINITY } }) =>
      state === 'failed' || valid ? now - lastResponseAt >= FRESH : other.order < claimant.order,
    )
  }
}
