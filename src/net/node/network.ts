/** `Network` on the operating system. Making one opens nothing. */
import type { Network } from '../network.ts'
import { nodeClock } from './clock.ts'
import { bindDatagramSocket } from './datagram-socket.ts'
import { nodeDns } from './dns.ts'
import { nodeGateway } from './gateway.ts'
import { nodeInterfaces } from './interfaces.ts'
import { nodeRandom } from './random.ts'
import { listenForStreams } from './stream-listener.ts'
import { nodeStreams } from './streams.ts'

/** One for the process, and with it one clock: the pace of checks is the process's (RFC 8445 14.2). */
let network: Network | undefined

/** Always the same one. Its time is real and its chance is the system's. */
export function nodeNetwork(): Network {
  if (network !== undefined) return network
  const interfaces = nodeInterfaces()
  network = {
    clock: nodeClock(),
    random: nodeRandom(),
    interfaces,
    gateway: nodeGateway(),
    dns: nodeDns(interfaces),
    streams: nodeStreams(),
    bind: bindDatagramSocket,
    listen: listenForStreams,
  }
  return network
}
