/**
 * The client of one TURN server (RFC 8656): finds a way there, measures it, and keeps one allocation alive for as long as one is wanted. What is
 * lost is replaced, what fails is tried again later; nobody has to ask. Its options are RelayClientOptions, its news go to a RelayOutlet.
 */
import { diagnose } from '../../diagnostics.ts'
import { SallyportError } from '../../errors.ts'
import { type Address, type Family, type Network, pacerOf, randomFraction, type Timer, type Timers } from '../../net/index.ts'
import { Attribute, LongTermCredential, Message, MessageWriter, Method, type ServerUri, StunError } from '../../stun/index.ts'
import { looksLikeChannelData } from '../channel-data.ts'
import { Allocation, type AllocationOutlet, type Grant, LIFETIME_SECONDS } from './allocation.ts'
import { CredentialSource, type RelayCredentials } from './credential-source.ts'
import { type Leg, type RaceParts, race, type Way, waysOf, writeRequestedTransport } from './race.ts'
import { Redirections } from './redirections.ts'
import { refusal, relayError } from './relay-error.ts'
import type { Answer, Requests } from './requests.ts'
import { retryDelay } from './retry-delay.ts'
import type { RelayTransport } from './server-connection.ts'

/** Milliseconds that a connection is kept whose server waits for credentials, and between measurements without an allocation. */
const IDLE_KEPT = 30_000
const MEASURE_INTERVAL = 240_000
/** Milliseconds that an allocation stays beside the one that takes its place. */
const RETIRED_KEPT = 10_000
/** An allocation that lived no longer than this is no success: it is not replaced at once. */
const SHORT_LIFE = 5_000
/** Ports tried in a row where the server has an allocation for the one that we took (RFC 8656 7.4). */
const MOST_PORTS = 3
/** The value of the two attributes that name a family (RFC 8656 18.7, 18.10). */
const IPV6 = 0x0200_0000

/** What a client tells its owner. Never from within a call of the owner's. */
export interface RelayOutlet extends AllocationOutlet {
  /** The server answered, so that `rtt` is known: a 401 as a rule. Again after each later measurement. */
  measured(client: RelayClient): void
  /** There is an allocation; instead of the one before it, which lives on for 10 s, if there was one. */
  allocated(client: RelayClient, allocation: Allocation): void
  /** It is dead. The client gets another one by itself while one is wanted. Not told of what was given back. */
  lost(client: RelayClient, allocation: Allocation, error: SallyportError): void
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

/** @throws SallyportError `ERR_URI` for `stun:` and `stuns:`, `ERR_RELAY_TRANSPORT` for `turns:` over UDP, which is DTLS */
export function relayTransports(uri: ServerUri, text: string): readonly RelayTransport[] {
  if (uri.scheme === 'turns') {
    if (uri.transport !== 'udp') return ['tls']
    throw relayError('ERR_RELAY_TRANSPORT', text, 'would need DTLS, which is not supported: leave out ?transport=udp, for TLS over TCP')
  }
  if (uri.scheme !== 'turn') throw new SallyportError('ERR_URI', `not the URI of a relay, which begins with turn: or turns: ${text}`)
  return uri.transport === undefined ? ['udp', 'tcp'] : [uri.transport]
}

export class RelayClient {
  readonly #options: RelayClientOptions
  readonly #credentials: CredentialSource
  #started = false
  #wanted = false
  #closed = false
  /** The URI cannot be served: there is nothing to try again. */
  #impossible = false
  /** What the allocation was got with; undefined also when the server does not take them any more. */
  #used: RelayCredentials | undefined
  #run: AbortController | undefined
  /** On the way to an allocation; what `close` has to take back. */
  #leg: Leg | undefined
  #idle: Leg | undefined
  #idleTimer: Timer | undefined
  #allocation: Allocation | undefined
  readonly #retired = new Map<Allocation, Timer | undefined>()
  /** The next attempt, measurement or renewal. */
  #timer: Timer | undefined
  #failures = 0
  #failure: SallyportError | undefined
  #rtt: number | undefined
  #transport: RelayTransport | undefined

