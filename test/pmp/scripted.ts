/** Routers that are a table and a script, on a network whose interfaces and routes the test sets, under the lab's clock. */
import { type ErrorCode, SallyportError } from '../../src/errors.ts'
import { createLab, type Lab } from '../../src/lab/index.ts'
import { Address, type DefaultRoute, type InterfaceAddress, type Network, Timers } from '../../src/net/index.ts'
import type { Lease } from '../../src/pmp/lease.ts'
import { PortMapper, type PortMapperOptions } from '../../src/pmp/mapper.ts'
import type { Proof } from '../../src/pmp/proof.ts'
import {
  type Grant,
  MAPPING_PROTOCOLS,
  type MappingClient,
  type MappingClientOptions,
  type MappingProtocol,
  type MappingRequest,
  type RouterFacts,
  type Uplink,
} from '../../src/pmp/protocol.ts'
import { MAPPING_DEFAULTS } from '../../src/pmp/terms.ts'

/** Milliseconds until a client believes that nobody answers. */
export const SILENCE = 3750
export const HOUR = 3_600_000

export interface Granted {
  readonly port?: number
  readonly ip?: string
  readonly lifetime?: number
}

/** What a router makes of a request: an error, nothing at all, or a mapping as asked for but for what is said here. */
export type Answer = ErrorCode | 'silent' | Granted

/** How a router speaks one protocol; to be changed while it runs. */
export interface Script {
  /** Milliseconds there and back. */
  delay: number
  probe: Answer
  map: Answer | ((request: MappingRequest) => Answer)
  unmap: ErrorCode | 'silent' | 'done'
}

interface Entry {
  readonly by: MappingProtocol
  readonly until: number
}

/** Counts what is under way, so as to see what is asked for at the same time. */
interface Ask {
  readonly protocol: MappingProtocol
  readonly kind: 'map' | 'renew' | 'unmap'
  readonly port: string
}

export class ModelRouter {
  readonly scripts: Readonly<Record<MappingProtocol, Script>>
  /** By transport and port; a deletion by any protocol deletes it, as on miniupnpd. */
  readonly table = new Map<string, Entry>()
  readonly log: string[] = []
  /** Requests for new mappings that met others of another protocol. */
  readonly clashes: string[] = []
  boots = 0
  ip = '203.0.113.9'
  readonly #lab: Lab
  readonly #underWay = new Set<Ask>()

  constructor(lab: Lab, speaks: readonly MappingProtocol[]) {
    this.#lab = lab
    const script = (protocol: MappingProtocol): Script => {
      const answer = speaks.includes(protocol) ? {} : 'ERR_MAPPING_UNAVAILABLE'
      return { delay: 10, probe: answer, map: answer, unmap: 'done' }
    }
    this.scripts = { pcp: script('pcp'), 'nat-pmp': script('nat-pmp'), upnp: script('upnp') }
  }

  /** Ports mapped now. */
  get ports(): string[] {
    return [...this.table].filter(([, { until }]) => until > this.#lab.clock.now()).map(([port]) => port)
  }

  /** What was asked, without what only asks for the address. */
  get requests(): string[] {
    return this.log.map((line) => line.replace(/^\S+ /, '')).filter((line) => !line.endsWith(' probe'))
  }

  restart(): void {
    this.boots++
    this.table.clear()
  }

  begin(ask: Ask): () => void {
    const { kind, port, protocol } = ask
    this.log.push(`${this.#lab.clock.now()} ${protocol} ${kind} ${port}`)
    for (const other of this.#underWay) {
      if (other.port !== port || other.protocol === protocol) continue
      if (kind !== 'map') continue
      // PCP's first request is out before anybody knows whether it is heard.
      const isPair = other.kind === 'map' && protocol !== 'pcp' && other.protocol !== 'pcp'
      // A deletion that is overtaken deletes what it was not meant for.
      if (isPair || other.kind === 'unmap') this.clashes.push(`${protocol} map beside ${other.protocol} ${other.kind}`)
    }
    this.#underWay.add(ask)
    return () => this.#underWay.delete(ask)
  }
}

export class ScriptedClient implements MappingClient {
  readonly protocol: MappingProtocol
  readonly uplink: Uplink
  readonly router: ModelRouter
  closed = false
  readonly #options: MappingClientOptions
  readonly #lab: Lab
  readonly #pending = new Set<() => void>()

