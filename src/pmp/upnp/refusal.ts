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

/** For people. */
const WORDS: ReadonlyMap<number, string> = new Map([
  [501, 'it failed there; routers say so that have no public address themselves'],
  [603, 'out of memory'],
  [606, 'not allowed'],
  [701, 'no room for another pinhole'],
  [702, 'the firewall is switched off'],
  [703, 'pinholes are switched off'],
  [718, 'another mapping has this port'],
  [724, 'the external port has to be the internal one'],
  [725, 'only mappings without an end are given'],
  [728, 'no port is left for this host'],
  [729, 'another way of mapping has this port'],
])

/** A fault as a SallyportError; anything else as it is. */
export function refusalOf(error: unknown): unknown {
  if (!(error instanceof UpnpFault)) return error
  const words = WORDS.get(error.code)
  const message = words === undefined ? error.message : `${error.message} (${words})`
  return new SallyportError(CODES.get(error.code) ?? 'ERR_MAPPING_REFUSED', message, { cause: error })
}

export function portTaken(port: number): SallyportError {
  return new SallyportError('ERR_MAPPING_PORT', `the router's port ${port} is not to be had, and no other one will do`)
}
