/**
 * What routers say to all their clients: NAT-PMP's new address (RFC 6886 3.2.1) and PCP's ANNOUNCE (RFC 6887 14.1). Whoever is on the link
 * can say it in the router's name, so it counts as "ask again" and no more: what it says is not looked at.
 */
import { type DatagramSocket, type Network, randomFraction, type Timer, type Timers } from '../../net/index.ts'
import type { Uplink } from '../protocol.ts'
import { ANNOUNCEMENT_PORT, readNatPmp } from './nat-pmp-message.ts'
import { PCP_ANNOUNCE, readPcp } from './pcp-message.ts'

const GROUPS = { 4: '224.0.0.1', 6: 'ff02::1' } as const
/**
 * Milliseconds until it is asked: not all clients at once, and not before the router is done; miniupnpd still announces the old address at
 * first. All that is announced in the meantime is one.
 */
const SHORTEST_WAIT = 500
const LONGEST_WAIT = 1000

export interface AnnouncementOptions {
  readonly network: Network
  readonly timers: Timers
  readonly uplink: Uplink
  /** Asks the router; what comes while it does counts for nothing. Never rejects. */
  readonly ask: () => Promise<unknown>
  /** Something came that is no announcement of the router's. */
  readonly dropped: () => void
}

export class Announcements {
  readonly #options: AnnouncementOptions
  #socket: DatagramSocket | undefined
  #timer: Timer | undefined
  #asking = false
  #closed = false

  constructor(options: AnnouncementOptions) {
    this.#options = options
  }

  /** Without a socket where there is none to be had: somebody else's program has the port for itself. */
  async open(): Promise<void> {
    const { network, uplink, dropped } = this.#options
    const { family } = uplink.router
    const multicast = { on: uplink.local, groups: [GROUPS[family]] }
    const socket = await network.bind({ family, port: ANNOUNCEMENT_PORT, multicast }).catch(() => undefined)
    if (this.#closed) socket?.close()
    if (this.#closed || socket === undefined) return
    this.#socket = socket
    socket.handle({
      datagram: (data, from) => {
        if (from.sameIp(uplink.router) && isAnnouncement(data)) this.#heard()
        else dropped()
      },
      sendFailed: () => {},
      drained: () => {},
      lost: () => {},
    })
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#socket?.close()
  }

  #heard(): void {
    if (this.#timer !== undefined || this.#asking) return
    const { network, timers, ask } = this.#options
    const wait = SHORTEST_WAIT + (LONGEST_WAIT - SHORTEST_WAIT) * randomFraction(network.random)
    this.#timer = timers.after(wait, () => {
      this.#timer = undefined
      this.#asking = true
      ask().finally(() => {
        this.#asking = false
      })
    })
  }
}

function isAnnouncement(data: Uint8Array): boolean {
  const natPmp = readNatPmp(data)
  if (natPmp.kind === 'address') return true
  const pcp = readPcp(data)
  return pcp.kind === 'answer' && pcp.opcode === PCP_ANNOUNCE
}
