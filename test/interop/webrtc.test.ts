/**
 * What the table of matrix.test.ts does not show of whole WebRTC stacks. Data both ways, and for long: two of them speak DTLS to each other, end
 * to end, through our side, which has a session with each and passes every datagram of one on to the other. And browsers that hide their addresses.
 */
import { existsSync } from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createTraversal, type HostPolicy, type Session, type Signal, type Traversal } from '../../src/index.ts'
import { KERNEL, KernelNet } from '../kernel/namespaces.ts'
import { requires } from '../requirements.ts'
import { AGENTS, type Foreign, LineProcess, startAgent } from './foreign-agent.ts'
import { MAIN } from './matrix.ts'

const LOOPBACK: HostPolicy = { loopback: true, families: [4], accept: ({ internal }) => internal }
const ROLES = ['controlling', 'controlled'] as const
const STACKS = AGENTS.filter(({ cannot }) => cannot?.data !== undefined)
const [OTHER, CHROMIUM] = ['libdatachannel', 'chromium'].map((name) => STACKS.find((stack) => stack.name === name)) as [Foreign, Foreign]
/** Past the 30 s that consent lives without an answer (RFC 7675 5.1). */
const LONG = 36_000
/** `npm run interop` sets it. */
const WHOLE = process.env.INTEROP === 'all'

let traversal: Traversal | undefined
let net: KernelNet | undefined
let running: LineProcess[] = []

afterEach(async () => {
  await traversal?.close()
  // Killed with its namespace, a browser would leave its profile behind.
  await Promise.all(running.map((one) => one.close()))
  await net?.close()
  running = []
  traversal = net = undefined
})

interface Leg {
  readonly session: Session
  readonly agent: LineProcess
}

/** What our side is told of the agent's role: what it says, or the opposite. */
type Claim = 'truth' | 'opposite'

/** Takes what the agent behind says, and tells this one of our side only once the fingerprint of that is known. */
function carrySignals({ session, agent }: Leg, behind: Leg, claim: Claim): void {
  let last: Signal | undefined
  let fingerprint: string | undefined
  const tell = (): void => {
    if (last !== undefined && fingerprint !== undefined) agent.signal({ ...last, fingerprint })
  }
  session.on('signal', (signal) => {
    last = signal
    tell()
  })
  behind.agent.onSignal((signal) => {
    behind.session.signal({ ...signal, controlling: signal.controlling === (claim === 'truth') })
    if (fingerprint === signal.fingerprint) return
    fingerprint = signal.fingerprint
    tell()
  })
}

/** Resolves when the data of each has been answered by the other. */
async function bridge(foreign: Foreign, controlling: boolean, claim: Claim = 'truth'): Promise<readonly [Leg, Leg]> {
  const shared = await createTraversal({ hosts: LOOPBACK })
  traversal = shared
  const leg = (agent: Foreign, role: boolean, peer: string): Leg => ({
    session: shared.connect({ peer }),
    agent: startAgent(agent, { controlling: role, loopback: true }),
  })
  // The one that offers is the first to have a fingerprint, and the other one needs it.
  const [one, two] = [leg(foreign, controlling, 'one'), leg(OTHER, !controlling, 'two')]
  running = [one.agent, two.agent]
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const) {
    carrySignals(from, to, claim)
    from.session.on('message', (data) => void to.session.send(data))
  }
  await Promise.all([one.agent.received(`pong ping ${foreign.name}`), two.agent.received(`pong ping ${OTHER.name}`)])
  return [one, two]
}

describe.each(STACKS)('against $name', (foreign) => {
  describe('and another stack, our side between them', requires(foreign.needs), () => {
    it.each(ROLES)('which is %s: data goes both ways over two sessions of ours', async (role) => {
      const legs = await bridge(foreign, role === 'controlling')
      const [account] = legs.map(({ session, agent }) => `${session.explain()}\n\n${agent.account}`)
      for (const { session } of legs) expect(session.path, account).toMatchObject({ kind: 'direct' })
      expect(legs[0].session.explain().role, account).toBe(role === 'controlling' ? 'controlled' : 'controlling')
    })

    it.each(ROLES)('which is %s, of which our side is told the opposite: the conflict is settled (RFC 8445 7.3.1.1)', async (role) => {
      const legs = await bridge(foreign, role === 'controlling', 'opposite')
      // Not that the roles differ: what an agent told of its own was so at one moment, and the conflict may have been settled after it.
      const nominated = expect.objectContaining({ nominated: true, valid: true })
      for (const { session } of legs) await vi.waitFor(() => expect(session.explain().pairs).toContainEqual(nominated), 5_000)
    })

    // With its handshake unanswered for 30 s libdatachannel would close everything.
    if (WHOLE)
      it.each(ROLES)('which is %s: consent goes on past its 30 s', { timeout: 90_000 }, async (role) => {
        const legs = await bridge(foreign, role === 'controlling')
        await new Promise((resolve) => setTimeout(resolve, LONG))
        for (const { session, agent } of legs) {
          expect(session.state).toBe('connected')
          expect(session.explain().log.filter(({ text }) => /^(lost|no path)/.test(text))).toEqual([])
          expect(agent.all(({ state }) => state).filter((state) => !['checking', 'connected', 'completed'].includes(state))).toEqual([])
        }
      })
  })
})

const needs = { ...CHROMIUM.needs, ...KERNEL, commands: { ...CHROMIUM.needs.commands, ...KERNEL.commands } }

describe('against chromium on our LAN', requires({ ...needs, also: { 'a build (npm run build)': existsSync(MAIN) } }), () => {
  it.each(ROLES)('C19 which is %s and hides its addresses behind mDNS names: the names are resolved', async (role) => {
    net = await KernelNet.create()
    const lan = net
    const home = await lan.router('home', { families: [4] })
    const [ours, theirs] = [
      await lan.host('ours', { behind: home, families: [4] }),
      await lan.host('theirs', { behind: home, families: [4] }),
    ]
    const hiding: Foreign = { ...CHROMIUM, args: [...CHROMIUM.args, '--mdns'] }
    const agent = startAgent(hiding, {
      controlling: role === 'controlling',
      start: (command, args) => lan.exec(theirs, command, args, { stdio: 'pipe' }),
    })
    const peer = new LineProcess('sallyport', lan.exec(ours, process.execPath, [MAIN, 'connect', '--json'], { stdio: 'pipe' }))
    running = [agent, peer]
    // It learns none of our addresses, so the first check has to be ours, to what its name stands for.
    peer.onSignal((signal) => agent.signal({ ...signal, candidates: [] }))
    agent.onSignal((signal) => peer.signal(signal))
    const [path] = await Promise.all([peer.find((line) => (line.event === 'path' ? line : undefined)), agent.connected()])
    expect(path.kind).toBe('direct')
    const offered = agent.all(({ signal }) => signal?.candidates).flat()
    expect(offered.length).toBeGreaterThan(0)
    for (const line of offered) expect(line).toMatch(/ [0-9a-f-]{36}\.local \d+ typ host/)
  })
})
