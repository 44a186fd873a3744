/** What the numbers of UPnP faults mean to who asked (WANIPConnection:2 2.5, WANIPv6FirewallControl:1 2.6). */
import { type ErrorCode, SallyportError } from '../../errors.ts'
import { UpnpFault } from './soap.ts'

/** Neither has the action: it is not implemented, or called by a name that the service does not know. */
export function isUnknownAction(error: unknown): boolean {
  return error instanceof UpnpFault && (error.code === 401 || error.code === 602)
}

const CODES: ReadonlyMap<number, ErrorCode> = new Map([
  // Action failed, out of memory, no space for a pinhole, no port maps available. The first is what a router says whose own address is private.
  [501, 'ERR_MAPPING_CAPACITY'],
  [603, 'ERR_MAPPING_CAPACITY'],
  [701, 'ERR_MAPPING_CAPACITY'],
  [728, 'ERR_MAPPING_CAPACITY'],
  // Conflict with another's mapping, or with another mechanism.
  [718, 'ERR_MAPPING_PORT'],
  [729, 'ERR_MAPPING_PORT'],
])

/** A fault as a SallyportError; anything else as it is. */
export function refusalOf(error: unknown): unknown {
  if (!(error instanceof UpnpFault)) return error
  return new SallyportError(CODES.get(error.code) ?? 'ERR_MAPPING_REFUSED', error.message, { cause: error })
}

export function portTaken(port: number): SallyportError {
  return new SallyportError('ERR_MAPPING_PORT', `the router's port ${port} is not to be had, and no other one will do`)
}
