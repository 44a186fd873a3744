/** What a relay tells its `log`: plain objects, fit for JSON. Addresses are texts; passwords, keys and nonces are never in them. */
import type { RelayTransport } from '../transport.ts'

/** Why an allocation ended: Refresh with 0, its lifetime, its connection, its socket, or the relay itself. */
export type AllocationEnd = 'released' | 'expired' | 'disconnected' | 'socket-lost' | 'relay-closed'

/** What went through an allocation, of application data. */
export interface Traffic {
  readonly packetsToPeers: number
  readonly bytesToPeers: number
  readonly packetsToClient: number
  readonly bytesToClient: number
}

interface OfClient {
  readonly client: string
  readonly transport: RelayTransport
}

export type RelayEvent =
  | ({
      readonly event: 'allocation-created'
      /** Counts up from 1; the same in `allocation-deleted`. */
      readonly id: number
      readonly user: string
      /** As clients are told. */
      readonly relayed: readonly string[]
      /** Milliseconds. */
      readonly lifetime: number
    } & OfClient)
  | ({
      readonly event: 'allocation-deleted'
      readonly id: number
      readonly user: string
      readonly relayed: readonly string[]
      readonly reason: AllocationEnd
      /** Milliseconds that it lived. */
      readonly age: number
    } & OfClient &
      Traffic)
  /** A request that was refused after its sender proved who it is. */
  | ({
      readonly event: 'refused'
      readonly user: string
      readonly method: string
      readonly code: number
      readonly reason: string
      /** The first one that is denied, for 403 and 443. */
      readonly peer?: string
    } & OfClient)
  /** Credentials that were given and are wrong. */
  | ({ readonly event: 'authentication-failed'; readonly user: string; readonly reason: string } & OfClient)
  /** Something that the operator can do something about. */
  | { readonly event: 'warning'; readonly subject: 'buffers' | 'sockets' | 'authenticate' | 'ledger' | 'fault'; readonly message: string }
