/** All allocations of a relay: made within the quotas, counted, ended; and the ports held for RESERVATION-TOKEN (RFC 8656 7.2). */
import { bytesToHex } from '@noble/hashes/utils.js'
import type { Family, Random, Timer } from '../../net/index.ts'
import { StunError } from '../../stun/index.ts'
import type { RelayTransport } from '../transport.ts'
import { Accounts, type Owner } from './accounts.ts'
import { type AllocateRequest, type Failure, fail } from './allocate-request.ts'
import { Allocation, type Surroundings } from './allocation.ts'
import { within } from './deadline.ts'
import type { AllocationEnd, RelayEvent } from './events.ts'
import type { LedgerVerdict } from './ledger.ts'
import type { Link } from './link.ts'
import type { OpenFailure, RelayedSocket } from './relayed-sockets.ts'

/** Milliseconds that a port is held: RFC 8656 7.2 asks for 30 s at the least. */
const RESERVATION_LIFETIME = 30_000
/** Milliseconds that a ledger may take. */
const PATIENCE = 10_000

export interface Created {
  readonly kind: 'created'
  readonly allocation: Allocation
  /** Milliseconds granted. */
  readonly lifetime: number
  readonly token: Uint8Array | undefined
  /** The family that was wanted too and could not be had (RFC 8656 18.12). */
  readonly missing: { readonly family: Family; readonly code: 440 | 508 } | undefined
}

interface Reservation {
  readonly socket: RelayedSocket
  readonly user: string
  readonly timer: Timer
}

interface Opened {
  readonly sockets: readonly RelayedSocket[]
  readonly reserved?: RelayedSocket
  readonly missing?: Created['missing']
}

export interface AllocationsOptions {
  readonly around: Omit<Surroundings, 'ended'>
  readonly random: Random
  readonly bytesPerSecondPerUser: number
  /** Milliseconds. */
  readonly standardLifetime: number
  readonly longestLifetime: number
  readonly log: (event: RelayEvent) => void
}

const CAPACITY: Failure = fail(StunError.InsufficientCapacity, 'Insufficient Capacity')
const QUOTA: Failure = fail(StunError.AllocationQuotaReached, 'Allocation Quota Reached')
const NO_FAMILY: Failure = fail(StunError.AddressFamilyNotSupported, 'Address Family not Supported')

export class Allocations {
  readonly #options: AllocationsOptions
  readonly #around: Surroundings
  readonly #accounts: Accounts
  readonly #all = new Set<Allocation>()
  readonly #byTransport: Record<RelayTransport, number> = { udp: 0, tcp: 0, tls: 0 }
  readonly #reservations = new Map<string, Reservation>()
  readonly #awaited: (() => void)[] = []
  #ids = 0
  #draining = false
  #closed = false
  /** Allocations in the making. */
  #making = 0

  constructor(options: AllocationsOptions) {
    this.#options = options
    this.#accounts = new Accounts(options.bytesPerSecondPerUser, options.around.timers)
    this.#around = { ...options.around, ended: (allocation, reason) => this.#ended(allocation, reason) }
  }

  get draining(): boolean {
    return this.#draining
  }

  get size(): number {
    return this.#all.size
  }

