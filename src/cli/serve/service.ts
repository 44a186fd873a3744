/** What `sallyport serve` runs, whichever it is: a STUN server, a relay, or a relay of several processes. */
import type { TlsIdentity } from '../../net/index.ts'
import type { RelayEvent, RelayStatus } from '../../relay/index.ts'
import type { StunServerCounters } from '../../stun/index.ts'

/** Where it is to be found; addresses as texts. */
export interface Listening {
  readonly udp: readonly string[]
  readonly tcp: readonly string[]
  readonly tls: readonly string[]
  /** `turn:` and `turns:` URIs. */
  readonly uris: readonly string[]
}

/** What is told of a worker at the beginning. */
export interface WorkerStart {
  /** From 1. */
  readonly worker: number
  readonly pid: number
  readonly udp: readonly string[]
}

export interface WorkerReport {
  /** From 1. */
  readonly worker: number
  readonly pid: number
  /** Bytes of memory. */
  readonly resident: number
  /** Milliseconds of processor time, since this process of the worker began. */
  readonly cpu: number
}

/** Live numbers. Counters never go back, whatever becomes of a process. */
export type Report =
  | { readonly kind: 'stun'; readonly counters: StunServerCounters }
  | {
      readonly kind: 'relay'
      readonly status: RelayStatus
      /** Those that run; empty for a relay in this process. */
      readonly workers: readonly WorkerReport[]
      readonly restarts: number
    }

/** What happens. `worker` counts from 1, and is missing for this process. */
export type ServeEvent =
  | RelayEvent
  | { readonly event: 'suppressed'; readonly of: string; readonly count: number }
  | { readonly event: 'worker-exited'; readonly pid: number; readonly how: string; readonly again: number }
  | { readonly event: 'worker-started'; readonly pid: number }
  | { readonly event: 'worker-failed'; readonly message: string; readonly again: number }
  | { readonly event: 'draining'; readonly allocations: number; readonly timeout: number }
  | { readonly event: 'renewed' }
  | { readonly event: 'renewal-failed'; readonly message: string }

export type Tell = (event: ServeEvent, worker?: number) => void

export interface Service {
  readonly listening: Listening
  report(): Promise<Report>
  /** Another certificate from now on. Rejects when it is none. */
  renew(tls: TlsIdentity): Promise<void>
  /** No new allocations from now on; resolves when the last is gone. */
  drain(): Promise<void>
  /** Idempotent. */
  close(): Promise<void>
}
