/**
 * NAT-PMP and PCP toward one router: two protocols on one port, told apart by the first byte (RFC 6887 Appendix A), over one socket of ours.
 */
import { SallyportError } from '../../errors.ts'
import type { Address, DatagramSocket, SendFailure } from '../../net/index.ts'
import type { MappingClient, MappingClientOptions, MappingProtocol } from '../protocol.ts'
import { Announcements } from './announcements.ts'
import { NatPmpClient } from './nat-pmp-client.ts'
import { NAT_PMP_VERSION, readNatPmp, SERVER_PORT } from './nat-pmp-message.ts'
import { PcpClient } from './pcp-client.ts'
import { readPcp } from './pcp-message.ts'

/** Bytes of a PCP header; no answer of NAT-PMP's is as long. */
const PCP_HEADER = 24
/**
 * What the system says for as long as the socket or the router are as they are. Others may pass: a route that is not there yet, a full queue.
 */
const FINAL: ReadonlySet<SendFailure> = new Set<SendFailure>(['ECONNREFUSED', 'EADDRNOTAVAIL', 'EACCES', 'EINVAL', 'EAFNOSUPPORT'])

/** Bytes for the system to keep: a handful of answers. */
const BUFFER = 64 * 1024

export interface PxpOptions extends MappingClientOptions {
  /** Listen for announcements of the router's, where that can be done. True by default. */
  readonly announcements?: boolean
}

/** Datagrams that were nothing to us, since the beginning. */
export interface PxpDrops {
  /** Not from the router, or not from its port. */
  readonly source: number
  /** No message, or one with something in it that makes no sense. */
  readonly unreadable: number
  /** An answer to nothing that is under way. */
  readonly unasked: number
  /** On the port for announcements, but no announcement of the router's. */
  readonly announcement: number
}

export interface Pxp {
  readonly pcp: MappingClient
  /** IPv4 only. */
  readonly natPmp: MappingClient | undefined
  readonly drops: PxpDrops
  /** Closes both clients and the sockets; the same as to close each client. Idempotent. */
  close(): void
}

/** Binds; nothing is sent before a client is asked for something. Rejects with SallyportError `ERR_BIND`. */
export async function openPxp(options: PxpOptions): Promise<Pxp> {
  const { network, uplink, announcements = true } = options
  const { address } = uplink.local
  const socket = await network.bind({ family: address.family, ip: address.host, buffer: BUFFER })
  const pxp = new RouterSocket(options, socket)
  pxp.start()
  if (announcements) await pxp.listen()
  return pxp
}

class RouterSocket implements Pxp {
  readonly pcp: PcpClient
  readonly natPmp: NatPmpClient | undefined
  readonly drops = { source: 0, unreadable: 0, unasked: 0, announcement: 0 }
  readonly #socket: DatagramSocket
  readonly #server: Address
  readonly #announcements: Announcements
  /** Clients that need the socket. */
  readonly #open = new Set<MappingProtocol>(['pcp'])
  #closed = false

  constructor(options: PxpOptions, socket: DatagramSocket) {
    const { network, timers, uplink, restarted, nonces } = options
    this.#socket = socket
    this.#server = uplink.router.withPort(SERVER_PORT)
    const send = (data: Uint8Array): void => void socket.send(data, this.#server, true)
    this.pcp = new PcpClient({ timers, random: network.random, uplink, nonces, send, restarted, closed: () => this.#release('pcp') })
    if (uplink.router.family === 4) {
      const again = (client: MappingClient): void => {
        this.pcp.forgetRefusals()
        restarted(client)
      }
      this.#open.add('nat-pmp')
      this.natPmp = new NatPmpClient({ timers, uplink, send, restarted: again, closed: () => this.#release('nat-pmp') })
    }
    this.#announcements = new Announcements({
      network,
      timers,
      uplink,
      ask: () => this.#ask(),
      dropped: () => void this.drops.announcement++,
    })
  }

  start(): void {
    this.#socket.handle({
      datagram: (data, from) => this.#receive(data, from),
      sendFailed: (_to, failure) => {
        if (FINAL.has(failure)) this.#each((client) => client.fail(this.#unreachable(failure)))
      },
      drained: () => {},
      lost: (reason) => this.#each((client) => client.end(this.#unreachable(reason.message, reason))),
    })
  }

  listen(): Promise<void> {
    return this.#announcements.open()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#each((client) => client.close())
    this.#announcements.close()
    this.#socket.close()
  }

  #release(protocol: MappingProtocol): void {
    this.#open.delete(protocol)
    if (this.#open.size === 0) this.close()
  }

  #receive(data: Uint8Array, from: Address): void {
    if (!from.equals(this.#server)) this.drops.source++
    else if (data[0] === NAT_PMP_VERSION) this.#receiveVersion0(data)
    else this.#receivePcp(data)
  }

  /** NAT-PMP's, or what a server that knows nothing else has to say to PCP. */
  #receiveVersion0(data: Uint8Array): void {
    const { pcp } = this
    const reading = readPcp(data)
    if (reading.kind === 'other-version' && pcp.unanswered) {
      // RFC 6887 9. Also when it comes late: the same is never said to a NAT-PMP request by a server that knows this version.
      pcp.refuse()
      return
    }
    const opcode = (data[1] ?? 0) & 0x7f
    // As long as PCP's, and not NAT-PMP's: miniupnpd 2.3.1 answers PCP so when it cannot read a request.
    if (data.length >= PCP_HEADER && pcp.waitsFor(opcode)) {
      this.drops.unreadable++
      return
    }
    const taken = this.natPmp?.receive(data) ?? (readNatPmp(data).kind === 'unreadable' ? 'unreadable' : 'unasked')
    if (taken === 'answer') return
    // A NAT-PMP server that does not look at the version.
    if (taken === 'unasked' && pcp.unanswered && pcp.waitsFor(opcode)) pcp.refuse()
    else this.drops[taken === 'unreadable' ? 'unreadable' : 'unasked']++
  }

  #receivePcp(data: Uint8Array): void {
    const reading = readPcp(data)
    if (reading.kind === 'unreadable') {
      this.drops.unreadable++
    } else if (reading.kind === 'other-version') {
      // A server of another version; to which of our two requests, its opcode says.
      if (this.pcp.unanswered && this.pcp.waitsFor(reading.opcode)) this.pcp.refuse((reading.lifetimeSeconds ?? 0) * 1000)
      else if (this.natPmp?.refuse(reading.opcode) !== true) this.drops.unasked++
    } else if (!this.pcp.receive(reading)) {
      // A PCP server has no other way to answer NAT-PMP.
      const isVersion = reading.result === 'UNSUPP_VERSION'
      if (!isVersion || this.natPmp?.refuse(reading.opcode) !== true) this.drops.unasked++
    }
  }

  #ask(): Promise<unknown> {
    this.pcp.forgetRefusals()
    return Promise.all([this.pcp.check(), this.natPmp?.check()])
  }

  #each(call: (client: PcpClient | NatPmpClient) => void): void {
    for (const client of [this.pcp, this.natPmp]) if (client !== undefined) call(client)
  }

  #unreachable(why: string, cause?: unknown): SallyportError {
    const message = `${this.#server.host} cannot be reached from ${this.#socket.local.host}: ${why}`
    return new SallyportError('ERR_MAPPING_UNAVAILABLE', message, cause === undefined ? {} : { cause })
  }
}
