/**
 * Other people's agents that offer nothing but their address on a relay of ours: against our own agent, and against each other. Each of them
 * over UDP, TCP and TLS where it can, past the life of its nonce and of an allocation that is not refreshed, and away. `npm run interop` has
 * them all, in both roles and against each other.
 */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createTraversal, type HostPolicy, type Session } from '../../src/index.ts'
import type { RelayTransport } from '../../src/relay/index.ts'
import { requires } from '../requirements.ts'
import { AGENTS, type Foreign, type LineProcess, startAgent, type TurnServer } from './foreign-agent.ts'
import { OwnRelay } from './own-relay.ts'

const WHOLE = process.env.INTEROP === 'all'
const LOOPBACK: HostPolicy = { loopback: true, families: [4], accept: ({ internal }) => internal }
const PASSWORD = 'a password'
/** Milliseconds: whatever is refreshed has a new nonce by then, and what is not refreshed is gone. */
const NONCE_LIFETIME = 1_500
const LIFETIME = 6_000
/** Milliseconds that a step may take, on a machine with much to do. */
const PATIENCE = 20_000

const ROLES = ['controlling', 'controlled'] as const
type Role = (typeof ROLES)[number]

/** Once the agent says what it has; the others are below. */
const TALKERS = AGENTS.filter(({ name, cannot }) => cannot?.data === undefined && name !== 'libnice-renomination')

/** What is said beside greetings: lengths that streams pad and lengths that they do not. */
const TEXTS = [1, 2, 3, 4, 500, 1_000].map((length) => `say ${'x'.repeat(length)}`)

interface Cell {
  readonly foreign: Foreign
  readonly transport: RelayTransport
  readonly role: Role
}

const CELLS: readonly Cell[] = TALKERS.flatMap((foreign) =>
  foreign.relays.flatMap((transport, i) =>
    (WHOLE ? ROLES : ROLES.slice(i % 2, (i % 2) + 1)).map((role): Cell => ({ foreign, transport, role })),
  ),
)

function nameOf({ foreign, transport, role }: Cell): string {
  return `${foreign.name} over ${transport}, ${role}`
}

describe('relayed agents against ours', () => {
  let own: OwnRelay
  // Most of what they do is to wait: all at once.
  const lives = new Map<Cell, Promise<void>>()

  beforeAll(async () => {
    const users = Object.fromEntries(CELLS.map((cell) => [nameOf(cell), PASSWORD]))
    own = await OwnRelay.start({ users, nonceLifetime: NONCE_LIFETIME, lifetimes: { standard: LIFETIME, longest: LIFETIME } })
    for (const cell of CELLS) {
      const life = live(own, cell)
      // Whoever awaits it hears of it.
      life.catch(() => {})
      lives.set(cell, life)
    }
  })

  afterAll(async () => {
    await Promise.allSettled(lives.values())
    await own?.close()
  })

  for (const cell of CELLS)
    it(`${nameOf(cell)}: data both ways for longer than its nonce and its allocation are good for, and away`, { timeout: 90_000 }, () =>
      lives.get(cell),
    )
})

function serverFor(own: OwnRelay, transport: RelayTransport, username: string): TurnServer {
  const { ip, port } = own.at(transport, 4)
  return { transport, host: ip, port, username, password: PASSWORD, ...(transport === 'tls' ? { ca: own.caFile } : {}) }
}

async function live(own: OwnRelay, cell: Cell): Promise<void> {
  const { foreign, transport, role } = cell
  const user = nameOf(cell)
  await foreign.prepare?.()
  const agent = startAgent(foreign, { controlling: role === 'controlling', loopback: true, turn: serverFor(own, transport, user) })
  const traversal = await createTraversal({ hosts: LOOPBACK })
  const session = traversal.connect({ peer: foreign.name })
  try {
    session.on('signal', (signal) => agent.signal(signal))
    agent.onSignal((signal) => session.signal(signal))
    session.on('message', (data) => {
      const text = textOf(data)
      if (!text.startsWith('pong ')) session.send(Buffer.from(`pong ${text}`))
    })
    const [, connected] = await inTime(Promise.all([session.ready, agent.connected()]))
    expect(connected.local).toBe('relay')
    await inTime(agent.received(`pong ping ${foreign.name}`))
    for (const text of TEXTS) await inTime(answered(session, text))

    const [allocation] = own.of('allocation-created', user)
    expect(allocation).toMatchObject({ transport, lifetime: LIFETIME })
    const offered = agent.all(({ signal }) => signal?.candidates).flat()
    expect(offered.length).toBeGreaterThan(0)
    for (const line of offered) expect(line).toMatch(/ typ relay\b/)
    const { remote } = session.path!
    expect(allocation?.relayed).toEqual([`${remote.ip}:${remote.port}`])

    // Whatever it did since it allocated had its nonce refused, and an allocation that was not refreshed would be no more.
    await new Promise((resolve) => setTimeout(resolve, 1.5 * LIFETIME))
    expect(own.of('allocation-created', user)).toHaveLength(1)
    expect(own.of('allocation-deleted', user)).toHaveLength(0)
    await inTime(answered(session, 'say that you are still there'))

    expect(await agent.close()).toBe(0)
    await vi.waitFor(() => expect(own.of('allocation-deleted', user)).toHaveLength(1), PATIENCE)
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${session.explain()}\n\n${agent.account}\n\n${own.account(user)}`, { cause: error })
  } finally {
    await traversal.close()
    await agent.close()
  }
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

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${PATIENCE / 1_000} s`)), PATIENCE)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
