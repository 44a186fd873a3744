/**
 * The permissions of an allocation (RFC 8656 9 and 10): which IP addresses may send to it. Asked for in batches, refreshed while they are used,
 * and left to expire when not. A few datagrams wait for each.
 */
import type { Address, SendFailure } from '../../net/index.ts'
import { Attribute, type MessageWriter, Method, StunError } from '../../stun/index.ts'
import type { Answer } from './requests.ts'

/** Milliseconds that a permission stands (RFC 8656 9). */
const LIFETIME = 300_000
/** Its age from which it is refreshed, when it is used; and from which it goes along when another one is. */
const REFRESH_AGE = 225_000
const COMPANION_AGE = 150_000
/** Its age from which it is not relied on. */
const LAPSE_AGE = LIFETIME - 10_000
/** Milliseconds that a refused address is left alone. */
const REFUSED_FOR = 30_000
/** Datagrams that wait for one permission; the connectivity checks that come first are sent again anyway. */
const MOST_WAITING = 8
/** So many in one request: the request stays below 800 bytes also when all are IPv6. */
const BATCH = 25

export type PermissionState = 'none' | 'asked' | 'stands' | 'refused'

export interface Permission {
  /** Its port means nothing. */
  readonly address: Address
  state: PermissionState
  /** When it was last granted, or refused. */
  since: number
  /** The sweep that last found it used. */
  used: number
  /** Peers at this address, of the allocation's. */
  peers: number
  waiting: { readonly data: Uint8Array; readonly to: Address }[] | undefined
}

/** What an allocation does for its parts. */
export interface AllocationControl {
  now(): number
  /** Silence, a lost allocation and refused credentials are seen to; `done` hears of them too. */
  ask(method: number, write: (writer: MessageWriter) => void, done: (answer: Answer) => void): void
}

export interface PermissionOutlet {
  /** The datagrams that waited can go. */
  granted(permission: Permission): void
  refused(permission: Permission, failure: SendFailure): void
  /** Datagrams that waited in vain. */
  dropped(count: number): void
}

export class Permissions {
  readonly #control: AllocationControl
  readonly #outlet: PermissionOutlet
  readonly #byIp = new Map<string, Permission>()
  readonly #wanted = new Set<Permission>()
  #flushing = false
  #asking = false
  /** Batches are refused by servers that count each address twice when it is refreshed; then each goes by itself. */
  #batch = BATCH

  constructor(control: AllocationControl, outlet: PermissionOutlet) {
    this.#control = control
    this.#outlet = outlet
  }

