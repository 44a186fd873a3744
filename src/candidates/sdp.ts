/**
 * Candidates as text: the `candidate` attribute of RFC 8839 5.1 and the browsers' `RTCIceCandidateInit`, both ways.
 */
import { SallyportError } from '../errors.ts'
import { Address, isLocalName } from '../net/index.ts'
import type { Candidate, CandidateType, NamedCandidate } from './candidate.ts'

/** What browsers pass around; only `candidate` is required here. */
export interface RTCIceCandidateLike {
  readonly candidate: string
  readonly sdpMid?: string | null
  readonly sdpMLineIndex?: number | null
  readonly usernameFragment?: string | null
}

const TYPES: ReadonlySet<string> = new Set(['host', 'srflx', 'prflx', 'relay'])
const FOUNDATION = /^[A-Za-z0-9+/]{1,32}$/
/** Long enough for every candidate seen in the field, short enough to keep a hostile one cheap. */
const MAX_LINE = 512

/** `candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host`, without `a=`. */
export function formatCandidate(candidate: Candidate): string {
  const { foundation, component, priority, address, type, related } = candidate
  const line = `candidate:${foundation} ${component} udp ${priority} ${address.ip} ${address.port} typ ${type}`
  return related === undefined ? line : `${line} raddr ${related.ip} rport ${related.port}`
}

/**
 * Reads one line, with or without `a=` and `candidate:`; extensions it does not know are skipped (RFC 8839 5.1).
 * @throws SallyportError `ERR_CANDIDATE` with the reason, also for candidates this library does not use (TCP, component 2) and for those
 * with a name instead of an address, which only a session can resolve
 */
export function parseCandidate(line: string): Candidate {
  const candidate = readCandidate(line)
  if ('name' in candidate) throw refused(line, `${candidate.name} is not an IP address`)
  return candidate
}

/**
 * As `parseCandidate`, but a name under `.local` may stand for the address. Any other name is refused: whom we ask about what is not the
 * peer's to choose.
 * @throws SallyportError `ERR_CANDIDATE`
 */
export function readCandidate(line: string): Candidate | NamedCandidate {
  if (typeof line !== 'string') throw refused(typeof line, 'it is not a text')
  if (line.length > MAX_LINE) throw refused(line, `it is longer than ${MAX_LINE} characters`)
  const words = line
    .trim()
    .replace(/^a=/, '')
    .replace(/^candidate:/, '')
    .split(/ +/)
  const [foundation = '', component = '', transport = '', priority = '', ip = '', port = '', typ, type = '', ...extensions] = words
  if (!FOUNDATION.test(foundation)) throw refused(line, 'the foundation is not 1 to 32 ice-chars')
  if (transport.toLowerCase() !== 'udp') throw refused(line, `transport ${transport} is not used here, only udp`)
  if (component !== '1') throw refused(line, `component ${component} is not used here, only 1`)
  if (typ !== 'typ' || !TYPES.has(type)) throw refused(line, `type ${type} is unknown`)
  const priorityValue = integer(priority, 1, 0xffff_ffff)
  if (priorityValue === undefined) throw refused(line, `priority ${priority} is not within 1 to 2^32 - 1`)
  const portValue = integer(port, 1, 0xffff)
  if (portValue === undefined) throw refused(line, `port ${port} is not within 1 to 65535`)
  const rest = {
    type: type as CandidateType,
    foundation,
    priority: priorityValue,
    component: 1,
    related: relatedAddress(extensions),
  }
  if (isLocalName(ip)) return { ...rest, name: ip.toLowerCase(), port: portValue }
  const address = withoutZone(ip, portValue)
  if (address === undefined) throw refused(line, `${ip} is not an IP address, nor one label and .local`)
  if (!isDestination(address)) throw refused(line, `nothing can be sent to a ${address.scope} address`)
  return { ...rest, address }
}

/** With the address that its name stands for; undefined when nothing can be sent to that. */
export function addressed({ name: _name, port, ...rest }: NamedCandidate, ip: string): Candidate | undefined {
  const address = Address.tryOf(ip, port)
  return address !== undefined && isDestination(address) ? { ...rest, address } : undefined
}

function isDestination({ scope }: Address): boolean {
  return scope !== 'unspecified' && scope !== 'multicast'
}

/** For `RTCPeerConnection.addIceCandidate`. */
export function toRTCIceCandidate(candidate: Candidate, usernameFragment?: string): RTCIceCandidateLike {
  return { candidate: formatCandidate(candidate), sdpMid: '0', sdpMLineIndex: 0, usernameFragment: usernameFragment ?? null }
}

/** @throws SallyportError `ERR_CANDIDATE` */
export function fromRTCIceCandidate(init: RTCIceCandidateLike): Candidate {
  return parseCandidate(init.candidate)
}

function relatedAddress(extensions: readonly string[]): Address | undefined {
  const ip = extensionValue(extensions, 'raddr')
  const port = integer(extensionValue(extensions, 'rport') ?? '', 0, 0xffff)
  return ip === undefined || port === undefined ? undefined : withoutZone(ip, port)
}

/** A zone names an interface of the machine that wrote it, and nothing on any other (RFC 4007 11.2). */
function withoutZone(ip: string, port: number): Address | undefined {
  const address = Address.tryOf(ip, port)
  return address === undefined || address.zone === '' ? address : Address.tryOf(address.ip, port)
}

function extensionValue(extensions: readonly string[], name: string): string | undefined {
  for (let i = 0; i + 1 < extensions.length; i += 2) if (extensions[i] === name) return extensions[i + 1]
  return undefined
}

function integer(text: string, least: number, most: number): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined
  const value = Number(text)
  return value >= least && value <= most ? value : undefined
}

function refused(line: string, why: string): SallyportError {
  return new SallyportError('ERR_CANDIDATE', `candidate not used: ${why} (${line.slice(0, 120)})`)
}
