/**
 * NAT-PMP messages (RFC 6886 3.2 to 3.5): requests written, answers read. Nothing here sends, waits or throws.
 */
import { Address } from '../../net/index.ts'
import type { MappingTransport } from '../protocol.ts'

/** The port that routers listen on, in both protocols (RFC 6886 3.1, RFC 6887 19.1). */
export const SERVER_PORT = 5351
/** The port that clients hear announcements on. */
export const ANNOUNCEMENT_PORT = 5350

export const NAT_PMP_VERSION = 0
/** Set in an answer's opcode. */
const ANSWER = 0x80
const LONGEST_LIFETIME = 0xffff_ffff

const OPCODES = { address: 0, udp: 1, tcp: 2 } as const

/** RFC 6886 3.5, by number. */
const RESULTS = ['SUCCESS', 'UNSUPPORTED_VERSION', 'NOT_AUTHORIZED', 'NETWORK_FAILURE', 'OUT_OF_RESOURCES', 'UNSUPPORTED_OPCODE'] as const
/** Undefined for a number that the RFC does not name. */
export type NatPmpResult = (typeof RESULTS)[number] | undefined

interface NatPmpHead {
  /** Of the request that it answers: 0 to 127. */
  readonly opcode: number
  readonly code: number
  readonly result: NatPmpResult
  /** Seconds since the router began to remember its mappings. */
  readonly epochSeconds: number
}

export interface NatPmpAddressAnswer extends NatPmpHead {
  readonly kind: 'address'
  /** Port 0; undefined in an error. */
  readonly external: Address | undefined
}

export interface NatPmpMappingAnswer extends NatPmpHead {
  readonly kind: 'mapping'
  readonly transport: MappingTransport
  /** Undefined in an error that is too short to have it. */
  readonly mapping: { readonly internalPort: number; readonly externalPort: number; readonly lifetimeSeconds: number } | undefined
}

/** An opcode that we never send; there is nothing in it that we could use. */
export interface NatPmpOtherAnswer extends NatPmpHead {
  readonly kind: 'other'
}

export type NatPmpAnswer = NatPmpAddressAnswer | NatPmpMappingAnswer | NatPmpOtherAnswer

export type NatPmpReading = NatPmpAnswer | { readonly kind: 'unreadable'; readonly why: 'too short' | 'another version' | 'a request' }

export function natPmpAddressRequest(): Uint8Array {
  return Uint8Array.of(NAT_PMP_VERSION, OPCODES.address)
}

/**
 * A mapping, or its end with a lifetime of 0, which needs an external port of 0 (RFC 6886 3.4).
 * @throws RangeError for internal port 0: with a lifetime of 0 it would delete all our mappings
 */
export function natPmpMappingRequest(
  transport: MappingTransport,
  internalPort: number,
  externalPort: number,
  lifetimeSeconds: number,
): Uint8Array {
  if (internalPort === 0) throw new RangeError('internal: a mapping needs a port')
  const data = new Uint8Array(12)
  const view = new DataView(data.buffer)
  data[1] = OPCODES[transport]
  view.setUint16(4, internalPort)
  view.setUint16(6, lifetimeSeconds === 0 ? 0 : externalPort)
  view.setUint32(8, Math.min(LONGEST_LIFETIME, lifetimeSeconds))
  return data
}

/** Longer than it has to be is read all the same; what is reserved is not looked at (RFC 6886 3.3). */
export function readNatPmp(data: Uint8Array): NatPmpReading {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  if (data.length < 8) return { kind: 'unreadable', why: 'too short' }
  if (data[0] !== NAT_PMP_VERSION) return { kind: 'unreadable', why: 'another version' }
  const first = view.getUint8(1)
  if ((first & ANSWER) === 0) return { kind: 'unreadable', why: 'a request' }
  const opcode = first & ~ANSWER
  const code = view.getUint16(2)
  const head: NatPmpHead = { opcode, code, result: RESULTS[code], epochSeconds: view.getUint32(4) }
  const success = code === 0
  if (opcode === OPCODES.address) {
    if (success && data.length < 12) return { kind: 'unreadable', why: 'too short' }
    return { kind: 'address', ...head, external: success ? Address.fromBytes(data.subarray(8, 12), 0) : undefined }
  }
  if (opcode !== OPCODES.udp && opcode !== OPCODES.tcp) return { kind: 'other', ...head }
  if (success && data.length < 16) return { kind: 'unreadable', why: 'too short' }
  const transport = opcode === OPCODES.udp ? 'udp' : 'tcp'
  if (data.length < 16) return { kind: 'mapping', ...head, transport, mapping: undefined }
  const mapping = { internalPort: view.getUint16(8), externalPort: view.getUint16(10), lifetimeSeconds: view.getUint32(12) }
  return { kind: 'mapping', ...head, transport, mapping }
}
