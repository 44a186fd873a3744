/**
 * The channels of an allocation (RFC 8656 12): a number in place of a peer's address, for peers that application data goes to. Rebound while
 * they are used and left to expire when not; a number rests before it is another peer's.
 */
import type { Address } from '../../net/index.ts'
import { Attribute, type MessageWriter, Method, StunError } from '../../stun/index.ts'
import { FIRST_CHANNEL, LAST_CHANNEL } from '../channel-data.ts'
import type { AllocationControl, Permission, Permissions } from './permissions.ts'
import type { Answer } from './requests.ts'

/** Milliseconds that a binding stands (RFC 8656 12); that a number and a peer stay apart from others after that. */
const LIFETIME = 600_000
const REST = 300_000
/** The age from which a binding is renewed, when it is used; from which it is not sent over. */
const REFRESH_AGE = 270_000
const LAPSE_AGE = LIFETIME - 30_000
/** Milliseconds without a channel after a refusal: Send indications do meanwhile. */
const REFUSED_FOR = 300_000
/** Milliseconds before a number whose request had no answer is tried again. */
const UNANSWERED_FOR = 5_000
const NUMBERS = LAST_CHANNEL - FIRST_CHANNEL + 1

export interface Peer {
  readonly address: Address
  readonly permission: Permission
  /** The sweep that last found it used. */
  used: number
  /** Application data waited for its permission. */
  carriesData: boolean
  /** What data goes over; 0 while there is none. */
  channel: number
  binding: Binding | undefined
  /** No channel is asked for before. */
  channelNotBefore: number
  /** Numbers that the server would not bind to it, since one was bound. */
  channelsRefused: number
}

export interface Binding {
  readonly number: number
  readonly peer: Peer
  /** When it was last granted; when it was first asked for, before that. */
  since: number
  asking: boolean
}

export class Channels {
  readonly #control: AllocationControl
  readonly #permissions: Permissions
  /** By number less the first. Also those that may be bound, or were until a moment ago: the server may still use them. */
  readonly #bindings: (Binding | undefined)[] = []
  /** Numbers that must not be used until then. */
  readonly #resting = new Map<number, number>()
  #next = FIRST_CHANNEL
  #size = 0

  constructor(control: AllocationControl, permissions: Permissions) {
    this.#control = control
    this.#permissions = permissions
  }

  /** Numbers in use. */
  get size(): number {
    return this.#size
  }

  /** The peer behind a number that came in. */
  peer(channel: number): Peer | undefined {
    return this.#bindings[channel - FIRST_CHANNEL]?.peer
  }

  /** Asks for a channel, unless that was done or refused. */
  need(peer: Peer): void {
    if (peer.binding?.asking === true) return
    const now = this.#control.now()
    if (now < peer.channelNotBefore) return
    const binding = peer.binding ?? this.#assign(peer, now)
    if (binding !== undefined) this.#ask(binding)
  }

  /** Renews what is due and was used since `idle`; ends what is over. */
  sweep(now: number, idle: number): void {
    for (const binding of this.#bindings) {
      if (binding === undefined || binding.asking) continue
      const { peer } = binding
      const age = now - binding.since
      if (peer.channel !== 0 && age >= REFRESH_AGE && peer.used > idle && now >= peer.channelNotBefore) this.#ask(binding)
      if (age >= LAPSE_AGE) peer.channel = 0
      // RFC 8656 12: five more minutes until the number, and the peer, are free for others.
      if (age >= LIFETIME + REST) this.#forget(binding)
    }
    for (const [number, until] of this.#resting) if (now >= until) this.#resting.delete(number)
  }

  close(): void {
    this.#bindings.length = 0
    this.#size = 0
  }

  #ask(binding: Binding): void {
    const { number, peer } = binding
    binding.asking = true
    const write = (writer: MessageWriter): void => {
      writer.uint32(Attribute.ChannelNumber, number * 0x10000).address(Attribute.XorPeerAddress, peer.address)
    }
    this.#control.ask(Method.ChannelBind, write, (answer) => {
      binding.asking = false
      this.#answered(binding, answer)
    })
  }

  #answered(binding: Binding, answer: Answer): void {
    const { peer, number } = binding
    const now = this.#control.now()
    if (answer.kind === 'success') {
      binding.since = now
      peer.channel = number
      peer.channelsRefused = 0
      this.#permissions.renewed(peer.permission)
      return
    }
    if (answer.kind === 'silence') {
      // Bound or not, nobody knows. The same number for the same peer is right in both cases (RFC 8656 12.1), Send indications do meanwhile.
      if (peer.channel === 0) peer.channelNotBefore = now + UNANSWERED_FOR
      return
    }
    if (answer.code === StunError.BadRequest) {
      // The number is another peer's at the server, or the peer has another number there: not this one, and the next one only once.
      this.#forget(binding)
      this.#resting.set(number, now + LIFETIME + REST)
      if (peer.channelsRefused++ === 0) this.need(peer)
      else peer.channelNotBefore = now + LIFETIME + REST
      return
    }
    if (answer.code !== StunError.Unauthenticated && peer.channel === 0) {
      // No room, or forbidden: the number was not taken.
      this.#forget(binding)
      peer.channelNotBefore = now + REFUSED_FOR
    } else peer.channelNotBefore = now + UNANSWERED_FOR
  }

  #assign(peer: Peer, now: number): Binding | undefined {
    for (let i = 0; i < NUMBERS; i++) {
      const number = this.#next
      this.#next = number === LAST_CHANNEL ? FIRST_CHANNEL : number + 1
      const at = number - FIRST_CHANNEL
      if (this.#bindings[at] !== undefined || this.#resting.has(number)) continue
      const binding = { number, peer, since: now, asking: false }
      this.#bindings[at] = binding
      this.#size++
      peer.binding = binding
      return binding
    }
    peer.channelNotBefore = now + REFUSED_FOR // all 4096 are taken: Send indications do
    return undefined
  }

  #forget(binding: Binding): void {
    this.#bindings[binding.number - FIRST_CHANNEL] = undefined
    this.#size--
    binding.peer.channel = 0
    binding.peer.binding = undefined
  }
}
