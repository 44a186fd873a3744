/** How `sallyport serve` tells what happens: for people, or as JSON lines. */

import { printable } from '../../path/index.ts'
import type { Colours } from '../format.ts'
import { plural, tidy } from '../format.ts'
import type { Listening, Report, ServeEvent, WorkerStart } from './service.ts'

export interface Start {
  readonly listening: Listening
  readonly relay: boolean
  /** URL. */
  readonly metrics: string | undefined
  /** Undefined where there are none. */
  readonly workers: readonly WorkerStart[] | undefined
  /** Whether all workers are at one port. */
  readonly shared: boolean
}

export interface Reporter {
  start(start: Start): void
  event(event: ServeEvent, worker?: number): void
  /** `report` is undefined when there is nobody left to make one. */
  end(report: Report | undefined): void
}

/** One object a line on standard output: where it listens first, then what happens, with `event` and `time` (ISO 8601). */
export class JsonReporter implements Reporter {
  /** What happened before there was anything to tell it of. */
  #early: string[] | undefined = []

  start({ listening: { udp, tcp, tls, uris }, relay, metrics, workers }: Start): void {
    const more = relay ? { tcp, tls, uris, ...(workers === undefined ? {} : { workers }) } : {}
    this.#write(JSON.stringify({ listening: udp, ...more, ...(metrics === undefined ? {} : { metrics }) }))
    for (const line of this.#early ?? []) this.#write(line)
    this.#early = undefined
  }

  event({ event, ...rest }: ServeEvent, worker?: number): void {
    const line = JSON.stringify({ event, time: new Date().toISOString(), ...(worker === undefined ? {} : { worker }), ...rest }, tidied)
    if (this.#early === undefined) this.#write(line)
    else this.#early.push(line)
  }

  end(report: Report | undefined): void {
    const counters = report === undefined ? {} : { counters: report.kind === 'stun' ? report.counters : report.status.counters }
    this.#write(JSON.stringify({ event: 'stopped', time: new Date().toISOString(), ...counters }))
  }

  #write(line: string): void {
    process.stdout.write(`${line}\n`)
  }
}

export class TextReporter implements Reporter {
  readonly #colours: Colours
  #early: (() => void)[] | undefined = []

  constructor(painted: Colours) {
    this.#colours = painted
  }

  start({ listening, relay, metrics, workers, shared }: Start): void {
    const { bold, dim } = this.#colours
    const what = relay ? 'TURN relay and STUN server' : 'STUN server'
    for (const transport of ['udp', 'tcp', 'tls'] as const) {
      for (const address of listening[transport])
        console.log(`${transport === 'udp' ? what : 'TURN relay'} on ${bold(address)} ${dim(transport)}`)
    }
    for (const uri of listening.uris) console.log(`  for clients: ${bold(uri)}`)
    if (metrics !== undefined) console.log(`Metrics at ${bold(metrics)}`)
    if (workers !== undefined) {
      const where = shared ? 'on the same ports' : 'each on its own ports, since this Node.js cannot share them: tell clients of all'
      console.log(dim(`${plural(workers.length, 'worker')}, ${where}.`))
    }
    if (!relay) console.log(dim('No relay: --user NAME:PASSWORD or --secret-file FILE turns one on; sallyport help serve tells more.'))
    console.log(dim('Ctrl-C stops it.'))
    for (const write of this.#early ?? []) write()
    this.#early = undefined
  }

  event(event: ServeEvent, worker?: number): void {
    const { dim, yellow } = this.#colours
    const urgent =
      event.event === 'warning' || event.event === 'worker-exited' || event.event === 'worker-failed' || event.event === 'renewal-failed'
    // User names come from elsewhere, and must not steer this terminal.
    const text = printable(wordsOf(event))
    const time = new Date().toISOString()
    const by = worker === undefined ? '' : ` worker ${worker}`
    const write = urgent ? () => console.error(`${dim(time + by)} ${yellow(text)}`) : () => console.log(`${dim(time + by)} ${text}`)
    if (this.#early === undefined) write()
    else this.#early.push(write)
  }

  end(report: Report | undefined): void {
    if (report === undefined) console.log('Stopped.')
    else if (report.kind === 'stun') console.log(`Stopped after ${plural(report.counters.successes, 'answer')}.`)
    else {
      const { allocationsCreated, bytesToPeers, bytesToClients } = report.status.counters
      console.log(`Stopped after ${plural(allocationsCreated, 'allocation')}, ${amount(bytesToPeers + bytesToClients)} relayed.`)
    }
  }
}

function tidied(_name: string, value: unknown): unknown {
  return typeof value === 'number' ? tidy(value) : value
}

function wordsOf(event: ServeEvent): string {
  switch (event.event) {
    case 'allocation-created':
      return `${who(event.user)} at ${event.client} by ${event.transport} has ${event.relayed.join(' and ')}`
    case 'allocation-deleted': {
      const { user, client, relayed, reason, age, bytesToPeers, bytesToClient } = event
      const traffic = `${amount(bytesToPeers)} to peers, ${amount(bytesToClient)} back`
      return `${who(user)} at ${client} had ${relayed.join(' and ')} for ${(age / 1_000).toFixed(1)} s (${reason}): ${traffic}`
    }
    case 'refused': {
      const peer = event.peer === undefined ? '' : `, peer ${event.peer}`
      return `${event.method} of ${who(event.user)} at ${event.client} refused: ${event.code} ${event.reason}${peer}`
    }
    case 'authentication-failed':
      return `${who(event.user)} at ${event.client} by ${event.transport} is not let in: ${event.reason}`
    case 'suppressed':
      return `${event.count} more of ${event.of}, not told of`
    case 'warning':
      return `warning: ${event.message}`
    case 'worker-exited':
      return `process ${event.pid} ended (${event.how}); again in ${event.again} ms`
    case 'worker-failed':
      return `could not start: ${event.message}; again in ${event.again} ms`
    case 'worker-started':
      return `process ${event.pid} started`
    case 'draining':
      return `no new allocations; waits for ${plural(event.allocations, 'allocation')} to end, ${event.timeout / 1_000} s at most`
    case 'renewed':
      return 'certificate read again'
    case 'renewal-failed':
      return `certificate not read again, the old one stays: ${event.message}`
  }
}

function who(user: string): string {
  return user === '' ? 'a user without a name' : user
}

/** Bytes with a unit. */
function amount(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
  let [value, unit] = [bytes, 0]
  for (; value >= 1_000 && unit < units.length - 1; unit++) value /= 1_000
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}
