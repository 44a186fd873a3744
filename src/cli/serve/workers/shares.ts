/** How workers share what there is one of: the ports they listen on, the ports of relayed addresses, the bytes a second. */
import { UsageError } from '../../usage.ts'
import type { Listening } from '../service.ts'
import type { RelaySetup } from '../setup.ts'

/** RFC 8656 7.2. */
const RELAY_PORTS = { min: 49_152, max: 65_535 }

/** Where a worker listened, to listen there again. */
export interface WorkerPorts {
  readonly port: number
  readonly tlsPort: number
  readonly alternatePort: number | undefined
}

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

/** What a worker told, for the next start. */
export function portsOf({ udp, tcp, tls }: Listening): WorkerPorts {
  const numbers = (keys: readonly string[]): readonly number[] => keys.map((key) => Number(key.slice(key.lastIndexOf(':') + 1)))
  const [port = 0] = numbers([...udp, ...tcp])
  const [tlsPort = 0] = numbers(tls)
  return { port, tlsPort, alternatePort: numbers(udp).find((other) => other !== port) }
}

export function at(setup: RelaySetup, { port, tlsPort, alternatePort }: WorkerPorts): RelaySetup {
  return { ...setup, port, tlsPort, ...(alternatePort === undefined ? {} : { alternatePort }) }
}
