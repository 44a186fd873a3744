/** The parent's end of one worker: a child process, what it said last, and what we wait for. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { RelayEvent, RelayStatus } from '../../../relay/index.ts'
import { UsageError } from '../../usage.ts'
import type { Listening, ServeEvent } from '../service.ts'
import type { RelaySetup } from '../setup.ts'
import type { Answer, Order } from './protocol.ts'

/** Milliseconds until one that does not do what it is told is killed, or its last report is taken for the present one. */
const PATIENCE = 2_000

export interface WorkerOutlet {
  event(worker: WorkerProcess, event: RelayEvent | ServeEvent): void
  take(worker: WorkerProcess, id: number, user: string): void
  release(worker: WorkerProcess, user: string): void
  /** Once; not for one that never started. */
  exited(worker: WorkerProcess, how: string): void
}

export interface ProcessReport {
  readonly status: RelayStatus
  readonly resident: number
  readonly cpu: number
}

export class WorkerProcess {
  /** From 0. */
  readonly index: number
  readonly #outlet: WorkerOutlet
  readonly #child: ChildProcess
  /** By the answer that settles them. */
  readonly #waiting = new Map<string, ((answer: Answer | undefined) => void)[]>()
  #reports = 0
  #gone = false
  #started = false
  /** The last one; undefined before the first. */
  report: ProcessReport | undefined

  private constructor(index: number, outlet: WorkerOutlet, child: ChildProcess) {
    this.index = index
    this.#outlet = outlet
    this.#child = child
  }

  static spawn(index: number, outlet: WorkerOutlet): WorkerProcess {
    // The secrets come by IPC: an environment can be read by other processes of the same user.
    const { SALLYPORT_SECRET: _secret, ...env } = process.env
    const child = fork(fileURLToPath(new URL('./worker.js', import.meta.url)), {
      env,
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    const worker = new WorkerProcess(index, outlet, child)
    child.on('message', (answer: Answer) => worker.#heard(answer))
    child.on('error', (error) => {
      if (child.pid === undefined) worker.#exited(error.message) // it was never there
    })
    // What it said last comes before the end of the channel, and maybe after that of the process.
    const disconnected = new Promise((resolve) => child.once('disconnect', resolve))
    child.once('exit', (code, signal) => void disconnected.then(() => worker.#exited(signal ?? `exit code ${code}`)))
    return worker
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get gone(): boolean {
    return this.#gone
  }

  /** Rejects with what the worker says, UsageError included; it has ended then. */
  async start(setup: RelaySetup): Promise<Listening> {
    this.say({ order: 'start', setup })
    const answer = await this.#answer('started')
    if (answer?.answer === 'started') {
      this.#started = true
      return answer.listening
    }
    this.kill()
    if (answer?.answer !== 'failed') throw new Error('a worker ended before it had started')
    throw answer.usage ? new UsageError(answer.message) : new Error(answer.message)
  }

  say(order: Order): void {
    // One that is gone hears nothing; its exit tells.
    if (this.#child.connected) this.#child.send(order, undefined, undefined, () => {})
  }

  /** How it is now, or was at its last report if it does not answer in time. */
  async look(): Promise<ProcessReport | undefined> {
    const id = ++this.#reports
    this.say({ order: 'report', id })
    await this.#answer(`report ${id}`, PATIENCE)
    return this.report
  }

  /** In words why it could not; undefined when it could, or is gone. */
  async renew(order: Order & { readonly order: 'renew' }): Promise<string | undefined> {
    this.say(order)
    const answer = await this.#answer('renewed')
    return answer?.answer === 'renewed' ? answer.failure : undefined
  }

  async rebind(): Promise<void> {
    this.say({ order: 'rebind' })
    await this.#answer('rebound')
  }

  /** Resolves when it has no allocation any more, or is gone. */
  async drain(): Promise<void> {
    this.say({ order: 'drain' })
    await this.#answer('drained')
  }

  /** Resolves when it has ended. */
  async close(): Promise<void> {
    if (this.#gone) return
    const gone = this.#answer('exit')
    this.say({ order: 'close' })
    const timer = setTimeout(() => this.kill(), PATIENCE)
    await gone
    clearTimeout(timer)
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #heard(answer: Answer): void {
    switch (answer.answer) {
      case 'event':
        this.#outlet.event(this, answer.event)
        return
      case 'take':
        this.#outlet.take(this, answer.id, answer.user)
        return
      case 'release':
        this.#outlet.release(this, answer.user)
        return
      case 'report':
        this.report = { status: answer.status, resident: answer.resident, cpu: answer.cpu }
        if (answer.id !== undefined) this.#settle(`report ${answer.id}`, answer)
        return
      case 'failed':
        this.#settle('started', answer)
        return
      default:
        this.#settle(answer.answer, answer)
    }
  }

  /** Undefined when the process ends first, or time is over. */
  #answer(kind: string, patience?: number): Promise<Answer | undefined> {
    if (this.#gone) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      const timer = patience === undefined ? undefined : setTimeout(() => this.#settle(kind, undefined), patience)
      const waiting = this.#waiting.get(kind) ?? []
      this.#waiting.set(kind, waiting)
      waiting.push((answer) => {
        clearTimeout(timer)
        resolve(answer)
      })
    })
  }

  #settle(kind: string, answer: Answer | undefined): void {
    const waiting = this.#waiting.get(kind) ?? []
    this.#waiting.delete(kind)
    for (const settle of waiting) settle(answer)
  }

  #exited(how: string): void {
    this.#gone = true
    for (const kind of [...this.#waiting.keys()]) this.#settle(kind, undefined)
    if (this.#started) this.#outlet.exited(this, how)
  }
}
