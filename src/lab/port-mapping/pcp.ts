/** The router's side of PCP, RFC 6887: MAP for translated IPv4 and for pinholes, and ANNOUNCE; bytes in, bytes out. Not here: PEER, THIRD_PARTY. */
import { Address } from '../../net/index.ts'
import type { Protocol } from '../packet.ts'
import type { LeaseRequest } from './leases.ts'
import { bytes16, granted, obstacle, type Setting } from './setting.ts'

export const PCP_VERSION = 2
const RESPONSE = 0x80
const ANNOUNCE = 0
const MAP = 1
const HEADER = 24
const MAP_LENGTH = 60
/** RFC 6887 7. */
const LONGEST = 1100

/** RFC 6887 7.4. */
const RESULT = {
  success: 0,
  version: 1,
  refused: 2,
  malformed: 3,
  opcode: 4,
  option: 5,
  malformedOption: 6,
  offline: 7,
  full: 8,
  protocol: 9,
  cannotProvide: 11,
  addressMismatch: 12,
} as const

/** RFC 6887 7.3. */
const OPTION = { preferFailure: 2, filter: 3, firstOptional: 128 } as const

/** RFC 6887 7.4: seconds until it is worth asking again. */
const SHORT_ERROR = 30
const LONG_ERROR = 1800
const SHORT_ERRORS: readonly number[] = [RESULT.offline, RESULT.full, RESULT.cannotProvide]

interface MapRequest {
  readonly nonce: string
  readonly transport: Protocol
  readonly internal: Address
  readonly externalPort: number
  readonly externalAddress: Address
  readonly seconds: number
  readonly exact: boolean
  readonly allow: readonly string[] | undefined
}

/** The answer to a request that is not of version 0; undefined for what is none. */
export function answerPcp(setting: Setting, request: Uint8Array, from: Address): Uint8Array | undefined {
  const { length } = request
  if (length < 2 || (request[1] as number) >= RESPONSE) return undefined
  const version = versionOf(setting)
  if (request[0] !== PCP_VERSION || version !== PCP_VERSION) return refuse(setting, request, RESULT.version)
  if (length < HEADER || length > LONGEST || length % 4 !== 0) return refuse(setting, request, RESULT.malformed)
  const opcode = request[1]
  if (opcode === ANNOUNCE) return announcement(setting, setting.epochSeconds())
  if (opcode !== MAP) return refuse(setting, request, RESULT.opcode)
  // RFC 6887 8.2: a NAT in between would have changed the one and not the other.
  if (bytes16(from).some((byte, index) => byte !== request[8 + index])) return refuse(setting, request, RESULT.addressMismatch)
  if (length < MAP_LENGTH) return refuse(setting, request, RESULT.malformed)
  const read = readMap(request, from)
  return typeof read === 'number' ? refuse(setting, request, read) : map(setting, request, read)
}

/** RFC 6887 9: how a server of PCP alone answers NAT-PMP. */
export function refuseNatPmp(setting: Setting, request: Uint8Array): Uint8Array | undefined {
  return request.length < 2 || (request[1] as number) >= RESPONSE ? undefined : refuse(setting, request, RESULT.version)
}

/** RFC 6887 14.1. */
export function announcement(setting: Setting, epochSeconds: number): Uint8Array {
  const answer = new Uint8Array(HEADER)
  const view = new DataView(answer.buffer)
  view.setUint8(0, versionOf(setting))
  view.setUint8(1, RESPONSE | ANNOUNCE)
  view.setUint32(8, epochSeconds)
  return answer
}

function versionOf({ options }: Setting): number {
  return typeof options.pcp === 'object' ? options.pcp.version : PCP_VERSION
}

/** What is asked for, or the result code for what is wrong with it. */
function readMap(request: Uint8Array, from: Address): MapRequest | number {
  const view = new DataView(request.buffer, request.byteOffset, request.byteLength)
  const number = view.getUint8(36)
  const transport = number === 17 ? 'udp' : number === 6 ? 'tcp' : undefined
  const internal = from.withPort(view.getUint16(40))
  if (number === 0 && internal.port !== 0) return RESULT.malformed
  // Whole hosts and protocols are not mapped here, RFC 6887 11.1.
  if (transport === undefined || internal.port === 0) return RESULT.protocol
  const allow: string[] = []
  const seconds = view.getUint32(4)
  let exact = false
  for (let at = MAP_LENGTH; at < request.length; ) {
    const code = view.getUint8(at)
    const length = at + 4 <= request.length ? view.getUint16(at + 2) : Number.POSITIVE_INFINITY
    const next = at + 4 + Math.ceil(length / 4) * 4
    if (next > request.length) return RESULT.malformedOption
    if (code === OPTION.preferFailure) {
      // RFC 6887 13.2: it asks for something, a deletion does not.
      if (length !== 0 || exact || seconds === 0) return RESULT.malformedOption
      exact = true
    } else if (code === OPTION.filter) {
      const range = length === 20 ? readFilter(request.subarray(at + 4, at + 24), from) : undefined
      if (range === undefined) return RESULT.malformedOption
      // RFC 6887 13.3: length 0 takes all earlier filters away.
      if (range === '') allow.length = 0
      else allow.push(range)
    } else if (code < OPTION.firstOptional) {
      return RESULT.option
    }
    at = next
  }
  return {
    nonce: Array.from(request.subarray(24, 36), (byte) => byte.toString(16).padStart(2, '0')).join(''),
    transport,
    internal,
    externalPort: view.getUint16(42),
    externalAddress: Address.fromBytes(request.subarray(44, 60), 0),
    seconds,
    exact,
    allow: allow.length === 0 ? undefined : allow,
  }
}

