import type { Random } from './random.js'

/** A change to bytes; never writes to what it is given. */
export type Mutation = (
  data: Uint8Array,
  random: Random,
  context: { readonly other: Uint8Array; readonly dictionary: readonly Uint8Array[] },
) => Uint8Array

export declare const MUTATIONS: readonly Mutation[]
