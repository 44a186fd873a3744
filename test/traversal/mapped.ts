/** Routers that speak port mapping protocols, and what becomes of a mapping there. */
import { expect } from 'vitest'
import type { MappingStatus, Traversal, TraversalOptions } from '../../src/index.ts'
import { createTraversal } from '../../src/index.ts'
import {
  type Lab,
  type LabHost,
  type NatPreset,
  createLab as newLab,
  type PortMappingFaults,
  type PortMappingOptions,
  type PortMappingProtocol,
  type Router,
} from '../../src/lab/index.ts'
// What is loaded on first use takes real time, which the virtual clock does not see.
import '../../src/pmp/pxp/index.ts'
import { loadXml } from '../../src/pmp/upnp/index.ts'
import { SERVER, serveStun } from './meeting.ts'
import { type ServedRelay, serveRelay, turn } from './relays.ts'

export const PROTOCOLS = ['pcp', 'nat-pmp', 'upnp'] as const satisfies readonly PortMappingProtocol[]

/** With these protocols and no others. */
export function speaking(protocols: readonly PortMappingProtocol[], more: PortMappingOptions = {}): PortMappingOptions {
  return {
    ...more,
    pcp: protocols.includes('pcp'),
    natPmp: protocols.includes('nat-pmp'),
    upnp: protocols.includes('upnp') && (more.upnp ?? true),
  }
}

export interface Home {
  readonly lab: Lab
  readonly router: Router
  readonly host: LabHost
  /** Undefined where a home was made by hand. */
  readonly relay?: ServedRelay
}

/** A host behind a router, a STUN server, and a relay at `relay`. */
export async function home(portMapping: PortMappingOptions | boolean, nat: NatPreset = 'symmetricRandom', seed = 1): Promise<Home> {
  await loadXml()
  const lab = newLab({ seed })
  await serveStun(lab)
  const relay = await serveRelay(lab, 'relay')
  const router = lab.router('home', { nat, portMapping })
  return { lab, router, relay, host: lab.host('a', { behind: router }) }
}

export function traverse(host: LabHost, options: TraversalOptions = {}): Promise<Traversal> {
  return createTraversal({ network: host, servers: [SERVER, turn('relay')], portMapping: true, ...options })
}

const open: { readonly traversal: Traversal; readonly at: Home }[] = []

/** Until `closeAll`. */
export function keep(at: Home, traversal: Traversal): void {
  open.push({ traversal, at })
}

export async function start(at: Home, options: TraversalOptions = {}): Promise<Traversal> {
  const traversal = await at.lab.until(traverse(at.host, options))
  keep(at, traversal)
  return traversal
}

export async function closeAll(): Promise<void> {
  for (const { traversal, at } of open.splice(0)) await at.lab.until(traversal.close())
}

/** The first, where there is one. */
export function mapping(traversal: Traversal): MappingStatus {
  const [first] = traversal.status().mappings
  if (first === undefined) throw new Error('no mapping was asked for')
  return first
}

/** What a router that forwards everything right has for this traversal; undefined when there is nothing. */
export function mappedAt(router: Router, traversal: Traversal): string | undefined {
  const { sockets } = traversal.status()
  const open = router.mappings().filter(({ internal, permitted }) => sockets.includes(internal.key) && permitted.length === 0)
  return open.find(({ external }) => router.portMapping?.mappings.some((one) => one.external.port === external.port))?.external.key
}

/** What is offered as mapped is forwarded, now, to who offers it. */
export function expectNoDeadCandidate(traversal: Traversal, router: Router): void {
  for (const { proven } of traversal.status().mappings) {
    if (proven === undefined) continue
    const open = router.mappings().filter(({ permitted }) => permitted.length === 0)
    expect(open.map(({ external }) => external.key)).toContain(proven)
  }
}

export function withFaults(protocol: PortMappingProtocol, faults: PortMappingFaults, more: PortMappingOptions = {}): PortMappingOptions {
  return speaking([protocol], { ...more, faults })
}
