import type { Coverage } from './coverage.js'
import type { Mutation } from './mutations.js'

/**
 * What is fuzzed. `run` and `settle` throw when something is wrong. A run that left traces says so by `stale`: then `settle` sees what
 * comes of it, and `prepare` makes everything as it was. An input alone decides what a run does, so that it can be run again.
 */
export interface Target {
  readonly name: string
  /** Bytes of an input. */
  readonly longest: number
  /** Words that mean something to it. */
  readonly dictionary: readonly Uint8Array[]
  /** Changes that know its form. */
  readonly mutations: readonly Mutation[]
  readonly stale: boolean
  prepare(): Promise<void>
  run(input: Uint8Array): void
  settle(): Promise<void>
}

export interface Entry {
  /** Of a committed input that was written by hand, or by seeds.js. */
  readonly name: string | undefined
  readonly data: Uint8Array
}

export type Save = (target: string, input: Uint8Array, error: unknown) => string

export declare class Fuzzer {
  readonly entries: Entry[]
  readonly runs: number
  constructor(target: Target, coverage: Coverage, seed: number, save?: Save)
  /** Runs the corpus itself, as it is. Resolves with where a crash was saved, if there was one. */
  read(corpus: readonly Entry[]): Promise<string | undefined>
  fuzz(isOver: (runs: number) => boolean, tell: (event: 'new' | 'pulse') => void): Promise<string | undefined>
  smallest(): Promise<Entry[]>
  close(): Promise<number>
}

/** One run, with all that comes of it; a promise only where there is something to wait for. */
export declare function runOnce(target: Target, input: Uint8Array): Promise<void> | undefined
