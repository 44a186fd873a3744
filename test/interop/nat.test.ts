/** Other people's ICE agents and `sallyport connect --json`, each behind a NAT of the kernel's: every program a process, nothing simulated. */
import type { ChildProcess } from 'node:child_process'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { KERNEL, KernelNet, type Nat, type Node } from '../kernel/namespaces.ts'
import { type Requirements, requires } from '../requirements.ts'
import { AGENTS, type Foreign, LineProcess, pathOf, startAgent } from './foreign-agent.ts'

const MAIN = pathOf('../../dist/cli/main.js')

let net: KernelNet
let stun: string

beforeEach(async () => {
  net = await KernelNet.create()
  const host = await net.host('stun', { families: [4] })
  const server = new LineProcess(starter(host)(process.execPath, [MAIN, 'serve', '--json', '--address', host.ip4]))
  await server.find(({ listening }) => listening)
  stun = `${host.ip4}:3478`
})

afterEach(async () => {
  await net.close()
})

function starter(node: Node): (command: string, args: readonly string[]) => ChildProcess {
  return (command, args) => net.exec(node, command, args, { stdio: 'pipe' })
}

/** Without a NAT: on the open internet. */
async function place(name: string, nat: Nat | undefined): Promise<Node> {
  if (nat === undefined) return net.host(name, { families: [4] })
  const router = await net.router(`nat-${name}`, { nat, families: [4] })
  return net.host(name, { behind: router, families: [4] })
}

interface Places {
  readonly ours?: Nat
  readonly theirs?: Nat
}

/** Signals are carried both ways. */
async function meet(foreign: Foreign, controlling: boolean, nats: Places): Promise<{ agent: LineProcess; peer: LineProcess }> {
  const ours = await place('ours', nats.ours)
  const theirs = await place('theirs', nats.theirs)
  const agent = startAgent(foreign, { controlling, stun, start: starter(theirs) })
  const peer = new LineProcess(starter(ours)(process.execPath, [MAIN, 'connect', '--json', '--stun', stun]))
  peer.onSignal((signal) => agent.signal(signal))
  agent.onSignal((signal) => peer.signal(signal))
  return { agent, peer }
}

const needs = ({ needs }: Foreign): Requirements => ({ ...KERNEL, ...needs })

describe.each(AGENTS)('against $name', (foreign) => {
  describe('behind NATs', requires(needs(foreign)), () => {
    it.each(['controlling', 'controlled'])('which is %s, each behind a masquerade: they meet through both', async (role) => {
      const nat: Nat = { kind: 'masquerade' }
      const { agent, peer } = await meet(foreign, role === 'controlling', { ours: nat, theirs: nat })
      const connected = await agent.connected()
      const done = await peer.find((line) => (line.done === true ? line : undefined))
      await agent.received(`pong ping ${foreign.name}`)
      expect(done).toMatchObject({ direct: true })
      expect(connected.controlling).toBe(role === 'controlling')
      expect(await Promise.all([peer.close(), agent.close()])).toEqual([0, 0])
    })

    it.each(['controlling', 'controlled'])('which is %s, on the open internet, ours behind random ports: they meet', async (role) => {
      const { agent, peer } = await meet(foreign, role === 'controlling', { ours: { kind: 'random' } })
      await agent.connected()
      const done = await peer.find((line) => (line.done === true ? line : undefined))
      await agent.received(`pong ping ${foreign.name}`)
      expect(done).toMatchObject({ direct: true })
    })
  })
})