  constructor(options: RelayClientOptions) {
    this.#options = options
    this.#credentials = new CredentialSource(options.timers, options.text, options.credentials)
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
    this.#allocation?.verify()
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
    if (this.#leg !== undefined) discard(this.#leg)
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
    if (this.#closed || this.#impossible || this.#run !== undefined) return
    const run = new AbortController()
    this.#run = run
    void this.#attempt(run.signal).then(
      () => {
        this.#run = undefined
        this.#failures = 0
        this.#failure = undefined
        this.#continue()
      },
      (cause: unknown) => {
        this.#run = undefined
        if (this.#closed) return
        const error =
          cause instanceof SallyportError ? cause : new SallyportError('ERR_RELAY_REFUSED', `relay ${this.text}: ${cause}`, { cause })
        this.#failures++
        this.#failure = error
        this.#plan(retryDelay(error.code, this.#failures, this.#options.network.random))
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

  #measureDelay(): number {
    return MEASURE_INTERVAL * (0.9 + 0.2 * randomFraction(this.#options.network.random))
  }

  /** From nothing, or the way at hand, to an allocation; no further than the challenge while none is wanted. */
  async #attempt(signal: AbortSignal): Promise<void> {
    const { addresses, named, text, uri } = this.#options
    if (this.#allocation !== undefined && (await this.#stillGood(signal))) return
    const redirections = new Redirections(named ?? addresses)
    let ways = waysOf(this.#transports(), addresses, uri.host)
    let refused: RelayCredentials | undefined
    for (let ports = 0; ; ) {
      const leg = this.#takeIdle() ?? (await this.#reach(ways, redirections, signal))
      if (!this.#wanted) {
        this.#keepIdle(leg)
        return
      }
      const { answer, credentials } = await this.#allocateOn(leg, signal)
      if (answer.kind === 'success') return
      if (answer.kind === 'silence') throw relayError('ERR_RELAY_UNREACHABLE', text, 'does not answer any more')
      const { code, reason, message } = answer
      const redirected = code === StunError.TryAlternate ? redirections.take(message, leg.way) : undefined
      if (redirected !== undefined) ways = [redirected]
      else if (code === StunError.AllocationMismatch && ++ports <= MOST_PORTS) ways = [{ ...leg.way, after: 0 }]
      else {
        if (code === StunError.Unauthenticated || code === StunError.WrongCredentials) this.#credentials.forget()
        // Who gives out credentials may not know that they are over: once more, with what he gives then.
        if (code !== StunError.Unauthenticated || refused !== undefined) throw refusal(text, code, reason)
        refused = credentials
        if (sameCredentials(await within(this.#credentials.get(), signal), refused)) throw refusal(text, code, reason)
        ways = [{ ...leg.way, after: 0 }]
      }
    }
  }

  /** Of a renewal: the credentials are the same as before, so the allocation may stay. */
  async #stillGood(signal: AbortSignal): Promise<boolean> {
    const used = this.#used
    return used !== undefined && sameCredentials(await within(this.#credentials.get(), signal), used)
  }

  #transports(): readonly RelayTransport[] {
    try {
      return relayTransports(this.#options.uri, this.text)
    } catch (error) {
      this.#impossible = true
      throw error
    }
  }

  /** The first way that answers, redirections followed. */
  async #reach(first: readonly Way[], redirections: Redirections, signal: AbortSignal): Promise<Leg> {
    const { network, timers, text, ca, outlet } = this.#options
    const parts: RaceParts = {
      network,
      timers,
      pacer: pacerOf(network.clock),
      relay: text,
      ca,
      follows: (message, way) => redirections.follows(message, way),
    }
    for (let ways = first; ; ) {
      const result = await race(parts, ways, signal)
      if (result.kind === 'leg') {
        const { leg } = result
        this.#rtt = leg.requests.rtt
        this.#transport = leg.way.transport
        diagnose('relay', () => ({
          event: 'measured',
          relay: text,
          transport: leg.way.transport,
          server: leg.way.address.key,
          rtt: this.#rtt,
        }))
        outlet.measured(this)
        signal.throwIfAborted()
        return leg
      }
      const next = redirections.take(result.message, result.way)
      if (next === undefined) throw refusal(text, StunError.TryAlternate, '')
      ways = [next]
    }
  }

  /** Asks for the allocation, and takes it on. Whatever else happens, the connection is closed after it. */
  async #allocateOn(leg: Leg, signal: AbortSignal): Promise<{ readonly answer: Answer; readonly credentials: RelayCredentials }> {
    const { requests, connection } = leg
    this.#leg = leg
    let kept = false
    try {
      const lost = new Promise<Answer>((resolve) => {
        connection.handle({
          received: (data) => receive(requests, data),
          sendFailed: () => {},
          drained: () => {},
          lost: () => resolve({ kind: 'silence' }),
        })
      })
      const credentials = await within(this.#credentials.get(), signal)
      const answered = new Promise<Answer>((resolve) => this.#askForAllocation(leg, credentials, resolve))
      const answer = await within(Promise.race([answered, lost]), signal)
      if (answer.kind !== 'success') return { answer, credentials }
      const grant = grantOf(answer.message)
      if (grant === undefined) throw relayError('ERR_RELAY_REFUSED', this.text, 'gave an allocation without its addresses')
      kept = true
      this.#used = credentials
      this.#adopt(leg, grant)
      return { answer, credentials }
    } finally {
      this.#leg = undefined
      if (!kept) discard(leg)
    }
  }

  #askForAllocation({ requests, challenge }: Leg, credentials: RelayCredentials, done: (answer: Answer) => void): void {
    const { families } = this.#options
    const credential = new LongTermCredential(credentials.username, credentials.password)
    // What a request without credentials was answered, so that the first one with them can be right.
    credential.react(challenge, credential.authenticate(new MessageWriter().start('request', Method.Allocate, new Uint8Array(12))))
    requests.authenticate(credential)
    requests.ask({
      method: Method.Allocate,
      write: (writer) => {
        writeRequestedTransport(writer)
        writer.uint32(Attribute.Lifetime, LIFETIME_SECONDS)
        // RFC 8656 7.1: IPv4 needs no word, and servers of RFC 5766 know none.
        if (!families.includes(4)) writer.uint32(Attribute.RequestedAddressFamily, IPV6)
        else if (families.includes(6)) writer.uint32(Attribute.AdditionalAddressFamily, IPV6)
      },
      fresh: false,
      done,
    })
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
        else this.#plan(retryDelay(error.code, ++this.#failures, this.#options.network.random))
      }
    }
    this.#options.outlet.lost(this, allocation, error)
  }

  #credentialsRefused(allocation: Allocation): void {
    if (allocation !== this.#allocation || this.#run !== undefined) return
    this.#credentials.forget()
    this.#used = undefined
    // After a failed attempt the next one is planned already.
    if (this.#failures === 0) this.#begin()
  }

  #retire(allocation: Allocation, after: number): void {
    const over = (): void => {
      this.#retired.set(allocation, undefined)
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
    if (leg !== undefined) discard(leg)
  }
}

function receive(requests: Requests, data: Uint8Array): void {
  const message = looksLikeChannelData(data) ? undefined : Message.read(data)
  if (message !== undefined) requests.receive(message)
}

/** With the allocation that the server may have made meanwhile. */
function discard({ requests, connection }: Leg): void {
  if (requests.credential !== undefined) requests.tell(Method.Refresh, (writer) => void writer.uint32(Attribute.Lifetime, 0))
  requests.close()
  connection.close()
}

/** The first relayed address of each family, and the rest of what an Allocate response has to say (RFC 8656 7.3). */
function grantOf(message: Message): Grant | undefined {
  const usable = message
    .addresses(Attribute.XorRelayedAddress)
    .filter(({ port, scope }) => port !== 0 && scope !== 'unspecified' && scope !== 'multicast')
  const relayed = ([4, 6] as const).flatMap((family) => usable.find((address) => address.family === family) ?? [])
  const mapped = message.address(Attribute.XorMappedAddress)
  const seconds = message.uint32(Attribute.Lifetime) ?? LIFETIME_SECONDS
  if (relayed.length === 0 || mapped === undefined || seconds === 0) return undefined
  return { relayed, mapped, lifetime: seconds * 1_000 }
}

function sameCredentials(one: RelayCredentials, other: RelayCredentials): boolean {
  return one.username === other.username && one.password === other.password
}

/** The promise's result, or the signal's reason as soon as there is one. */
function within<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason)
    if (signal.aborted) aborted()
    signal.addEventListener('abort', aborted, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}
