// @ts-check
/** A run that never ends is a find like any other: this thread sees that nothing moves, saves the input, and ends the process. */
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { saveCrash } from './crash.js'

const PATIENCE_MS = 10_000
const LONGEST = 65_536

/** Shared with the watching thread: how many runs there were, how long the present input is, and the input. */
export class Watchdog {
  #counts = new Int32Array(new SharedArrayBuffer(8))
  #input = new Uint8Array(new SharedArrayBuffer(LONGEST))
  #worker

  /** @param {string} target */
  constructor(target) {
    this.#worker = new Worker(new URL(import.meta.url), { execArgv: [], workerData: { target, counts: this.#counts, input: this.#input } })
    this.#worker.unref()
  }

  /** @param {Uint8Array} input */
  begin(input) {
    this.#input.set(input)
    this.#counts[1] = input.length
    this.#counts[0] = /** @type {number} */ (this.#counts[0]) + 1
  }

  stop() {
    return this.#worker.terminate()
  }
}

if (!isMainThread && workerData?.counts !== undefined) {
  /** @type {{ target: string, counts: Int32Array, input: Uint8Array }} */
  const { target, counts, input } = workerData
  let last = -1
  setInterval(() => {
    if (counts[0] !== last) {
      last = /** @type {number} */ (counts[0])
      return
    }
    if (last === 0) return
    saveCrash(target, Uint8Array.from(input.subarray(0, counts[1])), new Error(`the run did not end within ${PATIENCE_MS / 1000} s`))
    process.kill(process.pid, 'SIGKILL')
  }, PATIENCE_MS)
}
