/**
 * Turns what a traversal and a session know into things to tell, each once, in the order they are noticed: by looking at their reports
 * and comparing with the last look.
 */
import type { MappingStatus, RelayServerStatus } from '../candidates/index.ts'
import type { Explanation, PairReport } from '../path/index.ts'
import type { Session } from '../session.ts'
import type { Traversal } from '../traversal.ts'
import type { MappingFacts } from '../traversal-status.ts'
import { candidateEnd, type End, tidy } from './format.ts'

export type Sight =
  | { readonly event: 'candidate'; readonly type: string; readonly address: string }
  /** What a STUN server said, or why it said nothing. */
  | {
      readonly event: 'server'
      readonly server: string
      readonly from?: string
      readonly mapped?: string
      readonly rtt?: number
      readonly failure?: string
    }
  /** A relay that we have an address at, or why there is none. */
  | {
      readonly event: 'relay'
      readonly server: string
      readonly transport?: 'udp' | 'tcp' | 'tls'
      readonly relayed?: readonly string[]
      readonly rtt?: number
      readonly failure?: string
    }
  /** What a router maps for one of our ports, each time that it is another state, address or proof; or why none does. */
  | ({ readonly event: 'mapping' } & MappingFacts)
  /** `sent`: the first check of a pair. `heard`: the peer's came through to us. `valid`: ours was answered. `failed`: over. */
  | {
      readonly event: 'check'
      readonly state: 'sent' | 'heard' | 'valid' | 'failed'
      readonly local: End
      readonly remote: End
      readonly rtt?: number
      readonly reason?: string
    }

export class Watch {
  readonly #traversal: Traversal
  readonly #session: Session
  readonly #report: (sight: Sight) => void
  readonly #told = new Set<string>()

  constructor(traversal: Traversal, session: Session, report: (sight: Sight) => void) {
    this.#traversal = traversal
    this.#session = session
    this.#report = report
  }

  look(): void {
    this.#gathering()
    this.pairs(this.#session.explain())
  }

  /** For an explanation that outlived its attempt. */
  pairs({ pairs }: Explanation): void {
    for (const pair of pairs) this.#pair(pair)
  }

  #gathering(): void {
    const { candidates, servers, relays, mappings } = this.#traversal.status()
    for (const line of candidates) this.#tell(`candidate ${line}`, { event: 'candidate', ...candidateEnd(line) })
    for (const { server, address, from, mapped, rtt, failure } of servers) {
      const key = `server ${server} ${address} ${from}`
      const where = from === undefined ? {} : { from }
      if (failure !== undefined) this.#tell(`${key} failed`, { event: 'server', server, ...where, failure })
      else if (mapped !== undefined) this.#tell(`${key} ${mapped}`, { event: 'server', server, ...where, mapped, ...round(rtt) })
    }
    this.#relays(relays)
    this.#mappings(mappings)
  }

  #relays(relays: readonly RelayServerStatus[]): void {
    for (const { server, state, transport, rtt, relayed, failure } of relays) {
      const over = transport === undefined ? {} : { transport }
      if (state === 'allocated') this.#tell(`relay ${server} ${relayed}`, { event: 'relay', server, ...over, relayed, ...round(rtt) })
      else if (failure !== undefined) this.#tell(`relay ${server} ${failure}`, { event: 'relay', server, ...over, failure })
    }
  }

  #mappings(mappings: readonly MappingStatus[]): void {
    for (const { expiresIn: _, ...mapping } of mappings) {
      // Neither an answer that is awaited nor what is asked for again is news.
      if (mapping.state === 'mapped' || mapping.failure !== undefined)
        this.#tell(`mapping ${JSON.stringify(mapping)}`, { event: 'mapping', ...mapping })
    }
  }

  #pair({ generation, local, remote, state, valid, checksSent, heard, rtt, outcome }: PairReport): void {
    const key = `pair ${generation} ${local.address} ${remote.address}`
    const ends = { event: 'check', local, remote } as const
    // A pair that works goes by the address that the peer sees, under which no check was ever told of.
    if (checksSent > 0 && (local.type === 'host' || !valid)) this.#tell(`${key} sent`, { ...ends, state: 'sent' })
    if (heard && !valid) this.#tell(`${key} heard`, { ...ends, state: 'heard' })
    if (valid) this.#tell(`${key} valid`, { ...ends, state: 'valid', ...round(rtt) })
    if (state === 'failed') this.#tell(`${key} failed`, { ...ends, state: 'failed', reason: outcome })
  }

  #tell(key: string, sight: Sight): void {
    if (this.#told.has(key)) return
    this.#told.add(key)
    this.#report(sight)
  }
}

function round(rtt: number | undefined): { readonly rtt?: number } {
  return rtt === undefined ? {} : { rtt: tidy(rtt) }
}

/** Milliseconds between looks for what nothing announces. */
const LOOK_INTERVAL = 20

/** Calls back shortly after anything happens in this process's traversals, until stopped. */
export async function whenever(callback: () => void): Promise<() => void> {
  const { subscribe, unsubscribe } = await import('node:diagnostics_channel')
  let pending: NodeJS.Immediate | undefined
  const soon = (): void => {
    // What announces itself is not finished yet.
    pending ??= setImmediate(() => {
      pending = undefined
      callback()
    })
  }
  const names = ['gather', 'signal', 'ice', 'path'].map((area) => `sallyport:${area}`)
  for (const name of names) subscribe(name, soon)
  const timer = setInterval(callback, LOOK_INTERVAL)
  return () => {
    for (const name of names) unsubscribe(name, soon)
    clearInterval(timer)
    clearImmediate(pending)
  }
}
