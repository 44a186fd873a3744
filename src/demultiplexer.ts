/**
 * What becomes of a datagram (RFC 7983): one decision per packet, every look-up O(1) however many sessions there are.
 * Only a message that proves itself is STUN; anything else from a session's address is the session's data, and the rest is the caller's.
 */
import type { Base } from './candidates/index.ts'
import { splitUsername, type Verdict } from './ice/index.ts'
import type { Address, SendFailure } from './net/index.ts'
import { Attribute, looksLikeStun, Message, Method, type Transactions } from './stun/index.ts'

/** One side of checks: knows a user fragment and the transactions it started. */
export interface CheckReceiver {
  handleRequest(message: Message, base: Base, from: Address): Verdict
  handleResponse(message: Message, base: Base, from: Address): Verdict
  /** The system refused to send there. */
  sendFailed(base: Base, to: Address, failure: SendFailure): void
}

interface Expected {
  readonly receiver: CheckReceiver
  /** Where the request went, and from which base. */
  readonly pair: string
}

/** Who a datagram from one address to one base belongs to. */
export interface DataReceiver {
  /** Whose data it is: the session. */
  readonly owner: object
  /** The message is authentic STUN of this receiver's peer, though nobody waits for it: a duplicate, a late answer. */
  recognises(message: Message): boolean
  handleData(data: Uint8Array): void
  /** The system refused to send there. */
  sendFailed(failure: SendFailure): void
}

/** Datagrams that were nobody's, each counted once. */
export interface DropCounters {
  /** Checks for a user fragment that nobody here has. */
  unknownUfrag: number
  /** Checks and answers that did not prove themselves. */
  unauthenticated: number
  /** Answers that nobody waits for: late, or made up. */
  unexpected: number
  /** Anything else. */
  stray: number
}

/** User fragments, transactions and claims that are over are remembered, this many of each: what belongs to them may still be on its way. */
const MAX_PAST = 1_024

/** Why a datagram is not STUN of ours; undefined when it was, and is dealt with. */
type NotOurs = keyof DropCounters | undefined

export class Demultiplexer {
  readonly dropped: DropCounters = { unknownUfrag: 0, unauthenticated: 0, unexpected: 0, stray: 0 }
  readonly #transactions: Transactions
  readonly #passOn: (base: Base, data: Uint8Array, from: Address) => boolean
  readonly #ufrags = new Map<string, CheckReceiver>()
  readonly #expected = new Map<string, Expected>()
  /** By pair, with the number of their transactions: the system names an address and no transaction when it refuses to send. */
  readonly #asking = new Map<string, Map<CheckReceiver, number>>()
  readonly #addresses = new Map<Base, Map<string, DataReceiver>>()
  readonly #pastUfrags = new Set<string>()
  readonly #pastTransactions = new Set<string>()
  readonly #pastClaims = new Map<string, WeakRef<object>>()
  /** The answer to the last look-up: data comes in runs, and `from` is the same object for as long as one remote sends. */
  #lastBase: Base | undefined
  #lastFrom: Address | undefined
  #lastOwner: DataReceiver | undefined

  /** @param passOn gives a datagram that is not ours to the socket's owner; false when there is none */
  constructor(transactions: Transactions, passOn: (base: Base, data: Uint8Array, from: Address) => boolean) {
    this.#transactions = transactions
    this.#passOn = passOn
  }

  /** @param ufrag ours, or `ours:theirs`, which goes before it */
  addUfrag(ufrag: string, receiver: CheckReceiver): void {
    this.#ufrags.set(ufrag, receiver)
  }

