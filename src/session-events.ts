/** What a session tells its user. */
import type { Path } from './path/index.ts'
import type { Signal } from './signal/index.ts'

/** `idle`: not trying. `connecting`: no path yet, or not any more. `connected`: there is one. `closed`: for good, unless opened again. */
export type SessionState = 'idle' | 'connecting' | 'connected' | 'closed'

export interface SessionEvents {
  /** For the peer, by any channel: JSON-safe. Comes again, changed or not, while the peer may not have heard it. */
  signal: [signal: Signal]
  /** The first path, and every other one after it. */
  path: [path: Path]
  /** One datagram from the peer. The memory is yours. */
  message: [data: Uint8Array]
  state: [state: SessionState]
  /** `send` may be called again after it returned false. */
  drain: []
  /**
   * An attempt ended without there ever having been a path (`ERR_NO_PATH`, also when the peer gave up or left by then), the peer closed a
   * session that had one (`ERR_PEER_CLOSED`), or a listener of yours threw: then it is what that threw.
   */
  error: [error: Error & { readonly code?: string; readonly report?: unknown }]
}

export interface SessionStatus {
  readonly state: SessionState
  readonly path: Path | undefined
  readonly sent: number
  readonly received: number
  /** Waiting for a path. */
  readonly queued: number
  /** Not sent: there was no path and the queue was full. */
  readonly unsent: number
  /** Came from an address of the peer's that was not proven in time, and were not delivered. */
  readonly unproven: number
  /** Signals that could not be read. */
  readonly badSignals: number
}
