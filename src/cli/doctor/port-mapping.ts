/** The doctor's section on port mapping: what the routers here offer, and what comes of a mapping that is made to try it. */
import type { Network } from '../../net/index.ts'
import type { TraversalOptions } from '../../options.ts'
import { MAPPING_PROTOCOLS, type RouterSurvey, surveyRouters } from '../../pmp/index.ts'
import { findingsOf, speaks } from './findings.ts'
import { linesOf } from './page.ts'
import type { Section } from './section.ts'
import { type Trials, tryMapping } from './trial.ts'

/** Stable: `sallyport help doctor` tells of it. */
export interface PortMappingFacts extends Trials {
  /** IPv4 first, each in the order of the default routes. */
  readonly routers: readonly RouterSurvey[]
  /** Our public IPv4 addresses, before which no router translates. */
  readonly publicAddresses: readonly string[]
}

export interface ExamineOptions {
  readonly network: Network
  /** That may send packets from outside. */
  readonly servers: NonNullable<TraversalOptions['servers']>
  readonly relay?: TraversalOptions['relay']
  readonly signal?: AbortSignal
  /** What is being done. */
  readonly progress?: (text: string) => void
}

/** Rejects with the signal's reason, once nothing is left of it. */
export async function examinePortMapping(options: ExamineOptions): Promise<Section<PortMappingFacts>> {
  const { network, servers, relay, signal, progress = () => {} } = options
  progress('looking for routers')
  const found = await surveyRouters(network, {
    ...(signal === undefined ? {} : { signal }),
    asking: (routers) => progress(`asking ${routers.join(' and ')} for port mapping protocols`),
  })
  const routers = found.toSorted((a, b) => a.family - b.family)
  const tried = routers.filter(({ family, protocols }) => family === 4 && protocols.some(speaks))
  const spoken = new Set(tried.flatMap(({ protocols }) => protocols.filter(speaks).map(({ protocol }) => protocol)))
  let trials: Trials = { trials: [], servers: [] }
  if (tried.length > 0) {
    progress(servers.length === 0 ? 'mapping a port' : 'mapping a port, and waiting for a packet from outside')
    trials = await tryMapping({
      network,
      servers,
      relay,
      signal,
      addresses: tried.map(({ address }) => address),
      protocols: MAPPING_PROTOCOLS.filter((protocol) => spoken.has(protocol)),
    })
  }
  const facts: PortMappingFacts = { routers, publicAddresses: publicAddressesOf(network), ...trials }
  return { title: 'Port mapping', facts, lines: linesOf(facts), findings: findingsOf(facts) }
}

function publicAddressesOf(network: Network): readonly string[] {
  const addresses = network.interfaces.list().map(({ address }) => address)
  return addresses.filter(({ family, scope }) => family === 4 && scope === 'global').map(({ host }) => host)
}
