/**
 * The sockets of a traversal: one for each address worth offering, all on one port where the system allows it, kept in step with the
 * interfaces; or the one socket that the caller shares with us.
 */
import { type Base, chooseHostAddresses, type HostChoice, type HostPolicy } from './candidates/index.ts'
import { SallyportError } from './errors.ts'
import { type Address, type DatagramSocket, type Network, Prefix, type SendFailure } from './net/index.ts'

/** Through the router next to us and no further: two NATs may well be neighbours. */
const OPENER_HOPS = 2
/** What systems use by default. */
const ALL_HOPS = 64

interface HostBaseOptions {
  readonly id: number
  readonly socket: DatagramSocket
  /** What it is bound to. */
  readonly choices: readonly HostChoice[]
  readonly hidden: boolean
  /** Makes it a passive one. */
  readonly beside: HostBase | undefined
  readonly doubt: (base: HostBase) => void
}

/** A base on a socket of this machine. */
export class HostBase implements Base {
  readonly kind = 'host'
  readonly retiringSince: number = Number.POSITIVE_INFINITY
  readonly id: number
  readonly address: Address
  readonly rank: number
  readonly hidden: boolean
  readonly passive: boolean
  readonly links: readonly Prefix[]
  /** What a peer can be told: the bound address, or every address of the machine when bound to the wildcard. */
  readonly addresses: readonly Address[]
  readonly #socket: DatagramSocket
  readonly #doubt: (base: HostBase) => void

  constructor(options: HostBaseOptions) {
    const { id, socket, choices, hidden, beside, doubt } = options
    const { local } = socket
    this.id = id
    this.hidden = hidden
    this.passive = beside !== undefined
    this.#socket = socket
    this.#doubt = doubt
    this.address = local
    this.rank = beside?.rank ?? choices[0]?.rank ?? 0
    this.addresses = choices.map(({ address }) => address.address.withPort(local.port))
    this.links = beside?.links ?? choices.map(({ address }) => Prefix.around(address.address, address.prefixLength))
  }

  send(data: Uint8Array, to: Address, report?: boolean, opener = false): boolean {
    if (!opener) return this.#socket.send(data, to, report)
    this.#socket.setHopLimit(OPENER_HOPS)
    const room = this.#socket.send(data, to, report)
    this.#socket.setHopLimit(ALL_HOPS)
    return room
  }

  /** A socket needs no preparation. */
  expect(): void {}

  /** And is there or says that it is not; but there may be a NAT before it. */
  verify(): void {
    this.#doubt(this)
  }

  close(): void {
    this.#socket.close()
  }
}

export interface BasesOutlet {
  added(base: HostBase): void
  removed(base: HostBase, reason: string): void
  datagram(base: HostBase, data: Uint8Array, from: Address): void
  sendFailed(base: HostBase, to: Address, failure: SendFailure): void
  drained(base: HostBase): void
  /** What is sent from there seems to get nowhere. */
  doubted(base: HostBase): void
  /** The sockets fit the interfaces as they are now. */
  updated(): void
}

export interface BasesOptions {
  readonly network: Network
  readonly policy: HostPolicy | undefined
  /** 0 for any. */
  readonly port: number
  /** Unique among all bases of the traversal. */
  readonly nextId: () => number
  /** Why no socket is to be opened at all; undefined as a rule. */
  readonly unused: string | undefined
  /** The caller's own; then no other is opened. */
  readonly socket: DatagramSocket | undefined
  readonly outlet: BasesOutlet
}

export class Bases {
  readonly #options: BasesOptions
  readonly #bases = new Map<string, HostBase>()
  /** By the base beside which they are. */
  readonly #passive = new Map<HostBase, HostBase>()
  readonly #refused = new Map<string, string>()
  #port: number
  #unwatch: (() => void) | undefined
  #closed = false
  #updating: Promise<void> = Promise.resolve()

  constructor(options: BasesOptions) {
    this.#options = options
    this.#port = options.port
  }

