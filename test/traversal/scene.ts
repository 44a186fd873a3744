/** Two peers in the middle of their meeting, one of them open to whatever a test throws at its socket. */
import { createTraversal, type Signal, type Traversal } from '../../src/index.ts'
import { createLab, type Lab } from '../../src/lab/index.ts'
import { Address, type DatagramHandler } from '../../src/net/index.ts'
import { CountingNetwork } from './counting-network.ts'
import { join, meet, type Peer, SERVER, serveStun } from './meeting.ts'

export interface Target extends Peer {
  readonly network: CountingNetwork
  /** What a datagram goes through that reaches the socket of this side. */
  readonly handler: DatagramHandler
}

export interface Scene {
  readonly lab: Lab
  readonly a: Target
  readonly b: Peer
  /** The last signal of each side: credentials. */
  readonly said: { a?: Signal; b?: Signal }
}

export const STRANGER: Address = Address.of('198.51.100.66', 6666)

/** Two peers on the public internet, so that what one sends is what the other gets; `moment` milliseconds into their meeting. */
export async function scene(moment: number): Promise<Scene> {
  const lab = createLab({ seed: 5 })
  await serveStun(lab)
  lab.trace.start()
  const network = new CountingNetwork(lab.host('a'))
  const a = meet('a', await createTraversal({ network, servers: [SERVER] }), 'b')
  const b = meet('b', await createTraversal({ network: lab.host('b'), servers: [SERVER] }), 'a')
  const said: Scene['said'] = {}
  a.session.on('signal', (signal) => (said.a = signal))
  b.session.on('signal', (signal) => (said.b = signal))
  join(lab, a, b)
  await lab.run(moment)
  const [handler] = network.handlers.values()
  return { lab, a: { ...a, network, handler: handler as DatagramHandler }, b, said }
}

export interface Captured {
  readonly time: number
  readonly from: Address
  readonly data: Uint8Array
}

/** What reached `a` in the first second and a half: server answers, checks, check answers. */
export async function capture(): Promise<readonly Captured[]> {
  const { lab } = await scene(1_500)
  const records = lab.trace.records.filter((record) => record.at === 'a' && record.event === 'receive')
  return records.map(({ time, from, data }) => ({ time, from, data }))
}

/** All that the network must not be able to change. */
export function state({ session, traversal, network }: Target): string {
  const { log: _log, refused: _refused, ...rest } = session.explain()
  const { dropped: _dropped, ...status } = traversal.status()
  return JSON.stringify({ ...rest, status, state: session.state, timers: network.timers.size, sends: network.sends })
}

export function counted({ session, traversal }: { readonly session: Peer['session']; readonly traversal: Traversal }): number {
  return Object.values(traversal.status().dropped).reduce((sum, count) => sum + count, session.status.received)
}
