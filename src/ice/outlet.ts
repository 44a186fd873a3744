/** What an agent is given and what it says: the contract between `agent.ts` and whoever moves its bytes and its time. */
import type { Base } from '../candidates/index.ts'
import type { Address, Random } from '../net/index.ts'
import type { Credentials } from './credentials.ts'
import type { Pair } from './pair.ts'

export type AgentEvent =
  | { readonly kind: 'role'; readonly controlling: boolean }
  /** The peer proved itself from the far end of a pair that is not valid yet; data from there may overtake what makes it so. */
  | { readonly kind: 'heard'; readonly pair: Pair }
  /** A pair became valid: data may go both ways on it from now on. */
  | { readonly kind: 'valid'; readonly pair: Pair }
  /** A valid pair is one no longer. */
  | { readonly kind: 'lost'; readonly pair: Pair; readonly reason: string }
  /** The pair that should carry data changed; undefined when none is left. */
  | { readonly kind: 'selected'; readonly pair: Pair | undefined }
  /** Nothing ever worked and patience is over (RFC 8863). Said once. */
  | { readonly kind: 'failed'; readonly reason: string }

export interface AgentOutlet {
  /** @param opener to open our own NAT only: few hops; see `caution.ts` */
  send(base: Base, to: Address, data: Uint8Array, opener: boolean): void
  /** From now on a response with this transaction id is for this agent; until `forget`. */
  expect(key: string): void
  forget(key: string): void
  /** Asks for a slot of the process-wide pace: `paced` is called, perhaps at once. */
  requestSlot(urgent: boolean): void
  /** Asked of every address that proved itself: false when it belongs to another session, and then it is as if nothing had come. */
  mayUse(base: Base, from: Address): boolean
  /** May close the agent; nothing of the agent is halfway when it comes. */
  event(event: AgentEvent): void
}

export interface AgentOptions {
  readonly local: Credentials
  readonly tieBreaker: bigint
  readonly controlling: boolean
  readonly random: Random
  readonly outlet: AgentOutlet
}

export interface RemoteDescription extends Credentials {
  /** It takes a nomination that is repeated with a higher value; ours does. */
  readonly renomination: boolean
}

/** What became of a message: `stranger` when it did not prove itself and so changed nothing. */
export type Verdict = 'taken' | 'stranger'
