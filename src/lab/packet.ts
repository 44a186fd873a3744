/**
 * What travels through the lab: one UDP datagram or one TCP segment, which is its own event in the heap while it is under way.
 * NATs rewrite it in place; nobody outside the lab ever holds one, except as the read-only view a fault filter gets.
 */
import type { Address } from '../net/index.ts'
import { Event } from './clock.ts'
import type { Nic } from './segment.ts'

export type Protocol = 'udp' | 'tcp'

/** Why a packet went no further. */
export type DropReason =
  | 'loss' // a link lost it
  | 'mtu' // longer than a link's MTU
  | 'queue' // a link with a rate had no room
  | 'no-route' // nobody on the network has this address
  | 'hop-limit' // TTL or hop limit used up
  | 'no-mapping' // NAT: no mapping has this external port
  | 'filtered' // NAT: the mapping lets nothing in from this sender
  | 'poisoned' // NAT: an earlier refused packet owns this flow
  | 'nat-full' // NAT: session table full
  | 'no-port' // NAT: no external port free
  | 'hairpin' // NAT: does not do hairpinning
  | 'firewall'
  | 'udp-blocked'
  | 'no-socket' // nobody on the host listens there
  | 'suspended' // the host sleeps
  | 'down' // the router is rebooting
  | 'gone' // the address moved away while the packet was under way
  | 'fault' // the fault filter said so

export interface TcpHeader {
  readonly syn?: boolean
  readonly fin?: boolean
  readonly rst?: boolean
  readonly sequence: number
  /** Absent in the first segment of a connection. */
  readonly acknowledged?: number
}

/** A packet as fault filters see it: as its sender sent it, before any translation. */
export interface PacketView {
  /** Name of the host that sends it. */
  readonly host: string
  readonly protocol: Protocol
  readonly from: Address
  readonly to: Address
  /** Not to be written to. */
  readonly data: Uint8Array
  readonly hops: number
}

export class Packet extends Event {
  readonly protocol: Protocol
  from: Address
  to: Address
  readonly data: Uint8Array
  hops: number
  readonly tcp: TcpHeader | undefined
  /** Where it arrives next. */
  nic: Nic | undefined
  /** It has yet to pass the receiver's access link. */
  descending = false

  constructor(protocol: Protocol, from: Address, to: Address, data: Uint8Array, hops: number, tcp?: TcpHeader) {
    super()
    this.protocol = protocol
    this.from = from
    this.to = to
    this.data = data
    this.hops = hops
    this.tcp = tcp
  }

  /** Bytes on the wire, IP and transport header included. */
  get size(): number {
    return this.data.length + (this.to.family === 4 ? 20 : 40) + (this.tcp === undefined ? 8 : 20)
  }

  clone(): Packet {
    return new Packet(this.protocol, this.from, this.to, this.data.slice(), this.hops, this.tcp)
  }

  fire(): void {
    const nic = this.nic
    if (nic === undefined) return
    if (this.descending) nic.descend(this)
    else nic.arrive(this)
  }
}
