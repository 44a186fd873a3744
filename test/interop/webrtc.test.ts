/**
 * What the table of matrix.test.ts does not show of whole WebRTC stacks: data both ways, and for long, from one to another through our side.
 * And browsers that hide their addresses.
 */
import { existsSync } from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createTraversal, type HostPolicy, type Traversal } from '../../src/index.ts'
import { KERNEL, KernelNet } from '../kernel/namespaces.ts'
import { requires } from '../requirements.ts'
import { bridge, bridged, type Claim, type Leg } from './bridge.ts'
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

/** Resolves when data has gone both ways. */
async function meet(foreign: Foreign, controlling: boolean, claim?: Claim): Promise<readonly [Leg, Leg]> {
  traversal = await createTraversal({ hosts: LOOPBACK })
  const ends = [
    [foreign, { controlling, loopback: true }],
    [OTHER, { controlling: !controlling, loopback: true }],
  ] as const
  const legs = bridge(traversal, ends, claim)
  running = legs.map(({ agent }) => agent)
  await bridged(legs, ends)
  return legs
}

describe.each(STACKS)('against $name', (foreign) => {
  describe('and another stack, our side between them', requires(foreign.needs), () => {
    it.each(ROLES)('which is %s: data goes both ways over two sessions of ours', async (role) => {
      const legs = await meet(foreign, role === 'controlling')
      const [account] = legs.map(({ session, agent }) => `${session.explain()}\n\n${agent.account}`)
      for (const { session } of legs) expect(session.path, account).toMatchObject({ kind: 'direct' })
      expect(legs[0].session.explain().role, account).toBe(role === 'controlling' ? 'controlled' : 'controlling')
    })

    it.each(ROLES)('which is %s, of which our side is told the opposite: the conflict is settled (RFC 8445 7.3.1.1)', async (role) => {
      const legs = await meet(foreign, role === 'controlling', 'opposite')
      // Not that the roles differ: what an agent told of its own was so at one moment, and the conflict may have been settled after it.
      const nominated = expect.objectContaining({ nominated: true, valid: true })
      for (const { session } of legs) await vi.waitFor(() => expect(session.explain().pairs).toContainEqual(nominated), 5_000)
    })

    // With its handshake unanswered for 30 s libdatachannel would close everything.
    if (WHOLE)
      it.each(ROLES)('which is %s: consent goes on past its 30 s', { timeout: 90_000 }, async (role) => {
        const legs = await meet(foreign, role === 'controlling')
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
