/**
 * Metrics in Prometheus' text format over HTTP, by the package prom-client: an optional peer dependency, loaded when asked for. What is
 * exposed says nothing of single users or addresses.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type * as PromClient from 'prom-client'
import { SallyportError } from '../../errors.ts'
import { Address } from '../../net/index.ts'
import type { Report } from './service.ts'

const PACKAGE = 'prom-client'
const PATH = '/metrics'
/** Milliseconds for a request to come in: a scraper is near. */
const PATIENCE = 5_000

export interface MetricsEndpoint {
  readonly url: string
  close(): void
}

/** Rejects when the package is not there. */
export async function loadPrometheus(): Promise<typeof PromClient> {
  try {
    const module = (await import('prom-client')) as typeof PromClient & { readonly default?: typeof PromClient }
    return module.default ?? module
  } catch (cause) {
    throw new Error(`serve: --metrics needs the package ${PACKAGE}: npm install ${PACKAGE}`, { cause })
  }
}

/** Rejects with SallyportError `ERR_BIND`. */
export async function serveMetrics(client: typeof PromClient, at: Address, report: () => Promise<Report>): Promise<MetricsEndpoint> {
  const metrics = new Metrics(client)
  const server = createServer({ requestTimeout: PATIENCE, headersTimeout: PATIENCE }, (request, response) => {
    const { method, url = '' } = request
    const end = (status: number, type: string, text: string): void => {
      response.writeHead(status, { 'content-type': type }).end(method === 'HEAD' ? undefined : text)
    }
    if (method !== 'GET' && method !== 'HEAD') end(405, 'text/plain', 'GET only\n')
    else if (url.split('?', 1)[0] !== PATH) end(404, 'text/plain', `look at ${PATH}\n`)
    else {
      report()
        .then((now) => metrics.text(now))
        .then(
          (text) => end(200, metrics.contentType, text),
          (error: Error) => end(503, 'text/plain', `${error.message}\n`),
        )
    }
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(new SallyportError('ERR_BIND', `no metrics at ${at}: ${cause.message}`, { cause })))
    server.listen({ host: at.ip, port: at.port, exclusive: true }, resolve)
  })
  server.removeAllListeners('error').on('error', () => {})
  const { address, port } = server.address() as AddressInfo
  const close = (): void => {
    server.close()
    server.closeAllConnections()
  }
  return { url: `http://${Address.of(address, port).key}${PATH}`, close }
}

type Labels = Readonly<Record<string, string | number>>
type Sample = readonly [labels: Labels, value: number]

/** A registry of its own, filled anew for each scrape: the numbers are kept elsewhere already. */
class Metrics {
  readonly #client: typeof PromClient
  readonly #registry: PromClient.Registry
  readonly #known = new Map<string, PromClient.Counter | PromClient.Gauge>()

