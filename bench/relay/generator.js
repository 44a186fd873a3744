// @ts-check
/** Compiles load.c with the system's `cc` and runs it. */
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { pinned } from './contestants.js'

const run = promisify(execFile)

/**
 * @typedef {object} Load
 * @property {'up' | 'down'} direction client to peer, or peer to client
 * @property {number} payload bytes
 * @property {number} [window] datagrams on their way for each flow, 32 by default
 * @property {number} [rate] datagrams a second whatever comes back, in place of the window
 * @property {number} seconds
 * @property {number} [core] the generator's own; without one it sleeps while there is nothing to do
 *
 * @typedef {object} Result
 * @property {number} packets that came
 * @property {number} lost
 * @property {number} late behind a later one of their flow
 * @property {number} rate packets a second
 * @property {number} cpu microseconds of the server's processor time for a packet
 * @property {number} load of the server: cores it used
 * @property {number} generator cores that the generator used itself
 * @property {number} p50 @property {number} p99 @property {number} p999 microseconds on the way
 */

export class Generator {
  #folder = mkdtempSync(join(tmpdir(), 'load-'))
  #program = join(this.#folder, 'load')

  /** @throws Error without a C compiler */
  compile() {
    execFileSync('cc', ['-O2', '-std=c99', '-o', this.#program, fileURLToPath(new URL('load.c', import.meta.url))])
    return this
  }

  /** @param {import('./contestants.js').Contestant} contestant @param {number} count of flows @param {Load} load @returns {Promise<Result>} */
  async run(contestant, count, { direction, payload, window = 32, rate = 0, seconds, core }) {
    const { texts, free } = await contestant.flows(count)
    const warm = Math.min(0.2, seconds / 4)
    const numbers = [payload, window, rate, warm, seconds, core === undefined ? 0 : 1].map(String)
    const pids = contestant.pids.length === 0 ? '-' : contestant.pids.join(',')
    const [command = '', ...words] = pinned(core, [this.#program, direction, ...numbers, pids, ...texts])
    const { stdout } = await run(command, words)
    await free()
    return JSON.parse(stdout)
  }

  remove() {
    rmSync(this.#folder, { recursive: true })
  }
}
