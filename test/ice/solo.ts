/** One agent driven message by message: the test is its network, its clock and its peer. */
import type { Base, Candidate, CandidateType, LocalCandidate } from '../../src/candidates/index.ts'
import { candidatePriority, localPreference } from '../../src/candidates/index.ts'
import {
  type Agent,
  type AgentEvent,
  type AgentOutlet,
  CheckBudget,
  IceAgent,
  LiteAgent,
  type Pair,
  type Verdict,
} from '../../src/ice/index.ts'
import { Address, type Paced, Pacer, Prefix, type SendFailure, type Timer } from '../../src/net/index.ts'
import { Attribute, IntegrityKey, Message, MessageWriter, Method } from '../../src/stun/index.ts'
import { ManualClock, SeededRandom } from '../stun/manual-clock.ts'

export interface Sent {
  readonly at: number
  readonly base: Base
  readonly to: Address
  readonly message: Message
}

export interface CheckOptions {
  readonly priority?: number
  /** The role its sender claims; controlled by default when the agent controls, and the other way round. */
  readonly controlling?: boolean
  readonly tieBreaker?: bigint
  readonly useCandidate?: boolean
  readonly nomination?: number
  readonly base?: Base
  readonly ufrag?: string
  readonly more?: (writer: MessageWriter) => unknown
}

export const OURS = { ufrag: 'oursours', pwd: 'o'.repeat(24) }
export const THEIRS = { ufrag: 'theirsth', pwd: 't'.repeat(24) }
const OUR_KEY = IntegrityKey.shortTerm(OURS.pwd)
const THEIR_KEY = IntegrityKey.shortTerm(THEIRS.pwd)

let bases = 0

export function makeBase(ip: string, rank = 0, link = 24): Base {
  const address = Address.of(ip, 5000)
  return {
    kind: 'host',
    id: ++bases,
    address,
    links: [Prefix.around(address, link)],
    rank,
    hidden: false,
    passive: false,
    retiringSince: Number.POSITIVE_INFINITY,
    expect: () => undefined,
    verify: () => undefined,
    send: () => true,
  }
}

export function hostOf(base: Base): LocalCandidate {
  const priority = candidatePriority('host', localPreference(base.rank))
  return {
    type: 'host',
    address: base.address,
    base,
    foundation: `h${base.id}`,
    priority,
    component: 1,
    related: undefined,
    server: undefined,
  }
}

export function remote(ip: string, port = 6000, type: CandidateType = 'host', more: Partial<Candidate> = {}): Candidate {
  const address = Address.of(ip, port)
  const priority = candidatePriority(type, 65_535)
  return { type, address, foundation: `r${ip}${type}`.replaceAll(/[^a-z0-9]/g, ''), priority, component: 1, related: undefined, ...more }
}

export interface SoloOptions {
  readonly controlling?: boolean
  readonly tieBreaker?: bigint
  readonly renomination?: boolean
  /** Ours is a lite agent. */
  readonly lite?: boolean
  readonly seed?: number
  readonly mayUse?: (base: Base, from: Address) => boolean
  readonly mayAsk?: (base: Base, to: Address) => boolean
  readonly proves?: (sentAt: number) => boolean
}

export class Solo implements AgentOutlet, Paced {
  readonly clock: ManualClock = new ManualClock()
  readonly pacer: Pacer = new Pacer(this.clock)
  readonly budget: CheckBudget = new CheckBudget()
  readonly agent: Agent
  readonly base: Base
  readonly sent: Sent[] = []
  readonly events: AgentEvent[] = []
  readonly expected: Set<string> = new Set()
  /** Called for each check that goes out: a peer that answers, or does not. */
  onCheck: (sent: Sent) => void = () => {}
  /** Addresses on trial that checks came in at. */
  readonly reachedAt: Address[] = []
  /** Times that `advance` was called. */
  advances = 0
  readonly #renomination: boolean
  readonly #mayUse: (base: Base, from: Address) => boolean
  readonly #mayAsk: (base: Base, to: Address) => boolean
  readonly #proves: (sentAt: number) => boolean
  readonly #random: SeededRandom
  #timer: Timer | undefined

  constructor(options: SoloOptions = {}) {
    const {
      controlling = true,
      tieBreaker = 1_000n,
      renomination = true,
      lite = false,
      seed = 1,
      mayUse = () => true,
      mayAsk = () => true,
      proves = () => true,
    } = options
    this.#renomination = renomination
    this.#mayUse = mayUse
    this.#mayAsk = mayAsk
    this.#proves = proves
    this.#random = new SeededRandom(seed)
    this.base = makeBase('10.0.0.1')
    const random = this.#random
    this.agent = lite
      ? new LiteAgent(OURS, this)
      : new IceAgent({ local: OURS, tieBreaker, controlling, random, budget: this.budget, nominations: { count: 0 }, outlet: this })
  }

  get now(): number {
    return this.clock.now()
  }

  /** With our one base, the peer's credentials, and these candidates of its. */
  start(candidates: readonly Candidate[] = []): this {
    this.tell((agent, now) => agent.addLocal(hostOf(this.base), now))
    this.meet()
    this.tell((agent, now) => agent.addRemotes(candidates, now))
    return this
  }

