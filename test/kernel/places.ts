/** Where the peers of the kernel grid live: behind which routers, and as what the other side has to see them there. */
import type { CandidateType } from '../../src/candidates/index.ts'
import type { Family } from '../../src/net/index.ts'
import type { KernelNet, Node, Router, RouterOptions } from './namespaces.ts'

export interface Place {
  readonly host: Node
  /** The IP address of its end of the path, to the peer. */
  readonly outside: string
  /** The types its end of the path may have: the signal and the check are on their way at the same time, so a reflexive one may be either. */
  readonly types: readonly CandidateType[]
}

export type Places = (net: KernelNet, name: string) => Promise<readonly [Place, Place]>
export type PlaceMaker = (net: KernelNet, name: string) => Promise<Place>

const IPV4: readonly Family[] = [4]
const IPV6: readonly Family[] = [6]
/** What a STUN server sees of it is what the peer sees. */
const REFLEXIVE: readonly CandidateType[] = ['srflx', 'prflx']
/** The peer sees it at an address that nobody has seen before. */
const UNFORESEEN: readonly CandidateType[] = ['prflx']
const HOST: readonly CandidateType[] = ['host']

/** Two places that have nothing in common. */
export function apart(a: PlaceMaker, b: PlaceMaker): Places {
  return async (net, name) => [await a(net, `${name}-a`), await b(net, `${name}-b`)]
}

export async function open(net: KernelNet, name: string): Promise<Place> {
  const host = await net.host(name, { families: IPV4 })
  return { host, outside: host.ip4, types: HOST }
}

/** IPv4 only, behind one NAT. */
export function behind(options: RouterOptions): PlaceMaker {
  return async (net, name) => {
    const { router, host } = await home(net, name, { families: IPV4, ...options })
    return { host, outside: router.ip4, types: options.nat?.kind === 'random' ? UNFORESEEN : REFLEXIVE }
  }
}

export const masquerade: PlaceMaker = behind({ nat: { kind: 'masquerade' } })
export const randomPorts: PlaceMaker = behind({ nat: { kind: 'random' } })

/** Its router sends every datagram from outside to it, whoever sent it. */
export async function opened(net: KernelNet, name: string): Promise<Place> {
  const { router, host } = await home(net, name, { families: IPV4 })
  await net.forward(router, host)
  return { host, outside: router.ip4, types: REFLEXIVE }
}

/** A home behind a carrier, both of which translate. */
export async function carried(net: KernelNet, name: string): Promise<Place> {
  const carrier = await net.router(`${name}-carrier`, { carrier: true, families: IPV4 })
  const { host } = await home(net, name, { behind: carrier, families: IPV4 })
  return { host, outside: carrier.ip4, types: REFLEXIVE }
}

/** IPv6 behind a stateful firewall, with the IPv4 that goes with it or none. */
export function firewalled(ipv4?: 'masquerade' | 'random'): PlaceMaker {
  return async (net, name) => {
    const { host } = await home(net, name, ipv4 === undefined ? { families: IPV6 } : { nat: { kind: ipv4 } })
    return { host, outside: host.ip6, types: HOST }
  }
}

/** IPv6 only, behind a firewall that is given more to do. */
export function behind6(options: RouterOptions): PlaceMaker {
  return async (net, name) => {
    const { host } = await home(net, name, { ...options, families: IPV6 })
    return { host, outside: host.ip6, types: HOST }
  }
}

/** Two homes that reach everybody but each other by UDP. */
export function walled(families: readonly Family[]): Places {
  return async (net, name) => {
    const [a, b] = [await home(net, `${name}-a`, { families }), await home(net, `${name}-b`, { families })]
    await net.wall(a.router, ...outsides(b))
    return [placeOf(a), placeOf(b)]
  }
}

/** Two hosts of one home. */
export async function together(net: KernelNet, name: string): Promise<readonly [Place, Place]> {
  const { router, host: a } = await home(net, `${name}-a`, { families: IPV4 })
  const b = await net.host(`${name}-b`, { behind: router, families: IPV4 })
  return [
    { host: a, outside: a.ip4, types: HOST },
    { host: b, outside: b.ip4, types: HOST },
  ]
}

export interface Home {
  readonly router: Router
  readonly host: Node
}

/** Its addresses as others see them. */
export function outsides({ router, host }: Home): readonly string[] {
  return [router.ip4, host.ip6].filter((ip) => ip !== '')
}

function placeOf(home: Home): Place {
  const [outside = ''] = outsides(home)
  return { host: home.host, outside, types: REFLEXIVE }
}

export async function home(net: KernelNet, name: string, options: RouterOptions = {}): Promise<Home> {
  const router = await net.router(`${name}-nat`, options)
  const host = await net.host(name, { behind: router, ...(options.families === undefined ? {} : { families: options.families }) })
  return { router, host }
}
