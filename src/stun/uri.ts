/**
 * `stun:` and `turn:` URIs (RFC 7064, RFC 7065): which server, how to reach it. Resolving names is not here (RFC 8489 8, RFC 8656 5).
 */
import { SallyportError } from '../errors.ts'
import { Address } from '../net/index.ts'

export type ServerScheme = 'stun' | 'stuns' | 'turn' | 'turns'

export interface ServerUri {
  readonly scheme: ServerScheme
  /** A name in lower case, or an IP literal in its canonical form and without brackets. */
  readonly host: string
  readonly port: number
  /** What the URI asks for; undefined leaves the choice to the client. Only `turn:` and `turns:` can ask (RFC 7065 3.1). */
  readonly transport: 'udp' | 'tcp' | undefined
}

/** RFC 8489 8.1, RFC 8656 5: 3478, and 5349 over TLS or DTLS. */
const DEFAULT_PORT: Readonly<Record<ServerScheme, number>> = { stun: 3478, turn: 3478, stuns: 5349, turns: 5349 }

/** Labels of letters, digits, hyphens and underscores; longer than DNS allows is refused. A dot may end it. */
const NAME = /^(?=.{1,254}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?$/i
const DOTTED_NUMBERS = /^[\d.]+$/

/** @throws SallyportError `ERR_URI`, whose message says what is wrong */
export function parseServerUri(text: string): ServerUri {
  const colon = text.indexOf(':')
  const scheme = colon < 0 ? '' : text.slice(0, colon).toLowerCase()
  if (!isScheme(scheme)) throw wrong(text, 'it must begin with stun:, stuns:, turn: or turns:')
  const rest = text.slice(colon + 1)
  if (rest.startsWith('//')) throw wrong(text, `there are no slashes in these URIs; write ${scheme}:${rest.slice(2)}`)
  const question = rest.indexOf('?')
  const authority = question < 0 ? rest : rest.slice(0, question)
  if (authority.includes('@')) throw wrong(text, 'user names and passwords go into the credentials, not into the URI')
  if (/[/#\s]/.test(authority)) throw wrong(text, 'only a host, a port and ?transport= can follow the scheme')
  const { host, portText } = splitHost(authority, text)
  return {
    scheme,
    host: readHost(host, authority.startsWith('['), text),
    port: portText === undefined ? DEFAULT_PORT[scheme] : readPort(portText, text),
    transport: question < 0 ? undefined : readTransport(rest.slice(question + 1), scheme, text),
  }
}

/** The URI again, without what is default. */
export function formatServerUri(uri: ServerUri): string {
  const host = uri.host.includes(':') ? `[${uri.host}]` : uri.host
  const port = uri.port === DEFAULT_PORT[uri.scheme] ? '' : `:${uri.port}`
  return `${uri.scheme}:${host}${port}${uri.transport === undefined ? '' : `?transport=${uri.transport}`}`
}

function isScheme(text: string): text is ServerScheme {
  return Object.hasOwn(DEFAULT_PORT, text)
}

function splitHost(authority: string, text: string): { readonly host: string; readonly portText: string | undefined } {
  if (authority.startsWith('[')) {
    const match = /^\[([^\]]*)\](?::(.*))?$/.exec(authority)
    if (match === null) throw wrong(text, 'an IPv6 address stands in brackets, with nothing but :port behind them')
    return { host: match[1] ?? '', portText: match[2] }
  }
  const parts = authority.split(':')
  if (parts.length > 2) throw wrong(text, 'an IPv6 address must stand in brackets, as in stun:[2001:db8::1]:3478')
  return { host: parts[0] ?? '', portText: parts[1] }
}

function readHost(host: string, bracketed: boolean, text: string): string {
  if (host === '') throw wrong(text, 'the host is missing')
  if (bracketed) {
    // RFC 6874: the % before a zone is written %25 in a URI; people write it plainly too.
    const address = host.includes(':') ? Address.tryOf(host.replace('%25', '%'), 0) : undefined
    if (address === undefined) throw wrong(text, `${host} is not an IPv6 address`)
    return address.host
  }
  if (DOTTED_NUMBERS.test(host)) {
    // A name's last label is never all digits (RFC 1123 2.1), so this can only be a mistyped address.
    const address = Address.tryOf(host, 0)
    if (address === undefined) throw wrong(text, `${host} is not an IPv4 address`)
    return address.ip
  }
  if (!NAME.test(host)) throw wrong(text, `${host} is not a host name`)
  return host.toLowerCase()
}

function readPort(portText: string, text: string): number {
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0
  if (port < 1 || port > 0xffff) throw wrong(text, `the port must be a number from 1 to 65535, not '${portText}'`)
  return port
}

function readTransport(query: string, scheme: ServerScheme, text: string): 'udp' | 'tcp' {
  if (scheme === 'stun' || scheme === 'stuns') throw wrong(text, `a ${scheme}: URI has no query`) // RFC 7064 3.1
  const match = /^transport=(.*)$/i.exec(query)
  const transport = match?.[1]?.toLowerCase()
  if (transport !== 'udp' && transport !== 'tcp') throw wrong(text, 'the query can only be ?transport=udp or ?transport=tcp')
  return transport
}

function wrong(text: string, reason: string): SallyportError {
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text
  return new SallyportError('ERR_URI', `cannot read server URI '${shown}': ${reason}`)
}
