/** `sallyport serve`: a STUN server, and with users or secrets a TURN relay, until it is told to stop. */
import { colours } from '../format.ts'
import { asUsage } from './errors.ts'
import { JsonReporter, type Reporter, TextReporter } from './reporter.ts'
import type { Report, Service, Tell, WorkerStart } from './service.ts'
import { readSetup, readTlsFiles, type ServeSetup } from './setup.ts'
import { Signals } from './signals.ts'

export async function serve(args: readonly string[]): Promise<number> {
  const setup = readSetup(args)
  const reporter: Reporter = setup.json ? new JsonReporter() : new TextReporter(colours(process.stdout))
  const tell: Tell = (event, worker) => reporter.event(event, worker)
  const { metrics } = setup
  const prometheus = metrics === undefined ? undefined : await import('./metrics.ts').then((module) => module.loadPrometheus())
  let service: Service | undefined
  const signals = new Signals(setup.tlsFiles === undefined ? undefined : () => void renew(setup, service, tell))
  signals.listen()
  const {
    service: opened,
    workers,
    shared,
  } = await open(setup, tell).catch((error: unknown) => {
    throw asUsage(error)
  })
  service = opened
  let endpoint: { readonly url: string; close(): void } | undefined
  let last: Report | undefined
  try {
    if (metrics !== undefined && prometheus !== undefined) {
      const { serveMetrics } = await import('./metrics.ts')
      endpoint = await serveMetrics(prometheus, metrics, () => opened.report())
    }
    const { listening } = opened
    reporter.start({ listening, relay: setup.relay !== undefined, metrics: endpoint?.url, workers, shared })
    if ((await signals.next()) === 'drain') await drain(opened, setup, tell, signals)
    last = await opened.report().catch(() => undefined)
  } finally {
    endpoint?.close()
    await opened.close()
    signals.ignore()
  }
  reporter.end(last)
  return 0
}

interface Opened {
  readonly service: Service
  readonly workers: readonly WorkerStart[] | undefined
  /** Whether all workers are at one port. */
  readonly shared: boolean
}

async function open(setup: ServeSetup, tell: Tell): Promise<Opened> {
  const alone = { workers: undefined, shared: false }
  const { relay, workers } = setup
  if (relay === undefined) {
    const { StunService } = await import('./stun-service.ts')
    return { service: await StunService.open(setup), ...alone }
  }
  if (workers === undefined) {
    const { RelayService } = await import('./relay-service.ts')
    return { service: await RelayService.open(relay, tell), ...alone }
  }
  const { WorkerPool } = await import('./workers/worker-pool.ts')
  const pool = await WorkerPool.open(relay, workers, tell)
  return { service: pool, workers: pool.workers, shared: pool.shared }
}

/** Until the last allocation is gone, time is over, or somebody asks again. */
async function drain(service: Service, { drainTimeout }: ServeSetup, tell: Tell, signals: Signals): Promise<void> {
  const report = await service.report().catch(() => undefined)
  const allocations = report?.kind === 'relay' ? report.status.allocations : 0
  const drained = service.drain()
  if (allocations > 0) tell({ event: 'draining', allocations, timeout: drainTimeout })
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, drainTimeout)
  })
  await Promise.race([drained, over, signals.next()])
  clearTimeout(timer)
}

async function renew(setup: ServeSetup, service: Service | undefined, tell: Tell): Promise<void> {
  if (setup.tlsFiles === undefined || service === undefined) return
  try {
    await service.renew(readTlsFiles(setup.tlsFiles))
    tell({ event: 'renewed' })
  } catch (error) {
    tell({ event: 'renewal-failed', message: (error as Error).message })
  }
}
