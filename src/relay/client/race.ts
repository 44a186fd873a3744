/**
 * Which way to a TURN server: every transport and address that may be used asks for an allocation without credentials, one a moment after the
 * other, and the first to be asked for credentials in return has won. A network without UDP, or a family that leads nowhere, costs a
 * moment and no time-out (as RFC 8305 has it for addresses; RFC 8656 5 only names the transports).
 */
import { SallyportError } from '../../errors.ts'
import { type Address, isPassing, type Network, type Pacer, type Timer, type Timers } from '../../net/index.ts'
import { Attribute, Message, type MessageWriter, Method, StunError } from '../../stun/index.ts'
import { looksLikeChannelData } from '../channel-data.ts'
import type { RelayTransport } from '../transport.ts'
import { refusal, relayError } from './relay-error.ts'
import { type Answer, Requests } from './requests.ts'
import { openDatagrams, openStream, type ServerConnection } from './server-connection.ts'

/** Milliseconds from the first way over UDP to the first over TCP, and between addresses of one transport. */
const TCP_AFTER = 250
const UDP_STAGGER = 100
const TCP_STAGGER = 250
/** Milliseconds for a stream to stand. */
const DIAL_WAIT = 10_000
/** REQUESTED-TRANSPORT: UDP, the number of its IP protocol (RFC 8656 18.6). */
const RELAYED_UDP = 17 * 0x100_0000

/** A way to a server. */
export interface Way {
  readonly transport: RelayTransport
  readonly address: Address
  /** Milliseconds after the one before it, or at once when those before it failed. */
  readonly after: number
  /** For TLS: the name in the certificate. */
  readonly serverName: string
}

/** A connection whose server has asked for credentials. */
export interface Leg {
  readonly way: Way
  readonly connection: ServerConnection
  readonly requests: Requests
  readonly challenge: Message
}

/** What the server that answered first wants: credentials, or to be left for another one. */
export type RaceResult =
  | { readonly kind: 'leg'; readonly leg: Leg }
  | { readonly kind: 'redirect'; readonly way: Way; readonly message: Message }

export interface RaceParts {
  readonly network: Network
  readonly timers: Timers
  readonly pacer: Pacer
  /** As configured, for messages. */
  readonly relay: string
  readonly ca: string | undefined
  /** Whether a 300 may be followed. */
  readonly follows: (message: Message, way: Way) => boolean
}

/** The order of happy eyeballs: families alternate, IPv6 first; TCP begins a quarter of a second after UDP, whatever is under way by then. */
export function waysOf(transports: readonly RelayTransport[], addresses: readonly Address[], serverName: string): readonly Way[] {
  const six = addresses.filter(({ family }) => family === 6)
  const four = addresses.filter(({ family }) => family === 4)
  const mixed: Address[] = []
  for (let i = 0; i < Math.max(six.length, four.length); i++) for (const one of [six[i], four[i]]) if (one !== undefined) mixed.push(one)
  const timed = transports.flatMap((transport, t) => {
    const [first, stagger] = [t * TCP_AFTER, transport === 'udp' ? UDP_STAGGER : TCP_STAGGER]
    return mixed.map((address, i) => ({ transport, address, serverName, at: first + i * stagger }))
  })
  timed.sort((a, b) => a.at - b.at)
  return timed.map(({ at, ...way }, i) => ({ ...way, after: at - (timed[i - 1]?.at ?? 0) }))
}

/** What every Allocate asks for. */
export function writeRequestedTransport(writer: MessageWriter): void {
  writer.uint32(Attribute.RequestedTransport, RELAYED_UDP)
}

/** @throws what the signal says, or SallyportError: why no way leads there */
export function race(parts: RaceParts, ways: readonly Way[], signal: AbortSignal): Promise<RaceResult> {
  return new Race(parts, ways, signal).run()
}

interface Lane {
  readonly way: Way
  readonly abort: AbortController
  connection: ServerConnection | undefined
  requests: Requests | undefined
  timer: Timer | undefined
}

class Race {
  readonly #parts: RaceParts
  readonly #ways: readonly Way[]
  readonly #signal: AbortSignal
  readonly #lanes = new Set<Lane>()
  readonly #failures: { readonly way: Way; readonly error: SallyportError }[] = []
  #started = 0
  #timer: Timer | undefined
  #over = false
  #resolve: (result: RaceResult) => void = () => {}
  #reject: (reason: unknown) => void = () => {}

  constructor(parts: RaceParts, ways: readonly Way[], signal: AbortSignal) {
    this.#parts = parts
    this.#ways = ways
    this.#signal = signal
  }

