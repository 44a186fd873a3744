/** What both ways of running a peer need to know. */
import type { TraversalOptions } from '../options.ts'
import { createTraversal, type Traversal } from '../traversal.ts'
import { UsageError } from './usage.ts'

export interface PeerSetup {
  readonly traversal: TraversalOptions
  /** What `--host` asked for; empty when it was not given. */
  readonly hosts: readonly string[]
  /** Milliseconds; undefined for never. */
  readonly timeout: number | undefined
  /** Explain at the end. */
  readonly verbose: boolean
}

/** @throws UsageError when `--host` leaves nothing to offer; without it an interface may still come up */
export async function openTraversal({ traversal: options, hosts }: PeerSetup): Promise<Traversal> {
  const traversal = await createTraversal(options)
  // Who shows relayed addresses only has no sockets of its own.
  if (hosts.length === 0 || options.relay?.only === true || traversal.status().sockets.length > 0) return traversal
  await traversal.close()
  throw new UsageError(`connect: no address of this machine fits --host ${hosts.join(' --host ')}`)
}
