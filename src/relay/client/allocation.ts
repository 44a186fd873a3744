/**
 * One allocation on a TURN server (RFC 8656): its data path and what it knows of peers. The permissions and channels it needs it gets by
 * itself. How it came about is in establishment.ts, what keeps it alive in lease.ts.
 */
import type { SallyportError } from '../../errors.ts'
import type { Address, Random, SendFailure, Timer, Timers } from '../../net/index.ts'
import { Attribute, looksLikeStun, Message, MessageWriter, Method, StunError } from '../../stun/index.ts'
import { channelOf, channelPayload, encodeChannelData, looksLikeChannelData } from '../channel-data.ts'
import type { RelayTransport } from '../transport.ts'
import { Channels, type Peer } from './channels.ts'
import type { Grant } from './establishment.ts'
import { endLifetime, Lease } from './lease.ts'
import { type AllocationControl, type Permission, Permissions } from './permissions.ts'
import { refusal, relayError } from './relay-error.ts'
import { type Answer, type Requests, refusesCredentials } from './requests.ts'
import type { ConnectionHandler, ServerConnection } from './server-connection.ts'

/** Milliseconds between looks at what is due, and how many of them somebody may be silent before nothing is refreshed for him: 3 minutes. */
const SWEEP_INTERVAL = 15_000
const IDLE_SWEEPS = 12

/** Bytes: what a Send indication to an IPv6 peer leaves of the longest UDP datagram. */
const LONGEST = 65_507 - 51

/** What an allocation tells its user; `RelayOutlet` has more. */
export interface AllocationOutlet {
  /** `data` is the receiver's. */
  datagram(allocation: Allocation, data: Uint8Array, from: Address): void
  /**
   * Nothing can be sent to that peer: `EACCES` when the relay forbids it, `ENETUNREACH` without a relayed address of its family, `ENOBUFS`
   * where a limit of the relay's is reached. `EMSGSIZE`: not that datagram.
   */
  sendFailed(allocation: Allocation, to: Address, failure: SendFailure): void
  drained(allocation: Allocation): void
}

/** What the owner of an allocation sees to. */
export interface AllocationOwner {
  lost(allocation: Allocation, error: SallyportError): void
  /** No answer came so far to the question whether it lives. */
  doubted(allocation: Allocation): void
  /** The credentials are not good any more; the allocation may live on until it ends. */
  credentialsRefused(allocation: Allocation): void
}

export interface AllocationParts extends Grant {
  /** As configured, for messages. */
  readonly relay: string
  readonly connection: ServerConnection
  readonly requests: Requests
  readonly timers: Timers
  readonly random: Random
  readonly outlet: AllocationOutlet
  readonly owner: AllocationOwner
}

export interface AllocationCounters {
  /** Datagrams to and from peers, and their payload. */
  sent: number
  sentBytes: number
  received: number
  receivedBytes: number
  /** Of those sent, those that had no channel. */
  indications: number
  /** Datagrams that waited for a permission in vain, and those that came malformed or from where none may come. */
  dropped: number
  /** Doubts that were raised. */
  verifications: number
}

export interface AllocationStatus {
  readonly relayed: readonly Address[]
  readonly mapped: Address
  readonly server: Address
  readonly transport: RelayTransport
  /** Milliseconds. */
  readonly age: number
  readonly expiresIn: number
  readonly refreshIn: number | undefined
  readonly rtt: number | undefined
  readonly permissions: number
  readonly channels: number
  readonly counters: Readonly<AllocationCounters>
  readonly requests: Requests['counters']
}

type State = 'live' | 'ending' | 'over'

export class Allocation {
  /** One for each family. */
  readonly relayed: readonly Address[]
  /** How the server sees us. */
  readonly mapped: Address
  readonly server: Address
  readonly transport: RelayTransport
  readonly counters: AllocationCounters = {
    sent: 0,
    sentBytes: 0,
    received: 0,
    receivedBytes: 0,
    indications: 0,
    dropped: 0,
    verifications: 0,
  }
  readonly #parts: AllocationParts
  readonly #connection: ServerConnection
  readonly #channels: Channels
  readonly #permissions: Permissions
  readonly #peers = new Map<string, Peer>()
  readonly #created: number
  #lastTo: Address | undefined
  #lastPeer: Peer | undefined
  #sweeps = IDLE_SWEEPS + 1
  readonly #lease: Lease
  #state: State = 'live'
  #sweepTimer: Timer | undefined
  #ended: (() => void) | undefined