/** The range of a FILTER, whose remote port is passed over; empty for prefix length 0. */
function readFilter(body: Uint8Array, from: Address): string | undefined {
  const length = body[1] as number
  if (length === 0) return ''
  const address = Address.fromBytes(body.subarray(4, 20), 0)
  // RFC 6887 13.3: prefixes of IPv4 are counted in the mapped form.
  const bits = address.family === 4 ? length - 96 : length
  return address.family === from.family && bits >= 0 && length <= 128 ? `${address.ip}/${bits}` : undefined
}

function map(setting: Setting, request: Uint8Array, asked: MapRequest): Uint8Array {
  const { leases } = setting
  const { transport, internal, nonce, externalPort, exact, allow } = asked
  const why = obstacle(setting, 'pcp')
  if (why === 'refused') return refuse(setting, request, RESULT.refused)
  const standing = leases.of('pcp', transport, internal)
  // RFC 6887 11.3: whoever does not know the nonce did not make it.
  if (standing !== undefined && standing.request.nonce !== nonce) return refuse(setting, request, RESULT.refused)
  if (asked.seconds === 0) {
    if (standing === undefined && setting.options.like === 'miniupnpd') return refuse(setting, request, RESULT.full)
    if (standing !== undefined) leases.remove(standing)
    return accept(setting, request, 0, externalPort, asked.externalAddress)
  }
  if (why !== undefined) return refuse(setting, request, RESULT[why])
  const pinhole = internal.family === 6 || !setting.translates
  const external = pinhole ? internal : Address.tryOf(setting.told(), 0)
  const elsewhere = asked.externalAddress.scope !== 'unspecified' && external?.ip !== asked.externalAddress.ip
  if (exact && elsewhere) return refuse(setting, request, RESULT.cannotProvide)
  const lifetime = granted(setting, asked.seconds * 1000, { shortest: 120_000, longest: 86_400_000 })
  const limits = allow === undefined ? {} : { allow }
  const wanted: LeaseRequest = { protocol: 'pcp', transport, internal, nonce, externalPort, lifetime, exact, ...limits }
  const second = setting.options.like === 'miniupnpd' && !pinhole && standing !== undefined && externalPort !== standing.externalPort
  const lease = leases.grant(wanted, second ? undefined : standing)
  if (lease === 'taken') return refuse(setting, request, exact ? RESULT.cannotProvide : RESULT.full)
  const forgotten = pinhole && standing !== undefined && setting.options.like === 'miniupnpd'
  return accept(setting, request, Math.floor(lifetime / 1000), forgotten ? 0 : lease.externalPort, external ?? Address.any(4))
}

function accept(setting: Setting, request: Uint8Array, seconds: number, port: number, external: Address): Uint8Array {
  const answer = respond(setting, request, RESULT.success, seconds)
  new DataView(answer.buffer).setUint16(42, port)
  answer.set(bytes16(external), 44)
  return answer
}

function refuse(setting: Setting, request: Uint8Array, result: number): Uint8Array {
  const short = SHORT_ERRORS.includes(result)
  const answer = respond(setting, request, result, short ? SHORT_ERROR : setting.options.like === 'miniupnpd' ? 0 : LONG_ERROR)
  if (result === RESULT.malformed && setting.options.like === 'miniupnpd') answer[0] = 0
  return answer
}

/** RFC 6887 8.3: what was asked, up to 1,100 bytes in whole words, with the response's header. */
function respond(setting: Setting, request: Uint8Array, result: number, seconds: number): Uint8Array {
  const answer = new Uint8Array(Math.max(HEADER, Math.ceil(Math.min(request.length, LONGEST) / 4) * 4))
  answer.set(request.subarray(0, answer.length))
  const view = new DataView(answer.buffer)
  view.setUint8(0, versionOf(setting))
  view.setUint8(1, RESPONSE | view.getUint8(1))
  view.setUint8(2, 0)
  view.setUint8(3, result)
  view.setUint32(4, seconds)
  view.setUint32(8, setting.epochSeconds())
  answer.fill(0, 12, HEADER)
  return answer
}
