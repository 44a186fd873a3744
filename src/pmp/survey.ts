/** What the routers here offer: every protocol at each of them is asked whether it is there. Nothing is mapped. */
import { type ErrorCode, SallyportError } from '../errors.ts'
import { type Family, type Network, Timers } from '../net/index.ts'
import { openClients } from './clients.ts'
import { type Reach, reachOf } from './proof.ts'
import type { MappingClient, MappingProtocol, RouterFacts, Uplink } from './protocol.ts'
import { Router } from './router.ts'
import { MAPPING_DEFAULTS } from './terms.ts'
import { findUplinks } from './uplinks.ts'

/** Milliseconds, at most, for all of it: a router that answers a byte at a time is told as one that does not answer. */
const LONGEST = 6_000

export interface SurveyOptions {
  /** Ends it: what was found is not told then. */
  readonly signal?: AbortSignal
  /** The routers that are asked, before any has answered. */
  readonly asking?: (routers: readonly string[]) => void
}

/** A router that one of our addresses has before it, and what it says in each protocol. */
export interface RouterSurvey {
  /** Of ours, as the system names it. */
  readonly interface: string
  readonly family: Family
  /** Ours, the one that the router was asked from. */
  readonly address: string
  /** IPv6: link-local as a rule, with its zone. */
  readonly router: string
  /** The preferred one first. */
  readonly protocols: readonly ProtocolSurvey[]
}

export type ProtocolSurvey = ProtocolAnswer | ProtocolFailure

export interface ProtocolAnswer {
  readonly protocol: MappingProtocol
  readonly answers: true
  /** Milliseconds until it was known. */
  readonly ms: number
  /** The external address, as the router says it in this protocol; PCP tells it with a mapping only. */
  readonly external?: string
  /** What that address says of what stands behind the router. */
  readonly reach?: Reach
  /** UPnP: the device in its own words. */
  readonly model?: string
  /** UPnP: e.g. `WANIPConnection:2`. */
  readonly service?: string
  /** UPnP: what the service says of its connection, e.g. `Connected`. */
  readonly state?: string
}

export interface ProtocolFailure {
  readonly protocol: MappingProtocol
  readonly answers: false
  readonly ms: number
  /** `ERR_MAPPING_UNAVAILABLE`: nobody is there who speaks it. With any other the router speaks it, and says no or makes no sense. */
  readonly code: ErrorCode
  readonly failure: string
}

/**
 * Asks the router behind every address in all protocols at once, and waits until each has answered or is known not to. Takes about 4 s where
 * nobody answers. Rejects with the signal's reason, and with nothing else.
 */
export async function surveyRouters(network: Network, options: SurveyOptions = {}): Promise<readonly RouterSurvey[]> {
  const { signal, asking } = options
  signal?.throwIfAborted()
  const uplinks = onePerRouter(await findUplinks(network))
  signal?.throwIfAborted()
  asking?.(uplinks.map(({ router }) => router.host))
  const timers = new Timers(network.clock)
  const routers = uplinks.map(
    (uplink) => new Router({ network, timers, uplink, openClients, terms: MAPPING_DEFAULTS, restarted: () => {}, nonces: new Map() }),
  )
  const end = (): void => {
    for (const router of routers) router.close()
  }
  const late = timers.after(LONGEST, end)
  signal?.addEventListener('abort', end, { once: true })
  try {
    const found = await Promise.all(routers.map((router) => survey(router, timers)))
    signal?.throwIfAborted()
    return found
  } finally {
    signal?.removeEventListener('abort', end)
    late.cancel()
    end()
    timers.clear()
  }
}

/** A router says the same to each of our addresses on its link. */
function onePerRouter(uplinks: readonly Uplink[]): readonly Uplink[] {
  const first = new Map<string, Uplink>()
  for (const uplink of uplinks) {
    const key = `${uplink.local.name} ${uplink.router.key}`
    if (!first.has(key)) first.set(key, uplink)
  }
  return [...first.values()]
}

/** Never rejects. */
async function survey(router: Router, timers: Timers): Promise<RouterSurvey> {
  const { local, router: at } = router.uplink
  const since = timers.now()
  return {
    interface: local.name,
    family: local.address.family === 6 ? 6 : 4,
    address: local.address.host,
    router: at.host,
    protocols: await ask(router, () => timers.now() - since),
  }
}

async function ask(router: Router, ms: () => number): Promise<readonly ProtocolSurvey[]> {
  let clients: readonly MappingClient[]
  try {
    clients = await router.clients()
  } catch (error) {
    // There is not even a socket to ask from.
    const spoken = MAPPING_DEFAULTS.protocols.filter((protocol) => protocol !== 'nat-pmp' || router.uplink.router.family === 4)
    return spoken.map((protocol) => failureOf(protocol, error, ms()))
  }
  return Promise.all(
    clients.map((client) =>
      client.probe().then(
        (facts) => answerOf(facts, ms()),
        (error) => failureOf(client.protocol, error, ms()),
      ),
    ),
  )
}

function answerOf({ protocol, external, model, service, state }: RouterFacts, ms: number): ProtocolAnswer {
  const isTold = external !== undefined && external.scope !== 'unspecified'
  return {
    protocol,
    answers: true,
    ms,
    ...(isTold ? { external: external.host, reach: reachOf(external) } : {}),
    ...(model === undefined ? {} : { model }),
    ...(service === undefined ? {} : { service }),
    ...(state === undefined ? {} : { state }),
  }
}

function failureOf(protocol: MappingProtocol, error: unknown, ms: number): ProtocolFailure {
  if (!(error instanceof SallyportError))
    return { protocol, answers: false, ms, code: 'ERR_MAPPING_ANSWER', failure: (error as Error).message }
  // We ended it ourselves, for it took too long.
  if (error.code === 'ERR_CLOSED')
    return { protocol, answers: false, ms, code: 'ERR_MAPPING_UNAVAILABLE', failure: 'its answer takes too long' }
  return { protocol, answers: false, ms, code: error.code, failure: error.message }
}