  /** Only its receiver's: the next generation may use it again. */
  deleteUfrag(ufrag: string, receiver: CheckReceiver): void {
    if (this.#ufrags.get(ufrag) !== receiver) return
    this.#ufrags.delete(ufrag)
    remember(this.#pastUfrags, ufrag)
  }

  /** A request went out from this base to this address. */
  expect(transaction: string, receiver: CheckReceiver, base: Base, to: Address): void {
    const pair = pairKey(base, to)
    this.#expected.set(transaction, { receiver, pair })
    const asking = this.#asking.get(pair)
    if (asking === undefined) this.#asking.set(pair, new Map([[receiver, 1]]))
    else asking.set(receiver, (asking.get(receiver) ?? 0) + 1)
  }

  forget(transaction: string): void {
    const expected = this.#expected.get(transaction)
    if (expected === undefined) return
    const { receiver, pair } = expected
    this.#expected.delete(transaction)
    remember(this.#pastTransactions, transaction)
    const asking = this.#asking.get(pair)
    const others = (asking?.get(receiver) ?? 1) - 1
    if (others > 0) asking?.set(receiver, others)
    else asking?.delete(receiver)
    if (asking?.size === 0) this.#asking.delete(pair)
  }

  /** The system refused to send there: for whoever waits for an answer from there, and whoever has the address. */
  sendFailed(base: Base, to: Address, failure: SendFailure): void {
    for (const receiver of [...(this.#asking.get(pairKey(base, to))?.keys() ?? [])]) receiver.sendFailed(base, to, failure)
    this.ownerOf(base, to)?.sendFailed(failure)
  }

  ownerOf(base: Base, from: Address): DataReceiver | undefined {
    if (from === this.#lastFrom && base === this.#lastBase) return this.#lastOwner
    const owner = this.#addresses.get(base)?.get(from.key)
    this.#lastBase = base
    this.#lastFrom = from
    this.#lastOwner = owner
    return owner
  }

  claim(base: Base, from: Address, owner: DataReceiver): void {
    let ofBase = this.#addresses.get(base)
    if (ofBase === undefined) {
      ofBase = new Map()
      this.#addresses.set(base, ofBase)
    }
    ofBase.set(from.key, owner)
    this.#forgetLast()
  }

  /** Another than `owner` had it, and gave it back: data for that one may still be on its way. */
  wasAnothers(base: Base, from: Address, owner: object): boolean {
    const past = this.#pastClaims.get(pairKey(base, from))
    return past !== undefined && past.deref() !== owner
  }

  /** Only its owner's: somebody else may have it by now. */
  release(base: Base, from: Address, owner: DataReceiver): void {
    const ofBase = this.#addresses.get(base)
    if (ofBase?.get(from.key) !== owner) return
    ofBase.delete(from.key)
    const pair = pairKey(base, from)
    this.#pastClaims.delete(pair)
    this.#pastClaims.set(pair, new WeakRef(owner.owner))
    trim(this.#pastClaims)
    this.#forgetLast()
    if (ofBase.size === 0) this.#addresses.delete(base)
  }

  removeBase(base: Base): void {
    this.#addresses.delete(base)
    this.#forgetLast()
  }

  /** Entries of every kind; 0 when nothing is left behind. */
  get size(): number {
    return this.#ufrags.size + this.#expected.size + this.#asking.size + this.#addresses.size
  }

  receive(base: Base, data: Uint8Array, from: Address): void {
    const owner = this.ownerOf(base, from)
    const notOurs = looksLikeStun(data) ? this.#takeStun(base, data, from, owner) : 'stray'
    if (notOurs === undefined) return
    if (owner !== undefined) owner.handleData(data)
    else if (!this.#passOn(base, data, from)) this.dropped[notOurs]++
  }

  #forgetLast(): void {
    this.#lastBase = this.#lastFrom = this.#lastOwner = undefined
  }

  #takeStun(base: Base, data: Uint8Array, from: Address, owner: DataReceiver | undefined): NotOurs {
    const message = Message.read(data)
    if (message === undefined || message.fingerprint() === 'invalid') return 'stray'
    if (message.class === 'success' || message.class === 'error') return this.#takeResponse(message, base, from, owner)
    if (message.method !== Method.Binding) return 'stray'
    // A Binding indication is a keep-alive (RFC 8445 11): it asks for nothing and, unauthenticated, changes nothing.
    if (message.class === 'indication') return owner !== undefined && message.fingerprint() === 'valid' ? undefined : 'stray'
    const text = message.text(Attribute.Username)
    const username = splitUsername(text)
    if (text === undefined || username === undefined) return 'stray'
    const receiver = this.#ufrags.get(text) ?? this.#ufrags.get(username.receiver)
    if (receiver === undefined) return this.#pastUfrags.has(username.receiver) ? this.#late('unknownUfrag') : 'unknownUfrag'
    return receiver.handleRequest(message, base, from) === 'taken' ? undefined : 'unauthenticated'
  }

  #takeResponse(message: Message, base: Base, from: Address, owner: DataReceiver | undefined): NotOurs {
    const receiver = this.#expected.get(message.transactionKey)?.receiver
    if (receiver !== undefined) return receiver.handleResponse(message, base, from) === 'taken' ? undefined : 'unauthenticated'
    if (this.#pastTransactions.has(message.transactionKey)) return this.#late('unexpected')
    if (this.#transactions.receive(message, from, base) || owner?.recognises(message) === true) return undefined
    return 'unexpected'
  }

  /**
   * Of a check or a generation that is over (RFC 8445 9): it proves nothing any more, and is nobody's data either. After a restart the addresses
   * are most often the same, so it would be delivered.
   */
  #late(counter: keyof DropCounters): undefined {
    this.dropped[counter]++
    return undefined
  }
}

function pairKey({ id }: Base, { key }: Address): string {
  return `${id} ${key}`
}

function remember(past: Set<string>, key: string): void {
  // The newest now, also where it was known.
  past.delete(key)
  past.add(key)
  trim(past)
}

/** Forgets the oldest when there are too many. */
function trim(past: Set<string> | Map<string, unknown>): void {
  if (past.size <= MAX_PAST) return
  for (const oldest of past.keys()) {
    past.delete(oldest)
    return
  }
}
