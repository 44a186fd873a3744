/**
 * Where a server listens: its ports, its addresses, and of a family with two of them the four sockets that the behaviour tests of RFC 5780 need.
 */
import { Address, type DatagramSocket } from '../net/index.ts'
import { OTHER_IP, OTHER_PORT } from './binding-responder.ts'

export interface ListeningOptions {
  /** 3478 by default. 0 takes any free port. */
  readonly port?: number
  /** The second port of the behaviour tests; by default the one after `port`, or any when that is 0. */
  readonly alternatePort?: number
  /** One or two of each family; the wildcard of both by default. */
  readonly addresses?: readonly string[]
}

export interface Listening {
  readonly port: number
  readonly alternatePort: number
  /** No address was named. */
  readonly wildcard: boolean
  /** One or two addresses of a family each, port 0. */
  readonly groups: readonly (readonly Address[])[]
}

/** @throws RangeError for values that make no sense, SallyportError `ERR_ADDRESS` */
export function readListening(options: ListeningOptions): Listening {
  const port = portOption('port', options.port ?? 3478)
  const alternatePort = portOption('alternatePort', options.alternatePort ?? (port === 0 || port === 0xffff ? 0 : port + 1))
  if (port !== 0 && port === alternatePort) throw new RangeError('alternatePort must differ from port')
  const wildcard = options.addresses === undefined
  const ips = wildcard ? [Address.any(4), Address.any(6)] : options.addresses.map((ip) => Address.of(ip, 0))
  if (ips.length === 0) throw new RangeError('addresses must not be empty')
  const families = ([4, 6] as const).map((family) => ips.filter((ip) => ip.family === family))
  const groups = families.filter((group) => group.length > 0)
  for (const group of groups) assertGroup(group)
  return { port, alternatePort, wildcard, groups }
}

/**
 * One socket, or four at their positions. What was opened before one of them could not be is for whoever gave `bind` to close.
 * Rejects as `bind` does.
 */
export async function openGroup(
  ips: readonly Address[],
  port: number,
  alternatePort: number,
  bind: (ip: Address, port: number) => Promise<DatagramSocket>,
): Promise<readonly DatagramSocket[]> {
  const [first, second] = ips
  if (first === undefined) return []
  const main = await bind(first, port)
  if (second === undefined) return [main]
  const sockets = [main]
  sockets[OTHER_IP] = await bind(second, main.local.port)
  sockets[OTHER_PORT] = await bind(first, alternatePort)
  sockets[OTHER_IP | OTHER_PORT] = await bind(second, sockets[OTHER_PORT].local.port)
  return sockets
}

/** @throws RangeError */
export function portOption(name: string, port: number): number {
  if (!Number.isInteger(port) || port < 0 || port > 0xffff) throw new RangeError(`${name} must be an integer from 0 to 65535, not ${port}`)
  return port
}

function assertGroup(group: readonly Address[]): void {
  if (group.length > 2 || (group.length === 2 && group[0]?.key === group[1]?.key)) {
    throw new RangeError('addresses must be one or two different ones of a family')
  }
  if (group.length === 2 && group.some(({ scope }) => scope === 'unspecified')) {
    throw new RangeError('addresses: a wildcard cannot be one of two')
  }
}
