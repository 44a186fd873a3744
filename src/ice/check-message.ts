/** Connectivity checks and their answers on the wire (RFC 8445 7.1 and 7.3, RFC 8489 9.1). */
import type { Address } from '../net/index.ts'
import { Attribute, type IntegrityKey, type Message, MessageWriter, Method } from '../stun/index.ts'

/** The comprehension-required attributes that mean something in a check; any other gets a 420 (RFC 8489 6.3.1). */
export const KNOWN_IN_CHECKS: ReadonlySet<number> = new Set([
  Attribute.MappedAddress,
  Attribute.Username,
  Attribute.MessageIntegrity,
  Attribute.ErrorCode,
  Attribute.UnknownAttributes,
  Attribute.MessageIntegritySha256,
  Attribute.XorMappedAddress,
  Attribute.Priority,
  Attribute.UseCandidate,
])

/** One for all agents: what it wrote is copied before the next message. */
const writer = new MessageWriter(576)

/** What a check says of its sender. */
export interface CheckSender {
  /** `theirs:ours` (RFC 8445 7.2.2). */
  readonly username: string
  /** Of the peer's password. */
  readonly key: IntegrityKey
  readonly tieBreaker: bigint
}

/** What it says of its pair. */
export interface CheckRequest {
  /** As a peer-reflexive candidate would have it (RFC 8445 7.1.1). */
  readonly priority: number
  readonly controlling: boolean
  readonly useCandidate: boolean
  /** The nomination value of the renomination draft; undefined toward agents that do not know it. */
  readonly nomination: number | undefined
  /** Where it is sent to, for a peer that wants to know what comes in; undefined as a rule. */
  readonly destination: Address | undefined
}

/** The caller owns the bytes. */
export function writeCheck(transactionId: Uint8Array, check: CheckRequest, sender: CheckSender): Uint8Array {
  writer
    .start('request', Method.Binding, transactionId)
    .text(Attribute.Username, sender.username)
    .uint32(Attribute.Priority, check.priority)
    .uint64(check.controlling ? Attribute.IceControlling : Attribute.IceControlled, sender.tieBreaker)
  if (check.useCandidate) writer.flag(Attribute.UseCandidate)
  if (check.nomination !== undefined) writer.uint32(Attribute.Nomination, check.nomination)
  if (check.destination !== undefined) writer.address(Attribute.CheckDestination, check.destination)
  return writer.integrity(sender.key).fingerprint().finish().slice()
}

/** Success with the address that the request came from (RFC 8445 7.3.1.2). The caller owns the bytes. */
export function writeSuccess(request: Message, observed: Address, key: IntegrityKey): Uint8Array {
  return writer
    .start('success', Method.Binding, request.transactionId)
    .address(Attribute.XorMappedAddress, observed)
    .integrity(key)
    .fingerprint()
    .finish()
    .slice()
}

/** The caller owns the bytes. */
export function writeError(
  request: Message,
  error: { readonly code: number; readonly reason: string; readonly unknown?: readonly number[] },
  key: IntegrityKey,
): Uint8Array {
  writer.start('error', Method.Binding, request.transactionId).errorCode(error.code, error.reason)
  if (error.unknown !== undefined) writer.unknownAttributes(error.unknown)
  return writer.integrity(key).fingerprint().finish().slice()
}

/** What an authenticated check says, or why it says nothing. */
export interface CheckContent {
  readonly priority: number
  readonly useCandidate: boolean
  readonly nomination: number | undefined
  /** The role its sender claims and the tie-breaker that comes with it. */
  readonly senderControlling: boolean
  readonly tieBreaker: bigint
  /** Where its sender sent it, if it is an address of ours that is on trial. */
  readonly destination: Address | undefined
}

export function readCheck(message: Message): CheckContent | undefined {
  const priority = message.uint32(Attribute.Priority)
  const controlling = message.uint64(Attribute.IceControlling)
  const tieBreaker = controlling ?? message.uint64(Attribute.IceControlled)
  if (priority === undefined || priority === 0 || tieBreaker === undefined) return undefined
  return {
    priority,
    useCandidate: message.has(Attribute.UseCandidate),
    nomination: message.uint32(Attribute.Nomination),
    senderControlling: controlling !== undefined,
    tieBreaker,
    destination: message.address(Attribute.CheckDestination),
  }
}

/** The part of a USERNAME on either side of the first colon; undefined when there is none. */
export function splitUsername(username: string | undefined): { readonly receiver: string; readonly sender: string } | undefined {
  const colon = username?.indexOf(':') ?? -1
  if (username === undefined || colon < 0) return undefined
  return { receiver: username.slice(0, colon), sender: username.slice(colon + 1) }
}
