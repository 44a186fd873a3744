/**
 * A relay of several processes: starts them, shares ports, quotas and the secret of nonces among them, adds up what they count, and starts
 * again the one that dies. A client stays with the worker that its address leads to.
 */
import { randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { SallyportError } from '../../../errors.ts'
import type { TlsIdentity } from '../../../net/index.ts'
import { canReusePort, nodeNetwork } from '../../../net/node/index.ts'
import type { RelayCounters, RelayEvent } from '../../../relay/index.ts'
import type { Listening, Report, ServeEvent, Service, Tell, WorkerStart } from '../service.ts'
import type { RelaySetup } from '../setup.ts'
import { SharedLedger } from './shared-ledger.ts'
import { assertApart, shareOf, withPorts } from './shares.ts'
import { addCounters, addStatuses } from './totals.ts'
import { WorkerOrder } from './worker-order.ts'
import { WorkerProcess } from './worker-process.ts'

/** Milliseconds before one that died is started again, doubled each time up to the last, and how long one has to live to begin anew. */
const FIRST_DELAY = 20
const LONGEST_DELAY = 10_000
const STEADY = 60_000

/** The place of a worker, which outlives it. */
interface Slot {
  readonly index: number
  readonly setup: RelaySetup
  worker: WorkerProcess | undefined
  listening: Listening | undefined
  /** Of its allocations. */
  readonly relayed: Set<string>
  startedAt: number
  delay: number
  timer: NodeJS.Timeout | undefined
}

export class WorkerPool implements Service {
  readonly #tell: Tell
  readonly #shared: boolean
  readonly #ledger: SharedLedger
  readonly #slots: readonly Slot[]
  readonly #order = new WorkerOrder()
  /** Counters of workers that are no more. */
  #past: RelayCounters | undefined
  #restarts = 0
  /** After SIGHUP. */
  #tls: TlsIdentity | undefined
  #ordering: Promise<void> = Promise.resolve()
  #draining = false
  #closed = false

  private constructor(slots: readonly Slot[], shared: boolean, ledger: SharedLedger, tell: Tell) {
    this.#slots = slots
    this.#shared = shared
    this.#ledger = ledger
    this.#tell = tell
  }

  /** Rejects with what the first worker that cannot start says. @throws UsageError */
  static async open(setup: RelaySetup, count: number, tell: Tell): Promise<WorkerPool> {
    const shared = await canReusePort()
    assertApart(setup, count, shared)
    const secret = { ...setup, nonceSecret: new Uint8Array(randomBytes(32)) }
    const common = shared ? await withPorts(secret, nodeNetwork()) : secret
    const slots: Slot[] = []
    for (let index = 0; index < count; index++) {
      const own = await withPorts(shareOf(common, index, count, shared), nodeNetwork())
      const blank = { worker: undefined, listening: undefined, timer: undefined }
      slots.push({ index, setup: own, ...blank, relayed: new Set(), startedAt: 0, delay: FIRST_DELAY })
    }
    const ledger = new SharedLedger(setup.quotas.allocations, setup.quotas.allocationsPerUser)
    const pool = new WorkerPool(slots, shared, ledger, tell)
    try {
      // One after the other: so all of them hold all of their ports in the same order.
      for (const slot of slots) await pool.#start(slot)
    } catch (error) {
      await pool.close()
      throw error
    }
    return pool
  }

  /** Whether all workers are at one port. */
  get shared(): boolean {
    return this.#shared
  }

  get listening(): Listening {
    const all = this.#slots.flatMap(({ listening }) => (listening === undefined ? [] : [listening]))
    const each = (pick: (listening: Listening) => readonly string[]): readonly string[] => [...new Set(all.flatMap(pick))]
    return { udp: each(({ udp }) => udp), tcp: each(({ tcp }) => tcp), tls: each(({ tls }) => tls), uris: each(({ uris }) => uris) }
  }

  /** Who they are and where each listens for UDP. */
  get workers(): readonly WorkerStart[] {
    return this.#slots.map(({ index, worker, listening }) => ({ worker: index + 1, pid: worker?.pid ?? 0, udp: listening?.udp ?? [] }))
  }

  async report(): Promise<Report> {
    const running = this.#slots.flatMap(({ worker }) => (worker === undefined || worker.gone ? [] : [worker]))
    const reports = await Promise.all(running.map(async (worker) => ({ worker, report: await worker.look() })))
    const known = reports.flatMap(({ worker, report }) => (report === undefined || worker.gone ? [] : [{ worker, report }]))
    const status = addStatuses(
      known.map(({ report }) => report.status),
      this.#past,
      this.#ledger.users,
    )
    if (status === undefined) throw new Error('no worker runs')
    const workers = known.map(({ worker, report: { resident, cpu } }) => ({ worker: worker.index + 1, pid: worker.pid, resident, cpu }))
    return { kind: 'relay', status, workers, restarts: this.#restarts }
  }

  async renew(tls: TlsIdentity): Promise<void> {
    const failures = await Promise.all(this.#slots.map(({ worker }) => worker?.renew({ order: 'renew', tls })))
    const failure = failures.find((one) => one !== undefined)
    if (failure !== undefined) throw new SallyportError('ERR_BIND', failure)
    this.#tls = tls
  }

  async drain(): Promise<void> {
    this.#draining = true
    // One that has none left stays until the others have none either: a port that is shared must not change hands.
    await Promise.all(this.#slots.map(({ worker }) => worker?.drain()))
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const { timer } of this.#slots) clearTimeout(timer)
    await Promise.all(this.#slots.map(({ worker }) => worker?.close()))
  }

  async #start(slot: Slot): Promise<void> {
    const { index, setup } = slot
    const worker = WorkerProcess.spawn(index, {
      event: (_worker, event) => this.#event(slot, event),
      take: (from, id, user) => from.say({ order: 'verdict', id, verdict: this.#ledger.take(index, user) }),
      release: (_worker, user) => this.#ledger.release(index, user),
      exited: (gone, how) => this.#exited(slot, gone, how),
    })
    slot.worker = worker
    const listening = await worker.start(this.#tls === undefined ? setup : { ...setup, tls: this.#tls })
    slot.listening = listening
    slot.startedAt = performance.now()
    this.#order.join(index)
    const others = this.#slots.filter((other) => other !== slot).flatMap(({ relayed }) => [...relayed])
    if (others.length > 0) worker.say({ order: 'relayed', added: others, removed: [] })
    if (this.#draining) worker.say({ order: 'drain' })
  }

  #event(slot: Slot, event: RelayEvent | ServeEvent): void {
    if (event.event === 'allocation-created') {
      for (const address of event.relayed) slot.relayed.add(address)
      this.#relayed(slot, event.relayed, [])
    } else if (event.event === 'allocation-deleted') {
      for (const address of event.relayed) slot.relayed.delete(address)
      this.#relayed(slot, [], event.relayed)
    }
    this.#tell(event, slot.index + 1)
  }

  /** Tells the other workers. */
  #relayed(slot: Slot, added: readonly string[], removed: readonly string[]): void {
    for (const other of this.#slots) if (other !== slot) other.worker?.say({ order: 'relayed', added, removed })
  }

  #exited(slot: Slot, worker: WorkerProcess, how: string): void {
    const { index } = slot
    this.#order.leave(index)
    this.#ledger.forget(index)
    if (worker.report !== undefined) this.#past = addCounters(this.#past, worker.report.status.counters)
    const gone = [...slot.relayed]
    slot.relayed.clear()
    if (gone.length > 0) this.#relayed(slot, [], gone)
    if (this.#closed) return
    if (performance.now() - slot.startedAt >= STEADY) slot.delay = FIRST_DELAY
    this.#tell({ event: 'worker-exited', pid: worker.pid, how, again: slot.delay }, index + 1)
    this.#again(slot)
  }

  #again(slot: Slot): void {
    slot.timer = setTimeout(() => void this.#restart(slot), slot.delay)
    slot.delay = Math.min(LONGEST_DELAY, 2 * slot.delay)
  }

  async #restart(slot: Slot): Promise<void> {
    try {
      await this.#start(slot)
    } catch (error) {
      if (this.#closed) return
      this.#tell({ event: 'worker-failed', message: (error as Error).message, again: slot.delay }, slot.index + 1)
      return this.#again(slot)
    }
    if (this.#closed) return slot.worker?.close()
    this.#restarts++
    const { pid } = slot.worker as WorkerProcess
    this.#ordering = this.#ordering.then(() => this.#putInOrder())
    await this.#ordering
    if (!this.#closed) this.#tell({ event: 'worker-started', pid }, slot.index + 1)
  }

  /** Brings each worker back to the place where its clients look for it. */
  async #putInOrder(): Promise<void> {
    if (!this.#shared) return
    while (!this.#closed && this.#slots.every(({ worker }) => worker?.gone === false)) {
      const next = this.#order.next()
      const worker = next === undefined ? undefined : this.#slots[next]?.worker
      if (next === undefined || worker === undefined) return
      await worker.rebind()
      if (worker.gone) return
      this.#order.leave(next)
      this.#order.join(next)
    }
  }
}
