/** Which router stands behind which of our addresses: what the system's default routes say, and a guess where it says nothing. */
import { Address, type InterfaceAddress, type Network, Prefix } from '../net/index.ts'
import type { Uplink } from './protocol.ts'

/** The addresses behind which a router may be, in the order of the default routes. Never rejects. */
export async function findUplinks(network: Network): Promise<readonly Uplink[]> {
  const routes = await network.gateway.defaultRoutes()
  const found: Uplink[] = []
  for (const { family, name, gateway } of routes) {
    if (gateway === undefined) continue
    const router = zoned(gateway, network.interfaces.list(), name)
    const locals = network.interfaces.list().filter((local) => local.name === name && local.address.family === family && mayBeMapped(local))
    // An interface may have addresses of several networks: what asks has to be on the router's, where any is.
    const near = locals.filter(({ address, prefixLength }) => Prefix.around(address, prefixLength).contains(gateway))
    for (const local of family === 4 && near.length > 0 ? near : locals) add(found, { local, router })
  }
  // A system that does not tell, as Android: nearly every home router has the first address of its LAN.
  if (!routes.some(({ family }) => family === 4)) {
    for (const local of network.interfaces.list()) {
      const router = local.address.family === 4 && mayBeMapped(local) ? firstOf(local) : undefined
      if (router !== undefined && !router.sameIp(local.address)) add(found, { local, router })
    }
  }
  return found
}

export function uplinkKey({ local, router }: Uplink): string {
  return `${local.address.key} ${router.key}`
}

/**
 * IPv4: what a NAT stands before; a public address needs none. IPv6: what a firewall stands before, and is reached from everywhere.
 */
function mayBeMapped({ address, internal, deprecated }: InterfaceAddress): boolean {
  if (internal || deprecated) return false
  return address.family === 4 ? address.scope === 'private' || address.scope === 'shared' : address.scope === 'global'
}

function add(found: Uplink[], uplink: Uplink): void {
  if (!uplink.router.sameIp(uplink.local.address) && !found.some((other) => other.local.address.sameIp(uplink.local.address)))
    found.push(uplink)
}

/** An IPv6 route leads to a link-local address as a rule, which means nothing without its interface (RFC 4007 6). */
function zoned(gateway: Address, interfaces: readonly InterfaceAddress[], name: string): Address {
  if (gateway.scope !== 'link-local' || gateway.family === 4 || gateway.zone !== '') return gateway
  // Windows has numbers for zones, which the interface's own link-local address tells.
  const own = interfaces.find((local) => local.name === name && local.address.zone !== '')
  return Address.of(`${gateway.ip}%${own?.address.zone ?? name}`, 0)
}

function firstOf({ address, prefixLength }: InterfaceAddress): Address | undefined {
  if (prefixLength < 16 || prefixLength > 30) return undefined
  const bytes = address.bytes.slice()
  for (let bit = prefixLength; bit < 32; bit++) bytes[bit >> 3] = (bytes[bit >> 3] as number) & ~(0x80 >> (bit & 7))
  bytes[3] = (bytes[3] as number) | 1
  const first = Address.fromBytes(bytes, 0)
  return Prefix.around(address, prefixLength).contains(first) ? first : undefined
}
