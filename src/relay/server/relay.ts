/** A TURN server (RFC 8656): makes the parts from the options, opens the listeners, and closes all of it. */
import type { Address, TlsIdentity } from '../../net/index.ts'
import type { RelayOptions, RelayTransport } from './options.ts'
import type { RelayStatus } from './status.ts'

export interface Relay {
  /** Where it listens, ports filled in; of UDP the primary one of each family comes first in its family. */
  readonly addresses: Readonly<Record<RelayTransport, readonly Address[]>>
  /**
   * `turn:` and `turns:` URIs of the listeners, for clients; with the relay or external addresses in place of a wildcard. A name that the
   * certificate is for has to be put in by who knows it.
   */
  readonly uris: readonly string[]
  /** As of now; counters count from the beginning. */
  status(): RelayStatus
  /** Another certificate for TLS connections from now on. @throws SallyportError `ERR_BIND` when it is none: the old one stays in use */
  renew(tls: TlsIdentity): void
  /** No new allocations from now on (508, RFC 8656 7.2); what stands lives on. Resolves when the last one is gone, or at `close`. Idempotent. */
  drain(): Promise<void>
  /** Ends all allocations, connections and listeners. Idempotent. */
  close(): Promise<void>
}

/**
 * Opens the listeners and serves from then on. On the wildcard, a family that the machine does not have is left out.
 * Rejects with SallyportError `ERR_BIND` or `ERR_ADDRESS`; TypeError without a network or without a way to authenticate, RangeError for
 * values that make no sense.
 */
export async function createRelay(options: RelayOptions): Promise<Relay> {
  throw new Error(`not here yet: ${options.realm}`)
}
