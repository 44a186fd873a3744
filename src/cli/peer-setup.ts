/** What both ways of running a peer need to know. */
import type { TraversalOptions } from '../options.ts'

export interface PeerSetup {
  readonly traversal: TraversalOptions
  /** Milliseconds; undefined for never. */
  readonly timeout: number | undefined
  /** Explain at the end. */
  readonly verbose: boolean
}
