import type { Random } from '../engine/random.js'

/** Changes a STUN message in one place that means something: its type, or one attribute. `other` is another message, to take attributes from. */
export declare function changeMessage(message: Uint8Array, random: Random, other: Uint8Array): Uint8Array
export declare function join(...parts: Uint8Array[]): Uint8Array
