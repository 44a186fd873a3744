/**
 * An allocation (RFC 8656 3.2): a client, its relayed addresses, its peers, and the way of application data between them, both ways. What
 * requests do to it is in requests.ts; when it is made and ended, in allocations.ts.
 */
import { Address, type Family, type Timer, type Timers } from '../../net/index.ts'
import { CHANNEL_HEADER_LENGTH, channelOf } from '../channel-data.ts'
import type { Account, Owner } from './accounts.ts'
import type { Bandwidth } from './bandwidth.ts'
import type { AllocationEnd, Traffic } from './events.ts'
import type { SendReader } from './indications.ts'
import type { Ledger } from './ledger.ts'
import type { Link } from './link.ts'
import type { PeerPolicy } from './peer-policy.ts'
import { type Channel, Peer, PeerTable } from './peer-table.ts'
import type { RelayedSocket, RelayedSockets } from './relayed-sockets.ts'
import type { Counters } from './status.ts'

/** Peers of Send indications that are remembered. Each may have a permission, and those are bounded already. */
const PEERS_KEPT = 256

/** What all allocations of a relay share. */
export interface Surroundings {
  readonly timers: Timers
  readonly policy: PeerPolicy
  readonly sockets: RelayedSockets
  readonly ledger: Ledger
  readonly counters: Counters
  readonly sendReader: SendReader
  readonly bandwidth: Bandwidth | undefined
  /** An allocation is over. */
  ended(allocation: Allocation, reason: AllocationEnd): void
}

/** The success response to Allocate, for a client that asks again because it did not come (RFC 8656 7.2). */
export interface Answer {
  readonly transactionKey: string
  readonly response: Uint8Array
}

export class Allocation implements Traffic {
  readonly id: number
  readonly link: Link
  readonly owner: Owner
  readonly account: Account
  readonly born: number
  readonly peers: PeerTable = new PeerTable()
  answer: Answer | undefined
  packetsToPeers = 0
  bytesToPeers = 0
  packetsToClient = 0
  bytesToClient = 0
  readonly #around: Surroundings
  #sockets: readonly RelayedSocket[]
  #socket4: RelayedSocket | undefined
  #socket6: RelayedSocket | undefined
  /** When it ends unless it is refreshed. */
  #expires: number
  #timer: Timer | undefined
  #over = false
  /** The last channel of the client's. */
  #channel: Channel | undefined
  /** The last peer of a Send indication, and all that are remembered; by `SendReader.peerKey`. */
  #peerKey = ''
  #peer: Peer | undefined
  #peersByKey: Map<string, Peer> | undefined
  /** Where the last datagram came from, and what is known of it: as peers know it, whether it may send, its channel. */
  #from: Address | undefined
  #fromTold: Address | undefined
  #fromPermitted = false
  #fromChannel: Channel | undefined

  constructor(
    id: number,
    link: Link,
    owner: Owner,
    account: Account,
    sockets: readonly RelayedSocket[],
    lifetime: number,
    around: Surroundings,
  ) {
    this.id = id
    this.link = link
    this.owner = owner
    this.account = account
    this.#around = around
    this.#sockets = sockets
    this.born = around.timers.now()
    this.#expires = this.born + lifetime
    this.#setSockets(sockets)
  }

  /** Relayed transport addresses, one of a family, as clients are told. */
  get relayed(): readonly Address[] {
    return this.#sockets.map(({ told }) => told)
  }

