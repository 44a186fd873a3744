/**
 * PCP messages (RFC 6887 7, 11 and 14.1): MAP and ANNOUNCE requests written, answers read. Nothing here sends, waits or throws.
 */
import type { Address } from '../../net/index.ts'
import type { MappingTransport } from '../protocol.ts'
import { PCP_ADDRESS_LENGTH, pcpAddress, writePcpAddress } from './pcp-address.ts'
import { optionLength, type PcpOption, readOptions, type WrittenOption, writeOption } from './pcp-options.ts'

export const PCP_VERSION = 2
const ANSWER = 0x80
const HEADER = 24
const MAP_BODY = 36
export const NONCE_LENGTH = 12
/** RFC 6887 7: no message is longer. */
export const LONGEST_MESSAGE = 1100
/** Bytes of options that a MAP request has room for. */
export const OPTIONS_ROOM: number = LONGEST_MESSAGE - HEADER - MAP_BODY
const LONGEST_LIFETIME = 0xffff_ffff

export const PCP_ANNOUNCE = 0
export const PCP_MAP = 1
/** Protocol numbers of IANA. */
const PROTOCOLS: Readonly<Record<MappingTransport, number>> = { udp: 17, tcp: 6 }

/** RFC 6887 7.4, by number. */
const RESULTS = [
  'SUCCESS',
  'UNSUPP_VERSION',
  'NOT_AUTHORIZED',
  'MALFORMED_REQUEST',
  'UNSUPP_OPCODE',
  'UNSUPP_OPTION',
  'MALFORMED_OPTION',
  'NETWORK_FAILURE',
  'NO_RESOURCES',
  'UNSUPP_PROTOCOL',
  'USER_EX_QUOTA',
  'CANNOT_PROVIDE_EXTERNAL',
  'ADDRESS_MISMATCH',
  'EXCESSIVE_REMOTE_PEERS',
] as const
/** Undefined for a number that the RFC does not name. */
export type PcpResult = (typeof RESULTS)[number] | undefined

export interface PcpMapRequest {
  readonly client: Address
  readonly transport: MappingTransport
  /** 12 bytes. */
  readonly nonce: Uint8Array
  readonly internalPort: number
  /** Suggested: the wildcard and port 0 for none. */
  readonly external: Address
  /** 0 deletes. */
  readonly lifetimeSeconds: number
  readonly options?: readonly WrittenOption[]
}

/** What a MAP answer says. */
export interface PcpMapping {
  /** The 24 hexadecimal digits of it. */
  readonly nonce: string
  /** Undefined for a protocol that we never ask for. */
  readonly transport: MappingTransport | undefined
  readonly internalPort: number
  readonly external: Address
}

export interface PcpAnswer {
  readonly kind: 'answer'
  /** Of the request that it answers: 0 to 127. */
  readonly opcode: number
  readonly code: number
  readonly result: PcpResult
  /** Of the mapping, or of the error. */
  readonly lifetimeSeconds: number
  readonly epochSeconds: number
  /** Undefined for other opcodes, and in an error that does not repeat the request. */
  readonly mapping: PcpMapping | undefined
  /** Those of a success. */
  readonly options: readonly PcpOption[]
}

export type PcpReading =
  | PcpAnswer
  /** "Not this version", said in another one (RFC 6887 9). Version 0 is NAT-PMP, whose answer has no lifetime. */
  | { readonly kind: 'other-version'; readonly version: number; readonly opcode: number; readonly lifetimeSeconds: number | undefined }
  | { readonly kind: 'unreadable'; readonly why: 'length' | 'another version' | 'a request' | 'options' }

/** Asks whether the router speaks PCP, and for its epoch (RFC 6887 14.1.1). */
export function pcpAnnounceRequest(client: Address): Uint8Array {
  const data = new Uint8Array(HEADER)
  writeHeader(data, PCP_ANNOUNCE, 0, client)
  return data
}

