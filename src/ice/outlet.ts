/** What an agent is given and what it says: the contract between `agent.ts` and whoever moves its bytes and its time. */
import type { Base, Candidate, LocalCandidate } from '../candidates/index.ts'
import type { Address, Random, SendFailure } from '../net/index.ts'
import type { Message } from '../stun/index.ts'
import type { CheckBudget } from './budget.ts'
import type { Credentials } from './credentials.ts'
import type { Nominations } from './nominator.ts'
import type { Pair } from './pair.ts'

export type AgentEvent =
  | { readonly kind: 'role'; readonly controlling: boolean }
  /** A check was answered before the peer's credentials were known: the peer may send data there from now on, though we have no pair yet. */
  | { readonly kind: 'early'; readonly base: Base; readonly to: Address }
  /** The peer proved itself from the far end of a pair that is not valid yet; data from there may overtake what makes it so. */
  | { readonly kind: 'heard'; readonly pair: Pair }
  /** A pair became valid: data may go both ways on it from now on. */
  | { readonly kind: 'valid'; readonly pair: Pair }
  /** A valid pair is one no longer, or one that the peer was heard on is gone. */
  | { readonly kind: 'lost'; readonly pair: Pair; readonly reason: string }
  /** The pair that should carry data changed; undefined when none is left. */
  | { readonly kind: 'selected'; readonly pair: Pair | undefined }
  /** Nothing ever worked and patience is over (RFC 8863). Said once. */
  | { readonly kind: 'failed'; readonly reason: string }

export interface AgentOutlet {
  /** @param opener to open our own NAT only: few hops; see `caution.ts` */
  send(base: Base, to: Address, data: Uint8Array, opener: boolean): void
  /** A check of this pair is about to go out: a response with this transaction id is for this agent; until `forget`. */
  expect(key: string, pair: Pair): void
  forget(key: string): void
  /** Asks for a slot of the process-wide pace: `paced` is called, perhaps at once. */
  requestSlot(urgent: boolean): void
  /** Asked of every address that proved itself: false when it belongs to another session, and then it is as if nothing had come. */
  mayUse(base: Base, from: Address): boolean
  /** False when an address was another session's when a check was sent there: then its answer counts for nothing but a reason to ask again. */
  proves(base: Base, from: Address, sentAt: number): boolean
  /** False when another session has data coming from there: then not even a check is sent. */
  mayAsk(base: Base, to: Address): boolean
  /** The peer's check to this address of ours, which is on trial, has come in. */
  reached(base: Base, address: Address, asked: boolean): void
  /** May close the agent; nothing of the agent is halfway when it comes. */
  event(event: AgentEvent): void
}

export interface AgentOptions {
  readonly local: Credentials
  readonly tieBreaker: bigint
  readonly controlling: boolean
  readonly random: Random
  /** The session's, for all its generations. */
  readonly budget: CheckBudget
  /** The session's as well. */
  readonly nominations: Nominations
  readonly outlet: AgentOutlet
}

/** What full and lite agents have in common: all that their owner needs to know. Every call takes the time and may change the deadline. */
export interface Agent {
  readonly local: Credentials
  readonly remote: RemoteDescription | undefined
  readonly controlling: boolean
  readonly pairs: readonly Pair[]
  readonly selected: Pair | undefined
  readonly remoteCandidates: readonly Candidate[]
  /** When `advance` wants to be called; infinity for never. */
  readonly deadline: number
  /** Every server-reflexive address of the peer's that can be checked has been. */
  readonly allTried: boolean
  /** Once. `controlling` settles the role where both sides can work it out without a conflict. */
  setRemote(remote: RemoteDescription, controlling: boolean | undefined, now: number): void
  /** The peer has our credentials: it said so, or it checks. From now on no answer means something. */
  peerKnows(now: number): void
  /** From that time on, as far as we know, the peer has sent to our candidates; infinity says nothing. */
  peerSends(from: number, now: number): void
  /** How long an answer of the peer's may take, until its own answers tell: a guess, in milliseconds. */
  expectRoundTrip(rtt: number): void
  addLocal(candidate: LocalCandidate, now: number): void
  /** The base is gone: its pairs end now, not when consent runs out. */
  removeBase(base: Base, reason: string, now: number): void
  /**
   * All at once, so that the likely ones are checked first whatever order they came in. Returns why any of them is not used.
   * @param named told by name before the end of candidates, and known by address only now; default false
   */
  addRemotes(candidates: readonly Candidate[], now: number, named?: boolean): readonly string[]
  /** The peer does not offer what is missing here any more. */
  withdrawRemotes(offered: readonly Candidate[], now: number): void
  /** The peer has no more candidates: any other that comes after this is refused (RFC 8838 14). */
  endRemotes(): void
  /** What goes over this pair seems to get nowhere: answers have to show that it works, or another valid pair takes over within a second. */
  question(pair: Pair, now: number): void
  /** What is known of the bases changed: one may be about to go. */
  basesChanged(now: number): void
  /** A Binding request that names us. Authenticated first; before that it costs one HMAC and changes nothing. */
  handleRequest(message: Message, base: Base, from: Address, now: number): Verdict
  /** A response that only the peer can have written, though it is not waited for. */
  recognises(message: Message): boolean
  /** A response with a transaction id that this agent expects. */
  handleResponse(message: Message, base: Base, from: Address, now: number): Verdict
  /** The system refused to send from this base to this address. */
  sendFailed(base: Base, to: Address, failure: SendFailure, now: number): void
  /** A slot of the pace: true when it was used. */
  paced(now: number): boolean
  advance(now: number): void
  close(): void
}

export interface RemoteDescription extends Credentials {
  /** It takes a nomination that is repeated with a higher value; ours does. */
  readonly renomination: boolean
  /** It answers checks and sends none, so we control (RFC 8445 6.1.1). */
  readonly lite: boolean
}

/** What became of a message: `stranger` when it did not prove itself and so changed nothing. */
export type Verdict = 'taken' | 'stranger'
