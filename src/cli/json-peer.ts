/**
 * `sallyport connect --json`: JSON lines for scripts, and for tests between implementations. What the lines are is in `sallyport help
 * connect`; what goes over the path is in conversation.ts.
 */
import { performance } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { SallyportError } from '../errors.ts'
import type { Explanation, Path } from '../path/index.ts'
import type { Session } from '../session.ts'
import type { Signal } from '../signal/index.ts'
import type { Traversal } from '../traversal.ts'
import { Conversation } from './conversation.ts'
import { pathText, tidy } from './format.ts'
import { openTraversal, type PeerSetup } from './peer-setup.ts'
import { Watch, whenever } from './watch.ts'

export interface JsonOptions {
  /** Tell of candidates, servers, checks and messages. */
  readonly events: boolean
  /** What our datagrams carry. */
  readonly say: string
}

/** Milliseconds between attempts, once data has gone both ways and the path was lost for good. */
const AGAIN = 1_000
/** What the other end of a pipe, another `connect --json`, writes: no signal, and no reason for a warning that would come back as one. */
const OUTPUT = ['event', 'done', 'failed', 'warning']

export async function runForPrograms(setup: PeerSetup, options: JsonOptions): Promise<number> {
  const peer = new JsonPeer(setup, options)
  return peer.run()
}

class JsonPeer {
  readonly #setup: PeerSetup
  readonly #options: JsonOptions
  readonly #conversation: Conversation
  readonly #timers = new Set<NodeJS.Timeout>()
  #finish: (code: number) => void = () => {}
  #traversal: Traversal | undefined
  #session: Session | undefined
  #watch: Watch | undefined
  /** The last one there was. */
  #path: Path | undefined
  #explanation = ''
  #lines = 0
  #startedAt = 0

  constructor(setup: PeerSetup, options: JsonOptions) {
    this.#setup = setup
    this.#options = options
    this.#conversation = new Conversation(options.say, {
      send: (data) => void (this.#session?.path !== undefined && this.#session.send(data)),
      heard: (text) => this.#event({ event: 'message', text }),
      done: () => this.#done(),
    })
  }

  async run(): Promise<number> {
    const finished = new Promise<number>((resolve) => {
      this.#finish = resolve
    })
    // Listened to from the start: the peer's first signal may be there before our sockets are.
    const early: string[] = []
    let take = (line: string): void => void early.push(line)
    const input = createInterface({ input: process.stdin })
    input.on('line', (line) => take(line))
    input.once('close', () => this.#finish(0))
    process.stdout.once('error', () => this.#finish(0)) // nobody reads any more
    const stop = (): void => this.#finish(0)
    process.once('SIGINT', stop).once('SIGTERM', stop)

    let unwatch: (() => void) | undefined
    let code = 1
    try {
      const session = await this.#open()
      if (this.#watch !== undefined) unwatch = await whenever(() => this.#watch?.look())
      take = (line) => this.#take(line, session)
      for (const line of early) take(line)
      code = await finished
      this.#explanation ||= String(session.explain())
    } catch (error) {
      if (!(error instanceof SallyportError)) throw error
      this.#print({ failed: error.code, reason: error.message, ms: this.#ms() })
    } finally {
      process.off('SIGINT', stop).off('SIGTERM', stop)
      this.#conversation.stop()
      for (const timer of this.#timers) clearTimeout(timer)
      unwatch?.()
      input.close()
      process.stdin.destroy()
      await this.#session?.close()
      await this.#traversal?.close()
    }
    if (this.#setup.verbose) console.error(this.#explanation)
    return code
  }

  async #open(): Promise<Session> {
    this.#startedAt = performance.now()
    this.#traversal = await openTraversal(this.#setup)
    const session = this.#traversal.connect({ peer: 'peer' })
    this.#session = session
    if (this.#options.events) this.#watch = new Watch(this.#traversal, session, (sight) => this.#event(sight))
    session.on('signal', (signal) => {
      this.#watch?.look()
      this.#print({ signal })
    })
    session.on('path', (path) => {
      this.#path = path
      this.#watch?.look()
      this.#print({ event: 'path', ...pathText(path), ms: this.#ms() })
      this.#conversation.start()
    })
    session.on('message', (data) => this.#conversation.receive(data))
    session.on('state', (state) => {
      if (state === 'connected' || this.#path === undefined) return
      this.#conversation.stop()
      if (state === 'connecting') this.#print({ event: 'lost', ms: this.#ms() })
    })
    session.on('error', (error) => this.#ended(error))
    if (this.#setup.timeout !== undefined) this.#after(this.#setup.timeout, () => this.#timedOut(session))
    return session
  }

  #take(line: string, session: Session): void {
    this.#lines++
    if (line.trim() === '') return
    const where = `line ${this.#lines} of standard input`
    let value: unknown
    try {
      value = JSON.parse(line)
    } catch {
      this.#print({ warning: `${where} is not JSON` })
      return
    }
    if (typeof value === 'object' && value !== null && 'restart' in value && value.restart === true) {
      session.restart()
      return
    }
    if (typeof value !== 'object' || value === null || !('signal' in value)) {
      const output = typeof value === 'object' && value !== null && OUTPUT.some((name) => name in value)
      if (!output) this.#print({ warning: `${where} has no "signal"` })
      return
    }
    if (session.signal(value.signal as Signal)) return
    this.#print({ warning: `${where}: ${session.explain().refused.at(-1) ?? 'not a signal'}` })
  }

  #done(): void {
    const path = this.#session?.path ?? this.#path
    if (path === undefined) return
    this.#print({ done: true, ms: this.#ms(), local: path.local.type, remote: path.remote.type, direct: path.kind === 'direct' })
  }

  /** The attempt is over: that is the end, unless data has gone both ways before; then we stay for as long as we are wanted. */
  #ended(error: Error): void {
    const code = error instanceof SallyportError ? error.code : 'ERR_INTERNAL'
    if (error instanceof SallyportError && error.report !== undefined) {
      this.#explanation = String(error.report)
      this.#watch?.pairs(error.report as Explanation)
    }
    if (!this.#conversation.done) {
      this.#fail(code, error.message, (error as Partial<SallyportError>).report)
      return
    }
    this.#print({ event: 'ended', code, ms: this.#ms() })
    // A peer that left comes back by itself, if it does.
    if (code === 'ERR_NO_PATH') this.#after(AGAIN, () => void this.#traversal?.connect({ peer: 'peer' }))
  }

  #timedOut(session: Session): void {
    if (this.#conversation.done) return
    const report = session.explain()
    const heard = report.signals.received > 0
    const why =
      this.#path !== undefined
        ? this.#conversation.progress
        : heard
          ? 'no check of the peer’s candidates was answered'
          : 'no signal came from the peer'
    this.#explanation = String(report)
    this.#fail('ERR_TIMEOUT', `nothing went both ways within ${(this.#setup.timeout ?? 0) / 1_000} s: ${why}`, report)
  }

  #fail(code: string, reason: string, report: unknown): void {
    this.#print({ failed: code, reason, ms: this.#ms(), ...(report === undefined ? {} : { report }) })
    this.#finish(1)
  }

  #after(delay: number, callback: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      callback()
    }, delay)
    this.#timers.add(timer)
  }

  /** Since gathering began. */
  #ms(): number {
    return tidy(performance.now() - this.#startedAt)
  }

  #event(event: object): void {
    if (this.#options.events) this.#print({ ...event, ms: this.#ms() })
  }

  #print(line: object): void {
    process.stdout.write(`${JSON.stringify(line)}\n`)
  }
}
