/** What other people's agents do with nothing but their address on a relay of ours: against our own agent, and against each other. */
import { performance } from 'node:perf_hooks'
import { expect, vi } from 'vitest'
import { createTraversal, type HostPolicy, type Session, type TraversalOptions } from '../../src/index.ts'
import type { DatagramSocket } from '../../src/net/index.ts'
import { nodeNetwork } from '../../src/net/node/index.ts'
import type { RelayTransport } from '../../src/relay/index.ts'
import { OwnRelay, RELAYED } from '../relay/own-relay.ts'
import { bridge, bridged, type End, type Leg } from './bridge.ts'
import { AGENTS, type Foreign, type LineProcess, type StartOptions, startAgent } from './foreign-agent.ts'
import { inTime } from './in-time.ts'

const LOOPBACK: HostPolicy = { loopback: true, families: [4], accept: ({ internal }) => internal }
const PASSWORD = 'a password'
/** Milliseconds: whatever is refreshed has a new nonce by then, and what is not refreshed is gone. */
const NONCE_LIFETIME = 1_500
const LIFETIME = 6_000
/** Milliseconds that a step may take, on a machine with much to do. */
const PATIENCE = 20_000

/** What is said beside greetings: lengths that streams pad and lengths that they do not. */
const TEXTS = [1, 2, 3, 4, 500, 1_000].map((length) => `say ${'x'.repeat(length)}`)

/** What becomes of an agent's nonce while it is there. */
type Nonces = 'stale' | 'fresh'

/** The three that agents are sent to: by what they can. */
export class Relays {
  /** Of short-lived nonces and short-lived allocations. */
  readonly #strict: OwnRelay
  /** Of short-lived allocations. */
  readonly #patient: OwnRelay
  /** Of allocations that live as long as is usual. */
  readonly #lenient: OwnRelay

  private constructor(strict: OwnRelay, patient: OwnRelay, lenient: OwnRelay) {
    this.#strict = strict
    this.#patient = patient
    this.#lenient = lenient
  }

  static async start(): Promise<Relays> {
    const authenticate = (): string => PASSWORD
    const lifetimes = { standard: LIFETIME, longest: LIFETIME }
    const strict = await OwnRelay.start({ authenticate, lifetimes, nonceLifetime: NONCE_LIFETIME })
    return new Relays(strict, await OwnRelay.start({ authenticate, lifetimes }), await OwnRelay.start({ authenticate }))
  }

  of({ keepsNonce, keepsPace }: Foreign, nonces: Nonces): OwnRelay {
    if (keepsPace !== undefined) return this.#lenient
    return keepsNonce === undefined && nonces === 'stale' ? this.#strict : this.#patient
  }

