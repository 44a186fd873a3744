/**
 * PCP (RFC 6887), IPv4 and IPv6: mappings in a NAT, pinholes in a firewall. A mapping has a nonce, which it keeps through all renewals to its
 * deletion, also when an answer got lost: the router takes another nonce for another program.
 */
import { SallyportError } from '../../errors.ts'
import { Address, Prefix, type Random, type Timers } from '../../net/index.ts'
import type { Grant, MappingClient, MappingRequest, MappingTransport, RouterFacts, Uplink } from '../protocol.ts'
import { Epoch, pcpEpochRule } from './epoch.ts'
import { type Exchange, Exchanges, type Question } from './exchanges.ts'
import { ANY_MAP, LONGEST_REFUSAL, pcpError, Refusals } from './pcp-errors.ts'
import {
  hex,
  NONCE_LENGTH,
  nonceOf,
  PCP_ANNOUNCE,
  PCP_MAP,
  type PcpAnswer,
  type PcpMapping,
  pcpAnnounceRequest,
  pcpMapRequest,
} from './pcp-message.ts'
import { filterOption, type WrittenOption } from './pcp-options.ts'
import { asWanted, checkInternal, checkRequest, closed, secondsOf, silence } from './request.ts'

/** RFC 6887 15: no mapping is believed to stand for longer. Milliseconds. */
const LONGEST_LIFETIME = 24 * 3_600_000
/** Of a mapping that is to end; routers have a least that they give, 120 as a rule. */
const SHORTEST_SECONDS = 1
const ANNOUNCE_LANE = 'announce'

export interface PcpOptions {
  readonly timers: Timers
  readonly random: Random
  readonly uplink: Uplink
  readonly nonces: Map<string, Uint8Array> | undefined
  readonly send: (data: Uint8Array) => void
  readonly restarted: (client: MappingClient) => void
  readonly closed: () => void
}

/** Mappings whose nonces are remembered: many more than one program has at one router. */
const MOST_NONCES = 1_024

/** `Grant.memory` of this client; survives JSON. */
export interface PcpMemory {
  /** 24 hexadecimal digits. */
  readonly nonce: string
}

export class PcpClient implements MappingClient {
  readonly protocol = 'pcp'
  readonly uplink: Uplink
  readonly #options: PcpOptions
  readonly #exchanges: Exchanges<PcpAnswer>
  readonly #epoch = new Epoch(pcpEpochRule)
  readonly #refusals = new Refusals()
  /** By transport and internal port, from the first request until the deletion is confirmed. */
  readonly #nonces: Map<string, Uint8Array>
  /** As the last grant said. */
  #external: Address | undefined
  #sent = false
  /** The router has answered in version 2. */
  #spoken = false

  constructor(options: PcpOptions) {
    this.#options = options
    this.#nonces = options.nonces ?? new Map()
    this.uplink = options.uplink
    const send = (data: Uint8Array): void => {
      this.#sent = true
      options.send(data)
    }
    this.#exchanges = new Exchanges(options.timers, send, () => silence('pcp', options.uplink))
  }

  /** Asked, and never answered in version 2: what NAT-PMP says of versions may be meant for us. */
  get unanswered(): boolean {
    return this.#sent && !this.#spoken
  }