  constructor(lab: Lab, protocol: MappingProtocol, options: MappingClientOptions, router: ModelRouter) {
    this.#lab = lab
    this.protocol = protocol
    this.uplink = options.uplink
    this.router = router
    this.#options = options
  }

  /** The router lost its mappings, and the client has noticed. */
  noticeRestart(): void {
    this.#options.restarted(this)
  }

  async probe(): Promise<RouterFacts> {
    this.router.log.push(`${this.#lab.clock.now()} ${this.protocol} probe`)
    const { probe } = this.#script
    await this.#wait(probe === 'silent')
    if (typeof probe === 'string') throw this.#error(probe)
    return { protocol: this.protocol, external: Address.of(probe.ip ?? this.router.ip, 0) }
  }

  async map(request: MappingRequest): Promise<Grant> {
    const { transport, internal, previous } = request
    const port = `${transport} ${internal.port}`
    const end = this.router.begin({ protocol: this.protocol, kind: previous === undefined ? 'map' : 'renew', port })
    try {
      const { map } = this.#script
      const answer = typeof map === 'function' ? map(request) : map
      if (typeof answer === 'string') {
        await this.#wait(answer === 'silent')
        throw this.#error(answer)
      }
      const { port: external = request.externalPort, ip = this.router.ip, lifetime = request.lifetime } = answer
      await this.#wait(false, () => {
        this.router.table.set(port, { by: this.protocol, until: this.#lab.clock.now() + lifetime })
      })
      return { protocol: this.protocol, transport, internal, external: Address.of(ip, external), lifetime, memory: undefined }
    } finally {
      end()
    }
  }

  async unmap({ transport, internal }: Grant): Promise<void> {
    const port = `${transport} ${internal.port}`
    const end = this.router.begin({ protocol: this.protocol, kind: 'unmap', port })
    try {
      const { unmap } = this.#script
      await this.#wait(unmap === 'silent', () => {
        if (unmap === 'done') this.router.table.delete(port)
      })
      if (unmap !== 'done') throw this.#error(unmap)
    } finally {
      end()
    }
  }

  close(): void {
    this.closed = true
    for (const cut of [...this.#pending]) cut()
  }

  get #script(): Script {
    return this.router.scripts[this.protocol]
  }

  /** There, where `arrives` is called, and back. */
  #wait(isSilent: boolean, arrives: () => void = () => {}): Promise<void> {
    if (this.closed) throw new SallyportError('ERR_CLOSED', `${this.protocol} is closed`)
    const { delay } = this.#script
    return new Promise((resolve, reject) => {
      const { boots } = this.router
      const finish = (): void => {
        this.#pending.delete(cut)
        // A router that restarts loses what it was asked: this is the answer to a repetition.
        if (!isSilent && this.router.boots !== boots) arrives()
        resolve()
      }
      const cancel = [this.#lab.after(isSilent ? SILENCE : delay, finish)]
      if (!isSilent) this.#lab.after(delay / 2, arrives)
      const cut = (): void => {
        this.#pending.delete(cut)
        for (const one of cancel) one()
        reject(new SallyportError('ERR_CLOSED', `${this.protocol} is closed`))
      }
      this.#pending.add(cut)
    })
  }

  #error(answer: ErrorCode | 'silent'): SallyportError {
    const code = answer === 'silent' ? 'ERR_MAPPING_UNAVAILABLE' : answer
    return new SallyportError(code, `${this.protocol}: ${answer}`)
  }
}

export interface SceneOptions {
  readonly seed?: number
  /** All by default. */
  readonly speaks?: readonly MappingProtocol[]
  readonly prove?: (grant: Grant) => Proof['kind'] | Promise<Proof['kind']>
  readonly lifetime?: number
  /** Milliseconds until the system has told its routes; none by default. */
  readonly routesTake?: number
}

