/**
 * Default routes out of what systems print, best first. Pure: the text comes in as an argument. A VPN that takes everything over
 * with two halves (0.0.0.0/1 and 128.0.0.0/1) or with 2000::/3 counts as a default route, ahead of the real one.
 * Not seen here: routing by policy (wg-quick's second table on Linux).
 */
import { Address, type Family } from '../address.ts'
import type { DefaultRoute } from '../interfaces.ts'

/** From the kernel's route.h. */
const RTF_UP = 0x1
const RTF_GATEWAY = 0x2
const RTF_REJECT = 0x200

interface Ranked extends DefaultRoute {
  /** The longer prefix wins, then the smaller metric. */
  readonly length: number
  readonly metric: number
}

/** /proc/net/route: addresses in hexadecimal, in the byte order of the machine. */
export function parseProcRoute(text: string, littleEndian: boolean): readonly DefaultRoute[] {
  const ip4 = (hex: string): Address => {
    const bytes = Buffer.from(hex, 'hex')
    return Address.fromBytes(littleEndian ? bytes.reverse() : bytes, 0)
  }
  const routes: Ranked[] = []
  for (const line of text.split('\n')) {
    const [name = '', destination = '', gateway = '', flagsHex = '', , , metric = '', mask = ''] = line.trim().split(/\s+/)
    if (![destination, gateway, mask].every((field) => /^[0-9a-f]{8}$/i.test(field))) continue
    const flags = Number.parseInt(flagsHex, 16)
    const length = ip4(mask).ip === '0.0.0.0' ? 0 : ip4(mask).ip === '128.0.0.0' ? 1 : -1
    if (length < 0 || ip4(destination).ip !== '0.0.0.0' || !usable(flags)) continue
    routes.push({ family: 4, name, gateway: flags & RTF_GATEWAY ? ip4(gateway) : undefined, length, metric: Number(metric) })
  }
  return best(routes)
}

/** /proc/net/ipv6_route: everything in hexadecimal, addresses in network order. */
export function parseProcIpv6Route(text: string): readonly DefaultRoute[] {
  const routes: Ranked[] = []
  for (const line of text.split('\n')) {
    const [destination = '', lengthHex = '', , , nextHop = '', metric = '', , , flagsHex = '', name = ''] = line.trim().split(/\s+/)
    if (!/^[0-9a-f]{32}$/.test(destination) || !/^[0-9a-f]{32}$/.test(nextHop)) continue
    const length = Number.parseInt(lengthHex, 16)
    const flags = Number.parseInt(flagsHex, 16)
    const { ip } = Address.fromBytes(Buffer.from(destination, 'hex'), 0)
    if (!isDefault6(`${ip}/${length}`) || !usable(flags) || name === 'lo') continue
    const gateway = flags & RTF_GATEWAY ? zoned(Address.fromBytes(Buffer.from(nextHop, 'hex'), 0), name) : undefined
    routes.push({ family: 6, name, gateway, length, metric: Number.parseInt(metric, 16) })
  }
  return best(routes)
}

/** `netstat -rn` of macOS and the BSDs, both families. */
export function parseNetstat(text: string): readonly DefaultRoute[] {
  const routes: Ranked[] = []
  let family: Family = 4
  let columns: string[] = []
  for (const line of text.split('\n')) {
    const fields = line.trim().split(/\s+/)
    if (/^Internet6?:/.test(line)) family = line.startsWith('Internet6') ? 6 : 4
    else if (fields[0] === 'Destination') columns = fields
    else {
      const [destination = '', gatewayText = '', flags = ''] = fields
      const length = family === 4 ? bsdDefault4(destination) : bsdDefault6(destination)
      const name = fields[columns.indexOf('Netif')]
      if (length < 0 || name === undefined || !flags.includes('U') || /[RB]/.test(flags)) continue
      const parsed = Address.tryOf(gatewayText, 0)
      const gateway = parsed?.family === family ? zoned(parsed, name) : undefined
      // 'I': only for sockets bound to that interface, so never the first choice.
      routes.push({ family, name, gateway, length, metric: flags.includes('I') ? 1 : 0 })
    }
  }
  return best(routes)
}

/** How Windows names an interface, which `route print` does only by address (IPv4) or number (IPv6). */
export interface WindowsNames {
  byIp(ip: string): string | undefined
  byIndex(index: number): string | undefined
}

/** `route print` of Windows. Its headings and 'On-link' come in the user's language; only the shape of the lines is relied upon. */
export function parseRoutePrint(text: string, names: WindowsNames): readonly DefaultRoute[] {
  const routes: Ranked[] = []
  const lines = text.split(/\r?\n/)
  lines.forEach((line, i) => {
    const four = /^\s*0\.0\.0\.0\s+(0\.0\.0\.0|128\.0\.0\.0)\s+(\S.*?)\s+(\d+\.\d+\.\d+\.\d+)\s+(\d+)\s*$/.exec(line)
    if (four !== null) {
      const [, mask, gatewayText = '', ip = '', metric] = four
      const name = names.byIp(ip)
      if (name === undefined) return
      routes.push({ family: 4, name, gateway: Address.tryOf(gatewayText, 0), length: mask === '0.0.0.0' ? 0 : 1, metric: Number(metric) })
      return
    }
    const six = /^\s*(\d+)\s+(\d+)\s+(::\/0|::\/1|2000::\/3)(?:\s+(\S.*?))?\s*$/.exec(line)
    if (six === null) return
    // A long gateway stands alone on the next line.
    const [, index = '', metric, prefix = '', gatewayText = lines[i + 1]?.trim() ?? ''] = six
    const name = names.byIndex(Number(index))
    if (name === undefined) return
    const gateway = Address.tryOf(gatewayText, 0)
    routes.push({
      family: 6,
      name,
      gateway: gateway && zoned(gateway, index),
      length: Number(prefix.split('/')[1]),
      metric: Number(metric),
    })
  })
  return best(routes)
}

function usable(flags: number): boolean {
  return (flags & RTF_UP) !== 0 && (flags & RTF_REJECT) === 0
}

function isDefault6(prefix: string): boolean {
  return prefix === '::/0' || prefix === '::/1' || prefix === '2000::/3'
}

/** The prefix length, or -1 where it is not a default route. */
function bsdDefault4(destination: string): number {
  if (destination === 'default' || destination === '0.0.0.0/0') return 0
  return destination === '0/1' || destination === '0.0.0.0/1' ? 1 : -1
}

function bsdDefault6(destination: string): number {
  if (destination === 'default') return 0
  return isDefault6(destination) ? Number(destination.split('/')[1]) : -1
}

function zoned(gateway: Address, zone: string): Address {
  return gateway.scope === 'link-local' && gateway.family === 6 && gateway.zone === '' ? Address.of(`${gateway.ip}%${zone}`, 0) : gateway
}

function best(routes: Ranked[]): readonly DefaultRoute[] {
  const sorted = routes.sort((a, b) => b.length - a.length || a.metric - b.metric)
  const seen = new Set<string>()
  const unique: DefaultRoute[] = []
  for (const { family, name, gateway } of sorted) {
    const key = `${family} ${name} ${gateway?.key}`
    if (seen.has(key)) continue
    seen.add(key)
    unique.push({ family, name, gateway })
  }
  return unique
}
