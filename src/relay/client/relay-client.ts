/**
 * The client of one TURN server (RFC 8656): finds a way there, measures it, and keeps one allocation alive for as long as one is wanted. What is
 * lost is replaced, what fails is tried again later; nobody has to ask. Its options are RelayClientOptions, its news go to a RelayOutlet.
 */
import { diagnose } from '../../diagnostics.ts'
import { SallyportError } from '../../errors.ts'
import { type Address, type Family, type Network, randomFraction, type Timer, type Timers } from '../../net/index.ts'
import type { ServerUri } from '../../stun/index.ts'
import type { RelayTransport } from '../transport.ts'
import { Allocation, type AllocationOutlet } from './allocation.ts'
import { CredentialSource, type RelayCredentials, sameCredentials } from './credential-source.ts'
import { discard, Establishment, type Grant, within } from './establishment.ts'
import type { Leg } from './race.ts'
import { retryDelay } from './retry-delay.ts'

/** Milliseconds that a connection is kept whose server waits for credentials, and between measurements without an allocation. */
const IDLE_KEPT = 30_000
const MEASURE_INTERVAL = 240_000
/** Milliseconds that an allocation stays beside the one that takes its place. */
const RETIRED_KEPT = 10_000
/** An allocation that lived no longer than this is no success: it is not replaced at once. */
const SHORT_LIFE = 5_000

/** What a client tells its owner. Never from within a call of the owner's. */
export interface RelayOutlet extends AllocationOutlet {
  /** The server answered, so that `rtt` is known: a 401 as a rule. Again after each later measurement. */
  measured(client: RelayClient): void
  /** There is an allocation; instead of the one before it, which lives on for 10 s, if there was one. */
  allocated(client: RelayClient, allocation: Allocation): void
  /** It is dead. The client gets another one by itself while one is wanted. Not told of what was given back. */
  lost(client: RelayClient, allocation: Allocation, error: SallyportError): void
  /** It does not answer: `lost` follows soon, unless it does after all. */
  doubted(client: RelayClient, allocation: Allocation): void
  /** One that was replaced is given back now: the 10 s are over. */
  ended(client: RelayClient, allocation: Allocation): void
  /** An attempt failed. The client tries again by itself, after growing waits. */
  failed(client: RelayClient, error: SallyportError): void
}

export interface RelayClientOptions {
  readonly network: Network
  readonly timers: Timers
  readonly uri: ServerUri
  /** As configured; for messages and reports. */
  readonly text: string
  /** Of the server, with the port: one at least. Both families are raced. */
  readonly addresses: readonly Address[]
  /** Addresses of all relays that were configured: where a redirection without TLS may lead. Those of this one by default. */
  readonly named?: readonly Address[]
  /** Asked for when an allocation is first wanted, and again before they expire, or when the server does not take them. */
  readonly credentials: () => Promise<RelayCredentials>
  /** Of the relayed addresses. With both, servers that have no second one for us give IPv4 alone. */
  readonly families: readonly Family[]
  /** Certificates in PEM to trust with `turns:`; those of the system by default. */
  readonly ca?: string
  readonly outlet: RelayOutlet
}

export class RelayClient {
  readonly #options: RelayClientOptions
  readonly #credentials: CredentialSource
  #started = false
  #wanted = false
  #closed = false
  /** What the allocation was got with; undefined also when the server does not take them any more. */
  #used: RelayCredentials | undefined
  #run: AbortController | undefined
  readonly #establishment: Establishment
  #idle: Leg | undefined
  #idleTimer: Timer | undefined
  #allocation: Allocation | undefined
  readonly #retired = new Map<Allocation, Timer | undefined>()
  /** The next attempt, measurement or renewal. */
  #timer: Timer | undefined
  /** In a row: success ends the row once it has lasted. */
  #failures = 0
  #succeededAt: number | undefined
  /** The next attempt repeats one that failed. */
  #retrying = false
  #failure: SallyportError | undefined
  #rtt: number | undefined
  #transport: RelayTransport | undefined