  async probe(): Promise<RouterFacts> {
    await this.#announce()
    return { protocol: 'pcp', external: this.#external }
  }

  async map(request: MappingRequest): Promise<Grant> {
    checkRequest(request, this.uplink)
    const { transport, internal, externalPort, exact = false, previous } = request
    const nonce = this.#nonceOf(transport, internal.port, previous)
    const any = Address.any(this.uplink.local.address.family)
    const external = (previous?.external ?? any).withPort(exact ? externalPort : (previous?.external.port ?? externalPort))
    const options = optionsOf(request)
    const answer = await this.#map(request, nonce, external, secondsOf(request.lifetime), options)
    const { mapping } = answer
    if (mapping === undefined) throw this.#senseless()
    const grant: Grant = {
      protocol: 'pcp',
      transport,
      internal,
      external: this.#granted(mapping, internal),
      lifetime: Math.min(LONGEST_LIFETIME, answer.lifetimeSeconds * 1000),
      memory: { nonce: mapping.nonce } satisfies PcpMemory,
    }
    if (grant.external.scope !== 'unspecified') this.#external = grant.external.withPort(0)
    return asWanted(this, request, grant)
  }

  async unmap(grant: Grant): Promise<void> {
    const { transport, internal } = grant
    checkInternal(internal, this.uplink)
    const nonce = this.#nonceOf(transport, internal.port, grant)
    const none = Address.any(internal.family)
    try {
      await this.#map(grant, nonce, none, 0, [])
    } catch (error) {
      const result = resultIn(error)
      // miniupnpd 2.3.1 forgets the nonce of a pinhole that is renewed: it can no more be deleted, but made to end soon.
      if (result === 'NOT_AUTHORIZED' && internal.family === 6) {
        await this.#map(grant, nonce, none.withPort(internal.port), SHORTEST_SECONDS, []).catch(() => {}) // no worse than before
      }
      // And it says so of what is gone already, which RFC 6887 15.1 calls a success.
      if (result !== 'NO_RESOURCES') throw error
    }
    this.#nonces.delete(keyOf(transport, internal.port))
  }

  close(): void {
    this.end(closed('pcp'))
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

  /** Something readable from the router's port. False when it answers nothing. */
  receive(answer: PcpAnswer): boolean {
    const exchange = this.#exchanges.find(answer) ?? this.#onlyOneFor(answer)
    // RFC 6887 13.1: a mapping of somebody else, which we never ask for.
    if (exchange === undefined || answer.options.some(({ kind }) => kind === 'third-party')) return false
    this.#spoken = true
    if (!this.#epoch.continues(answer.epochSeconds, this.#options.timers.now())) {
      this.#external = undefined
      this.#refusals.clear()
      this.#options.restarted(this)
    }
    this.#exchanges.settle(exchange, answer)
    return true
  }

  /** Whether a request of this opcode is under way. */
  waitsFor(opcode: number): boolean {
    for (const { question } of this.#exchanges.underWay()) if (question.data[1] === opcode) return true
    return false
  }

  /** There is no PCP here, for so many milliseconds (RFC 6887 9). */
  refuse(lifetime: number = LONGEST_REFUSAL): void {
    const stands = Math.min(LONGEST_REFUSAL, lifetime)
    const error = pcpError({ code: 1, result: 'UNSUPP_VERSION' }, stands, this.uplink)
    this.#refusals.add(ANY_MAP, 'UNSUPP_VERSION', error, this.#options.timers.now() + stands)
    this.#exchanges.fail(error)
  }

  /** The router is another one than it was: what it refused, it may give now. */
  forgetRefusals(): void {
    this.#refusals.clear()
  }

  /** The router said that something has changed: the epoch tells. */
  async check(): Promise<void> {
    if (!this.#epoch.known || this.#exchanges.ended !== undefined) return
    await this.#announce().catch(() => {}) // what it does not say now, it says at the next renewal
  }

  async #announce(): Promise<void> {
    const data = pcpAnnounceRequest(this.uplink.local.address)
    const answer = await this.#ask({ lane: ANNOUNCE_LANE, data, fits: ({ opcode }) => opcode === PCP_ANNOUNCE }, ANNOUNCE_LANE)
    // It speaks PCP, whatever it has to say of ANNOUNCE.
    if (answer.code !== 0 && answer.result !== 'UNSUPP_OPCODE') throw this.#refused(answer, ANNOUNCE_LANE)
  }

  async #map(
    { transport, internal, allow = [], exact = false }: Pick<MappingRequest, 'transport' | 'internal' | 'allow' | 'exact'>,
    nonce: Uint8Array,
    external: Address,
    lifetimeSeconds: number,
    options: readonly WrittenOption[],
  ): Promise<PcpAnswer> {
    const request = { client: this.uplink.local.address, transport, nonce, internalPort: internal.port, external, lifetimeSeconds, options }
    const digits = hex(nonce)
    const lane = keyOf(transport, internal.port)
    const isDeletion = lifetimeSeconds === 0
    const fits = ({ mapping, code, lifetimeSeconds: granted }: PcpAnswer): boolean =>
      mapping !== undefined &&
      mapping.nonce === digits &&
      mapping.transport === transport &&
      mapping.internalPort === internal.port &&
      // A late answer to a deletion is none to a new mapping, nor the other way round.
      (code !== 0 || (granted === 0) === isDeletion)
    // What is no more there to be deleted may be there again before the refusal is over.
    const what = isDeletion ? undefined : `${lane} ${external.port} ${exact} ${allow.join()}`
    const answer = await this.#ask({ lane, data: pcpMapRequest(request), fits }, what)
    if (answer.code !== 0) throw this.#refused(answer, what)
    return answer
  }

  async #ask(question: Question<PcpAnswer>, request: string | undefined): Promise<PcpAnswer> {
    if (this.#exchanges.ended !== undefined) throw this.#exchanges.ended
    const refusal = this.#refusals.of(request, this.#options.timers.now())
    if (refusal !== undefined) throw refusal
    return this.#exchanges.ask(question)
  }

  #refused(answer: PcpAnswer, request: string | undefined): SallyportError {
    const lifetime = Math.min(LONGEST_REFUSAL, answer.lifetimeSeconds * 1000)
    const error = pcpError(answer, lifetime, this.uplink)
    if (lifetime > 0) this.#refusals.add(request, answer.result, error, this.#options.timers.now() + lifetime)
    return error
  }

  /** An error that repeats nothing of its request can be told only where there is one request. */
  #onlyOneFor(answer: PcpAnswer): Exchange<PcpAnswer> | undefined {
    if (answer.code === 0 || answer.opcode !== PCP_MAP || answer.mapping !== undefined) return undefined
    const maps = [...this.#exchanges.underWay()].filter(({ question }) => question.data[1] === PCP_MAP)
    return maps.length === 1 ? maps[0] : undefined
  }

  #nonceOf(transport: MappingTransport, port: number, grant: Grant | undefined): Uint8Array {
    const key = keyOf(transport, port)
    const memory = grant?.memory as PcpMemory | undefined
    const nonce = nonceOf(memory?.nonce) ?? this.#nonces.get(key) ?? this.#options.random.bytes(NONCE_LENGTH)
    // The last ones: ports that are not used any more are given up one day, deleted or not.
    this.#nonces.delete(key)
    this.#nonces.set(key, nonce)
    for (const oldest of this.#nonces.keys()) if (this.#nonces.size > MOST_NONCES) this.#nonces.delete(oldest)
    return nonce
  }

  /** @throws SallyportError `ERR_MAPPING_ANSWER` */
  #granted({ external }: PcpMapping, internal: Address): Address {
    const isPinhole = internal.family === 6 && (external.scope === 'unspecified' || external.sameIp(internal))
    // miniupnpd 2.3.1 says port 0 when a pinhole is renewed.
    if (isPinhole) return internal.withPort(external.port === 0 ? internal.port : external.port)
    if (external.port === 0) throw this.#senseless()
    return external.scope === 'unspecified' ? Address.any(external.family, external.port) : external
  }

  #senseless(): SallyportError {
    return new SallyportError('ERR_MAPPING_ANSWER', `${this.uplink.router.host} says in PCP that there is a mapping, but not where`)
  }
}

/** @throws SallyportError `ERR_ADDRESS` for what is no prefix */
function optionsOf({ exact, allow = [] }: MappingRequest): WrittenOption[] {
  const options: WrittenOption[] = exact === true ? [{ kind: 'prefer-failure' }] : []
  const prefixes = allow.map((text) => Prefix.parse(text))
  // Everybody: no filter, and no prefix that RFC 6887's erratum 3891 would call malformed.
  if (prefixes.every(({ length }) => length > 0)) options.push(...prefixes.map(filterOption))
  return options
}

function resultIn(error: unknown): unknown {
  return error instanceof SallyportError ? (error.report as { readonly result?: unknown } | undefined)?.result : undefined
}

function keyOf(transport: MappingTransport, port: number): string {
  return `${transport}:${port}`
}
