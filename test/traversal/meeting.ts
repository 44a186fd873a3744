/** Two traversals in the lab and a signalling channel between them: what nearly every test of the whole needs. */
import { createTraversal, type Session, type Signal, type Traversal, type TraversalOptions } from '../../src/index.ts'
import { type ChannelOptions, createLab, type Lab, type LabHost } from '../../src/lab/index.ts'
import { createStunServer } from '../../src/stun/index.ts'

export interface Peer {
  readonly name: string
  readonly traversal: Traversal
  readonly session: Session
  /** What came in, as text. */
  readonly inbox: string[]
}

export const SERVER = 'stun:stun.example.net'

/** A STUN server on the virtual internet, under the name in `SERVER`. */
export async function serveStun(lab: Lab, name = 'stun.example.net'): Promise<void> {
  const host = lab.host(name)
  await createStunServer({ network: host })
  lab.dns.set(
    name,
    host.addresses.map(({ ip }) => ip),
  )
}

export async function makePeer(host: LabHost, to: string, options: TraversalOptions = {}): Promise<Peer> {
  const traversal = await createTraversal({ network: host, servers: [SERVER], ...options })
  return meet(host.name, traversal, to)
}

export function meet(name: string, traversal: Traversal, to: string): Peer {
  const session = traversal.connect({ peer: to })
  const inbox: string[] = []
  session.on('message', (data) => void inbox.push(new TextDecoder().decode(data)))
  return { name, traversal, session, inbox }
}

/** Carries signals both ways, as JSON like any real channel. */
export function join(lab: Lab, a: Peer, b: Peer, options: ChannelOptions = {}): void {
  const [endA, endB] = lab.channel<string>(options)
  a.session.on('signal', (signal) => endA.send(JSON.stringify(signal)))
  b.session.on('signal', (signal) => endB.send(JSON.stringify(signal)))
  endA.onMessage((text) => void a.session.signal(JSON.parse(text) as Signal))
  endB.onMessage((text) => void b.session.signal(JSON.parse(text) as Signal))
}

export function say(peer: Peer, text: string): boolean {
  return peer.session.send(new TextEncoder().encode(text))
}

export { createLab }
