/**
 * What a STUN server answers to a datagram: Binding (RFC 8489 6.3, 12) and the NAT behaviour tests (RFC 5780 6, 7). Sans-I/O: sockets are
 * in server.ts. Of RFC 3489, without the magic cookie, the bare request alone is answered: it is what libnice asks with to this day.
 */
import type { Address } from '../net/index.ts'
import { HEADER_LENGTH, looksLikeStun, Message } from './message.ts'
import { Attribute, Method, StunError } from './registry.ts'
import { MessageWriter } from './writer.ts'

export interface StunServerCounters {
  /** Binding requests. */
  readonly requests: number
  /** Answered with success. */
  readonly successes: number
  /** Answered with an error. */
  readonly errors: number
  /** Datagrams that are no STUN message, or whose FINGERPRINT is wrong. */
  readonly malformed: number
  /** Messages that get no answer: indications, responses, other methods, senders that no answer can reach. */
  readonly ignored: number
  /** Answers that were not sent, because the socket's queue was full. */
  readonly overflows: number
}

export interface Reply {
  /** Fresh memory. */
  readonly data: Uint8Array
  readonly to: Address
  /** Position of the socket that sends it. */
  readonly via: number
}

/** Bits of a socket's position among four: which address, which port. */
export const OTHER_IP = 1
export const OTHER_PORT = 2

// RFC 5780 7.2.
const CHANGE_IP = 0x4
const CHANGE_PORT = 0x2
/** RFC 5780 7.6 asks for the MTU of the outgoing interface; what is longer than Ethernet's is cut into fragments everywhere. */
const LONGEST_PADDING = 1500

const KNOWN = new Set<number>([
  // Credentials are not asked for here, so whoever sends them is served all the same.
  Attribute.Username,
  Attribute.Userhash,
  Attribute.MessageIntegrity,
  Attribute.MessageIntegritySha256,
  Attribute.Realm,
  Attribute.Nonce,
  Attribute.PasswordAlgorithm,
])
const KNOWN_TO_BEHAVIOUR = new Set<number>([...KNOWN, Attribute.ChangeRequest, Attribute.ResponsePort, Attribute.Padding])

export class BindingResponder {
  readonly counters: { -readonly [name in keyof StunServerCounters]: StunServerCounters[name] } = {
    requests: 0,
    successes: 0,
    errors: 0,
    malformed: 0,
    ignored: 0,
    overflows: 0,
  }
  readonly #software: string | undefined
  readonly #writer = new MessageWriter(2048)

  constructor(software: string | undefined) {
    this.#software = software
  }

  /**
   * @param sockets the addresses of the family's sockets: one, or four at positions made of `OTHER_IP` and `OTHER_PORT`; with four the
   * behaviour tests of RFC 5780 are answered
   * @param at position of the socket that the datagram came to
   * @returns undefined when there is nothing to answer
   */
  answer(data: Uint8Array, from: Address, sockets: readonly Address[], at: number): Reply | undefined {
    const { counters } = this
    if (isClassic(data) && from.port !== 0) {
      counters.requests++
      counters.successes++
      return this.#answerClassic(data, from, at)
    }
    const request = Message.read(data)
    if (request === undefined || request.fingerprint() === 'invalid') {
      counters.malformed++
      return undefined
    }
    if (request.class !== 'request' || request.method !== Method.Binding || from.port === 0) {
      counters.ignored++
      return undefined
    }
    counters.requests++
    const behaviour = sockets.length === 4
    const unknown = request.unknownRequired(behaviour ? KNOWN_TO_BEHAVIOUR : KNOWN)
    if (unknown.length > 0) return this.#refuse(request, from, at, StunError.UnknownAttribute, unknown)
    const plan: Plan | undefined = behaviour ? planOf(request, from, at) : { to: from, via: at, padding: 0 }
    if (plan === undefined) return this.#refuse(request, from, at, StunError.BadRequest)
    counters.successes++
    const writer = this.#writer.start('success', Method.Binding, request.transactionId).address(Attribute.XorMappedAddress, from)
    if (behaviour) {
      // RFC 5780 4.7: a client that compares the two finds middleboxes that rewrite addresses.
      writer.address(Attribute.MappedAddress, from)
      writer.address(Attribute.ResponseOrigin, sockets[plan.via] as Address)
      writer.address(Attribute.OtherAddress, sockets[at ^ (OTHER_IP | OTHER_PORT)] as Address)
      if (plan.padding > 0) writer.bytes(Attribute.Padding, new Uint8Array(plan.padding))
    }
    if (this.#software !== undefined) writer.text(Attribute.Software, this.#software)
    return this.#finish(request, plan.to, plan.via)
  }

  /** RFC 5389 12.2: what would be the cookie is a part of the transaction id, and the address is not masked. */
  #answerClassic(request: Uint8Array, from: Address, at: number): Reply {
    const writer = this.#writer.start('success', Method.Binding, request.subarray(8, HEADER_LENGTH)).address(Attribute.MappedAddress, from)
    const data = writer.finish().slice()
    data.set(request.subarray(4, 8), 4)
    return { data, to: from, via: at }
  }

  #refuse(request: Message, from: Address, at: number, code: 400 | 420, unknown: readonly number[] = []): Reply {
    this.counters.errors++
    const writer = this.#writer.start('error', Method.Binding, request.transactionId)
    writer.errorCode(code, code === StunError.BadRequest ? 'Bad Request' : 'Unknown Attribute')
    if (code === StunError.UnknownAttribute) writer.unknownAttributes(unknown)
    return this.#finish(request, from, at)
  }

  #finish(request: Message, to: Address, via: number): Reply {
    // RFC 8489 7: who sends FINGERPRINT gets it back; for all others it would only make the answer larger.
    if (request.has(Attribute.Fingerprint)) this.#writer.fingerprint()
    return { data: this.#writer.finish().slice(), to, via }
  }
}

/** A Binding request with no attributes and no cookie. */
function isClassic(data: Uint8Array): boolean {
  return data.length === HEADER_LENGTH && data[0] === 0 && data[1] === 1 && data[2] === 0 && data[3] === 0 && !looksLikeStun(data)
}

interface Plan {
  readonly to: Address
  readonly via: number
  /** Bytes of PADDING; 0 for none. */
  readonly padding: number
}

/** What a request of RFC 5780 asks for; undefined when it makes no sense. */
function planOf(request: Message, from: Address, at: number): Plan | undefined {
  let via = at
  if (request.has(Attribute.ChangeRequest)) {
    const flags = request.uint32(Attribute.ChangeRequest)
    if (flags === undefined) return undefined
    if ((flags & CHANGE_IP) !== 0) via ^= OTHER_IP
    if ((flags & CHANGE_PORT) !== 0) via ^= OTHER_PORT
  }
  const padding = request.value(Attribute.Padding)
  const port = request.value(Attribute.ResponsePort)
  if (port === undefined) {
    // RFC 5780 7.6 wants an answer with padding of its own size; never more than what came, or it would amplify.
    return { to: from, via, padding: padding === undefined ? 0 : Math.min(padding.length, LONGEST_PADDING) }
  }
  // RFC 5780 7.5: 16 bits, with or without the two bytes behind them counted; never together with PADDING.
  if (padding !== undefined || (port.length !== 2 && port.length !== 4)) return undefined
  const number = ((port[0] as number) << 8) | (port[1] as number)
  return number === 0 ? undefined : { to: from.withPort(number), via, padding: 0 }
}