  run(): Promise<RaceResult> {
    return new Promise((resolve, reject) => {
      const aborted = (): void => this.#finish(() => reject(this.#signal.reason))
      if (this.#signal.aborted) {
        aborted()
        return
      }
      this.#signal.addEventListener('abort', aborted, { once: true })
      const unhook = (): void => this.#signal.removeEventListener('abort', aborted)
      this.#resolve = (result) => {
        unhook()
        resolve(result)
      }
      this.#reject = (reason) => {
        unhook()
        reject(reason)
      }
      this.#startNext()
    })
  }

  #startNext(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const way = this.#ways[this.#started]
    if (way === undefined || this.#over) return
    this.#started++
    const next = this.#ways[this.#started]
    if (next !== undefined) this.#timer = this.#parts.timers.after(next.after, () => this.#startNext())
    void this.#open(way)
  }

  async #open(way: Way): Promise<void> {
    const lane: Lane = { way, abort: new AbortController(), connection: undefined, requests: undefined, timer: undefined }
    this.#lanes.add(lane)
    const { network, timers, ca } = this.#parts
    try {
      let connection: ServerConnection
      if (way.transport === 'udp') connection = await openDatagrams(network, way.address)
      else {
        lane.timer = timers.after(DIAL_WAIT, () => lane.abort.abort(new Error('no connection within 10 s')))
        const tls = way.transport === 'tls' ? { serverName: way.serverName, ...(ca === undefined ? {} : { ca }) } : undefined
        connection = await openStream(network, way.address, tls, lane.abort.signal)
        lane.timer.cancel()
      }
      if (!this.#lanes.has(lane)) connection.close()
      else this.#ask(lane, connection)
    } catch (cause) {
      this.#fail(lane, this.#unreachable(way, cause instanceof Error ? cause : new Error(String(cause))))
    }
  }

  #ask(lane: Lane, connection: ServerConnection): void {
    const { network, timers, pacer } = this.#parts
    const requests = new Requests({ connection, timers, pacer, random: network.random })
    lane.connection = connection
    lane.requests = requests
    connection.handle({
      received(data) {
        const message = looksLikeChannelData(data) ? undefined : Message.read(data)
        if (message !== undefined) requests.receive(message)
      },
      sendFailed: (failure) => {
        if (failure === 'ECONNREFUSED' || !isPassing(failure)) this.#fail(lane, this.#unreachable(lane.way, new Error(failure)))
      },
      drained: () => {},
      lost: (reason) => this.#fail(lane, this.#unreachable(lane.way, reason)),
    })
    requests.ask({
      method: Method.Allocate,
      write: writeRequestedTransport,
      fresh: true,
      done: (answer) => this.#answered(lane, connection, requests, answer),
    })
  }

  #answered(lane: Lane, connection: ServerConnection, requests: Requests, answer: Answer): void {
    const { relay, follows } = this.#parts
    const { way } = lane
    if (answer.kind === 'silence') {
      this.#fail(lane, this.#unreachable(way, new Error('no answer')))
      return
    }
    const { message } = answer
    if (answer.kind === 'success') {
      // What nothing asks credentials of, anybody on the path can be; and anybody can use up.
      requests.tell(Method.Refresh, (writer) => void writer.uint32(Attribute.Lifetime, 0))
      this.#fail(lane, relayError('ERR_RELAY_CREDENTIALS', relay, 'does not ask for credentials, so that its answers prove nothing'))
    } else if (answer.code === StunError.Unauthenticated && message.has(Attribute.Nonce) && message.has(Attribute.Realm)) {
      this.#lanes.delete(lane)
      this.#finish(() => this.#resolve({ kind: 'leg', leg: { way, connection, requests, challenge: message } }))
    } else if (answer.code === StunError.TryAlternate && follows(message, way)) {
      this.#finish(() => this.#resolve({ kind: 'redirect', way, message }))
    } else this.#fail(lane, refusal(relay, answer.code, answer.reason))
  }

  #fail(lane: Lane, error: SallyportError): void {
    if (!this.#lanes.delete(lane)) return
    this.#close(lane)
    this.#failures.push({ way: lane.way, error })
    if (this.#started < this.#ways.length) this.#startNext()
    else if (this.#lanes.size === 0) this.#finish(() => this.#reject(this.#failure()))
  }

  /** What a server said says more than that others are silent. */
  #failure(): SallyportError {
    this.#failures.sort((a, b) => this.#ways.indexOf(a.way) - this.#ways.indexOf(b.way))
    const report = this.#failures.map(({ way, error }) => ({ transport: way.transport, address: way.address.key, error: error.message }))
    const said = this.#failures.find(({ error }) => error.code !== 'ERR_RELAY_UNREACHABLE')?.error
    if (said !== undefined) return new SallyportError(said.code, said.message, { cause: said.cause, report })
    const words = this.#failures.map(({ way, error }) => `${way.transport.toUpperCase()} to ${way.address}: ${causeOf(error)}`)
    return relayError('ERR_RELAY_UNREACHABLE', this.#parts.relay, `cannot be reached (${words.join('; ')})`, {
      cause: this.#failures[0]?.error.cause,
      report,
    })
  }

  #unreachable({ transport, address }: Way, cause: Error): SallyportError {
    return relayError('ERR_RELAY_UNREACHABLE', this.#parts.relay, `cannot be reached over ${transport} at ${address}: ${cause.message}`, {
      cause,
    })
  }

  #finish(settle: () => void): void {
    if (this.#over) return
    this.#over = true
    this.#timer?.cancel()
    for (const lane of this.#lanes) this.#close(lane)
    this.#lanes.clear()
    settle()
  }

  #close(lane: Lane): void {
    lane.timer?.cancel()
    lane.abort.abort(new Error('another way was faster'))
    lane.requests?.close()
    lane.connection?.close()
  }
}

function causeOf(error: SallyportError): string {
  return error.cause instanceof Error ? error.cause.message : error.message
}
