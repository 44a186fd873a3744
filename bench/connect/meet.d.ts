import type { createTraversal, Explanation, IceServer, Path, SessionState } from '../../src/index.ts'
import type { ChannelOptions, createLab, Lab, LabHost, LabOptions } from '../../src/lab/index.ts'
import type { createStunServer } from '../../src/stun/index.ts'
import type { Cell } from './topologies.js'

export interface Library {
  readonly createLab: typeof createLab
  readonly createTraversal: typeof createTraversal
  readonly createStunServer: typeof createStunServer
}

/** What one side saw. Times are virtual milliseconds since both sides called `createTraversal`. */
export interface Side {
  readonly firstPath: Path | undefined
  /** At the end. */
  readonly path: Path | undefined
  readonly state: SessionState
  /** When the first path came. */
  readonly readyAt: number | undefined
  /** The peer's question came. */
  readonly heardAt: number | undefined
  /** The answer to our question came. */
  readonly answeredAt: number | undefined
  readonly inbox: readonly string[]
}

export interface MeetOptions<T> {
  /** 1 by default. */
  readonly seed?: number
  /** Virtual milliseconds until a cell counts as one without a path; 8,000 by default. */
  readonly patience?: number
  /** Virtual milliseconds one way on the internet; 20 by default. */
  readonly delay?: number
  /** Virtual milliseconds one way on the signalling channel; 20 by default. */
  readonly signalling?: number
  /** Virtual milliseconds by which the second peer starts later; 0 by default. */
  readonly late?: number
  /** What ends the meeting before its patience does: an answer on both sides, by default, or a path on both sides. */
  readonly goal?: 'answers' | 'paths'
  /** Virtual milliseconds after which a question without an answer is asked again, from the first path on; never by default. */
  readonly again?: number
  /** Virtual milliseconds for which the two go on after the goal; 0 by default. */
  readonly linger?: number
  /** Puts relays there, and gives what `servers` takes for them. */
  readonly relays?: (lab: Lab) => Promise<readonly (string | IceServer)[]>
  /** Of every attachment to the internet. None by default. */
  readonly weather?: Omit<LabOptions, 'seed' | 'delay' | 'families' | 'hops'>
  /** Of the signalling channel. Perfect by default. */
  readonly channel?: Omit<ChannelOptions, 'delay'>
  /** Sees the hosts and the STUN servers' IP addresses before anything is sent. */
  readonly inspect?: (hosts: readonly [LabHost, LabHost], ips: readonly string[], lab: Lab) => T
}

export interface Meeting<T> {
  readonly sides: readonly [Side, Side]
  readonly judged: T
  readonly explanations: readonly [Explanation, Explanation]
  readonly lab: Lab
}

export function meetIn<T = undefined>(library: Library, cell: Cell, options?: MeetOptions<T>): Promise<Meeting<T>>
