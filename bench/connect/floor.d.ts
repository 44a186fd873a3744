import type { Side } from './meet.js'

/** Milliseconds one way. */
export interface Delays {
  readonly delay: number
  readonly signalling: number
}

/** Milliseconds until one side's data is answered, and until both sides' is. */
export interface Answers {
  readonly first: number
  readonly last: number
}

/** Medians over the seeds. */
export interface Measurement extends Answers {
  /** No ICE agent can be faster on the path that was found. */
  readonly floor: Answers
  readonly design: number
  /** Of `first` to the common floor. */
  readonly firstRatio: number
  /** Of `last` to the common floor or the cell's own, whichever is later. */
  readonly lastRatio: number
}

export const LIMIT: number
export function designFloor(delays: Delays): number
export function cellFloor(sides: readonly [Side, Side], delays: Delays): Answers
export function answersOf(sides: readonly [Side, Side]): Answers
export function median(values: readonly number[]): number
export function measure(
  meet: (seed: number) => Promise<readonly [Side, Side]>,
  seeds: number,
  delays: Delays,
): Promise<Measurement | undefined>
