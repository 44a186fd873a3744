// @ts-check
/** The loop: an input of the corpus, changed; run; kept when it did something new. All from one seed. */
import { setImmediate } from 'node:timers/promises'
import { saveCrash } from './crash.js'
import { MUTATIONS } from './mutations.js'
import { Random } from './random.js'
import { Watchdog } from './watchdog.js'

/** A turn of the event loop after so many runs, so that what is collected and what is asked from outside gets its chance. */
const TURN = 1_000
/** Shorter versions of a new input that are tried: few, since what is new comes often at first and each of them is a run. */
const TRIMS = 6

/**
 * What is fuzzed. `run` and `settle` throw when something is wrong. A run that left traces says so by `stale`: then `settle` sees what
 * comes of it, and `prepare` makes everything as it was. An input alone decides what a run does, so that it can be run again.
 * @typedef {object} Target
 * @property {string} name
 * @property {number} longest bytes of an input
 * @property {readonly Uint8Array[]} dictionary words that mean something to it
 * @property {readonly import('./mutations.js').Mutation[]} mutations changes that know its form
 * @property {() => Promise<void>} prepare
 * @property {boolean} stale
 * @property {(input: Uint8Array) => void} run
 * @property {() => Promise<void>} settle
 */

/** One run, with all that comes of it; a promise only where there is something to wait for. @param {Target} target @param {Uint8Array} input */
export function runOnce(target, input) {
  target.run(input)
  return target.stale ? settled(target) : undefined
}

/** @param {Target} target */
async function settled(target) {
  await target.settle()
  await setImmediate() // what was thrown in a microtask, or by a promise that nobody waits for, shows now
}

/** @typedef {{ name: string | undefined, data: Uint8Array }} Entry */

export class Fuzzer {
  /** @type {Entry[]} */
  entries = []
  runs = 0
  #target
  #coverage
  #random
  #watchdog
  #save
  /** @type {unknown} */
  #thrown
  #catch = (/** @type {unknown} */ error) => {
    this.#thrown ??= error
  }

  /**
   * @param {Target} target @param {import('./coverage.js').Coverage} coverage @param {number} seed
   * @param {typeof saveCrash} save keeps an input that something was wrong with, and says where
   */
  constructor(target, coverage, seed, save = saveCrash) {
    this.#save = save
    this.#target = target
    this.#coverage = coverage
    this.#random = new Random(seed)
    this.#watchdog = new Watchdog(target.name)
    // From a microtask of the library, which no `try` sees.
    process.on('uncaughtException', this.#catch)
    process.on('unhandledRejection', this.#catch)
  }

  /** Runs the corpus itself, as it is. Returns the file of a crash, if there was one. @param {readonly Entry[]} corpus */
  async read(corpus) {
    for (const entry of corpus) {
      const crash = await this.#try(entry.data)
      if (crash !== undefined) return crash
      this.#coverage.news()
      this.entries.push(entry)
    }
    if (this.entries.length === 0) this.entries.push({ name: undefined, data: new Uint8Array(0) })
    return undefined
  }

  /** Fuzzes until the limit says stop. @param {(runs: number) => boolean} isOver @param {(event: 'new' | 'pulse') => void} tell */
  async fuzz(isOver, tell) {
    while (!isOver(this.runs)) {
      const data = this.#next()
      const crash = await this.#try(data)
      if (crash !== undefined) return crash
      const news = this.#coverage.news()
      if (news.length > 0) {
        this.entries.push({ name: undefined, data: await this.#trim(data, news) })
        tell('new')
      }
      if (this.runs % TURN === 0) {
        await setImmediate()
        tell('pulse')
      }
    }
    return undefined
  }

  /** Of what was read and found, the smallest inputs that reach every counter reached; those with a name first, all of them. */
  async smallest() {
    const size = (/** @type {Entry} */ { name, data }) => (name === undefined ? 1 << 20 : 0) + data.length
    /** @type {Set<number>} */
    const reached = new Set()
    const kept = []
    for (const entry of [...this.entries].sort((a, b) => size(a) - size(b))) {
      await this.#try(entry.data)
      const counters = this.#coverage.features().map((feature) => feature >> 8)
      if (entry.name === undefined && counters.every((counter) => reached.has(counter))) continue
      for (const counter of counters) reached.add(counter)
      kept.push(entry)
    }
    return kept
  }

  close() {
    process.off('uncaughtException', this.#catch)
    process.off('unhandledRejection', this.#catch)
    return this.#watchdog.stop()
  }

  #next() {
    const random = this.#random
    const { dictionary, longest, mutations } = this.#target
    const [entry, other] = [this.#pick(), this.#pick()]
    let { data } = entry
    for (let n = 1 + Math.clz32(random.uint32() | 0x00ff_ffff); n > 0; n--) {
      const mutation = mutations.length > 0 && random.below(2) === 0 ? random.of(mutations) : random.of(MUTATIONS)
      data = mutation(data, random, { other: other.data, dictionary })
    }
    return data.length > longest ? data.slice(0, longest) : data
  }

  /** What came last leads on most often. */
  #pick() {
    const { length } = this.entries
    const recent = this.#random.below(3) === 0 ? Math.min(length, 32) : length
    return /** @type {Entry} */ (this.entries[length - 1 - this.#random.below(recent)])
  }

  /** @param {Uint8Array} data */
  async #try(data) {
    const target = this.#target
    if (target.stale) await target.prepare()
    this.#coverage.reset()
    this.#watchdog.begin(data)
    this.runs++
    try {
      const over = runOnce(target, data)
      if (over !== undefined) await over
    } catch (error) {
      return this.#save(target.name, data, error)
    }
    return this.#thrown === undefined ? undefined : this.#save(target.name, data, this.#thrown)
  }

  /** Leaves out what is not needed to do the new thing. @param {Uint8Array} data @param {readonly number[]} news */
  async #trim(data, news) {
    let chunk = data.length >> 1
    for (let trial = 0; trial < TRIMS && chunk > 0; trial++) {
      const from = this.#random.below(data.length - chunk + 1)
      const shorter = new Uint8Array(data.length - chunk)
      shorter.set(data.subarray(0, from))
      shorter.set(data.subarray(from + chunk), from)
      if ((await this.#try(shorter)) !== undefined) return data
      const done = new Set(this.#coverage.features())
      if (news.every((feature) => done.has(feature))) data = shorter
      chunk = Math.min(trial % 2 === 1 ? chunk >> 1 : chunk, data.length)
    }
    return data
  }
}