  /** Takes its place in time; once. */
  start(): void {
    for (const socket of this.#sockets) socket.allocation = this
    this.#arm(this.#expires)
  }

  hasFamily(family: Family): boolean {
    return this.#socketOf(family) !== undefined
  }

  /** @param lifetime milliseconds from now */
  refresh(lifetime: number): void {
    const now = this.#around.timers.now()
    this.#expires = now + lifetime
    this.peersChanged(now)
  }

  /** Gives up the relayed address of one family (RFC 8656 8.2). */
  dropFamily(family: Family): void {
    for (const socket of this.#sockets) if (socket.told.family === family) socket.close()
    this.#setSockets(this.#sockets.filter(({ told }) => told.family !== family))
  }

  /** Peers were added: what was remembered of them is looked up anew, and the next one to end is waited for. */
  peersChanged(now: number): void {
    this.#from = undefined
    this.#channel = undefined
    this.#arm(Math.min(this.peers.expire(now), this.#expires))
  }

  /** Ends it. Idempotent. */
  end(reason: AllocationEnd): void {
    if (this.#over) return
    this.#over = true
    this.#timer?.cancel()
    for (const socket of this.#sockets) socket.close()
    this.#around.ended(this, reason)
  }

  /** One of its sockets is gone without our doing. */
  lost(socket: RelayedSocket): void {
    this.#setSockets(this.#sockets.filter((one) => one !== socket))
    if (this.#sockets.length === 0) this.end('socket-lost')
  }

  /** ChannelData of the client's, header and all. */
  channelData(data: Uint8Array): void {
    const number = channelOf(data)
    let channel = this.#channel
    if (channel === undefined || channel.number !== number) {
      channel = this.peers.channel(number)
      if (channel === undefined) {
        this.#around.counters.drops['no-channel']++
        return
      }
      this.#channel = channel
    }
    const end = CHANNEL_HEADER_LENGTH + (((data[2] as number) << 8) | (data[3] as number))
    // RFC 8656 12.6: more than there is cannot be; what is there beyond it is padding.
    if (end > data.length) this.#around.counters.ignored.malformed++
    else this.#toPeer(channel.peer, data.subarray(CHANNEL_HEADER_LENGTH, end))
  }

  /** A Send indication of the client's. */
  sendIndication(data: Uint8Array): void {
    const { sendReader: reader, counters } = this.#around
    if (!reader.read(data)) {
      counters.ignored.malformed++
      return
    }
    const key = reader.peerKey(data)
    let peer = this.#peer
    if (peer === undefined || key !== this.#peerKey) {
      peer = this.#peersByKey?.get(key) ?? this.#rememberPeer(key, Address.fromBytes(reader.peerIp(data), reader.peerPort(data)))
      this.#peerKey = key
      this.#peer = peer
    }
    // RFC 8656 11.2.
    if (!this.peers.permits(peer.address.ip)) counters.drops['no-permission']++
    else this.#toPeer(peer, data.subarray(reader.dataAt, reader.dataAt + reader.dataLength))
  }

  /** A datagram that came to one of the relayed addresses (RFC 8656 11.3, 12.7). `data` is not kept. */
  fromPeer(data: Uint8Array, from: Address): void {
    const { counters } = this.#around
    if (from !== this.#from) this.#recall(from)
    if (!this.#fromPermitted) {
      counters.drops['no-permission']++
      return
    }
    const { length } = data
    if (!this.#affords(length)) {
      counters.drops.bandwidth++
      return
    }
    const channel = this.#fromChannel
    const sent = channel === undefined ? this.link.indication(this.#fromTold as Address, data) : this.link.channelData(channel.number, data)
    if (!sent) {
      counters.drops.queue++
      return
    }
    counters.packetsToClients++
    counters.bytesToClients += length
    this.packetsToClient++
    this.bytesToClient += length
  }

  #toPeer(peer: Peer, data: Uint8Array): void {
    const { policy, counters } = this.#around
    const verdict = peer.version === policy.version ? peer.verdict : peer.review(policy)
    if (verdict === 'denied') {
      // A port of this machine may have become a relayed address since.
      peer.version = -1
      counters.drops.denied++
      return
    }
    const socket = peer.address.family === 4 ? this.#socket4 : this.#socket6
    if (socket === undefined || socket.full) {
      counters.drops.queue++
      return
    }
    const { length } = data
    if (!this.#affords(length)) {
      counters.drops.bandwidth++
      return
    }
    if (verdict === 'relayed') {
      if (!this.#toRelayed(socket, peer.address, data)) {
        counters.drops['no-allocation']++
        return
      }
    } else if (!socket.socket.send(data, peer.address)) socket.full = true
    counters.packetsToPeers++
    counters.bytesToPeers += length
    this.packetsToPeers++
    this.bytesToPeers += length
  }

  /** To another allocation: by the shortest way, when it is of this process. */
  #toRelayed(socket: RelayedSocket, to: Address, data: Uint8Array): boolean {
    const { sockets, ledger } = this.#around
    const other = sockets.find(to)
    if (other !== undefined) other.datagram(data, socket.told)
    else if (ledger.relayed?.(to.key) === true) {
      if (!socket.socket.send(data, sockets.boundAs(to))) socket.full = true
    } else return false
    return true
  }

  /** The limits of the user and of the relay, where there are any. */
  #affords(bytes: number): boolean {
    const { bandwidth: all } = this.#around
    const { bandwidth: own } = this.account
    if (all === undefined && own === undefined) return true
    const now = this.#around.timers.now()
    if (own !== undefined && !own.take(bytes, now)) return false
    if (all === undefined || all.take(bytes, now)) return true
    own?.refund(bytes)
    return false
  }

  #recall(from: Address): void {
    const told = this.#around.sockets.toldAs(from)
    this.#from = from
    this.#fromTold = told
    this.#fromPermitted = this.peers.permits(told.ip)
    this.#fromChannel = this.peers.channelTo(told)
  }

  #rememberPeer(key: string, address: Address): Peer {
    if (this.#peersByKey === undefined || this.#peersByKey.size >= PEERS_KEPT) this.#peersByKey = new Map()
    const peer = new Peer(address, this.#around.policy)
    this.#peersByKey.set(key, peer)
    return peer
  }

  #setSockets(sockets: readonly RelayedSocket[]): void {
    this.#sockets = sockets
    this.#socket4 = sockets.find(({ told }) => told.family === 4)
    this.#socket6 = sockets.find(({ told }) => told.family === 6)
  }

  #socketOf(family: Family): RelayedSocket | undefined {
    return family === 4 ? this.#socket4 : this.#socket6
  }

  #arm(at: number): void {
    this.#timer?.cancel()
    this.#timer = this.#around.timers.at(at, () => this.#wake())
  }

  #wake(): void {
    const now = this.#around.timers.now()
    if (this.#expires <= now) {
      this.end('expired')
      return
    }
    this.peersChanged(now)
  }
}
