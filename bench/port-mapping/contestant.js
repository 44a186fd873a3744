// @ts-check
/** A contestant at work: its process in a home, what it says and within which time. */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const CLIENT = fileURLToPath(new URL('client.js', import.meta.url))
/** Milliseconds for one step. The longest way on which anybody succeeds takes a quarter of it. */
export const LIMIT = 8_000

/**
 * @typedef {import('./network.js').Home} Home
 * @typedef {import('./client.js').Task} Task
 * @typedef {{ event: 'ready' | 'mapped' | 'closed' | 'failed' | 'crashed' | 'hangs', ms?: number, port?: number, protocol?: string, why?: string }} Word
 */

export class Contestant {
  /** @type {Word[]} */
  #words = []
  /** @type {(() => void) | undefined} */
  #wake
  #errors = ''

  /** @param {Home} home @param {string} name @param {string} folder @param {Partial<Task>} [task] */
  constructor(home, name, folder, task = {}) {
    const { host, router, network } = home
    const { family = 4 } = task
    const lan = family === 4 ? `${router.lan.prefix4}.1` : `${router.lan.prefix6}:1`
    const ip = family === 4 ? host.ip4 : host.ip6
    /** @type {Task} */
    this.task = { contestant: name, folder, family, router: lan, ip, internalPort: 4_001, externalPort: 4_001, lease: 3_600, ...task }
    this.child = network.net.exec(host, process.execPath, ['--no-deprecation', CLIENT, JSON.stringify(this.task)], { stdio: 'pipe' })
    this.child.stdin?.on('error', () => {})
    this.child.stderr?.on('data', (chunk) => {
      this.#errors += chunk
    })
    const lines = createInterface({ input: /** @type {NodeJS.ReadableStream} */ (this.child.stdout) })
    lines.on('line', (line) => this.#add(JSON.parse(line)))
    this.child.once('exit', () => this.#add({ event: 'crashed', why: this.#errors.trim() }))
  }

  /** The next thing it says, or that it says nothing. @returns {Promise<Word>} */
  async #next() {
    if (this.#words.length === 0) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, LIMIT)
        this.#wake = () => {
          clearTimeout(timer)
          resolve(undefined)
        }
      })
    }
    return this.#words.shift() ?? { event: 'hangs' }
  }

  /** Loads its package, then maps. */
  async map() {
    const ready = await this.#next()
    return ready.event === 'ready' ? this.order('map') : ready
  }

  /** @param {'map' | 'close'} order */
  order(order) {
    this.child.stdin?.write(`${order}\n`)
    return this.#next()
  }

  /** Without a word. */
  async kill() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const gone = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await gone
  }

  /** @param {Word} word */
  #add(word) {
    this.#words.push(word)
    this.#wake?.()
  }
}
