/** What both clients make of a request before they put it into a message. */
import { SallyportError } from '../../errors.ts'
import type { Address } from '../../net/index.ts'
import type { Grant, MappingClient, MappingProtocol, MappingRequest, Uplink } from '../protocol.ts'

const NAMES: Readonly<Record<MappingProtocol, string>> = { pcp: 'PCP', 'nat-pmp': 'NAT-PMP', upnp: 'UPnP' }

/** @throws RangeError naming the option */
export function checkInternal(internal: Address, uplink: Uplink): void {
  if (!internal.sameIp(uplink.local.address)) throw new RangeError(`internal: ${internal.ip} is not the address of the uplink`)
  if (internal.port === 0) throw new RangeError('internal: a mapping needs a port')
}

/** @throws RangeError naming the option */
export function checkRequest({ internal, externalPort, lifetime }: MappingRequest, uplink: Uplink): void {
  checkInternal(internal, uplink)
  if (!Number.isInteger(externalPort) || externalPort < 1 || externalPort > 0xffff) {
    throw new RangeError(`externalPort: must be an integer from 1 to 65535, not ${externalPort}`)
  }
  if (!(lifetime > 0)) throw new RangeError(`lifetime: must be a positive number of milliseconds, not ${lifetime}`)
}

/** At least one second: none would delete. */
export function secondsOf(lifetime: number): number {
  return Math.max(1, Math.min(0xffff_ffff, Math.ceil(lifetime / 1000)))
}

export function silence(protocol: MappingProtocol, { router }: Uplink): SallyportError {
  return new SallyportError('ERR_MAPPING_UNAVAILABLE', `${router.host} does not answer in ${NAMES[protocol]}`)
}

export function closed(protocol: MappingProtocol): SallyportError {
  return new SallyportError('ERR_CLOSED', `the ${NAMES[protocol]} client is closed`)
}

/**
 * The grant, unless it is for another port than the only one that will do. Then it is given back first, before anybody closes us or asks for the
 * port by another protocol; it ends with its lifetime at the latest.
 * Rejects with SallyportError `ERR_MAPPING_PORT`.
 */
export async function asWanted(client: MappingClient, { exact, externalPort }: MappingRequest, grant: Grant): Promise<Grant> {
  const { port } = grant.external
  if (exact !== true || port === externalPort) return grant
  await client.unmap(grant).catch(() => {})
  throw new SallyportError('ERR_MAPPING_PORT', `${client.uplink.router.host} gives external port ${port} instead of ${externalPort}`)
}