  async close(): Promise<void> {
    await Promise.all([this.#strict.close(), this.#patient.close(), this.#lenient.close()])
  }
}

/** An agent that goes by a relay only. */
export interface Part {
  readonly foreign: Foreign
  readonly transport: RelayTransport
}

export interface Scene {
  readonly name: string
  readonly agents: readonly Foreign[]
  /** Rejects, with what everybody said, when anything is otherwise than it should be. */
  readonly run: (relays: Relays) => Promise<void>
}

/** Our own agent: not relayed, or on the relay that the other one is on, over the same transport, and nowhere else. */
export type Ours = 'direct' | 'relayed'

export function withOurs(part: Part, role: 'controlling' | 'controlled', ours: Ours): Scene {
  const { foreign } = part
  const name = `${describe(part)}, ${role}, with ours ${ours}`
  const run = async (relays: Relays): Promise<void> => {
    const guest = new Guest(relays, part, name, role === 'controlling', 'stale')
    const traversal = await createTraversal(
      ours === 'direct' ? { socket: await openBehindFirewall(), hosts: LOOPBACK } : relayedOnly(relays, part, `${name}, ours`),
    )
    const session = traversal.connect({ peer: name })
    const { agent } = guest
    try {
      session.on('signal', (signal) => agent.signal(signal))
      agent.onSignal((signal) => session.signal(signal))
      session.on('message', (data) => {
        const text = textOf(data)
        if (!text.startsWith('pong ')) session.send(Buffer.from(`pong ${text}`))
      })
      await inTime(Promise.all([session.ready, agent.received(`pong ping ${foreign.name}`)]), PATIENCE)
      for (const text of TEXTS) await inTime(answered(session, text), PATIENCE)
      await guest.checkRelayed()
      const { remote, local } = session.path as NonNullable<Session['path']>
      expect(guest.relayed).toEqual([`${remote.ip}:${remote.port}`])
      if (ours === 'relayed') expect([local.type, local.ip]).toEqual(['relay', RELAYED[4]])
      await guest.outlive()
      await inTime(answered(session, 'say that you are still there'), PATIENCE)
      await guest.leave()
    } catch (error) {
      throw new Error(`${(error as Error).message}\n\n${session.explain()}\n\n${guest.account}`, { cause: error })
    } finally {
      await traversal.close()
      await agent.close()
    }
  }
  return { name, agents: [foreign], run }
}

function relayedOnly(relays: Relays, { foreign, transport }: Part, username: string): TraversalOptions {
  const own = relays.of(foreign, 'stale')
  const { ip, port } = own.at(transport, 4)
  const urls = transport === 'tls' ? `turns:${ip}:${port}` : `turn:${ip}:${port}?transport=${transport}`
  return { servers: [{ urls, username, credential: PASSWORD }], relay: { only: true, ca: own.ca } }
}

/** Two of them, from relayed address to relayed address. The first one controls. */
export function withEachOther(one: Part, two: Part): Scene {
  const name = `${describe(one)} controls ${describe(two)}`
  const run = async (relays: Relays): Promise<void> => {
    const guests = [
      new Guest(relays, one, `${name}, first`, true, 'fresh'),
      new Guest(relays, two, `${name}, second`, false, 'fresh'),
    ] as const
    const [first, second] = guests
    first.agent.onSignal((signal) => second.agent.signal(signal))
    second.agent.onSignal((signal) => first.agent.signal(signal))
    const talked = guests.map(({ agent, part }) => agent.received(`pong ping ${part.foreign.name}`))
    await spend(guests, Promise.all(talked))
  }
  return { name, agents: [one.foreign, two.foreign], run }
}

/** Two whole WebRTC stacks, our side between them: data goes over two relayed addresses and two sessions of ours. The first one controls. */
export function throughOurs(one: Part, two: Part): Scene {
  const name = `${describe(one)} controls ours, and it ${describe(two)}`
  const run = async (relays: Relays): Promise<void> => {
    const traversal = await createTraversal({ socket: await openBehindFirewall(), hosts: LOOPBACK })
    const users = [`${name}, first`, `${name}, second`] as const
    const ends: readonly [End, End] = [
      [one.foreign, optionsFor(relays, one, users[0], true, 'stale')],
      [two.foreign, optionsFor(relays, two, users[1], false, 'stale')],
    ]
    const legs: readonly [Leg, Leg] = bridge(traversal, ends)
    const guests = [
      new Guest(relays, one, users[0], true, 'stale', legs[0].agent),
      new Guest(relays, two, users[1], false, 'stale', legs[1].agent),
    ] as const
    try {
      await spend(guests, bridged(legs, ends))
    } finally {
      await traversal.close()
    }
  }
  return { name, agents: [one.foreign, two.foreign], run }
}

/** From the first word to the last. */
async function spend(guests: readonly Guest[], talked: Promise<unknown>): Promise<void> {
  try {
    await inTime(talked, PATIENCE)
    await Promise.all(guests.map((guest) => guest.checkRelayed()))
    await Promise.all(guests.map((guest) => guest.outlive()))
    await Promise.all(guests.map((guest) => guest.leave()))
  } catch (error) {
    throw new Error([(error as Error).message, ...guests.map(({ account }) => account)].join('\n\n'), { cause: error })
  } finally {
    await Promise.all(guests.map(({ agent }) => agent.close()))
  }
}

/** An agent, and what our relay knows of it. */
class Guest {
  readonly part: Part
  readonly agent: LineProcess
  readonly #own: OwnRelay
  readonly #user: string
  readonly #nonces: Nonces
  /** By then it had its allocation. */
  readonly #offeredAt: Promise<number>

  /** @param agent the one that there is already */
  constructor(relays: Relays, part: Part, user: string, controlling: boolean, nonces: Nonces, agent?: LineProcess) {
    this.part = part
    this.#nonces = nonces
    this.#own = relays.of(part.foreign, nonces)
    this.#user = user
    this.agent = agent ?? startAgent(part.foreign, optionsFor(relays, part, user, controlling, nonces))
    // Whether it comes to that is asked elsewhere.
    this.#offeredAt = this.agent.find(({ signal }) => (signal?.candidates.length ? performance.now() : undefined)).catch(() => 0)
  }

  get relayed(): readonly string[] {
    return this.#own.of('allocation-created', this.#user).flatMap(({ relayed }) => relayed)
  }

  get account(): string {
    return `${this.agent.account}\n\n${this.#own.account(this.#user)}`
  }

  /** It has one allocation, sends from there, and has told of nothing else. */
  async checkRelayed(): Promise<void> {
    const { agent, part } = this
    expect((await inTime(agent.connected(), PATIENCE)).local).toBe('relay')
    expect(this.#own.of('allocation-created', this.#user)).toMatchObject([{ transport: part.transport }])
    const offered = agent.all(({ signal }) => signal?.candidates).flat()
    expect(offered.length).toBeGreaterThan(0)
    for (const line of offered) expect(line).toMatch(/ typ relay\b/)
  }

  /** Whatever it did since it allocated had its nonce refused, and an allocation that was not refreshed would be no more. */
  async outlive(): Promise<void> {
    if (this.part.foreign.keepsPace !== undefined) return
    const left = (await this.#offeredAt) + 1.3 * LIFETIME - performance.now()
    await new Promise((resolve) => setTimeout(resolve, left))
    expect(this.#own.of('allocation-created', this.#user)).toHaveLength(1)
    expect(this.#own.of('allocation-deleted', this.#user)).toHaveLength(0)
    expect(this.agent.all(({ state }) => state).filter((state) => !['checking', 'connected', 'completed'].includes(state))).toEqual([])
  }

  /** It closes, and its allocation does not stay: not for longer, at least, than one that is not refreshed. */
  async leave(): Promise<void> {
    const { foreign, transport } = this.part
    const { abandons, keepsPace } = foreign
    expect(await this.agent.close()).toBe(0)
    if (abandons !== undefined && keepsPace !== undefined) return
    await vi.waitFor(() => expect(this.#own.of('allocation-deleted', this.#user)).toHaveLength(1), PATIENCE)
    const [gone] = this.#own.of('allocation-deleted', this.#user)
    // Who is refused for a stale nonce when he lets go does not wait for the answer.
    if (abandons === undefined && this.#nonces === 'fresh')
      expect(transport === 'udp' ? ['released'] : ['released', 'disconnected']).toContain(gone?.reason)
  }
}

function optionsFor(relays: Relays, { foreign, transport }: Part, username: string, controlling: boolean, nonces: Nonces): StartOptions {
  const own = relays.of(foreign, nonces)
  const { ip: host, port } = own.at(transport, 4)
  const turn = { transport, host, port, username, password: PASSWORD, ...(transport === 'tls' ? { ca: own.caFile } : {}) }
  return { controlling, loopback: true, turn }
}

export function partsOf(name: string): readonly Part[] {
  const foreign = AGENTS.find((agent) => agent.name === name)
  if (foreign === undefined) throw new Error(`no agent ${name}`)
  return foreign.relays.map((transport) => ({ foreign, transport }))
}

function describe({ foreign, transport }: Part): string {
  return `${foreign.name} over ${transport}`
}

/** Sends until the answer is here: what comes before the agent has made up its mind may be lost. */
async function answered(session: Session, text: string): Promise<void> {
  const send = (): void => void session.send(Buffer.from(text))
  const sending = setInterval(send, 200)
  try {
    await new Promise<void>((resolve) => {
      session.on('message', (data) => {
        if (textOf(data) === `pong ${text}`) resolve()
      })
      send()
    })
  } finally {
    clearInterval(sending)
  }
}

function textOf(data: Uint8Array): string {
  return new TextDecoder().decode(data)
}

/** A socket for our own agent. There are agents that send past their relay, though they do not offer to: that is dropped. */
async function openBehindFirewall(): Promise<DatagramSocket> {
  const socket = await nodeNetwork().bind({ family: 4, ip: '127.0.0.1' })
  return {
    local: socket.local,
    buffer: socket.buffer,
    handle: (handler) =>
      socket.handle({
        datagram: (data, from) => {
          if (from.ip === RELAYED[4]) handler.datagram(data, from)
        },
        sendFailed: (to, failure) => handler.sendFailed(to, failure),
        drained: () => handler.drained(),
        lost: (reason) => handler.lost(reason),
      }),
    send: (data, to, report) => socket.send(data, to, report),
    setHopLimit: (hops) => socket.setHopLimit(hops),
    close: () => socket.close(),
  }
}