  get byTransport(): Readonly<Record<RelayTransport, number>> {
    return { ...this.#byTransport }
  }

  get users(): number {
    return this.#accounts.size
  }

  get reservations(): number {
    return this.#reservations.size
  }

  /** Counted anew. */
  peers(): { readonly permissions: number; readonly channels: number } {
    let permissions = 0
    let channels = 0
    for (const { peers } of this.#all) {
      permissions += peers.permissions
      channels += peers.channels
    }
    return { permissions, channels }
  }

  /** What is granted of the milliseconds asked for (RFC 8656 7.2): never less than the standard. */
  lifetime(asked: number | undefined): number {
    const { standardLifetime, longestLifetime } = this.#options
    return asked === undefined ? standardLifetime : Math.min(Math.max(asked, standardLifetime), longestLifetime)
  }

  /** Undefined when there is nobody any more to answer to. Never rejects. */
  async create(wish: AllocateRequest, owner: Owner, link: Link): Promise<Created | Failure | undefined> {
    if (this.#draining || this.#closed) return CAPACITY
    this.#making++
    try {
      const opened = wish.token === undefined ? await this.#open(wish, owner) : this.#redeem(wish.token, owner)
      if ('kind' in opened) return opened
      if (!link.gone && !this.#closed) return this.#made(opened, wish, owner, link)
      for (const socket of opened.sockets) socket.close()
      opened.reserved?.close()
      this.#release(owner, opened.reserved === undefined ? 1 : 2)
      return undefined
    } finally {
      this.#making--
      this.#tellIfEmpty()
    }
  }

  /** Resolves when no allocation is left; none is made from now on. */
  drain(): Promise<void> {
    this.#draining = true
    return new Promise((resolve) => {
      this.#awaited.push(resolve)
      this.#tellIfEmpty()
    })
  }

  close(): void {
    this.#closed = true
    for (const [token, { timer }] of this.#reservations) {
      timer.cancel()
      this.#unreserve(token)
    }
    for (const allocation of [...this.#all]) allocation.end('relay-closed')
    this.#draining = true
    this.#tellIfEmpty()
  }

  async #open(wish: AllocateRequest, owner: Owner): Promise<Opened | Failure> {
    const units = wish.even === 'pair' ? 2 : 1
    for (let taken = 0; taken < units; taken++) {
      const verdict = await this.#take(owner)
      if (verdict === 'granted') continue
      this.#release(owner, taken)
      return verdict === 'user-quota' ? QUOTA : CAPACITY
    }
    const opened = await this.#openSockets(wish)
    if (typeof opened !== 'string') return opened
    this.#release(owner, units)
    return opened === 'family' ? NO_FAMILY : CAPACITY
  }

  async #openSockets({ families, even }: AllocateRequest): Promise<Opened | OpenFailure> {
    const { sockets } = this.#around
    const [first, second] = families
    if (first === undefined) return 'family'
    if (even === 'pair') {
      const pair = await sockets.openPair(first)
      return typeof pair === 'string' ? pair : { sockets: [pair[0]], reserved: pair[1] }
    }
    const one = await sockets.open(first, even === 'even')
    if (second === undefined) return typeof one === 'string' ? one : { sockets: [one] }
    const other = await sockets.open(second, even === 'even')
    if (typeof one !== 'string' && typeof other !== 'string') return { sockets: [one, other] }
    // RFC 8656 7.2: one of the two is a success that says what became of the other.
    if (typeof one !== 'string') return { sockets: [one], missing: { family: second, code: codeOf(other as OpenFailure) } }
    if (typeof other !== 'string') return { sockets: [other], missing: { family: first, code: codeOf(one) } }
    return one === 'capacity' ? one : other
  }

  #redeem(token: string, owner: Owner): Opened | Failure {
    const reservation = this.#reservations.get(token)
    // Another's token is as good as none (RFC 8656 7.2).
    if (reservation === undefined || reservation.user !== owner.user) return CAPACITY
    reservation.timer.cancel()
    this.#reservations.delete(token)
    return { sockets: [reservation.socket] }
  }

  #made({ sockets, reserved, missing }: Opened, wish: AllocateRequest, owner: Owner, link: Link): Created {
    const { counters } = this.#around
    const lifetime = this.lifetime(wish.lifetime)
    const account = this.#accounts.open(owner.user)
    const allocation = new Allocation(++this.#ids, link, owner, account, sockets, lifetime, this.#around)
    this.#all.add(allocation)
    this.#byTransport[link.transport]++
    counters.allocationsCreated++
    link.allocation = allocation
    link.keep()
    allocation.start()
    const { client, transport } = link
    const relayed = allocation.relayed.map(({ key }) => key)
    this.#options.log({
      event: 'allocation-created',
      id: allocation.id,
      user: owner.user,
      client: client.key,
      transport,
      relayed,
      lifetime,
    })
    return { kind: 'created', allocation, lifetime, token: reserved && this.#reserve(reserved, owner), missing }
  }

  #reserve(socket: RelayedSocket, { user }: Owner): Uint8Array {
    const token = this.#options.random.bytes(8)
    const key = bytesToHex(token)
    const timer = this.#around.timers.after(RESERVATION_LIFETIME, () => this.#unreserve(key))
    this.#reservations.set(key, { socket, user, timer })
    return token
  }

  #unreserve(token: string): void {
    const reservation = this.#reservations.get(token)
    if (reservation === undefined) return
    this.#reservations.delete(token)
    reservation.socket.close()
    this.#around.ledger.release(reservation.user)
  }

  async #take({ user }: Owner): Promise<LedgerVerdict> {
    const { ledger, timers } = this.#around
    try {
      const verdict = ledger.take(user)
      if (typeof verdict === 'string') return verdict
      return await within(timers, PATIENCE, verdict, (late) => {
        if (late === 'granted') ledger.release(user)
      })
    } catch (error) {
      this.#options.log({ event: 'warning', subject: 'ledger', message: `the ledger does not answer: ${messageOf(error)}` })
      return 'capacity'
    }
  }

  #release({ user }: Owner, units: number): void {
    for (let i = 0; i < units; i++) this.#around.ledger.release(user)
  }

  #ended(allocation: Allocation, reason: AllocationEnd): void {
    const { id, link, owner, account, born } = allocation
    this.#all.delete(allocation)
    this.#byTransport[link.transport]--
    link.allocation = undefined
    link.forget()
    this.#accounts.close(account)
    this.#release(owner, 1)
    this.#options.log({
      event: 'allocation-deleted',
      id,
      user: owner.user,
      client: link.client.key,
      transport: link.transport,
      relayed: allocation.relayed.map(({ key }) => key),
      reason,
      age: this.#around.timers.now() - born,
      packetsToPeers: allocation.packetsToPeers,
      bytesToPeers: allocation.bytesToPeers,
      packetsToClient: allocation.packetsToClient,
      bytesToClient: allocation.bytesToClient,
    })
    this.#tellIfEmpty()
  }

  #tellIfEmpty(): void {
    if (!this.#draining || this.#all.size + this.#making > 0) return
    for (const resolve of this.#awaited.splice(0)) resolve()
  }
}

function codeOf(failure: OpenFailure): 440 | 508 {
  return failure === 'family' ? StunError.AddressFamilyNotSupported : StunError.InsufficientCapacity
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
