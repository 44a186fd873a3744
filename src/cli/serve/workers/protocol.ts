/** What the processes of a relay say to each other, by IPC with structured clones. */
import type { TlsIdentity } from '../../../net/index.ts'
import type { LedgerVerdict, RelayEvent, RelayStatus } from '../../../relay/index.ts'
import type { Listening, ServeEvent } from '../service.ts'
import type { RelaySetup } from '../setup.ts'

/** To a worker. */
export type Order =
  | { readonly order: 'start'; readonly setup: RelaySetup }
  /** The answer to `take`. */
  | { readonly order: 'verdict'; readonly id: number; readonly verdict: LedgerVerdict }
  /** Relayed addresses of other workers that have come and gone. */
  | { readonly order: 'relayed'; readonly added: readonly string[]; readonly removed: readonly string[] }
  | { readonly order: 'report'; readonly id: number }
  | { readonly order: 'renew'; readonly tls: TlsIdentity }
  /** Take the shared port again, to be the last of those who have it. */
  | { readonly order: 'rebind' }
  | { readonly order: 'drain' }
  | { readonly order: 'close' }

/** From a worker. */
export type Answer =
  | { readonly answer: 'started'; readonly listening: Listening }
  /** It could not start; `usage` when it was asked wrongly. */
  | { readonly answer: 'failed'; readonly message: string; readonly usage: boolean }
  | { readonly answer: 'event'; readonly event: RelayEvent | ServeEvent }
  | { readonly answer: 'take'; readonly id: number; readonly user: string }
  | { readonly answer: 'release'; readonly user: string }
  /** Without an id it was not asked for. */
  | {
      readonly answer: 'report'
      readonly id: number | undefined
      readonly status: RelayStatus
      readonly resident: number
      readonly cpu: number
    }
  /** Why it could not; undefined when it did. */
  | { readonly answer: 'renewed'; readonly failure: string | undefined }
  | { readonly answer: 'rebound' }
  | { readonly answer: 'drained' }