  constructor(client: typeof PromClient) {
    this.#client = client
    this.#registry = new client.Registry()
    client.collectDefaultMetrics({ register: this.#registry })
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  text(report: Report): Promise<string> {
    if (report.kind === 'stun') this.#stun(report)
    else this.#relay(report)
    return this.#registry.metrics()
  }

  #stun({ counters }: Report & { readonly kind: 'stun' }): void {
    const { requests, successes, errors, malformed, ignored, overflows } = counters
    this.#counter('stun_requests_total', 'Binding requests.', [[{}, requests]])
    this.#counter('stun_answers_total', 'Answers to Binding requests, by their class.', [
      [{ class: 'success' }, successes],
      [{ class: 'error' }, errors],
    ])
    this.#counter('stun_ignored_total', 'Datagrams that got no answer.', [
      [{ reason: 'malformed' }, malformed],
      [{ reason: 'unexpected' }, ignored],
      [{ reason: 'queue' }, overflows],
    ])
  }

  #relay({ status, workers, restarts }: Report & { readonly kind: 'relay' }): void {
    const { counters } = status
    this.#gauge(
      'relay_allocations',
      'Allocations now, by the transport of the client.',
      samples('transport', status.allocationsByTransport),
    )
    this.#gauge('relay_users', 'Users with an allocation.', [[{}, status.users]])
    this.#gauge('relay_permissions', 'Permissions now.', [[{}, status.permissions]])
    this.#gauge('relay_channels', 'Channels bound now.', [[{}, status.channels]])
    this.#gauge('relay_reservations', 'Ports reserved now.', [[{}, status.reservations]])
    this.#gauge('relay_connections', 'TCP and TLS connections now.', [[{}, status.connections]])
    this.#gauge('relay_draining', '1 while no new allocations are made.', [[{}, status.draining ? 1 : 0]])
    this.#counter('relay_allocations_created_total', 'Allocations made.', [[{}, counters.allocationsCreated]])
    this.#counter('relay_packets_total', 'Application datagrams relayed.', [
      [{ direction: 'to_peer' }, counters.packetsToPeers],
      [{ direction: 'to_client' }, counters.packetsToClients],
    ])
    this.#counter('relay_bytes_total', 'Application data relayed.', [
      [{ direction: 'to_peer' }, counters.bytesToPeers],
      [{ direction: 'to_client' }, counters.bytesToClients],
    ])
    this.#counter('relay_drops_total', 'Application datagrams not relayed.', samples('reason', counters.drops))
    this.#counter('relay_ignored_total', 'What clients sent and got no answer to.', samples('reason', counters.ignored))
    this.#counter('relay_errors_total', 'Error responses, by code.', samples('code', counters.errors))
    this.#counter('relay_successes_total', 'Success responses.', [[{}, counters.successes]])
    this.#counter('relay_authentication_failures_total', 'Wrong credentials.', [[{}, counters.authenticationFailures]])
    this.#counter('relay_bindings_total', 'STUN Binding requests answered.', [[{}, counters.bindings]])
    this.#counter('relay_connections_refused_total', 'Connections of strangers that were too many.', [[{}, counters.connectionsRefused]])
    if (workers.length === 0) return
    this.#gauge('workers', 'Worker processes that run.', [[{}, workers.length]])
    this.#counter('worker_restarts_total', 'Worker processes started again.', [[{}, restarts]])
    this.#gauge(
      'worker_resident_memory_bytes',
      'Memory of a worker.',
      workers.map(({ worker, resident }) => [{ worker }, resident]),
    )
    this.#gauge(
      'worker_cpu_seconds',
      'Processor time of a worker since it was started last.',
      workers.map(({ worker, cpu }) => [{ worker }, cpu / 1_000]),
    )
  }

  #counter(name: string, help: string, values: readonly Sample[]): void {
    const counter = this.#metric(name, help, values, this.#client.Counter)
    counter.reset()
    for (const [labels, value] of values) counter.inc(labels, value)
  }

  #gauge(name: string, help: string, values: readonly Sample[]): void {
    const gauge = this.#metric(name, help, values, this.#client.Gauge)
    gauge.reset()
    for (const [labels, value] of values) gauge.set(labels, value)
  }

  #metric<T extends PromClient.Counter | PromClient.Gauge>(
    name: string,
    help: string,
    values: readonly Sample[],
    Kind: new (configuration: PromClient.CounterConfiguration<string>) => T,
  ): T {
    const known = this.#known.get(name)
    if (known !== undefined) return known as T
    const labelNames = LABELS[name] ?? Object.keys(values[0]?.[0] ?? {})
    const made = new Kind({ name: `sallyport_${name}`, help, labelNames, registers: [this.#registry] })
    this.#known.set(name, made)
    return made
  }
}

/** Of metrics that may have no sample at first. */
const LABELS: Readonly<Record<string, string[]>> = { relay_errors_total: ['code'] }

function samples(label: string, values: Readonly<Record<string, number>>): readonly Sample[] {
  return Object.entries(values).map(([name, value]) => [{ [label]: name }, value])
}
