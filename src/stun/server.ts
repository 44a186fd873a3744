/**
 * A STUN server: the sockets around binding-responder.ts, one for each address, or four for a family with two addresses (RFC 5780).
 * UDP only; TURN is in relay/.
 */
import { Address, type DatagramSocket, type Network } from '../net/index.ts'
import { BindingResponder, OTHER_IP, OTHER_PORT, type StunServerCounters } from './binding-responder.ts'

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
  const port = portOption('port', options.port ?? 3478)
  const alternatePort = portOption('alternatePort', options.alternatePort ?? (port === 0 || port === 0xffff ? 0 : port + 1))
  if (port !== 0 && port === alternatePort) throw new RangeError('alternatePort must differ from port')
  if (software !== undefined && new TextEncoder().encode(software).length > LONGEST_SOFTWARE) {
    throw new RangeError(`software must have at most ${LONGEST_SOFTWARE} bytes`)
  }
  const wildcard = options.addresses === undefined
  const ips = wildcard ? [Address.any(4), Address.any(6)] : options.addresses.map((ip) => Address.of(ip, 0))
  const groups = ([4, 6] as const).map((family) => ips.filter((ip) => ip.family === family))
  for (const group of groups) {
    if (group.length > 2 || (group.length === 2 && group[0]?.key === group[1]?.key)) {
      throw new RangeError('addresses must be one or two different ones of a family')
    }
    if (group.length === 2 && group.some(({ scope }) => scope === 'unspecified')) {
      throw new RangeError('addresses: a wildcard cannot be one of two')
    }
  }
  if (ips.length === 0) throw new RangeError('addresses must not be empty')

  const responder = new BindingResponder(software)
  const opened: DatagramSocket[] = []
  const closeAll = (): void => {
    for (const socket of opened.splice(0)) socket.close()
  }
  const failures: unknown[] = []
  const addresses: Address[] = []
  for (const group of groups) {
    try {
      const sockets = await openGroup(network, group, port, alternatePort, opened)
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

/** One socket, or four at their positions. All that open are added to `opened`, whatever happens to the others. */
async function openGroup(
  network: Network,
  ips: readonly Address[],
  port: number,
  alternatePort: number,
  opened: DatagramSocket[],
): Promise<readonly DatagramSocket[]> {
  const open = async (ip: Address, at: number): Promise<DatagramSocket> => {
    const socket = await network.bind({ family: ip.family, ip: ip.zone === '' ? ip.ip : `${ip.ip}%${ip.zone}`, port: at })
    opened.push(socket)
    return socket
  }
  const [first, second] = ips
  if (first === undefined) return []
  const main = await open(first, port)
  if (second === undefined) return [main]
  const sockets = [main]
  sockets[OTHER_IP] = await open(second, main.local.port)
  sockets[OTHER_PORT] = await open(first, alternatePort)
  sockets[OTHER_IP | OTHER_PORT] = await open(second, sockets[OTHER_PORT].local.port)
  return sockets
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

function portOption(name: string, port: number): number {
  if (!Number.isInteger(port) || port < 0 || port > 0xffff) throw new RangeError(`${name} must be an integer from 0 to 65535, not ${port}`)
  return port
}
