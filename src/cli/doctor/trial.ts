/**
 * A mapping made to see what comes of it: for a port of our own at each router that is to be tried, proven where there is somebody outside
 * who can send, and deleted at the end.
 */

import type { MappingStatus } from '../../candidates/index.ts'
import { Timers } from '../../net/index.ts'
import type { TraversalOptions } from '../../options.ts'
import type { MappingProtocol } from '../../pmp/index.ts'
import { createTraversal } from '../../traversal.ts'
import type { TraversalStatus } from '../../traversal-status.ts'

/** Milliseconds, all told: three protocols whose mappings forward nothing, which takes 5.5 s each to be sure of. */
const LONGEST = 18_000
/** Milliseconds between looks. */
const INTERVAL = 20
/** Milliseconds to ask for: what is left behind by a process that is killed ends by itself. */
const LIFETIME = 120_000

/** `proven`: a packet from outside came in. `not-forwarding`: packets were sent and none came in. `unproven`: nobody could send one. */
export type Verdict = 'proven' | 'not-forwarding' | 'unproven'

export interface TriedGrant {
  readonly protocol: MappingProtocol
  /** As the router says; undefined where it does not tell the address. */
  readonly external: string | undefined
  /** External and internal port are one number. */
  readonly samePort: boolean
  /** Milliseconds; null for a mapping that stands until it is deleted. */
  readonly lifetime: number | null
  /** What the router's word for its address shows. */
  readonly reach: NonNullable<MappingStatus['reach']>
  readonly verdict: Verdict
  /** Where the packet came in. */
  readonly proven: string | undefined
}

/** For one of our ports. */
export interface Trial {
  readonly router: string
  /** Ours. */
  readonly internal: string
  /** In the order in which they were made: another one where the one before did not forward. */
  readonly grants: readonly TriedGrant[]
  /** Why there is no mapping, in the end. */
  readonly failure: string | undefined
}

export interface TriedServer {
  /** As it was given. */
  readonly server: string
  /** It can send from outside: a relay that lets us in, or a STUN server with a second address (RFC 5780). */
  readonly sends: boolean
  /** Our address as it sees us. */
  readonly mapped: string | undefined
  readonly failure: string | undefined
}

export interface TrialSetup extends Required<Pick<TraversalOptions, 'network' | 'servers'>> {
  readonly relay: TraversalOptions['relay']
  /** Our IPv4 addresses. */
  readonly addresses: readonly string[]
  readonly protocols: readonly MappingProtocol[]
  readonly signal: AbortSignal | undefined
}

export interface Trials {
  readonly trials: readonly Trial[]
  readonly servers: readonly TriedServer[]
}

/** Rejects with the signal's reason, once all is deleted; or with SallyportError `ERR_BIND`. */
export async function tryMapping({ network, servers, relay = {}, addresses, protocols, signal }: TrialSetup): Promise<Trials> {
  const traversal = await createTraversal({
    network,
    servers,
    relay,
    portMapping: { protocols, lifetime: LIFETIME, description: 'sallyport doctor' },
    hosts: { families: [4], include: addresses, accept: ({ address }) => addresses.includes(address.host) },
  })
  const timers = new Timers(network.clock)
  const diary = new Diary()
  let gathered = false
  void traversal.gathered.then(() => {
    gathered = true
  })
  const end = timers.now() + LONGEST
  try {
    for (;;) {
      signal?.throwIfAborted()
      const status = traversal.status()
      diary.note(status.mappings)
      const isOver = gathered && status.mappings.every((mapping) => isDecided(mapping, status))
      if (isOver || timers.now() >= end) return { trials: diary.trials, servers: serversOf(status) }
      await new Promise<void>((resolve) => void timers.after(INTERVAL, resolve))
    }
  } finally {
    await traversal.close()
    timers.clear()
  }
}

function isDecided({ state, proven, failure }: MappingStatus, status: TraversalStatus): boolean {
  if (state === 'mapped') return proven !== undefined || !serversOf(status).some(({ sends }) => sends)
  return failure !== undefined
}

function serversOf({ servers, relays }: TraversalStatus): readonly TriedServer[] {
  const names = new Set([...servers, ...relays].map(({ server }) => server))
  return [...names].map((name) => {
    const seen = servers.filter(({ server }) => server === name)
    const relay = relays.find(({ server }) => server === name)
    return {
      server: name,
      sends: relay?.state === 'allocated' || seen.some(({ other }) => other !== undefined),
      mapped: seen.find(({ mapped }) => mapped !== undefined)?.mapped,
      failure: relay?.failure ?? seen.find(({ failure }) => failure !== undefined)?.failure,
    }
  })
}

interface Course {
  readonly router: string
  internal: string
  failure: string | undefined
  readonly grants: TriedGrant[]
}

/** What was granted in the course of time. */
class Diary {
  /** By our IP address. */
  readonly #courses = new Map<string, Course>()

  get trials(): readonly Trial[] {
    return [...this.#courses.values()].map(({ router, internal, grants, failure }) => ({ router, internal, grants, failure }))
  }

  note(mappings: readonly MappingStatus[]): void {
    for (const mapping of mappings) {
      const { internal, router, failure } = mapping
      // Not asked yet.
      if (router === undefined) continue
      const [ip] = split(internal)
      const course = this.#courses.get(ip) ?? { router, internal, failure, grants: [] }
      this.#courses.set(ip, course)
      course.failure = failure
      // Behind a NAT that gives each destination another port another socket takes over the mapping.
      if (course.internal !== internal && course.grants.at(-1)?.verdict === 'unproven') course.grants.pop()
      course.internal = internal
      follow(course.grants, grantOf(mapping))
    }
  }
}

function follow(grants: TriedGrant[], now: TriedGrant | undefined): void {
  const last = grants.at(-1)
  if (last !== undefined && now?.protocol === last.protocol && last.verdict !== 'not-forwarding') {
    // The same one, or what the router made of it.
    grants.splice(-1, 1, { ...now, lifetime: last.lifetime })
    return
  }
  // What is given up before it was proven has failed to be: nothing else has it replaced by another protocol's so soon.
  if (last?.verdict === 'unproven') grants.splice(-1, 1, { ...last, verdict: 'not-forwarding' })
  if (now !== undefined) grants.push(now)
}

function grantOf({ state, protocol, external, proven, reach, expiresIn, internal }: MappingStatus): TriedGrant | undefined {
  if (state !== 'mapped' || protocol === undefined || external === undefined || reach === undefined) return undefined
  return {
    protocol,
    external: /^0\.0\.0\.0:/.test(external) ? undefined : external,
    samePort: split(external)[1] === split(internal)[1],
    // To the second, as routers say it.
    lifetime: expiresIn === undefined || expiresIn === Number.POSITIVE_INFINITY ? null : Math.ceil(expiresIn / 1_000) * 1_000,
    reach,
    verdict: proven === undefined ? 'unproven' : 'proven',
    proven,
  }
}

/** IP address and port, in text. */
function split(address: string): readonly [ip: string, port: string] {
  const colon = address.lastIndexOf(':')
  return [address.slice(0, colon), address.slice(colon + 1)]
}
