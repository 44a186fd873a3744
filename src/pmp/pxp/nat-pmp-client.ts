/**
 * NAT-PMP (RFC 6886), IPv4 only. There is nothing in a message by which answers could be told apart but the opcode and the internal port, so one
 * request is under way at a time, and what does not fit it is nobody's.
 */
import { SallyportError } from '../../errors.ts'
import { Address, type Timers } from '../../net/index.ts'
import type { Grant, MappingClient, MappingRequest, MappingTransport, RouterFacts, Uplink } from '../protocol.ts'
import { Epoch, natPmpEpochRule } from './epoch.ts'
import { Exchanges, type Question } from './exchanges.ts'
import { natPmpError } from './nat-pmp-errors.ts'
import { type NatPmpAnswer, natPmpAddressRequest, natPmpMappingRequest, readNatPmp } from './nat-pmp-message.ts'
import { asWanted, checkInternal, checkRequest, closed, secondsOf, silence } from './request.ts'

/** All requests: one after the other. */
const LANE = 'router'

export interface NatPmpOptions {
  readonly timers: Timers
  readonly uplink: Uplink
  readonly send: (data: Uint8Array) => void
  readonly restarted: (client: MappingClient) => void
  readonly closed: () => void
}

/** What became of a datagram. */
export type Taken =
  /** It answers a request that is under way. */
  | 'answer'
  /** It may answer one that was made before. */
  | 'late'
  /** It answers nothing that was ever asked. */
  | 'unasked'
  | 'unreadable'

export class NatPmpClient implements MappingClient {
  readonly protocol = 'nat-pmp'
  readonly uplink: Uplink
  readonly #options: NatPmpOptions
  readonly #exchanges: Exchanges<NatPmpAnswer>
  readonly #epoch = new Epoch(natPmpEpochRule)
  /** Opcode and internal port of all that was ever asked, at most two for each port: to know what is late. */
  readonly #asked = new Set<string>()
  /** The wildcard when the router does not tell; undefined when it is not known. */
  #external: Address | undefined

  constructor(options: NatPmpOptions) {
    this.#options = options
    this.uplink = options.uplink
    this.#exchanges = new Exchanges(options.timers, options.send, () => silence('nat-pmp', options.uplink))
  }

  async probe(): Promise<RouterFacts> {
    const external = await this.#askAddress()
    return { protocol: 'nat-pmp', external: external.scope === 'unspecified' ? undefined : external }
  }

