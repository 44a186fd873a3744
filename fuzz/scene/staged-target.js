// A target whose first byte chooses one of eight stages: moments in the life of what is fuzzed. A stage that an input changed is not used again,
// and has to end in order.
import { recordsOf } from './records.js'

const CHOICES = 8

/**
 * @typedef {object} Stage
 * @property {(record: import('./records.js').Record) => void} take
 * @property {boolean} changed
 * @property {() => Promise<void>} finish
 */

/** @typedef {import('../engine/fuzzer.js').Target} Target */

/** @implements {Target} */
export class StagedTarget {
  longest = 2_000
  /** @type {readonly Uint8Array[]} */
  dictionary = []
  stale = true
  /** By the three bits that choose. @type {(Stage | undefined)[]} */
  #stages = Array.from({ length: CHOICES }, () => undefined)
  /** @type {Stage | undefined} */
  #changed
  /** @type {(choice: number) => Promise<Stage>} */
  #open

  /**
   * @param {string} name
   * @param {Target['mutations']} mutations
   * @param {(choice: number) => Promise<Stage>} open
   */
  constructor(name, mutations, open) {
    this.name = name
    this.mutations = mutations
    this.#open = open
  }

  async prepare() {
    for (const [i, stage] of this.#stages.entries()) if (stage === undefined) this.#stages[i] = await this.#open(i)
    this.stale = false
  }

  /** @param {Uint8Array} input */
  run(input) {
    const choice = (input[0] ?? 0) % CHOICES
    const stage = /** @type {Stage} */ (this.#stages[choice])
    for (const record of recordsOf(input)) stage.take(record)
    if (!stage.changed) return
    this.#stages[choice] = undefined
    this.#changed = stage
    this.stale = true
  }

  async settle() {
    await this.#changed?.finish()
    this.#changed = undefined
  }
}
