/** SSDP's messages (UPnP Device Architecture 2.0, section 1): requests and responses in HTTP's form, a datagram each. No I/O. */
import type { Family } from '../../net/index.ts'

export const SSDP_PORT = 1900
export const SSDP_GROUP: Readonly<Record<Family, string>> = { 4: '239.255.255.250', 6: 'ff02::c' }

/** What routers answer to in the first round; some know only one of them. */
export const SEARCH_TARGETS: Readonly<Record<Family, readonly string[]>> = {
  4: [
    'urn:schemas-upnp-org:device:InternetGatewayDevice:1',
    'urn:schemas-upnp-org:device:InternetGatewayDevice:2',
    'urn:schemas-upnp-org:service:WANIPConnection:1',
    'urn:schemas-upnp-org:service:WANIPConnection:2',
    'urn:schemas-upnp-org:service:WANPPPConnection:1',
  ],
  // Firewall control came with the second version.
  6: ['urn:schemas-upnp-org:device:InternetGatewayDevice:2', 'urn:schemas-upnp-org:service:WANIPv6FirewallControl:1'],
}
/** And what brings everybody's answers, for those that know none of them. */
export const SEARCH_ALL = 'ssdp:all'

/** Seconds within which devices answer a multicast search, at a time that they draw. */
const MOST_DELAY = 2
const LONGEST = 4096
const MOST_HEADERS = 64
const GATEWAY =
  /^urn:[\w.-]{1,64}:(?:device:InternetGatewayDevice|service:WAN(?:IP|PPP)Connection|service:WANIPv6FirewallControl):[0-9]{1,2}$/

export interface SsdpMessage {
  readonly kind: 'response' | 'notify' | 'search'
  /** Names in lower case; of several the first. */
  readonly headers: ReadonlyMap<string, string>
}

/** The group's name goes into a unicast search, too: devices made before those were thought of pass over any other. */
export function searchMessage(target: string, family: Family): Uint8Array {
  const host = family === 4 ? `${SSDP_GROUP[4]}:${SSDP_PORT}` : `[${SSDP_GROUP[6].toUpperCase()}]:${SSDP_PORT}`
  return new TextEncoder().encode(
    `M-SEARCH * HTTP/1.1\r\nHOST: ${host}\r\nMAN: "ssdp:discover"\r\nMX: ${MOST_DELAY}\r\nST: ${target}\r\n\r\n`,
  )
}

/** Undefined for what is none. */
export function readSsdp(data: Uint8Array): SsdpMessage | undefined {
  if (data.length > LONGEST) return undefined
  const [first = '', ...lines] = new TextDecoder().decode(data).split(/\r?\n/, MOST_HEADERS)
  const kind = kindOf(first)
  if (kind === undefined) return undefined
  const headers = new Map<string, string>()
  for (const line of lines) {
    if (line === '') break
    const colon = line.indexOf(':')
    if (colon <= 0) continue
    const name = line.slice(0, colon).trim().toLowerCase()
    if (!headers.has(name)) headers.set(name, line.slice(colon + 1).trim())
  }
  return { kind, headers }
}

function kindOf(first: string): SsdpMessage['kind'] | undefined {
  if (/^HTTP\/1\.[0-9] 200(?: |$)/.test(first)) return 'response'
  if (/^NOTIFY \* HTTP\/1\.[0-9]$/.test(first)) return 'notify'
  return /^M-SEARCH \* HTTP\/1\.[0-9]$/.test(first) ? 'search' : undefined
}

/** Whether a search or notification type is that of a router. */
export function isGatewayType(type: string | undefined): boolean {
  return type !== undefined && GATEWAY.test(type)
}

/** `uuid:…` out of a USN such as `uuid:…::urn:…`. */
export function uuidOf(usn: string | undefined): string | undefined {
  return usn === undefined ? undefined : /^uuid:[^:\s]{1,128}/i.exec(usn)?.[0].toLowerCase()
}