  meet(): void {
    this.tell((agent, now) => agent.setRemote({ ...THEIRS, renomination: this.#renomination, lite: false }, undefined, now))
    this.tell((agent, now) => agent.peerKnows(now))
  }

  tell<T>(call: (agent: Agent, now: number) => T): T {
    const result = call(this.agent, this.now)
    this.#timer?.cancel()
    const at = this.agent.deadline
    this.#timer =
      at === Number.POSITIVE_INFINITY
        ? undefined
        : this.clock.wake(at, () => {
            // Time stands still for an agent that always wants to be called now.
            if (++this.advances > 10_000) throw new Error('the agent spins')
            this.tell((agent, now) => agent.advance(now))
          })
    return result
  }

  run(milliseconds: number): this {
    this.clock.advance(milliseconds)
    return this
  }

  // ── what went out ──

  get checks(): readonly Sent[] {
    return this.sent.filter(({ message }) => message.class === 'request')
  }

  checksTo(ip: string): readonly Sent[] {
    return this.checks.filter(({ to }) => to.ip === ip)
  }

  get last(): Sent {
    return this.sent.at(-1) as Sent
  }

  pair(ip: string, port = 6000): Pair {
    const pair = this.agent.pairs.find(({ to }) => to.ip === ip && to.port === port)
    if (pair === undefined) throw new Error(`no pair to ${ip} ${port}`)
    return pair
  }

  kinds(): string[] {
    return this.events.map(({ kind }) => kind)
  }

  // ── the peer ──

  /** A check of the peer's comes in. Returns what was answered, if anything. */
  hear(ip: string, options: CheckOptions = {}, port = 6000): Message | undefined {
    const { controlling = !this.agent.controlling, tieBreaker = 5n, priority = candidatePriority('prflx', 65_535) } = options
    const writer = new MessageWriter()
      .start('request', Method.Binding, this.#random.bytes(12))
      .text(Attribute.Username, `${OURS.ufrag}:${options.ufrag ?? THEIRS.ufrag}`)
      .uint32(Attribute.Priority, priority)
      .uint64(controlling ? Attribute.IceControlling : Attribute.IceControlled, tieBreaker)
    if (options.useCandidate === true) writer.flag(Attribute.UseCandidate)
    if (options.nomination !== undefined) writer.uint32(Attribute.Nomination, options.nomination)
    options.more?.(writer)
    const before = this.sent.length
    this.request(writer.integrity(OUR_KEY).fingerprint().finish().slice(), ip, port, options.base)
    return this.sent.slice(before).find(({ message }) => message.class !== 'request')?.message
  }

  request(data: Uint8Array, ip: string, port = 6000, base: Base = this.base): Verdict {
    const message = Message.read(data) as Message
    return this.tell((agent, now) => agent.handleRequest(message, base, Address.of(ip, port), now))
  }

  /** The peer answers a check, from where it went unless told otherwise. */
  answer(
    { to, base, message }: Sent,
    {
      mapped = base.address,
      from = to,
      at = base,
      key = THEIR_KEY,
      more,
    }: {
      mapped?: Address | null
      from?: Address
      at?: Base
      key?: IntegrityKey
      more?: (writer: MessageWriter) => unknown
    } = {},
  ): Verdict {
    const writer = new MessageWriter().start('success', Method.Binding, message.transactionId)
    if (mapped !== null) writer.address(Attribute.XorMappedAddress, mapped)
    more?.(writer)
    const answer = Message.read(writer.integrity(key).fingerprint().finish().slice()) as Message
    return this.tell((agent, now) => agent.handleResponse(answer, at, from, now))
  }

  refuse({ to, base, message }: Sent, code: number, key: IntegrityKey | null = THEIR_KEY): Verdict {
    const writer = new MessageWriter().start('error', Method.Binding, message.transactionId).errorCode(code, 'no')
    if (key !== null) writer.integrity(key)
    const answer = Message.read(writer.fingerprint().finish().slice()) as Message
    return this.tell((agent, now) => agent.handleResponse(answer, base, to, now))
  }

  /** Every check from now on is answered after so many milliseconds, unless it goes elsewhere. */
  answerAll(rtt: number, where: (to: Address) => boolean = () => true): this {
    this.onCheck = (sent) => {
      if (where(sent.to)) this.clock.wake(this.now + rtt, () => void this.answer(sent))
    }
    return this
  }

  fail(ip: string, failure: SendFailure, port = 6000): void {
    this.tell((agent, now) => agent.sendFailed(this.base, Address.of(ip, port), failure, now))
  }

  // ── the agent's outlet ──

  send(base: Base, to: Address, data: Uint8Array): void {
    const sent = { at: this.now, base, to, message: Message.read(data) as Message }
    this.sent.push(sent)
    if (sent.message.class === 'request') this.onCheck(sent)
  }

  expect(key: string): void {
    this.expected.add(key)
  }

  forget(key: string): void {
    this.expected.delete(key)
  }

  requestSlot(urgent: boolean): void {
    this.pacer.request(this, urgent)
  }

  reached(_base: Base, address: Address): void {
    this.reachedAt.push(address)
  }

  mayUse(base: Base, from: Address): boolean {
    return this.#mayUse(base, from)
  }

  proves(_base: Base, _from: Address, sentAt: number): boolean {
    return this.#proves(sentAt)
  }

  mayAsk(base: Base, to: Address): boolean {
    return this.#mayAsk(base, to)
  }

  event(event: AgentEvent): void {
    this.events.push(event)
  }

  paced(): boolean {
    return this.tell((agent, now) => agent.paced(now))
  }
}
