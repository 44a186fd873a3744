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
}

/** Who a datagram from one address to one base belongs to. */
export interface DataReceiver {
  /** The message is authentic STUN of this receiver's peer, though nobody waits for it: a duplicate, a late answer. */
  recognises(message: Message): boolean
  handleData(data: Uint8Array): void
  /** The system refused to send there. */
  sendFailed(failure: SendFailure): void
}

export interface DropCounters {
  /** Requests for a user fragment that nobody here has. */
  unknownUfrag: number
  /** Checks and answers that did not prove themselves. */
  unauthenticated: number
  /** Well-formed answers that nobody waits for: late, or made up. */
  unexpected: number
  /** Not STUN, not from a session's address, and nobody to pass it on to. */
  stray: number
}

export class Demultiplexer {
  readonly dropped: DropCounters = { unknownUfrag: 0, unauthenticated: 0, unexpected: 0, stray: 0 }
  readonly #transactions: Transactions
  readonly #passOn: (base: Base, data: Uint8Array, from: Address) => boolean
  readonly #ufrags = new Map<string, CheckReceiver>()
  readonly #expected = new Map<string, CheckReceiver>()
  readonly #addresses = new Map<Base, Map<string, DataReceiver>>()

  /** @param passOn gives a datagram that is not ours to the socket's owner; false when there is none */
  constructor(transactions: Transactions, passOn: (base: Base, data: Uint8Array, from: Address) => boolean) {
    this.#transactions = transactions
    this.#passOn = passOn
  }

  addUfrag(ufrag: string, receiver: CheckReceiver): void {
    this.#ufrags.set(ufrag, receiver)
  }

  /** Only its receiver's: the next generation may use it again. */
  deleteUfrag(ufrag: string, receiver: CheckReceiver): void {
    if (this.#ufrags.get(ufrag) === receiver) this.#ufrags.delete(ufrag)
  }

  expect(transaction: string, receiver: CheckReceiver): void {
    this.#expected.set(transaction, receiver)
  }

  forget(transaction: string): void {
    this.#expected.delete(transaction)
  }

  ownerOf(base: Base, from: Address): DataReceiver | undefined {
    return this.#addresses.get(base)?.get(from.key)
  }

  claim(base: Base, from: Address, owner: DataReceiver): void {
    let ofBase = this.#addresses.get(base)
    if (ofBase === undefined) {
      ofBase = new Map()
      this.#addresses.set(base, ofBase)
    }
    ofBase.set(from.key, owner)
  }

  /** Only its owner's: somebody else may have it by now. */
  release(base: Base, from: Address, owner: DataReceiver): void {
    const ofBase = this.#addresses.get(base)
    if (ofBase?.get(from.key) !== owner) return
    ofBase.delete(from.key)
    if (ofBase.size === 0) this.#addresses.delete(base)
  }

  removeBase(base: Base): void {
    this.#addresses.delete(base)
  }

  /** Entries of every kind; 0 when nothing is left behind. */
  get size(): number {
    return this.#ufrags.size + this.#expected.size + this.#addresses.size
  }

  receive(base: Base, data: Uint8Array, from: Address): void {
    const owner = this.#addresses.get(base)?.get(from.key)
    if (looksLikeStun(data) && this.#takeStun(base, data, from, owner)) return
    if (owner !== undefined) owner.handleData(data)
    else if (!this.#passOn(base, data, from)) this.dropped.stray++
  }

  /** True when the datagram was STUN and is dealt with. */
  #takeStun(base: Base, data: Uint8Array, from: Address, owner: DataReceiver | undefined): boolean {
    const message = Message.read(data)
    if (message === undefined || message.fingerprint() === 'invalid') return false
    if (message.class === 'success' || message.class === 'error')
      return this.#takeResponse(message, base, from) || owner?.recognises(message) === true
    if (message.method !== Method.Binding) return false
    // A Binding indication is a keep-alive (RFC 8445 11): it asks for nothing and, unauthenticated, changes nothing.
    if (message.class === 'indication') return owner !== undefined && message.fingerprint() === 'valid'
    const username = splitUsername(message.text(Attribute.Username))
    if (username === undefined) return false
    const receiver = this.#ufrags.get(username.receiver)
    if (receiver === undefined) {
      this.dropped.unknownUfrag++
      return false
    }
    if (receiver.handleRequest(message, base, from) === 'taken') return true
    this.dropped.unauthenticated++
    return false
  }

  #takeResponse(message: Message, base: Base, from: Address): boolean {
    const receiver = this.#expected.get(message.transactionKey)
    if (receiver !== undefined) {
      if (receiver.handleResponse(message, base, from) === 'taken') return true
      this.dropped.unauthenticated++
      return false
    }
    if (this.#transactions.receive(message, from)) return true
    this.dropped.unexpected++
    return false
  }
}
