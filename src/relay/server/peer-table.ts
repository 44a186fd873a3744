/** The peers of one allocation: permissions for addresses (RFC 8656 9), channels to addresses with their port (12), and when they end. */
import type { Address } from '../../net/index.ts'
import type { PeerPolicy, PeerVerdict } from './peer-policy.ts'

/** Milliseconds: RFC 8656 9 and 12. */
export const PERMISSION_LIFETIME = 300_000
export const CHANNEL_LIFETIME = 600_000

/** Where something is sent, and what the policy says of it. */
export class Peer {
  readonly address: Address
  verdict: PeerVerdict
  /** The policy's when it said so. */
  version: number

  constructor(address: Address, policy: PeerPolicy) {
    this.address = address
    this.verdict = policy.judge(address)
    this.version = policy.version
  }

  /** Asks again where the policy may have another answer. */
  review(policy: PeerPolicy): PeerVerdict {
    if (this.version !== policy.version) {
      this.verdict = policy.judge(this.address)
      this.version = policy.version
    }
    return this.verdict
  }
}

export interface Channel {
  readonly number: number
  readonly peer: Peer
  expires: number
}

export class PeerTable {
  // Made when there is something to put into them: many an allocation waits idle, and four empty maps are a fifth of its memory.
  /** IP address to when its permission ends. */
  #permissions: Map<string, number> | undefined
  #channels: Map<number, Channel> | undefined
  #channelsByPeer: Map<string, Channel> | undefined

  get permissions(): number {
    return this.#permissions?.size ?? 0
  }

  get channels(): number {
    return this.#channels?.size ?? 0
  }

  permits(ip: string): boolean {
    return this.#permissions?.has(ip) === true
  }

  /** Installs or refreshes. */
  permit(ip: string, now: number): void {
    this.#permissions ??= new Map()
    this.#permissions.set(ip, now + PERMISSION_LIFETIME)
  }

  channel(number: number): Channel | undefined {
    return this.#channels?.get(number)
  }

  channelTo(peer: Address): Channel | undefined {
    return this.#channelsByPeer?.get(peer.key)
  }

  bind(number: number, peer: Peer, now: number): void {
    const channel = { number, peer, expires: now + CHANNEL_LIFETIME }
    this.#channels ??= new Map()
    this.#channelsByPeer ??= new Map()
    this.#channels.set(number, channel)
    this.#channelsByPeer.set(peer.address.key, channel)
  }

  /** Drops what has ended by now. @returns when the next one ends; Infinity when nothing is left */
  expire(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const [ip, expires] of this.#permissions ?? []) {
      if (expires <= now) this.#permissions?.delete(ip)
      else if (expires < next) next = expires
    }
    for (const channel of this.#channels?.values() ?? []) {
      if (channel.expires <= now) {
        this.#channels?.delete(channel.number)
        this.#channelsByPeer?.delete(channel.peer.address.key)
      } else if (channel.expires < next) next = channel.expires
    }
    return next
  }
}
