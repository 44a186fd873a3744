import type { Lab, LabHost } from '../../src/lab/index.ts'
import type { Explanation } from '../../src/path/index.ts'
import type { Library } from '../connect/meet.js'

/** Two sides whose accesses lose this share of packets, each way. */
export interface LossyCell {
  readonly name: string
  build(lab: Lab, loss: number): readonly [LabHost, LabHost]
}

export interface Loss {
  readonly between: number
  readonly access: number
  readonly literal: boolean
  readonly heavy: boolean
}

/** Virtual milliseconds. */
export interface Summary {
  readonly median: number
  readonly p99: number
  readonly worst: number
}

export interface LossRow {
  readonly seeds: number
  readonly met: number
  readonly direct: number
  readonly paths: Summary
  readonly first: Summary
  readonly last: Summary
  readonly checks: { readonly mean: number; readonly most: number }
  readonly requests: { readonly mean: number }
}

export interface LossLimits {
  readonly share: number
  readonly until: 'first' | 'last'
  readonly median: number
  readonly p99: number
  readonly checks: number
}

export interface LossyMeeting {
  readonly paths: number
  readonly first: number
  readonly last: number
  readonly direct: boolean
  readonly checks: readonly number[]
  readonly requests: readonly number[]
  readonly explanations: readonly [Explanation, Explanation]
}

export const CELLS: readonly LossyCell[]
export const LOSSES: readonly Loss[]
export function measureLoss(library: Library, cell: LossyCell, loss: Loss, seeds: number): Promise<LossRow>
export function meetOnce(library: Library, cell: LossyCell, seed: number, loss: number): Promise<LossyMeeting>
export function limitsOf(loss: Loss): LossLimits
export function misses(row: LossRow, limits: LossLimits): string[]
export function summary(times: readonly number[]): Summary
