/** What every part of one lab shares, and what a host and a router have in common. */
import type { Address, Family } from '../net/index.ts'
import type { Scheduler } from './clock.ts'
import type { LabDns } from './dns.ts'
import type { Packet } from './packet.ts'
import type { SeededRandom } from './random.ts'
import type { Nic } from './segment.ts'
import type { Counters, Trace } from './trace.ts'

/** Milliseconds one way on a LAN. Binary fractions, so that sums of delays are exact. */
export const LAN_DELAY: number = 0.125

/** Milliseconds within one host. */
export const LOOPBACK_DELAY: number = 1 / 128

/** A host or a router. */
export interface Device {
  readonly name: string
  readonly counters: Counters
  arrive(packet: Packet, nic: Nic): void
}

/** What a fault filter may say of a packet. A string in `fail` is what `send` reports: `EPERM`, `ENETUNREACH` … */
export type Verdict = 'pass' | 'drop' | { readonly delay: number } | { readonly duplicate: number } | { readonly fail: string } | undefined

export interface World {
  readonly scheduler: Scheduler
  readonly trace: Trace
  readonly dns: LabDns
  /** A stream of chance of its own for every name. */
  randomFor(name: string): SeededRandom
  /** The next unused address of the public internet. */
  publicAddress(family: Family): Address
  /** A link-local address of its own for every interface, RFC 4291 2.5.6; the zone is the interface's name. */
  linkLocalAddress(zone: string): Address
  /** What the fault filters say. */
  judge(host: string, packet: Packet): Verdict
}
