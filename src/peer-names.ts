/**
 * The names under `.local` that a peer offers instead of addresses, as browsers do: each is asked for on our links (RFC 6762) and becomes
 * an ordinary candidate when, and if, somebody answers. Nothing waits for it (RFC 8838).
 */
import { addressed, type Candidate, type NamedCandidate } from './candidates/index.ts'
import type { Generation, Ground } from './generation.ts'
import type { Timer } from './net/index.ts'
import type { SessionLog } from './path/index.ts'
import type { ReadSignal } from './signal/index.ts'

/** Names of one session that are asked for or known at a time; and of one name, ports. A place is free again `TIME_LIMIT` after its question. */
export const MAX_NAMES = 8
/** Milliseconds for an answer: the question is put four times in it. */
export const TIME_LIMIT = 10_000

interface Entry {
  /** By port: what is offered under this name. Empty when the peer took it back. */
  readonly offered: Map<number, NamedCandidate>
  readonly asking: AbortController
  /** Until its place is free again. */
  limit: Timer | undefined
  ip: string | undefined
  failed: boolean
}

export class PeerNames {
  readonly #ground: Ground
  readonly #log: SessionLog
  readonly #current: () => Generation | undefined
  readonly #entries = new Map<string, Entry>()
  #ufrag: string | undefined
  #ended = false

  /** @param current the generation that what turns up is for */
  constructor(ground: Ground, log: SessionLog, current: () => Generation | undefined) {
    this.#ground = ground
    this.#log = log
    this.#current = current
  }

  /** Takes what a signal says of names, and returns those of its candidates whose addresses are known. The others follow. */
  follow({ named, signal }: ReadSignal): readonly Candidate[] {
    const ours = signal.id !== undefined
    // Ours say everything anew; another agent's description may be one candidate of many, until it starts over.
    if (ours || signal.ufrag !== this.#ufrag) this.#takeBack()
    this.#ufrag = signal.ufrag
    for (const candidate of named) this.#offer(candidate)
    if (!ours && signal.end === true) this.#ended = true
    for (const [name, entry] of this.#entries) if (isIdle(entry)) this.#entries.delete(name)
    return [...this.#entries.values()].flatMap(candidatesOf)
  }

  /** Ends every question, and forgets what is known: an address may be another's by the time of the next attempt. */
  stop(): void {
    for (const { asking, limit } of this.#entries.values()) {
      limit?.cancel()
      asking.abort()
    }
    this.#entries.clear()
    this.#ufrag = undefined
    this.#ended = false
  }

  #takeBack(): void {
    this.#ended = false
    for (const { offered } of this.#entries.values()) offered.clear()
  }

  #offer(candidate: NamedCandidate): void {
    const { name, port } = candidate
    const entry = this.#entries.get(name)
    if (this.#ended && entry?.offered.has(port) !== true) {
      // RFC 8838 14
      this.#log.refuse(`${name}: it comes after the end of candidates`)
    } else if (entry === undefined && this.#entries.size >= MAX_NAMES) {
      this.#log.refuse(`${name}: more than ${MAX_NAMES} names`)
    } else if (entry !== undefined && entry.offered.size >= MAX_NAMES && !entry.offered.has(port)) {
      this.#log.refuse(`${name}: more than ${MAX_NAMES} ports`)
    } else {
      const known = entry ?? this.#ask(name)
      known.offered.set(port, candidate)
    }
  }

  #ask(name: string): Entry {
    const { timers, dns, localCandidates } = this.#ground
    const asking = new AbortController()
    const entry: Entry = { offered: new Map(), asking, limit: undefined, ip: undefined, failed: false }
    entry.limit = timers.after(TIME_LIMIT, () => {
      entry.limit = undefined
      asking.abort()
      if (entry.ip === undefined) this.#fail(name, entry, `nobody on our links answered for it within ${TIME_LIMIT / 1_000} s`)
    })
    this.#entries.set(name, entry)
    const from = localCandidates.filter(({ type }) => type === 'host').map(({ address }) => address)
    dns.lookupLocal(name, { from, signal: asking.signal }).then(
      (ip) => {
        if (!asking.signal.aborted) this.#answered(name, entry, ip)
      },
      (error: unknown) => {
        if (!asking.signal.aborted) this.#fail(name, entry, (error as Error).message)
      },
    )
    return entry
  }

  #answered(name: string, entry: Entry, ip: string): void {
    entry.ip = ip
    this.#log.note(this.#ground.timers.now(), `${name} is ${ip}`)
    const candidates = candidatesOf(entry)
    if (candidates.length < entry.offered.size) this.#fail(name, entry, `nothing can be sent to ${ip}`)
    const current = this.#current()
    // Before the peer has answered a restart, what it offers is for the last generation; its answer says everything anew.
    if (current?.agent.remote === undefined) return
    for (const reason of current.tell((agent, now) => agent.addRemotes(candidates, now, true))) this.#log.refuse(reason)
  }

  /** Said once, and only of what is offered still. */
  #fail(name: string, entry: Entry, reason: string): void {
    if (!entry.failed && entry.offered.size > 0) this.#log.refuse(`${name}: ${reason}`)
    entry.failed = true
  }
}

function candidatesOf({ offered, ip }: Entry): readonly Candidate[] {
  if (ip === undefined) return []
  return [...offered.values()].map((candidate) => addressed(candidate, ip)).filter((candidate) => candidate !== undefined)
}

/** Not offered, and its time is over. */
function isIdle({ offered, limit }: Entry): boolean {
  return offered.size === 0 && limit === undefined
}
