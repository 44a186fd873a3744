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
