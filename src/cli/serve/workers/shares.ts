/** How workers share what there is one of: the ports they listen on, the ports of relayed addresses, the bytes a second. */
import type { Network } from '../../../net/index.ts'
import { UsageError } from '../../usage.ts'
import type { RelaySetup } from '../setup.ts'

/** RFC 8656 7.2. */
const RELAY_PORTS = { min: 49_152, max: 65_535 }
/** Times that another port is tried, when one is free for UDP and not for TCP. */
const TRIES = 20

/**
 * The setup of one of `count` workers, from 0.
 * @param shared whether all listen on the same ports; otherwise each takes the next one
 * @throws UsageError when there are not enough ports
 */
export function shareOf(setup: RelaySetup, index: number, count: number, shared: boolean): RelaySetup {
  const { quotas, port = 3478, tlsPort = 5349, alternatePort } = setup
  const next = (first: number, option: string): number => {
    const own = shared || first === 0 ? first : first + index
    if (own > 0xffff) throw new UsageError(`serve: --${option} ${first} leaves no ports for ${count} workers, which need one each here`)
    return own
  }
  // Behind the ports of all workers: its own second one would be the next worker's first.
  const behind = port + count + index > 0xffff ? 0 : port + count
  const alternate = alternatePort ?? (shared || port === 0 ? undefined : behind)
  return {
    ...setup,
    port: next(port, 'port'),
    tlsPort: next(tlsPort, 'tls-port'),
    ...(alternate === undefined ? {} : { alternatePort: next(alternate, 'alternate-port') }),
    reusePort: shared,
    ports: portShare(setup.ports ?? RELAY_PORTS, index, count),
    quotas: {
      ...quotas,
      ...(quotas.bytesPerSecond === undefined ? {} : { bytesPerSecond: Math.max(1, Math.floor(quotas.bytesPerSecond / count)) }),
    },
  }
}

/** @throws UsageError when ports that workers take one by one would meet */
export function assertApart({ port = 3478, tlsPort = 5349, tls }: RelaySetup, count: number, shared: boolean): void {
  if (shared || tls === undefined || port === 0 || tlsPort === 0) return
  if (Math.abs(port - tlsPort) < count) {
    throw new UsageError(`serve: --port ${port} and --tls-port ${tlsPort} are too close for ${count} workers, which need one each here`)
  }
}

/** Equal parts that begin at an even port, for pairs of them (RFC 8656 18.6, EVEN-PORT). */
function portShare(
  { min, max }: { readonly min: number; readonly max: number },
  index: number,
  count: number,
): { min: number; max: number } {
  const first = min + (min & 1)
  const size = Math.floor((max - first + 1) / count) & ~1
  if (size < 2) throw new UsageError(`serve: --relay-ports ${min}-${max} are too few for ${count} workers`)
  const start = first + index * size
  return { min: start, max: index === count - 1 ? max : start + size - 1 }
}

/**
 * With ports that are free now in place of those that may be any. A worker that dies has to come back where it was, in both families and with
 * all transports. Rejects with SallyportError `ERR_BIND`.
 */
export async function withPorts(setup: RelaySetup, network: Network): Promise<RelaySetup> {
  const { port, tlsPort, alternatePort } = setup
  if (port !== 0 && tlsPort !== 0 && alternatePort !== 0) return setup
  const drawn: number[] = []
  const some = async (): Promise<number> => {
    const free = await freePort(network, drawn)
    drawn.push(free)
    return free
  }
  return {
    ...setup,
    ...(port === 0 ? { port: await some() } : {}),
    ...(tlsPort === 0 ? { tlsPort: await some() } : {}),
    ...(alternatePort === 0 || (alternatePort === undefined && port === 0) ? { alternatePort: await some() } : {}),
  }
}

async function freePort(network: Network, but: readonly number[]): Promise<number> {
  for (let tries = 1; ; tries++) {
    const socket = await network.bind({ family: 4 })
    const { port } = socket.local
    try {
      const listener = await network.listen({ family: 4, port }, (stream) => stream.destroy())
      listener.close()
      if (!but.includes(port)) return port
    } catch (error) {
      if (tries === TRIES) throw error
    } finally {
      socket.close()
    }
  }
}
