/**
 * How an allocation comes about (RFC 8656 7): a way to the server, redirections, credentials, the Allocate request, and what can be mended at
 * once when it is refused. What cannot is the error of the attempt; when to try again is the client's.
 */
import { SallyportError } from '../../errors.ts'
import { type Address, type Family, isPassing, type Network, pacerOf, type Timers } from '../../net/index.ts'
import { Attribute, LongTermCredential, Message, MessageWriter, Method, type ServerUri, StunError } from '../../stun/index.ts'
import { looksLikeChannelData } from '../channel-data.ts'
import type { RelayTransport } from '../transport.ts'
import { type CredentialSource, type RelayCredentials, sameCredentials } from './credential-source.ts'
import { endLifetime, LIFETIME_SECONDS } from './lease.ts'
import { type Leg, race, type Way, waysOf, writeRequestedTransport } from './race.ts'
import { Redirections } from './redirections.ts'
import { refusal, relayError } from './relay-error.ts'
import { type Answer, type Requests, refusesCredentials } from './requests.ts'

/** Ports tried in a row where the server has an allocation for the one that we took (RFC 8656 7.4). */
const MOST_PORTS = 3
/** The value of the two attributes that name a family (RFC 8656 18.7, 18.10). */
const IPV6 = 0x0200_0000

/** What an Allocate response gave. */
export interface Grant {
  /** One for each family. */
  readonly relayed: readonly Address[]
  readonly mapped: Address
  /** Milliseconds. */
  readonly lifetime: number
}

export type Established =
  | { readonly kind: 'leg'; readonly leg: Leg }
  | { readonly kind: 'allocation'; readonly leg: Leg; readonly grant: Grant; readonly credentials: RelayCredentials }

export interface EstablishmentParts {
  readonly network: Network
  readonly timers: Timers
  readonly uri: ServerUri
  readonly text: string
  readonly addresses: readonly Address[]
  readonly named?: readonly Address[]
  readonly families: readonly Family[]
  readonly ca?: string
  readonly source: CredentialSource
  /** Whether to go on to an allocation, asked when the server has asked for credentials. */
  readonly wanted: () => boolean
  readonly reached: (leg: Leg) => void
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

export class Establishment {
  readonly #parts: EstablishmentParts
  /** On which an allocation is being asked for. */
  #leg: Leg | undefined
  #impossible = false

  constructor(parts: EstablishmentParts) {
    this.#parts = parts
  }

  /** The URI cannot be served: there is nothing to try again. Known after the first attempt. */
  get impossible(): boolean {
    return this.#impossible
  }

