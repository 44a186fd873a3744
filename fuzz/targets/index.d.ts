import type { Entry, Target } from '../engine/fuzzer.js'

export declare const TARGETS: Readonly<Record<string, () => Promise<Target>>>

/** The committed inputs of a target. */
export declare function corpusOf(name: string): Entry[]
