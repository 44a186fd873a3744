/** A router that was found: its services, in the order in which they are worth asking. One for each search; forgotten when it restarts. */
import { SallyportError } from '../../errors.ts'
import type { Network } from '../../net/index.ts'
import type { Grant, MappingRequest, RouterFacts } from '../protocol.ts'
import type { Service } from './description.ts'
import type { Found } from './discovery.ts'
import type { HttpClient } from './http.ts'
import { FirewallControl, type PinholeMemory } from './pinhole.ts'
import { refusalOf } from './refusal.ts'
import { rankOf, type Standing } from './standing.ts'
import { WanConnection } from './wan-connection.ts'
import { WanMapping, type WanMemory } from './wan-mapping.ts'

/** Milliseconds after which one call tries nothing new: the router answers, but not what helps. */
const LONGEST_CALL = 15_000

type Mapper = WanConnection | FirewallControl
type Memory = WanMemory | PinholeMemory

interface Ranked {
  readonly mapper: Mapper
  readonly standing: Standing
}

export interface GatewayOptions {
  readonly found: Found
  readonly http: HttpClient
  readonly network: Network
  readonly description: string
}

export class Gateway {
  readonly #options: GatewayOptions
  readonly #mappers: readonly Mapper[]
  #ranked: Promise<readonly Ranked[]> | undefined

  constructor(options: GatewayOptions) {
    const { found, http, description } = options
    this.#options = options
    this.#mappers = found.services.map((service) => {
      return service.kind === 'WANIPv6FirewallControl' ? new FirewallControl(service, http) : new WanConnection(service, http, description)
    })
  }

  /** Rejects with SallyportError. */
  async facts(): Promise<RouterFacts> {
    const known = await this.#ranked?.catch(() => undefined)
    let best = known?.[0]
    if (best !== undefined) {
      const standing = await best.mapper.standing().catch((error) => {
        throw refusalOf(error)
      })
      // What was the best is down: another may have taken over.
      if (standing.isConnected || known?.length === 1) best = { mapper: best.mapper, standing }
      else {
        this.#ranked = undefined
        best = undefined
      }
    }
    best ??= (await this.#rank())[0]
    const { model } = this.#options.found.description
    const { state, external } = best?.standing ?? { state: undefined, external: undefined }
    return {
      protocol: 'upnp',
      external,
      ...(model === '' ? {} : { model }),
      ...(best === undefined ? {} : { service: nameOf(best.mapper.service) }),
      ...(state === undefined ? {} : { state }),
    }
  }

  /** Rejects with SallyportError. */
  async map(request: MappingRequest): Promise<Grant> {
    const memory = request.previous?.memory as Memory | undefined
    const { network } = this.#options
    const deadline = network.clock.now() + LONGEST_CALL
    let first: unknown
    for (const mapper of await this.#worthAsking(memory)) {
      if (network.clock.now() > deadline) break
      try {
        return await mapOn(mapper, request, memory, network, deadline)
      } catch (error) {
        if (isClosed(error)) throw error
        first ??= error
      }
    }
    // Who is connected may have changed.
    this.#ranked = undefined
    throw refusalOf(first)
  }

  /** Rejects with SallyportError. */
  async unmap(grant: Grant): Promise<void> {
    const memory = grant.memory as Memory | undefined
    const mapper = this.#mappers.find((one) => isMadeBy(one, memory)) ?? (await this.#worthAsking(memory))[0]
    try {
      if (mapper instanceof WanConnection) await mapper.remove(grant.external.port, grant.transport)
      else if (memory?.kind === 'pinhole') await mapper?.unmap(memory)
    } catch (error) {
      throw refusalOf(error)
    }
  }

  /** Where it was made first, then those that are connected, or else all. A router with one service is not asked about it. */
  async #worthAsking(memory: Memory | undefined): Promise<readonly Mapper[]> {
    if (this.#mappers.length === 1) return this.#mappers
    const ranked = await this.#rank()
    const connected = ranked.filter(({ standing }) => standing.isConnected)
    const usable = (connected.length > 0 ? connected : ranked).map(({ mapper }) => mapper)
    const made = usable.filter((mapper) => isMadeBy(mapper, memory))
    return [...made, ...usable.filter((mapper) => !made.includes(mapper))]
  }

  #rank(): Promise<readonly Ranked[]> {
    const ranking = this.#ranked ?? this.#standings()
    this.#ranked = ranking
    ranking.catch(() => {
      if (this.#ranked === ranking) this.#ranked = undefined
    })
    return ranking
  }

  /** Of all at once. Those that do not answer are left out. */
  async #standings(): Promise<readonly Ranked[]> {
    const settled = await Promise.allSettled(this.#mappers.map(async (mapper) => ({ mapper, standing: await mapper.standing() })))
    const ranked = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    if (ranked.length > 0) return ranked.sort((a, b) => rankOf(a.standing) - rankOf(b.standing))
    const reasons = settled.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    throw refusalOf(reasons.find(isClosed) ?? reasons[0])
  }
}

function mapOn(mapper: Mapper, request: MappingRequest, memory: Memory | undefined, network: Network, deadline: number): Promise<Grant> {
  const known = isMadeBy(mapper, memory) ? memory : undefined
  if (mapper instanceof FirewallControl) return mapper.map(request, known?.kind === 'pinhole' ? known : undefined)
  const options = { connection: mapper, network, request, memory: known?.kind === 'wan' ? known : undefined, deadline }
  return new WanMapping(options).run()
}

function isMadeBy({ service }: Mapper, memory: Memory | undefined): boolean {
  return memory?.type === service.type && memory.control === `${service.control.address.key}${service.control.path}`
}

function nameOf({ kind, version }: Service): string {
  return `${kind}:${version}`
}

function isClosed(error: unknown): boolean {
  return error instanceof SallyportError && error.code === 'ERR_CLOSED'
}
