/**
 * A STUN server: the sockets around binding-responder.ts, one for each address, or four for a family with two addresses (RFC 5780).
 * UDP only; TURN is in relay/.
 */
import type { Address, DatagramSocket, Network } from '../net/index.ts'
import { BindingResponder, type StunServerCounters } from './binding-responder.ts'
import { openGroup, readListening } from './listening.ts'

/** Bytes of SOFTWARE (RFC 8489 14.14). */
const LONGEST_SOFTWARE = 763

export interface StunServerOptions {
  /** Where it runs: `nodeNetwork()`, the operating system, or a host of `sallyport/lab`. */
  readonly network: Network
  /** 3478 by default. 0 takes any free port, the same one on both addresses of a family. */
  readonly port?: number
  /**
   * IP addresses of this machine, one or two of each family; the wildcard of both families by default. Two of a family turn on the
   * behaviour tests of RFC 5780 for it.
   */
  readonly addresses?: readonly string[]
  /** The second port of the behaviour tests; by default the one after `port`, or any when that is 0. */
  readonly alternatePort?: number
  /** Sent as SOFTWARE; nothing by default, since it makes answers larger. */
  readonly software?: string
}

export interface StunServer {
  /** Where it listens, ports filled in; the primary one of each family comes first in its family. */
  readonly addresses: readonly Address[]
  /** Live. */
  readonly counters: StunServerCounters
  /** Idempotent. */
  close(): Promise<void>
}

/**
 * Opens the sockets and answers from then on. On the wildcard, a family that the machine does not have is left out.
 * Rejects with SallyportError `ERR_BIND` or `ERR_ADDRESS`; TypeError without a network, RangeError for values that make no sense.
 */
export async function createStunServer(options: StunServerOptions): Promise<StunServer> {
  if (typeof options?.network?.bind !== 'function') {
    throw new TypeError('option network is missing or no Network: take nodeNetwork() of sallyport, or a host of sallyport/lab')
  }
  const { network, software } = options
  const { port, alternatePort, wildcard, groups } = readListening(options)
  if (software !== undefined && new TextEncoder().encode(software).length > LONGEST_SOFTWARE) {
    throw new RangeError(`software must have at most ${LONGEST_SOFTWARE} bytes`)
  }
  const responder = new BindingResponder(software)
  const opened: DatagramSocket[] = []
  const bind = async (ip: Address, at: number): Promise<DatagramSocket> => {
    const socket = await network.bind({ family: ip.family, ip: ip.host, port: at })
    opened.push(socket)
    return socket
  }
  const closeAll = (): void => {
    for (const socket of opened.splice(0)) socket.close()
  }
  const failures: unknown[] = []
  const addresses: Address[] = []
  for (const group of groups) {
    try {
      const sockets = await openGroup(group, port, alternatePort, bind)
      serve(responder, sockets)
      addresses.push(...sockets.map(({ local }) => local))
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length > 0 && (!wildcard || addresses.length === 0)) {
    closeAll()
    throw failures[0]
  }
  return {
    addresses,
    counters: responder.counters,
    close: async () => closeAll(),
  }
}

function serve(responder: BindingResponder, sockets: readonly DatagramSocket[]): void {
  const locals = sockets.map(({ local }) => local)
  const full = new Set<DatagramSocket>()
  for (const [at, socket] of sockets.entries()) {
    socket.handle({
      datagram(data, from) {
        const reply = responder.answer(data, from, locals, at)
        if (reply === undefined) return
        const via = sockets[reply.via] as DatagramSocket
        // A server has no use for late answers: the client asks again.
        if (full.has(via)) responder.counters.overflows++
        else if (!via.send(reply.data, reply.to)) full.add(via)
      },
      drained: () => void full.delete(socket),
      sendFailed: () => undefined,
      lost: () => undefined, // the others serve on
    })
  }
}