/** @throws RangeError when the options do not fit */
export function pcpMapRequest(request: PcpMapRequest): Uint8Array {
  const { options = [] } = request
  const room = options.reduce((sum, option) => sum + optionLength(option), 0)
  if (room > OPTIONS_ROOM) throw new RangeError('allow: too many prefixes for one PCP request')
  const data = new Uint8Array(HEADER + MAP_BODY + room)
  const view = new DataView(data.buffer)
  writeHeader(data, PCP_MAP, request.lifetimeSeconds, request.client)
  data.set(request.nonce, HEADER)
  data[HEADER + 12] = PROTOCOLS[request.transport]
  view.setUint16(HEADER + 16, request.internalPort)
  view.setUint16(HEADER + 18, request.external.port)
  writePcpAddress(data, HEADER + 20, request.external)
  let at = HEADER + MAP_BODY
  for (const option of options) {
    writeOption(data, at, option)
    at += optionLength(option)
  }
  return data
}

function writeHeader(data: Uint8Array, opcode: number, lifetimeSeconds: number, client: Address): void {
  data[0] = PCP_VERSION
  data[1] = opcode
  new DataView(data.buffer).setUint32(4, Math.min(LONGEST_LIFETIME, lifetimeSeconds))
  writePcpAddress(data, 8, client)
}

/** What is reserved is not looked at (RFC 6887 7.2). */
export function readPcp(data: Uint8Array): PcpReading {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  if (data.length < 4) return { kind: 'unreadable', why: 'length' }
  const [version = 0, first = 0, , code = 0] = data
  if ((first & ANSWER) === 0) return { kind: 'unreadable', why: 'a request' }
  const opcode = first & ~ANSWER
  if (version !== PCP_VERSION) {
    if (RESULTS[code] !== 'UNSUPP_VERSION') return { kind: 'unreadable', why: 'another version' }
    return { kind: 'other-version', version, opcode, lifetimeSeconds: version > 0 && data.length >= 8 ? view.getUint32(4) : undefined }
  }
  // RFC 6887 8.3.
  if (data.length < HEADER || data.length > LONGEST_MESSAGE || data.length % 4 !== 0) return { kind: 'unreadable', why: 'length' }
  const isMap = opcode === PCP_MAP
  const success = code === 0
  const whole = data.length >= HEADER + MAP_BODY
  if (isMap && success && !whole) return { kind: 'unreadable', why: 'length' }
  // An error has those of the request again, or what could not be read of it.
  const options = success ? readOptions(data, isMap ? HEADER + MAP_BODY : HEADER) : []
  if (options === undefined) return { kind: 'unreadable', why: 'options' }
  return {
    kind: 'answer',
    opcode,
    code,
    result: RESULTS[code],
    lifetimeSeconds: view.getUint32(4),
    epochSeconds: view.getUint32(8),
    mapping: isMap && whole ? readMapping(data, view) : undefined,
    options,
  }
}

function readMapping(data: Uint8Array, view: DataView): PcpMapping {
  const protocol = data[HEADER + 12]
  return {
    nonce: hex(data.subarray(HEADER, HEADER + NONCE_LENGTH)),
    transport: protocol === PROTOCOLS.udp ? 'udp' : protocol === PROTOCOLS.tcp ? 'tcp' : undefined,
    internalPort: view.getUint16(HEADER + 16),
    external: pcpAddress(data.subarray(0, HEADER + 20 + PCP_ADDRESS_LENGTH), HEADER + 20, view.getUint16(HEADER + 18)),
  }
}

export function hex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0')
  return text
}

/** The reverse; undefined for anything but the digits of a nonce. */
export function nonceOf(text: unknown): Uint8Array | undefined {
  if (typeof text !== 'string' || !/^[0-9a-f]{24}$/.test(text)) return undefined
  return Uint8Array.from({ length: NONCE_LENGTH }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16))
}