  /** Without the passive ones. */
  get all(): readonly HostBase[] {
    return [...this.#bases.values()]
  }

  /** Of all sockets. */
  get addresses(): readonly Address[] {
    return [...this.#bases.values(), ...this.#passive.values()].map(({ address }) => address)
  }

  /**
   * Another socket beside a base, on the same IP address and for as long, passive. Undefined when the base is the caller's own socket, or gone, or no
   * socket is to be had.
   */
  async openPassive(beside: HostBase): Promise<HostBase | undefined> {
    const { network, socket: own } = this.#options
    const { address } = beside
    if (own !== undefined) return undefined
    try {
      const socket = await network.bind({ family: address.family, ip: address.host, port: 0 })
      if (this.#closed || !this.all.includes(beside) || this.#passive.has(beside)) {
        socket.close()
        return undefined
      }
      const base = this.#make(socket, [], beside, (reason) => this.#removePassive(beside, reason))
      this.#passive.set(beside, base)
      return base
    } catch {
      return undefined // the mapping stays where it is
    }
  }

  /** Addresses that are not offered, with the reason. */
  get refused(): readonly string[] {
    const hidden = this.all.filter((base) => base.hidden).flatMap(({ addresses }) => addresses)
    return [
      ...[...this.#refused].map(([address, reason]) => `${address}: ${reason}`),
      ...hidden.map(({ key }) => `${key}: hidden by hosts.offer`),
    ]
  }

  /** Rejects with SallyportError `ERR_BIND` when a port was asked for and no address has it free. */
  async open(): Promise<void> {
    const { network, port } = this.#options
    // Before the first look, so that no change falls between the two.
    this.#unwatch = network.interfaces.watch(() => this.#queueUpdate())
    this.#queueUpdate()
    await this.#updating
    if (port !== 0 && this.#bases.size === 0) {
      throw new SallyportError('ERR_BIND', `no socket could be bound to port ${port}: ${this.refused.join('; ') || 'no usable address'}`)
    }
  }

  /** Its end, and that of all that goes over it: another one can be opened. */
  closePassive(beside: HostBase, reason: string): void {
    this.#removePassive(beside, reason)
  }

  close(): void {
    this.#closed = true
    this.#unwatch?.()
    for (const base of [...this.#bases.values(), ...this.#passive.values()]) base.close()
    this.#bases.clear()
    this.#passive.clear()
    this.#options.socket?.close()
  }

  /** One at a time; the last one sees the state of things as it is then. */
  #queueUpdate(): void {
    this.#updating = this.#updating.then(async () => {
      try {
        await this.#update()
      } catch (error) {
        // A filter of the caller's that throws, a system that does not answer: the sockets stay as they are.
        this.#refused.set('interfaces', (error as Error).message)
      }
    })
  }

  async #update(): Promise<void> {
    const { network, policy, socket, unused } = this.#options
    const routes = await network.gateway.defaultRoutes()
    if (this.#closed) return
    const all = network.interfaces.list()
    const { chosen, rejected } =
      unused === undefined
        ? chooseHostAddresses(all, policy, routes)
        : { chosen: [], rejected: all.map((address) => ({ address, reason: unused })) }
    this.#refused.clear()
    for (const { address, reason } of rejected) this.#refused.set(`${address.name} ${address.address.ip}`, reason)
    if (socket !== undefined) this.#adopt(socket, chosen)
    else await this.#bindAll(chosen)
    if (!this.#closed) this.#options.outlet.updated()
  }

  async #bindAll(chosen: readonly HostChoice[]): Promise<void> {
    const wanted = new Set(chosen.map(({ address }) => address.address.key))
    for (const [key, base] of this.#bases) if (!wanted.has(key)) this.#remove(key, base, 'the interface lost this address')
    for (const choice of chosen) {
      const { key } = choice.address.address
      if (this.#bases.has(key)) continue
      try {
        const socket = await this.#bind(choice.address.address)
        if (this.#closed) {
          socket.close()
          return
        }
        this.#port ||= socket.local.port
        this.#add(key, socket, [choice])
      } catch (error) {
        this.#refused.set(key, (error as Error).message)
      }
    }
  }

  /** On the port of the others if it is free there, so that a user has one port to know of. */
  async #bind(address: Address): Promise<DatagramSocket> {
    const { network, port } = this.#options
    const ip = address.host
    try {
      return await network.bind({ family: address.family, ip, port: this.#port })
    } catch (error) {
      if (port !== 0 || this.#port === 0) throw error
      return network.bind({ family: address.family, ip, port: 0 })
    }
  }

  /** The caller's socket is one base for all addresses it is bound to; a change of them makes it a new one. */
  #adopt(socket: DatagramSocket, chosen: readonly HostChoice[]): void {
    const { local } = socket
    const bound = chosen.filter(
      ({ address: { address } }) => address.family === local.family && (local.scope === 'unspecified' || address.sameIp(local)),
    )
    const key = bound.map(({ address }) => address.address.key).join(' ')
    for (const [old, base] of this.#bases) if (old !== key) this.#forget(old, base, 'the addresses of the socket changed')
    if (bound.length > 0 && !this.#bases.has(key)) this.#add(key, socket, bound)
  }

  #add(key: string, socket: DatagramSocket, choices: readonly HostChoice[]): void {
    const base = this.#make(socket, choices, undefined, (reason) => {
      this.#remove(key, base, reason)
      this.#queueUpdate()
    })
    this.#bases.set(key, base)
    this.#options.outlet.added(base)
  }

  /** @param beside makes it passive */
  #make(socket: DatagramSocket, choices: readonly HostChoice[], beside: HostBase | undefined, lost: (reason: string) => void): HostBase {
    const { nextId, outlet, policy } = this.#options
    const hidden = policy?.offer === false
    const base = new HostBase({ id: nextId(), socket, choices, hidden, beside, doubt: outlet.doubted })
    socket.handle({
      datagram: (data, from) => outlet.datagram(base, data, from),
      sendFailed: (to, failure) => outlet.sendFailed(base, to, failure),
      drained: () => outlet.drained(base),
      lost: (reason) => lost(reason.message),
    })
    return base
  }

  #remove(key: string, base: HostBase, reason: string): void {
    base.close()
    this.#forget(key, base, reason)
  }

  #forget(key: string, base: HostBase, reason: string): void {
    if (this.#bases.get(key) !== base) return
    this.#bases.delete(key)
    this.#removePassive(base, reason)
    this.#options.outlet.removed(base, reason)
  }

  #removePassive(beside: HostBase, reason: string): void {
    const base = this.#passive.get(beside)
    if (base === undefined) return
    this.#passive.delete(beside)
    base.close()
    this.#options.outlet.removed(base, reason)
  }
}
