/** What an Allocate asks for (RFC 8656 7.2), read and checked; whether it can be had is seen in allocations.ts. */

import { bytesToHex } from '@noble/hashes/utils.js'
import type { Family } from '../../net/index.ts'
import { Attribute, type Message, StunError } from '../../stun/index.ts'

const UDP = 17
const FAMILIES: ReadonlyMap<number, Family> = new Map<number, Family>([
  [1, 4],
  [2, 6],
])

export interface AllocateRequest {
  readonly kind: 'allocate'
  /** What is wanted; with two, one is enough (RFC 8656 7.2, ADDITIONAL-ADDRESS-FAMILY). */
  readonly families: readonly Family[]
  /** EVEN-PORT: an even port, or that and the one above it kept for later. */
  readonly even: 'no' | 'even' | 'pair'
  /** RESERVATION-TOKEN, in hex. */
  readonly token: string | undefined
  /** Milliseconds asked for; undefined when not said. */
  readonly lifetime: number | undefined
}

/** An error response in place of what was asked for. */
export interface Failure {
  readonly kind: 'failure'
  readonly code: number
  readonly reason: string
  /** A peer, for those that are about one. */
  readonly peer?: string
}

export function fail(code: number, reason: string, peer?: string): Failure {
  return { kind: 'failure', code, reason, ...(peer === undefined ? {} : { peer }) }
}

export function readAllocate(request: Message): AllocateRequest | Failure {
  const transport = request.value(Attribute.RequestedTransport)
  if (transport?.length !== 4) return badRequest('no REQUESTED-TRANSPORT')
  if (transport[0] !== UDP) return fail(StunError.UnsupportedTransport, 'Unsupported Transport Protocol')
  const lifetime = readLifetime(request)
  if (lifetime === 'malformed') return badRequest('malformed LIFETIME')
  const family = readFamily(request, Attribute.RequestedAddressFamily)
  const additional = readFamily(request, Attribute.AdditionalAddressFamily)
  const token = request.value(Attribute.ReservationToken)
  const even = request.value(Attribute.EvenPort)
  if (family === 'malformed' || additional === 'malformed') return badRequest('malformed address family')
  if (token !== undefined) {
    if (token.length !== 8) return badRequest('malformed RESERVATION-TOKEN')
    // The port is there already, and so is its family.
    if (even !== undefined || family !== undefined || additional !== undefined) return badRequest('RESERVATION-TOKEN with another wish')
    return { kind: 'allocate', families: [], even: 'no', token: bytesToHex(token), lifetime }
  }
  if (even !== undefined && even.length !== 1) return badRequest('malformed EVEN-PORT')
  const pair = even !== undefined && ((even[0] as number) & 0x80) !== 0
  if (additional !== undefined) {
    if (family !== undefined) return badRequest('two address family attributes')
    // Only IPv6 can be additional: IPv4 is there without being asked for.
    if (additional !== 6) return badRequest('ADDITIONAL-ADDRESS-FAMILY that is not IPv6')
    if (pair) return badRequest('ADDITIONAL-ADDRESS-FAMILY with a reservation')
    return { kind: 'allocate', families: [4, 6], even: even === undefined ? 'no' : 'even', token: undefined, lifetime }
  }
  if (family === 'unknown') return fail(StunError.AddressFamilyNotSupported, 'Address Family not Supported')
  return { kind: 'allocate', families: [family ?? 4], even: even === undefined ? 'no' : pair ? 'pair' : 'even', token: undefined, lifetime }
}

/** LIFETIME in milliseconds. */
export function readLifetime(request: Message): number | undefined | 'malformed' {
  if (!request.has(Attribute.Lifetime)) return undefined
  const seconds = request.uint32(Attribute.Lifetime)
  return seconds === undefined ? 'malformed' : seconds * 1000
}

/** One of the two address family attributes (RFC 8656 18.6, 18.11). */
export function readFamily(request: Message, type: number): Family | undefined | 'unknown' | 'malformed' {
  const value = request.value(type)
  if (value === undefined) return undefined
  return value.length === 4 ? (FAMILIES.get(value[0] as number) ?? 'unknown') : 'malformed'
}

export function badRequest(reason: string): Failure {
  return fail(StunError.BadRequest, `Bad Request: ${reason}`)
}