  async map(request: MappingRequest): Promise<Grant> {
    checkRequest(request, this.uplink)
    const { transport, internal, externalPort, lifetime, previous } = request
    if (request.allow !== undefined && request.allow.length > 0) {
      throw new SallyportError('ERR_MAPPING_UNAVAILABLE', 'NAT-PMP cannot say who may send in')
    }
    // The address may have changed without a word since the last time.
    if (this.#external === undefined || previous !== undefined) await this.#askAddress()
    const suggested = previous === undefined ? externalPort : previous.external.port
    const answer = await this.#askMapping(transport, internal.port, request.exact ? externalPort : suggested, secondsOf(lifetime))
    if (answer.kind !== 'mapping' || answer.mapping === undefined) throw this.#senseless()
    // What a restart made us forget, as the epoch of this very answer told.
    const ip = this.#external ?? (await this.#askAddress())
    const external = ip.withPort(answer.mapping.externalPort)
    return asWanted(this, request, {
      protocol: 'nat-pmp',
      transport,
      internal,
      external,
      lifetime: answer.mapping.lifetimeSeconds * 1000,
      memory: undefined,
    })
  }

  /** RFC 6886 3.4: deleting what is gone is a success. */
  async unmap({ transport, internal }: Grant): Promise<void> {
    checkInternal(internal, this.uplink)
    await this.#askMapping(transport, internal.port, 0, 0)
  }

  close(): void {
    this.end(closed('nat-pmp'))
    this.#options.closed()
  }

  /** All calls fail with this, now and from now on. */
  end(error: SallyportError): void {
    this.#exchanges.end(error)
  }

  /** What is under way fails with this. */
  fail(error: SallyportError): void {
    this.#exchanges.fail(error)
  }

  /** Something from the router's port. */
  receive(data: Uint8Array): Taken {
    const answer = readNatPmp(data)
    if (answer.kind === 'unreadable') return 'unreadable'
    const exchange = this.#exchanges.find(answer)
    if (exchange === undefined) return this.#asked.has(keyOf(answer.opcode, portOf(answer))) ? 'late' : 'unasked'
    const known = this.#external
    const alive = this.#epoch.continues(answer.epochSeconds, this.#options.timers.now())
    if (!alive) this.#external = undefined
    const told = answer.kind === 'address' ? answer.external : undefined
    if (told !== undefined) this.#external = told.scope === 'unspecified' ? Address.any(4) : told
    // Another address: nothing that was mapped is reached where we said (RFC 6886 3.2.1).
    const moved = known !== undefined && told !== undefined && !known.sameIp(told)
    if (!alive || moved) this.#options.restarted(this)
    this.#exchanges.settle(exchange, answer)
    return 'answer'
  }

  /** A PCP server's way to say that it does not know NAT-PMP. */
  refuse(opcode: number): boolean {
    for (const { question } of this.#exchanges.underWay()) {
      if ((question.data[1] ?? 0) !== opcode) continue
      this.#exchanges.fail(natPmpError({ code: 1, result: 'UNSUPPORTED_VERSION' }, this.uplink))
      return true
    }
    return false
  }

  /** The router said that something has changed: the epoch tells, and the address. */
  async check(): Promise<void> {
    if (!this.#epoch.known || this.#exchanges.ended !== undefined) return
    await this.#askAddress().catch(() => {}) // what it does not say now, it says at the next renewal
  }

  async #askAddress(): Promise<Address> {
    const answer = await this.#ask({ lane: LANE, data: natPmpAddressRequest(), fits: ({ kind }) => kind === 'address' }, keyOf(0, 0))
    if (answer.kind !== 'address' || answer.external === undefined) throw this.#senseless()
    return answer.external.scope === 'unspecified' ? Address.any(4) : answer.external
  }

  #askMapping(transport: MappingTransport, internalPort: number, externalPort: number, lifetimeSeconds: number): Promise<NatPmpAnswer> {
    const data = natPmpMappingRequest(transport, internalPort, externalPort, lifetimeSeconds)
    const fits = (answer: NatPmpAnswer): boolean => {
      if (answer.kind !== 'mapping' || answer.transport !== transport) return false
      const { mapping, code } = answer
      if (code !== 0) return mapping === undefined || mapping.internalPort === internalPort
      // A late answer to a deletion is none to a new mapping, nor the other way round.
      if (mapping === undefined || (mapping.lifetimeSeconds === 0) !== (lifetimeSeconds === 0)) return false
      return mapping.internalPort === internalPort && (lifetimeSeconds === 0 || mapping.externalPort !== 0)
    }
    return this.#ask({ lane: LANE, data, fits }, keyOf(data[1] ?? 0, internalPort))
  }

  async #ask(question: Question<NatPmpAnswer>, key: string): Promise<NatPmpAnswer> {
    this.#asked.add(key)
    const answer = await this.#exchanges.ask(question)
    if (answer.code !== 0) throw natPmpError(answer, this.uplink)
    return answer
  }

  #senseless(): SallyportError {
    return new SallyportError('ERR_MAPPING_ANSWER', `${this.uplink.router.host} answers in NAT-PMP with something else than what was asked`)
  }
}

function keyOf(opcode: number, port: number): string {
  return `${opcode}:${port}`
}

function portOf(answer: NatPmpAnswer): number {
  return answer.kind === 'mapping' ? (answer.mapping?.internalPort ?? 0) : 0
}
