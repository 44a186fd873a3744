/**
 * Every error the library hands to its user. One base class, one closed union of codes: match on `code`,
 * not on the class or the message. Options that make no sense are plain `TypeError`s at the call.
 */

/**
 * - `ERR_NO_PATH`: every pair of candidates was tried and none carries data, or the peer stopped trying; `report` says what became of each.
 * - `ERR_CLOSED`: used after `close()`.
 * - `ERR_PEER_CLOSED`: the other side said that it closed the session, which had a path.
 * - `ERR_URI`: a `stun:` or `turn:` URI could not be read.
 * - `ERR_CANDIDATE`: a candidate line could not be read, or is not one to use.
 * - `ERR_ADDRESS`: not an IP address, port or prefix.
 * - `ERR_BIND`: no socket could be opened.
 * - `ERR_DNS`: a name could not be resolved.
 * - `ERR_DIAL`: a stream connection could not be made.
 * - `ERR_RELAY_UNREACHABLE`: a relay does not answer over any transport that its URI allows.
 * - `ERR_RELAY_CREDENTIALS`: a relay refuses user name or password (401, 441), does not ask for them, or there are none to be had.
 * - `ERR_RELAY_FORBIDDEN`: a relay will not serve this user or client (403).
 * - `ERR_RELAY_QUOTA`: the user has as many allocations as a relay grants (486).
 * - `ERR_RELAY_CAPACITY`: a relay is full, or about to stop (508).
 * - `ERR_RELAY_FAMILY`: a relay has no relayed addresses of the family that is wanted (440, 443).
 * - `ERR_RELAY_TRANSPORT`: a transport that the relay (442) or this client does not have: `turns:` over UDP is DTLS.
 * - `ERR_RELAY_REDIRECT`: a relay names another one (300) that must not be followed, or there is no end to it.
 * - `ERR_RELAY_MISMATCH`: a relay does not know the allocation (437): it was restarted, or the client's address changed.
 * - `ERR_RELAY_LOST`: an allocation died: its relay does not answer any more, or closed the stream.
 * - `ERR_RELAY_REFUSED`: any other refusal, or an answer that makes no sense.
 * - `ERR_MAPPING_UNAVAILABLE`: no router answers in a port mapping protocol, or none that was asked for.
 * - `ERR_MAPPING_REFUSED`: a router has port mapping switched off, or not for this client, port or protocol.
 * - `ERR_MAPPING_PORT`: the external port is somebody else's, and no other one will do or is to be had.
 * - `ERR_MAPPING_CAPACITY`: a router has no room for another mapping, or no connection to the internet at the moment.
 * - `ERR_MAPPING_ANSWER`: a router's answer makes no sense, is too long, or leads elsewhere.
 * - `ERR_MAPPING_UNPROVEN`: a router says that there is a mapping, but nothing comes through.
 */
export type ErrorCode =
  | 'ERR_NO_PATH'
  | 'ERR_CLOSED'
  | 'ERR_PEER_CLOSED'
  | 'ERR_URI'
  | 'ERR_CANDIDATE'
  | 'ERR_ADDRESS'
  | 'ERR_BIND'
  | 'ERR_DNS'
  | 'ERR_DIAL'
  | 'ERR_RELAY_UNREACHABLE'
  | 'ERR_RELAY_CREDENTIALS'
  | 'ERR_RELAY_FORBIDDEN'
  | 'ERR_RELAY_QUOTA'
  | 'ERR_RELAY_CAPACITY'
  | 'ERR_RELAY_FAMILY'
  | 'ERR_RELAY_TRANSPORT'
  | 'ERR_RELAY_REDIRECT'
  | 'ERR_RELAY_MISMATCH'
  | 'ERR_RELAY_LOST'
  | 'ERR_RELAY_REFUSED'
  | 'ERR_MAPPING_UNAVAILABLE'
  | 'ERR_MAPPING_REFUSED'
  | 'ERR_MAPPING_PORT'
  | 'ERR_MAPPING_CAPACITY'
  | 'ERR_MAPPING_ANSWER'
  | 'ERR_MAPPING_UNPROVEN'

export interface ErrorDetail {
  readonly cause?: unknown
  /** JSON-safe account of what was tried, where there is one. */
  readonly report?: unknown
}

export class SallyportError extends Error {
  override readonly name = 'SallyportError'
  readonly code: ErrorCode
  readonly report: unknown

  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause })
    this.code = code
    this.report = detail.report
  }
}
