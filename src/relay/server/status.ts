/** Live numbers of a relay, as metrics want them. */
import type { RelayTransport } from '../transport.ts'

/** Why application data did not go on. */
export type DropReason =
  /** No permission of the client's for the peer (RFC 8656 9). */
  | 'no-permission'
  /** A channel that is not bound. */
  | 'no-channel'
  /** The peer has become one that is denied, or was named in a Send and is. */
  | 'denied'
  /** Above a limit of bytes a second. */
  | 'bandwidth'
  /** The socket's or the connection's queue was full. */
  | 'queue'
  /** A relayed address of this relay that nobody has. */
  | 'no-allocation'

/** Why a datagram or frame of a client's was passed over. */
export type IgnoreReason =
  /** Neither STUN nor ChannelData, or damaged. */
  | 'malformed'
  /** Indications, ChannelData and unknown methods of who has no allocation; responses; requests too small to be answered. */
  | 'unexpected'
  /** Would have been answered, but its source had had enough answers. */
  | 'limited'
  /** As many are being authenticated as can be. */
  | 'busy'

export interface RelayCounters {
  readonly allocationsCreated: number
  /** Application data, without TURN's headers. */
  readonly packetsToPeers: number
  readonly bytesToPeers: number
  readonly packetsToClients: number
  readonly bytesToClients: number
  readonly drops: Readonly<Record<DropReason, number>>
  readonly ignored: Readonly<Record<IgnoreReason, number>>
  /** Error responses sent, by code. */
  readonly errors: Readonly<Record<number, number>>
  /** Success responses sent, TURN's only. */
  readonly successes: number
  /** Wrong credentials; a first request, which has none, is no failure. */
  readonly authenticationFailures: number
  /** STUN Binding requests answered. */
  readonly bindings: number
  /** Connections that were not taken, or ended, because there were too many unauthenticated ones. */
  readonly connectionsRefused: number
}

export interface RelayStatus {
  readonly draining: boolean
  readonly allocations: number
  readonly allocationsByTransport: Readonly<Record<RelayTransport, number>>
  /** Users with an allocation. */
  readonly users: number
  readonly permissions: number
  readonly channels: number
  /** Ports held for RESERVATION-TOKEN. */
  readonly reservations: number
  /** TCP and TLS connections, authenticated or not. */
  readonly connections: number
  /** Since the relay was made. */
  readonly counters: RelayCounters
}

/** The counters as the relay counts them. */
export class Counters implements RelayCounters {
  allocationsCreated = 0
  packetsToPeers = 0
  bytesToPeers = 0
  packetsToClients = 0
  bytesToClients = 0
  readonly drops: Record<DropReason, number> = {
    'no-permission': 0,
    'no-channel': 0,
    denied: 0,
    bandwidth: 0,
    queue: 0,
    'no-allocation': 0,
  }
  readonly ignored: Record<IgnoreReason, number> = { malformed: 0, unexpected: 0, limited: 0, busy: 0 }
  readonly errors: Record<number, number> = {}
  successes = 0
  authenticationFailures = 0
  bindings = 0
  connectionsRefused = 0

  error(code: number): void {
    this.errors[code] = (this.errors[code] ?? 0) + 1
  }

  /** Copied, so that what was told does not change. */
  snapshot(): RelayCounters {
    const { drops, ignored, errors } = this
    return { ...this, drops: { ...drops }, ignored: { ...ignored }, errors: { ...errors } }
  }
}