  /**
   * @param at where to go on; the way is looked for without it
   * @throws SallyportError, or what the signal says
   */
  async run(at: Leg | undefined, signal: AbortSignal): Promise<Established> {
    const { addresses, named, text, uri, source, wanted } = this.#parts
    const redirections = new Redirections(named ?? addresses)
    let ways = waysOf(this.#transports(), addresses, uri.host)
    let refused: RelayCredentials | undefined
    let ports = 0
    for (let leg = at ?? (await this.#reach(ways, redirections, signal)); ; leg = await this.#reach(ways, redirections, signal)) {
      if (!wanted()) return { kind: 'leg', leg }
      const result = await this.#allocate(leg, signal)
      if (result.kind === 'allocation') return result
      const { answer, credentials } = result
      const { code, reason, message } = answer
      const redirected = code === StunError.TryAlternate ? redirections.take(message, leg.way) : undefined
      if (redirected !== undefined) ways = [redirected]
      else if (code === StunError.AllocationMismatch && ++ports <= MOST_PORTS) ways = [{ ...leg.way, after: 0 }]
      else {
        const unknownUser = refusesCredentials(answer)
        const error = unknownUser
          ? relayError('ERR_RELAY_CREDENTIALS', text, `refuses user name or password: ${code} ${reason}`.trimEnd())
          : refusal(text, code, reason)
        if (unknownUser || code === StunError.WrongCredentials) source.forget()
        // Who gives out credentials may not know that they are over: once more, with what he gives then.
        if (!unknownUser || refused !== undefined) throw error
        refused = credentials
        if (sameCredentials(await within(source.get(), signal), refused)) throw error
        ways = [{ ...leg.way, after: 0 }]
      }
    }
  }

  /** At once: the connection is closed, and what the server may have made is taken back. */
  abandon(): void {
    if (this.#leg !== undefined) discard(this.#leg, true)
  }

  #transports(): readonly RelayTransport[] {
    try {
      return relayTransports(this.#parts.uri, this.#parts.text)
    } catch (error) {
      this.#impossible = true
      throw error
    }
  }

  /** The first way that answers, redirections followed. */
  async #reach(first: readonly Way[], redirections: Redirections, signal: AbortSignal): Promise<Leg> {
    const { network, timers, text, ca, reached } = this.#parts
    const pacer = pacerOf(network.clock)
    const follows = (message: Message, way: Way): boolean => redirections.follows(message, way)
    for (let ways = first; ; ) {
      const result = await race({ network, timers, pacer, relay: text, ca, follows }, ways, signal)
      if (result.kind === 'leg') {
        reached(result.leg)
        if (!signal.aborted) return result.leg
        discard(result.leg, false)
        throw signal.reason
      }
      const next = redirections.take(result.message, result.way)
      if (next === undefined) throw refusal(text, StunError.TryAlternate, '')
      ways = [next]
    }
  }

  /** With anything but an allocation the connection is closed when it returns. */
  async #allocate(
    leg: Leg,
    signal: AbortSignal,
  ): Promise<
    | (Established & { readonly kind: 'allocation' })
    | { readonly kind: 'refused'; readonly answer: Answer & { readonly kind: 'error' }; readonly credentials: RelayCredentials }
  > {
    const { source, text } = this.#parts
    this.#leg = leg
    let kept = false
    // Whether there may be an allocation that we do not know of.
    let unknown = false
    try {
      const gone = new Promise<Answer>((resolve) => {
        leg.connection.handle({
          received: (data) => receive(leg.requests, data),
          sendFailed: (failure) => {
            if (failure === 'ECONNREFUSED' || !isPassing(failure)) resolve({ kind: 'silence' })
          },
          drained: () => {},
          lost: () => resolve({ kind: 'silence' }),
        })
      })
      const credentials = await within(source.get(), signal)
      unknown = true
      const asked = new Promise<Answer>((resolve) => this.#ask(leg, credentials, resolve))
      const answer = await within(Promise.race([asked, gone]), signal)
      if (answer.kind === 'silence') throw relayError('ERR_RELAY_UNREACHABLE', text, 'does not answer any more')
      if (answer.kind === 'error') {
        unknown = false
        return { kind: 'refused', answer, credentials }
      }
      const grant = grantOf(answer.message)
      const { families } = this.#parts
      if (grant?.relayed.some(({ family }) => families.includes(family)) === false) {
        throw relayError('ERR_RELAY_FAMILY', text, `has relayed addresses of IPv${grant.relayed[0]?.family} only`)
      }
      if (grant === undefined) throw relayError('ERR_RELAY_REFUSED', text, 'gave an allocation without its addresses')
      kept = true
      return { kind: 'allocation', leg, grant, credentials }
    } finally {
      this.#leg = undefined
      if (!kept) discard(leg, unknown)
    }
  }

  #ask({ requests, challenge }: Leg, { username, password }: RelayCredentials, done: (answer: Answer) => void): void {
    const { families } = this.#parts
    const credential = new LongTermCredential(username, password)
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
}

/** Closes it; with `unknown`, after giving back an allocation that the server may have made. */
export function discard({ requests, connection }: Leg, unknown: boolean): void {
  if (unknown) requests.tell(Method.Refresh, endLifetime)
  requests.close()
  connection.close()
}

function receive(requests: Requests, data: Uint8Array): void {
  const message = looksLikeChannelData(data) ? undefined : Message.read(data)
  if (message !== undefined) requests.receive(message)
}

/** What an Allocate response has to say (RFC 8656 7.3): the first relayed address of each family, and the rest. */
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

/** The promise's result, or the signal's reason as soon as there is one. */
export function within<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason)
    if (signal.aborted) aborted()
    signal.addEventListener('abort', aborted, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}
