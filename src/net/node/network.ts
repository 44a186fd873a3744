/** `Network` on the operating system. Making one opens nothing. */
import type { Network } from '../network.ts'
import { nodeClock } from './clock.ts'
import { bindDatagramSocket } from './datagram-socket.ts'
import { nodeDns } from './dns.ts'
import { nodeGateway } from './gateway.ts'
import { nodeInterfaces } from './interfaces.ts'
import { nodeRandom } from './random.ts'
import { listenForStreams, nodeStreams } from './streams.ts'

export function nodeNetwork(): Network {
  return {
    clock: nodeClock(),
    random: nodeRandom(),
    interfaces: nodeInterfaces(),
    gateway: nodeGateway(),
    dns: nodeDns(),
    streams: nodeStreams(),
    bind: bindDatagramSocket,
    listen: listenForStreams,
  }
}
