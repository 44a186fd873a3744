/** Relays on the virtual internet, peers that need them, and a stream of datagrams both ways that shows what a change of path costs. */
import type { IceServer, Path, TraversalOptions } from '../../src/index.ts'
import type { Lab, LabHost } from '../../src/lab/index.ts'
import { createRelay, type Relay, type RelayOptions } from '../../src/relay/index.ts'
import { makePeer, type Peer } from './meeting.ts'

export const USER = { username: 'ann', password: 'secret' }

export interface ServedRelay {
  readonly host: LabHost
  readonly name: string
  relay: Relay
}

/** A relay on the virtual internet, under a name of its own. The addresses there are documentation ranges, which relays refuse as a rule. */
export async function serveRelay(lab: Lab, name: string, options: Partial<RelayOptions> & { delay?: number } = {}): Promise<ServedRelay> {
  const { delay, ...rest } = options
  const host = lab.host(name, delay === undefined ? {} : { link: { delay } })
  lab.dns.set(
    name,
    host.addresses.map(({ ip }) => ip),
  )
  return { host, name, relay: await startRelay(host, rest) }
}

export async function startRelay(host: LabHost, options: Partial<RelayOptions> = {}): Promise<Relay> {
  return createRelay({ network: host, users: { [USER.username]: USER.password }, peers: { private: true }, ...options })
}

/** What `servers` takes for it. */
export function turn(name: string, query = ''): IceServer {
  return { urls: `turn:${name}${query}`, username: USER.username, credential: USER.password }
}

export function relayedPeer(
  host: LabHost,
  to: string,
  servers: readonly (string | IceServer)[],
  options: TraversalOptions = {},
): Promise<Peer> {
  return makePeer(host, to, { ...options, servers })
}

/** What went one way: every datagram has a number. */
export interface Flow {
  readonly sent: number
  readonly lost: readonly number[]
  readonly doubled: readonly number[]
  /** Those that came after one that was sent later. */
  readonly overtaken: number
  /** Milliseconds: the longest time in which nothing arrived. */
  readonly longestGap: number
}

export interface Stream {
  stop(): void
  flow(to: 'a' | 'b'): Flow
  readonly paths: { readonly a: Path[]; readonly b: Path[] }
}

/** 1,000 datagrams a second each way, from now on. */
export function stream(lab: Lab, a: Peer, b: Peer): Stream {
  const paths: Stream['paths'] = { a: [], b: [] }
  a.session.on('path', (path) => paths.a.push(path))
  b.session.on('path', (path) => paths.b.push(path))
  const arrivals = { a: [] as { n: number; at: number }[], b: [] as { n: number; at: number }[] }
  a.session.on('message', (data) => arrivals.a.push({ n: numberOf(data), at: lab.clock.now() }))
  b.session.on('message', (data) => arrivals.b.push({ n: numberOf(data), at: lab.clock.now() }))
  let sent = 0
  let stoppedAt: number | undefined
  const tick = (): void => {
    if (stoppedAt !== undefined) return
    const data = new Uint8Array(1_200)
    new DataView(data.buffer).setUint32(0, sent++)
    a.session.send(data.slice())
    b.session.send(data)
    lab.clock.wake(lab.clock.now() + 1, tick)
  }
  tick()
  return {
    paths,
    stop: () => {
      stoppedAt = lab.clock.now()
    },
    flow: (to) => {
      const got = new Map<number, number>()
      let longestGap = 0
      let overtaken = 0
      let highest = -1
      let last: number | undefined
      for (const { n, at } of arrivals[to]) {
        got.set(n, (got.get(n) ?? 0) + 1)
        longestGap = Math.max(longestGap, at - (last ?? at))
        last = at
        if (n < highest) overtaken++
        highest = Math.max(highest, n)
      }
      // What never came again is a gap, too.
      if (stoppedAt !== undefined) longestGap = Math.max(longestGap, stoppedAt - (last ?? 0))
      const all = Array.from({ length: sent }, (_, n) => n)
      return { sent, lost: all.filter((n) => !got.has(n)), doubled: all.filter((n) => (got.get(n) ?? 0) > 1), overtaken, longestGap }
    },
  }
}

function numberOf(data: Uint8Array): number {
  return new DataView(data.buffer, data.byteOffset).getUint32(0)
}