export interface Scene {
  readonly lab: Lab
  readonly network: Network
  readonly timers: Timers
  readonly mapper: PortMapper
  /** Of `192.168.1.1`. */
  readonly router: ModelRouter
  /** By the router's address; made when first asked. */
  readonly routers: Map<string, ModelRouter>
  /** All that were ever opened. */
  readonly clients: ScriptedClient[]
  /** What the lease said whenever it said something. */
  readonly changes: string[]
  readonly state: { interfaces: InterfaceAddress[]; routes: DefaultRoute[] }
  /** The newest one. */
  client(protocol: MappingProtocol): ScriptedClient
  routerAt(ip: string): ModelRouter
  changeNetwork(interfaces: InterfaceAddress[], routes: DefaultRoute[]): void
}

export function scene(options: SceneOptions = {}): Scene {
  const { seed = 1, speaks = MAPPING_PROTOCOLS, prove, lifetime = MAPPING_DEFAULTS.lifetime, routesTake = 0 } = options
  const lab = createLab({ seed })
  const host = lab.host('pc')
  const state = { interfaces: [interfaceAddress('192.168.1.2')], routes: [route('192.168.1.1')] }
  const watchers = new Set<() => void>()
  const timers = new Timers(host.clock)
  const network: Network = {
    clock: host.clock,
    random: host.random,
    dns: host.dns,
    streams: host.streams,
    bind: (wish) => host.bind(wish),
    listen: (wish, accept) => host.listen(wish, accept),
    gateway: {
      defaultRoutes: async () => {
        if (routesTake > 0) await new Promise<void>((resolve) => void timers.after(routesTake, resolve))
        return state.routes
      },
    },
    interfaces: {
      list: () => state.interfaces,
      watch: (changed) => {
        watchers.add(changed)
        return () => watchers.delete(changed)
      },
    },
  }
  const routers = new Map<string, ModelRouter>()
  const clients: ScriptedClient[] = []
  const changes: string[] = []
  const routerAt = (ip: string): ModelRouter => {
    const router = routers.get(ip) ?? new ModelRouter(lab, speaks)
    routers.set(ip, router)
    return router
  }
  const proving: Pick<PortMapperOptions, 'prove'> =
    prove === undefined
      ? {}
      : {
          prove: async (grant) => {
            const kind = await prove(grant)
            return kind === 'proven' ? { kind, external: grant.external } : { kind }
          },
        }
  const mapper = new PortMapper({
    network,
    timers,
    terms: { ...MAPPING_DEFAULTS, lifetime },
    changed: (lease) => changes.push(told(lease)),
    openClients: async (given) => {
      const opened = MAPPING_PROTOCOLS.map((protocol) => new ScriptedClient(lab, protocol, given, routerAt(given.uplink.router.ip)))
      clients.push(...opened)
      return opened
    },
    ...proving,
  })
  return {
    lab,
    network,
    timers,
    mapper,
    routers,
    router: routerAt('192.168.1.1'),
    clients,
    changes,
    state,
    routerAt,
    client: (protocol) => clients.findLast((client) => client.protocol === protocol) as ScriptedClient,
    changeNetwork: (interfaces, routes) => {
      Object.assign(state, { interfaces, routes })
      for (const changed of watchers) changed()
    },
  }
}

/** `2001:db8::2%eth1/64` and the like. */
export function interfaceAddress(ip: string, more: Partial<InterfaceAddress> = {}): InterfaceAddress {
  const address = Address.of(ip, 0)
  const prefixLength = address.family === 4 ? 24 : 64
  return { name: 'eth0', address, prefixLength, internal: false, temporary: false, deprecated: false, ...more }
}

export function route(gateway: string | undefined, name = 'eth0', family: 4 | 6 = 4): DefaultRoute {
  return { family, name, gateway: gateway === undefined ? undefined : Address.of(gateway, 0) }
}

export function told({ grant, failure, proof }: Lease): string {
  if (grant !== undefined) return `${grant.external.key} by ${grant.protocol}, ${proof}`
  return failure === undefined ? 'asking' : failure.code
}
