/** Relayed transport addresses: sockets on ports drawn from the range, and who has them (RFC 8656 7.2). */
import {
  type Address,
  type DatagramHandler,
  type DatagramSocket,
  type Family,
  type Network,
  type Random,
  randomUint32,
} from '../../net/index.ts'
import type { Allocation } from './allocation.ts'

/** Bytes in the system for each: a burst of 800 datagrams. */
export const RELAYED_BUFFER: number = 1 << 20
/** Ports tried before giving up, beginning anywhere in the range. */
const TRIES = 256
/** One of a pair, even and odd, is taken now and then: so many pairs. */
const PAIR_TRIES = 64

/** An address that relayed addresses are made on. */
export interface RelayIp {
  /** Where sockets are bound. */
  readonly bound: Address
  /** What clients are told: the same, or what a NAT has for it. */
  readonly told: Address
}

export class RelayedSocket implements DatagramHandler {
  readonly socket: DatagramSocket
  /** The relayed transport address, as clients are told. */
  readonly told: Address
  /** Undefined while it is held for a reservation. */
  allocation: Allocation | undefined
  /** The queue is full: wait, and drop meanwhile. */
  full = false
  readonly #owner: RelayedSockets

  constructor(socket: DatagramSocket, told: Address, owner: RelayedSockets) {
    this.socket = socket
    this.told = told
    this.#owner = owner
  }

  datagram(data: Uint8Array, from: Address): void {
    this.allocation?.fromPeer(data, from)
  }

  sendFailed(): void {}

  drained(): void {
    this.full = false
  }

  lost(): void {
    this.#owner.forget(this)
    this.allocation?.lost(this)
  }

  /** Idempotent. */
  close(): void {
    this.#owner.forget(this)
    this.socket.close()
  }
}

export type OpenFailure =
  /** No relayed addresses of that family: 440. */
  | 'family'
  /** No port to be had: 508. */
  | 'capacity'

export interface RelayedSocketsOptions {
  readonly network: Network
  readonly ips: readonly RelayIp[]
  readonly ports: { readonly min: number; readonly max: number }
  /** The system refused for another reason than that a port is taken. */
  readonly refused: (error: unknown) => void
  /** The first socket's buffer is known. */
  readonly opened: (socket: DatagramSocket) => void
}

export class RelayedSockets {
  readonly #options: RelayedSocketsOptions
  readonly #random: Random
  /** By the address that clients are told. */
  readonly #open = new Map<string, RelayedSocket>()
  /** What clients are told, by what is bound, where the two differ. */
  readonly #translations: ReadonlyMap<string, RelayIp>
  #turn = 0

  constructor(options: RelayedSocketsOptions) {
    this.#options = options
    this.#random = options.network.random
    this.#translations = new Map(options.ips.filter(({ bound, told }) => !bound.sameIp(told)).map((ip) => [ip.bound.ip, ip]))
  }

  get size(): number {
    return this.#open.size
  }

  has(family: Family): boolean {
    return this.#options.ips.some(({ bound }) => bound.family === family)
  }

  /** Who has this relayed address. */
  find(told: Address): RelayedSocket | undefined {
    return this.#open.get(told.key)
  }

  /** A datagram's source as peers know it: another worker of this machine sends from what is bound. */
  toldAs(from: Address): Address {
    const ip = this.#translations.size === 0 ? undefined : this.#translations.get(from.ip)
    return ip === undefined ? from : ip.told.withPort(from.port)
  }

  /** Where to send what is for another worker's relayed address. */
  boundAs(told: Address): Address {
    for (const ip of this.#translations.values()) if (ip.told.sameIp(told)) return ip.bound.withPort(told.port)
    return told
  }

  /** One socket, on an even port where asked for. */
  async open(family: Family, even = false): Promise<RelayedSocket | OpenFailure> {
    const ip = this.#pick(family)
    if (ip === undefined) return 'family'
    const step = even ? 2 : 1
    const { min, max } = this.#options.ports
    const first = even ? min + (min & 1) : min
    const count = Math.floor((max - first) / step) + 1
    const start = randomUint32(this.#random) % Math.max(count, 1)
    for (let i = 0; i < Math.min(count, TRIES); i++) {
      const opened = await this.#bind(ip, first + ((start + i) % count) * step)
      if (opened === 'refused') break
      if (opened !== 'taken') return opened
    }
    return 'capacity'
  }

  /** Two sockets on an even port and the one above it (RFC 8656 7.2, EVEN-PORT with R). */
  async openPair(family: Family): Promise<readonly [RelayedSocket, RelayedSocket] | OpenFailure> {
    for (let i = 0; i < PAIR_TRIES; i++) {
      const even = await this.open(family, true)
      if (typeof even === 'string') return even
      const ip = this.#options.ips.find(({ told }) => told.sameIp(even.told))
      const { port } = even.told
      const odd = ip === undefined || port === this.#options.ports.max ? 'taken' : await this.#bind(ip, port + 1)
      if (typeof odd !== 'string') return [even, odd]
      even.close()
      if (odd === 'refused') break
    }
    return 'capacity'
  }

  forget(socket: RelayedSocket): void {
    if (this.#open.get(socket.told.key) === socket) this.#open.delete(socket.told.key)
  }

  /** In turn, where there are several of a family. */
  #pick(family: Family): RelayIp | undefined {
    const ips = this.#options.ips.filter(({ bound }) => bound.family === family)
    return ips[this.#turn++ % Math.max(ips.length, 1)]
  }

  async #bind(ip: RelayIp, port: number): Promise<RelayedSocket | 'taken' | 'refused'> {
    const told = ip.told.withPort(port)
    if (this.#open.has(told.key)) return 'taken'
    const { bound } = ip
    try {
      const where = { family: bound.family, ip: bound.host, port }
      const socket = await this.#options.network.bind({ ...where, buffer: RELAYED_BUFFER })
      this.#options.opened(socket)
      const relayed = new RelayedSocket(socket, told, this)
      this.#open.set(told.key, relayed)
      socket.handle(relayed)
      return relayed
    } catch (error) {
      if (isTaken(error)) return 'taken'
      this.#options.refused(error)
      return 'refused'
    }
  }
}

/** By another program, or kept for the privileged. */
function isTaken(error: unknown): boolean {
  const { cause } = error as { readonly cause?: { readonly code?: unknown } }
  return cause?.code === 'EADDRINUSE' || cause?.code === 'EACCES'
}
