/** What both clients make of a request before they put it into a message. */
import { SallyportError } from '../../errors.ts'
import type { Address } from '../../net/index.ts'
import type { MappingProtocol, MappingRequest, Uplink } from '../protocol.ts'

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

/** What a request that only another external port would have met is told. */
export function anotherPort(wanted: number, given: Address, { router }: Uplink): SallyportError {
  return new SallyportError('ERR_MAPPING_PORT', `${router.host} gives external port ${given.port} instead of ${wanted}`)
}