  constructor(options: RelayClientOptions) {
    this.#options = options
    this.#credentials = new CredentialSource(options.timers, options.text, options.credentials)
    this.#establishment = new Establishment({
      ...options,
      source: this.#credentials,
      wanted: () => this.#wanted,
      reached: (leg) => this.#reached(leg),
    })
  }

  /** As configured. */
  get text(): string {
    return this.#options.text
  }

  /** Milliseconds of the last round trip; undefined before the first answer. */
  get rtt(): number | undefined {
    return this.#allocation?.rtt ?? this.#rtt
  }

  get allocation(): Allocation | undefined {
    return this.#allocation
  }

  /** Why the last attempt failed; undefined once one succeeded. */
  get failure(): SallyportError | undefined {
    return this.#failure
  }

  /** The one that won the last race. */
  get transport(): RelayTransport | undefined {
    return this.#allocation?.transport ?? this.#transport
  }

  /** Measures: asks over every transport that may be used, and takes the first that answers. Idempotent. */
  start(): void {
    if (this.#started) return
    this.#started = true
    this.#begin()
  }

  /** An allocation is wanted from now on. */
  allocate(): void {
    if (this.#closed || this.#wanted) return
    this.#wanted = true
    this.#started = true
    // While the way is looked for: both take a round trip. An error is found again by who needs them.
    this.#credentials.get().catch(() => {})
    if (this.#allocation !== undefined || this.#run !== undefined) return
    this.#failures = 0
    this.#begin()
  }

  /** None is wanted any more. The server is measured now and then all the same. */
  release(): void {
    if (!this.#wanted) return
    this.#wanted = false
    const allocation = this.#allocation
    this.#allocation = undefined
    if (allocation !== undefined) this.#retire(allocation, 0)
    if (this.#run === undefined && !this.#closed) this.#plan(this.#measureDelay())
  }

  /** The machine's addresses or routes changed: what stands is doubted, what waits is tried at once. */
  networkChanged(): void {
    if (this.#closed || !this.#started) return
    this.#allocation?.verify(true)
    this.#dropIdle()
    if (this.#run !== undefined || this.#allocation !== undefined) return
    this.#failures = 0
    this.#begin()
  }

  /** The allocation is given back without waiting for an answer; nothing is told any more. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#wanted = false
    this.#timer?.cancel()
    this.#dropIdle()
    this.#establishment.abandon()
    this.#credentials.close()
    this.#run?.abort(new SallyportError('ERR_CLOSED', `relay ${this.text}: closed`))
    this.#allocation?.end()
    this.#allocation = undefined
    for (const [allocation, timer] of this.#retired) {
      timer?.cancel()
      allocation.end()
    }
    this.#retired.clear()
  }

  #begin(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#retrying = false
    if (this.#closed || this.#establishment.impossible || this.#run !== undefined) return
    const run = new AbortController()
    this.#run = run
    void this.#attempt(run.signal).then(
      () => {
        this.#run = undefined
        this.#succeededAt = this.#options.timers.now()
        this.#failure = undefined
        this.#continue()
      },
      (cause: unknown) => {
        this.#run = undefined
        if (this.#closed) return
        const error =
          cause instanceof SallyportError ? cause : new SallyportError('ERR_RELAY_REFUSED', `relay ${this.text}: ${cause}`, { cause })
        this.#failure = error
        this.#planRetry(error)
        diagnose('relay', () => ({ event: 'failed', relay: this.text, code: error.code, message: error.message }))
        this.#options.outlet.failed(this, error)
      },
    )
  }

  /** What an attempt that succeeded is followed by. */
  #continue(): void {
    if (this.#closed) return
    if (!this.#wanted) this.#plan(this.#measureDelay())
    else if (this.#allocation === undefined) this.#begin()
    else if (this.#credentials.renewAt < Number.POSITIVE_INFINITY) this.#planAt(this.#credentials.renewAt)
  }

  #plan(delay: number): void {
    this.#planAt(this.#options.timers.now() + delay)
  }

  #planAt(time: number): void {
    this.#timer?.cancel()
    this.#timer = this.#options.timers.at(time, () => this.#begin())
  }

  #planRetry({ code }: SallyportError): void {
    const { timers, network } = this.#options
    if (this.#succeededAt !== undefined && timers.now() - this.#succeededAt >= SHORT_LIFE) this.#failures = 0
    this.#succeededAt = undefined
    if (!this.#establishment.impossible) this.#plan(retryDelay(code, ++this.#failures, network.random))
    this.#retrying = true
  }

  #measureDelay(): number {
    return MEASURE_INTERVAL * (0.9 + 0.2 * randomFraction(this.#options.network.random))
  }

  /** From nothing, or the way at hand, to an allocation; no further than the challenge while none is wanted. */
  async #attempt(signal: AbortSignal): Promise<void> {
    if (this.#allocation !== undefined && (await this.#stillGood(signal))) return
    const result = await this.#establishment.run(this.#takeIdle(), signal)
    if (result.kind === 'leg') this.#keepIdle(result.leg)
    else {
      this.#used = result.credentials
      this.#adopt(result.leg, result.grant)
    }
  }

  /** Of a renewal: the credentials are the same as before, so the allocation may stay. */
  async #stillGood(signal: AbortSignal): Promise<boolean> {
    const used = this.#used
    return used !== undefined && sameCredentials(await within(this.#credentials.get(), signal), used)
  }

  #reached(leg: Leg): void {
    // Before anybody hears of it: whoever looks for a server that answers is to find this one.
    if (!this.#wanted) this.#failure = undefined
    this.#rtt = leg.requests.rtt
    this.#transport = leg.way.transport
    const { transport, address } = leg.way
    diagnose('relay', () => ({ event: 'measured', relay: this.text, transport, server: address.key, rtt: this.#rtt }))
    this.#options.outlet.measured(this)
  }

  #adopt({ connection, requests }: Leg, grant: Grant): void {
    const { network, timers, text, outlet } = this.#options
    const allocation = new Allocation({
      ...grant,
      relay: text,
      connection,
      requests,
      timers,
      random: network.random,
      outlet,
      owner: {
        lost: (lost, error) => this.#lost(lost, error),
        doubted: (doubtful) => {
          if (doubtful === this.#allocation) outlet.doubted(this, doubtful)
        },
        credentialsRefused: (refused) => this.#credentialsRefused(refused),
      },
    })
    allocation.start()
    if (!this.#wanted) {
      this.#retire(allocation, 0)
      return
    }
    const old = this.#allocation
    this.#allocation = allocation
    if (old !== undefined) this.#retire(old, RETIRED_KEPT)
    diagnose('relay', () => ({ event: 'allocated', relay: text, ...allocation.status() }))
    outlet.allocated(this, allocation)
  }

  #lost(allocation: Allocation, error: SallyportError): void {
    diagnose('relay', () => ({ event: 'lost', relay: this.text, code: error.code, message: error.message, ...allocation.status() }))
    this.#retired.get(allocation)?.cancel()
    this.#retired.delete(allocation)
    if (this.#allocation === allocation) {
      this.#allocation = undefined
      this.#failure = error
      if (this.#run === undefined) {
        if (allocation.age >= SHORT_LIFE) this.#begin()
        else this.#planRetry(error)
      }
    }
    this.#options.outlet.lost(this, allocation, error)
  }

  #credentialsRefused(allocation: Allocation): void {
    if (allocation !== this.#allocation || this.#run !== undefined) return
    this.#credentials.forget()
    this.#used = undefined
    if (!this.#retrying) this.#begin()
  }

  #retire(allocation: Allocation, after: number): void {
    const over = (): void => {
      this.#retired.set(allocation, undefined)
      if (after > 0) this.#options.outlet.ended(this, allocation)
      allocation.end(() => this.#retired.delete(allocation))
    }
    if (after === 0) over()
    else this.#retired.set(allocation, this.#options.timers.after(after, over))
  }

  #keepIdle(leg: Leg): void {
    this.#dropIdle()
    this.#idle = leg
    leg.connection.handle({ received: () => {}, sendFailed: () => {}, drained: () => {}, lost: () => this.#dropIdle() })
    this.#idleTimer = this.#options.timers.after(IDLE_KEPT, () => this.#dropIdle())
  }

  #takeIdle(): Leg | undefined {
    const leg = this.#idle
    if (leg === undefined) return undefined
    if (!this.#wanted) {
      this.#dropIdle()
      return undefined
    }
    this.#idle = undefined
    this.#idleTimer?.cancel()
    return leg
  }

  #dropIdle(): void {
    const leg = this.#idle
    this.#idle = undefined
    this.#idleTimer?.cancel()
    if (leg !== undefined) discard(leg, false)
  }
}