  /** @internal RelayClient makes them */
  constructor(parts: AllocationParts) {
    this.#parts = parts
    this.#connection = parts.connection
    this.relayed = parts.relayed
    this.mapped = parts.mapped
    this.server = parts.connection.server
    this.transport = parts.connection.transport
    this.#created = parts.timers.now()
    this.#lease = new Lease({
      requests: parts.requests,
      stream: this.transport !== 'udp',
      timers: parts.timers,
      random: parts.random,
      lifetime: parts.lifetime,
      received: () => this.counters.received,
      doubtful: () => parts.owner.doubted(this),
      dead: (words) => this.#die(this.#lostError(words)),
      refused: (answer) => {
        if (refusesCredentials(answer)) parts.owner.credentialsRefused(this)
        else this.#judge(answer)
      },
    })
    const control: AllocationControl = {
      now: () => parts.timers.now(),
      ask: (method, write, done) => this.#ask(method, write, done),
    }
    this.#permissions = new Permissions(control, {
      granted: (permission) => this.#granted(permission),
      refused: (permission, failure) => this.#refused(permission, failure),
      dropped: (count) => {
        this.counters.dropped += count
      },
    })
    this.#channels = new Channels(control, this.#permissions)
  }

  /** Milliseconds since it was granted. */
  get age(): number {
    return this.#parts.timers.now() - this.#created
  }

  /** Milliseconds of the last round trip to the server. */
  get rtt(): number | undefined {
    return this.#parts.requests.rtt
  }

  /** @internal The server was asked whether it lives, and no answer has come for a while. */
  get doubtful(): boolean {
    return this.#lease.doubtful
  }

  /** False once it was lost or given back. */
  get alive(): boolean {
    return this.#state === 'live'
  }

  status(): AllocationStatus {
    const now = this.#parts.timers.now()
    return {
      relayed: this.relayed,
      mapped: this.mapped,
      server: this.server,
      transport: this.transport,
      age: now - this.#created,
      expiresIn: this.#lease.expiry - now,
      refreshIn: this.#lease.refreshAt === undefined ? undefined : this.#lease.refreshAt - now,
      rtt: this.rtt,
      permissions: this.#permissions.size,
      channels: this.#channels.size,
      counters: { ...this.counters },
      requests: { ...this.#parts.requests.counters },
    }
  }

  /**
   * Sends a datagram to a peer from the relayed address: over a channel where one stands, in a Send indication before (RFC 8656 11 and 12). A
   * few wait where the permission does not stand yet. `payload` says that it is application data, not a connectivity check: worth a channel.
   * The memory is the socket's until the next turn. Never throws. False when the queue is full: wait for `drained`.
   */
  send(data: Uint8Array, to: Address, payload: boolean): boolean {
    const peer = to === this.#lastTo ? (this.#lastPeer as Peer) : this.#peer(to)
    peer.used = this.#sweeps
    if (peer.channel === 0 || data.length > LONGEST || this.#state !== 'live') return this.#sendWithout(peer, data, payload)
    this.counters.sent++
    this.counters.sentBytes += data.length
    return this.#connection.sendData(encodeChannelData(peer.channel, data, this.#connection.padded))
  }

  /** A permission for an address will be needed soon. Those expected in one turn of the event loop are asked for at once. */
  expect(to: Address): void {
    if (this.#state !== 'live' || !this.#reaches(to)) return
    const permission = this.#permissions.of(to, this.#sweeps)
    permission.used = this.#sweeps
    this.#permissions.need(permission)
  }

  /**
   * Somebody doubts that it lives: the server is asked at once, and the allocation lost after 800 ms of silence, or three round trips. One
   * doubt at a time, and none within half a second after a proof of life, unless the network is another one since.
   */
  verify(elsewhere = false): void {
    if (this.#lease.doubt(elsewhere)) this.counters.verifications++
  }

  /** @internal takes over the connection, and keeps the allocation alive from now on */
  start(): void {
    const handler: ConnectionHandler = {
      received: (data) => this.#received(data),
      sendFailed: () => this.verify(),
      drained: () => this.#parts.outlet.drained(this),
      lost: (reason) => this.#die(this.#lostError(`closed the ${this.transport.toUpperCase()} connection`, reason)),
    }
    this.#connection.handle(handler)
    this.#lease.start()
    this.#planSweep()
  }

  /**
   * @internal gives it back: with `ended`, which is called when the server has heard of it or will not; else at once and for good.
   */
  end(ended?: () => void): void {
    const wait = ended !== undefined
    if (this.#state === 'over' || (this.#state === 'ending' && wait)) return
    const { requests } = this.#parts
    this.#stopTimers()
    this.#state = 'ending'
    this.#ended = ended
    if (!wait) {
      requests.tell(Method.Refresh, endLifetime)
      this.#over()
      return
    }
    requests.ask({ method: Method.Refresh, write: endLifetime, fresh: true, done: () => this.#over() })
  }

  #peer(to: Address): Peer {
    let peer = this.#peers.get(to.key)
    if (peer === undefined) {
      const permission = this.#permissions.of(to, this.#sweeps)
      peer = {
        address: to,
        permission,
        used: 0,
        carriesData: false,
        channel: 0,
        binding: undefined,
        channelNotBefore: 0,
        channelsRefused: 0,
      }
      permission.peers++
      this.#peers.set(to.key, peer)
    }
    this.#lastTo = to
    this.#lastPeer = peer
    return peer
  }

  #sendWithout(peer: Peer, data: Uint8Array, payload: boolean): boolean {
    if (this.#state !== 'live') {
      this.counters.dropped++
      return true
    }
    const { permission, address } = peer
    permission.used = this.#sweeps
    if (!this.#reaches(address)) this.#failSoon(address, 'ENETUNREACH')
    else if (data.length > LONGEST) this.#failSoon(address, 'EMSGSIZE')
    else {
      this.#permissions.need(permission)
      if (permission.state === 'stands') {
        if (payload) this.#channels.need(peer)
        return this.#indicate(address, data)
      }
      peer.carriesData ||= payload
      if (permission.state === 'refused') this.#failSoon(address, 'EACCES')
      else this.#permissions.wait(permission, data, address)
    }
    return true
  }

  #indicate(to: Address, data: Uint8Array): boolean {
    this.counters.sent++
    this.counters.sentBytes += data.length
    this.counters.indications++
    // A writer of its own, since the socket may keep the memory until the next turn.
    const writer = new MessageWriter(52 + to.bytes.length + data.length)
    writer.start('indication', Method.Send, this.#parts.random.bytes(12)).address(Attribute.XorPeerAddress, to).bytes(Attribute.Data, data)
    return this.#connection.sendData(writer.finish())
  }

  #reaches(to: Address): boolean {
    return this.relayed.some(({ family }) => family === to.family)
  }

  /** Not from within `send`: its caller may not be ready for it. */
  #failSoon(to: Address, failure: SendFailure): void {
    this.#parts.timers.after(0, () => {
      if (this.#state === 'live') this.#parts.outlet.sendFailed(this, to, failure)
    })
  }

  #granted(permission: Permission): void {
    for (const { data, to } of permission.waiting ?? []) {
      this.#indicate(to, data)
      const peer = this.#peers.get(to.key)
      if (peer?.carriesData === true) this.#channels.need(peer)
    }
  }

  #refused(permission: Permission, failure: SendFailure): void {
    const told = new Set<string>()
    for (const { to } of permission.waiting ?? []) {
      if (told.has(to.key)) continue
      told.add(to.key)
      this.#parts.outlet.sendFailed(this, to, failure)
    }
  }

  #received(data: Uint8Array): void {
    if (looksLikeChannelData(data)) {
      const peer = this.#channels.peer(channelOf(data))
      const payload = channelPayload(data)
      if (peer === undefined || payload === undefined) this.counters.dropped++
      else {
        peer.used = this.#sweeps
        this.#deliver(payload, peer.address)
      }
      return
    }
    const message = Message.read(data)
    if (message === undefined) this.counters.dropped++
    else if (message.class === 'indication') this.#indicated(message)
    else if (!this.#parts.requests.receive(message)) this.counters.dropped++
  }

  #indicated(message: Message): void {
    const from = message.address(Attribute.XorPeerAddress)
    const data = message.value(Attribute.Data)
    // RFC 8656 11.4: only from where a permission was given.
    if (message.method !== Method.Data || from === undefined || data === undefined || !this.#permissions.covers(from)) {
      this.counters.dropped++
      return
    }
    const peer = this.#peers.get(from.key)
    if (peer !== undefined) {
      peer.used = this.#sweeps
      // Application data that comes is worth a channel, too: it is the server that sends over it.
      if (peer.channel === 0 && this.#state === 'live' && !looksLikeStun(data)) this.#channels.need(peer)
    }
    this.#deliver(data, peer?.address ?? from)
  }

  #deliver(data: Uint8Array, from: Address): void {
    this.counters.received++
    this.counters.receivedBytes += data.length
    this.#parts.outlet.datagram(this, data, from)
  }

  #ask(method: number, write: (writer: MessageWriter) => void, done: (answer: Answer) => void): void {
    if (this.#state !== 'live') return
    this.#parts.requests.ask({
      method,
      write,
      fresh: true,
      done: (answer) => {
        if (this.#state !== 'live') return
        done(answer)
        if (answer.kind === 'silence') this.#silent()
        else if (answer.kind === 'error') this.#judge(answer)
      },
    })
  }

  /** Errors that are about the allocation, or about us. */
  #judge({ code, reason }: Answer & { readonly kind: 'error' }): void {
    if (code === StunError.AllocationMismatch || code === StunError.WrongCredentials) this.#die(refusal(this.#parts.relay, code, reason))
    else if (code === StunError.Unauthenticated) this.#parts.owner.credentialsRefused(this)
  }

  #silent(): void {
    // Over a stream nothing gets lost but what the server loses: it will not answer any more.
    if (this.#connection.transport === 'udp') this.verify()
    else this.#die(this.#lostError('does not answer any more'))
  }

  #planSweep(): void {
    this.#sweepTimer = this.#parts.timers.after(SWEEP_INTERVAL, () => {
      this.#planSweep()
      this.#sweep()
    })
  }

  /** One timer for all that grows old. */
  #sweep(): void {
    const now = this.#parts.timers.now()
    const idle = this.#sweeps - IDLE_SWEEPS
    for (const [key, peer] of this.#peers) {
      if (peer.used > peer.permission.used) peer.permission.used = peer.used
      if (peer.used > idle || peer.binding !== undefined) continue
      peer.permission.peers--
      this.#peers.delete(key)
    }
    // A peer that is forgotten must not be found by the short cut.
    this.#lastTo = undefined
    this.#lastPeer = undefined
    this.#permissions.sweep(now, idle)
    this.#channels.sweep(now, idle)
    this.#sweeps++
  }

  #lostError(words: string, cause?: Error): SallyportError {
    return relayError('ERR_RELAY_LOST', this.#parts.relay, words, cause === undefined ? {} : { cause })
  }

  #die(error: SallyportError): void {
    if (this.#state === 'over') return
    const told = this.#state === 'live'
    this.#over()
    if (told) this.#parts.owner.lost(this, error)
  }

  #over(): void {
    this.#state = 'over'
    this.#stopTimers()
    this.#parts.requests.close()
    this.#permissions.close()
    this.#channels.close()
    this.#peers.clear()
    this.#connection.close()
    this.#ended?.()
  }

  #stopTimers(): void {
    this.#lease.stop()
    this.#sweepTimer?.cancel()
    this.#sweepTimer = undefined
  }
}