  /** Those that stand. */
  get size(): number {
    let size = 0
    for (const { state } of this.#byIp.values()) if (state === 'stands') size++
    return size
  }

  /** Whether datagrams from an address may come: a permission was asked for, and may stand. */
  covers(address: Address): boolean {
    const state = this.#byIp.get(address.ip)?.state
    return state === 'stands' || state === 'asked'
  }

  of(address: Address, used: number): Permission {
    let permission = this.#byIp.get(address.ip)
    if (permission === undefined) {
      permission = { address, state: 'none', since: 0, used, peers: 0, waiting: undefined }
      this.#byIp.set(address.ip, permission)
    }
    return permission
  }

  /** Asks for it, unless that was done. What is wanted in one turn of the event loop goes in one request. */
  need(permission: Permission): void {
    if (permission.state === 'refused' && this.#control.now() - permission.since >= REFUSED_FOR) permission.state = 'none'
    if (permission.state !== 'none') return
    permission.state = 'asked'
    this.#want(permission)
  }

  /** Copied, since its owner may write to it meanwhile. */
  wait(permission: Permission, data: Uint8Array, to: Address): void {
    permission.waiting ??= []
    if (permission.waiting.length < MOST_WAITING) permission.waiting.push({ data: data.slice(), to })
    else this.#outlet.dropped(1)
  }

  /** The server granted it in passing: ChannelBind does (RFC 8656 12). */
  renewed(permission: Permission): void {
    if (permission.state === 'stands') permission.since = this.#control.now()
  }

  /** Refreshes what is due and was used since `idle`; forgets what lapsed. */
  sweep(now: number, idle: number): void {
    let due = false
    for (const [ip, permission] of this.#byIp) {
      const age = now - permission.since
      const used = permission.used > idle
      if (permission.state === 'stands') {
        if (age >= LAPSE_AGE) permission.state = 'none'
        else if (age >= REFRESH_AGE && used) due = true
      }
      const over = permission.state === 'none' || (permission.state === 'refused' && age >= REFUSED_FOR)
      if (over && !used && permission.peers === 0) this.#byIp.delete(ip)
    }
    if (!due) return
    for (const permission of this.#byIp.values()) {
      const old = permission.state === 'stands' && now - permission.since >= COMPANION_AGE
      if (old && permission.used > idle) this.#want(permission)
    }
  }

  close(): void {
    this.#wanted.clear()
    for (const permission of this.#byIp.values()) permission.waiting = undefined
    this.#byIp.clear()
  }

  #want(permission: Permission): void {
    this.#wanted.add(permission)
    if (this.#flushing || this.#asking) return
    this.#flushing = true
    queueMicrotask(() => {
      this.#flushing = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#asking || this.#wanted.size === 0) return
    const batch: Permission[] = []
    for (const permission of this.#wanted) {
      batch.push(permission)
      this.#wanted.delete(permission)
      if (batch.length >= this.#batch) break
    }
    this.#ask(batch)
  }

  #ask(batch: readonly Permission[]): void {
    this.#asking = true
    const write = (writer: MessageWriter): void => {
      for (const { address } of batch) writer.address(Attribute.XorPeerAddress, address)
    }
    this.#control.ask(Method.CreatePermission, write, (answer) => {
      this.#asking = false
      this.#answered(batch, answer)
      this.#flush()
    })
  }

  #answered(batch: readonly Permission[], answer: Answer): void {
    const now = this.#control.now()
    if (answer.kind === 'success') {
      for (const permission of batch) {
        permission.state = 'stands'
        permission.since = now
        if (permission.waiting !== undefined) this.#outlet.granted(permission)
        permission.waiting = undefined
      }
      return
    }
    const splits = answer.kind === 'error' && answer.code !== StunError.Unauthenticated && answer.code !== StunError.AllocationMismatch
    if (batch.length > 1 && splits) {
      // RFC 8656 10.2: one address that is refused spoils the request for all. Which one, each by itself will tell.
      if (answer.code !== StunError.Forbidden && answer.code !== StunError.PeerAddressFamilyMismatch) this.#batch = 1
      this.#each(batch)
      return
    }
    for (const permission of batch) this.#denied(permission, answer, now)
  }

  #each(batch: readonly Permission[]): void {
    const [first, ...rest] = batch
    if (first === undefined) return
    this.#asking = true
    const write = (writer: MessageWriter): void => void writer.address(Attribute.XorPeerAddress, first.address)
    this.#control.ask(Method.CreatePermission, write, (answer) => {
      this.#asking = false
      this.#answered([first], answer)
      if (rest.length > 0) this.#each(rest)
      else this.#flush()
    })
  }

  #denied(permission: Permission, answer: Answer, now: number): void {
    // One that stands is not taken back by a refresh that failed: it ends in its time.
    const stands = permission.since > 0 && permission.state === 'stands' && now - permission.since < LAPSE_AGE
    if (answer.kind !== 'error' || answer.code === StunError.Unauthenticated || answer.code === StunError.AllocationMismatch) {
      if (!stands) permission.state = 'none'
    } else if (!stands || answer.code === StunError.Forbidden) {
      permission.state = 'refused'
      permission.since = now
      this.#outlet.refused(permission, failureOf(answer.code))
    }
    this.#outlet.dropped(permission.waiting?.length ?? 0)
    permission.waiting = undefined
  }
}

/** As a socket would say it. */
function failureOf(code: number): SendFailure {
  if (code === StunError.PeerAddressFamilyMismatch || code === StunError.AddressFamilyNotSupported) return 'ENETUNREACH'
  // A full table passes.
  if (code === StunError.InsufficientCapacity || code === StunError.AllocationQuotaReached) return 'ENOBUFS'
  return 'EACCES'
}
