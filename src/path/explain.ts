/** Why the path is what it is: every pair that was tried and what became of it, for people and as JSON. */
import { type CandidateType, formatCandidate } from '../candidates/index.ts'
import type { Agent, Pair, PairState } from '../ice/index.ts'
import { describePath, type Path } from './path.ts'
import { printable } from './printable.ts'

export interface PairReport {
  /** Which attempt it belongs to: 1, then one more with every restart. */
  readonly generation: number
  readonly local: { readonly type: CandidateType; readonly address: string }
  readonly remote: { readonly type: CandidateType; readonly address: string }
  readonly state: PairState
  /** May carry data. */
  readonly valid: boolean
  readonly nominated: boolean
  readonly checksSent: number
  readonly answers: number
  /** Authenticated checks came from there. */
  readonly heard: boolean
  readonly rtt: number | undefined
  /** What became of it, in words. */
  readonly outcome: string
}

export interface LogEntry {
  /** Milliseconds since the session was started. */
  readonly at: number
  readonly text: string
}

export interface Explanation {
  readonly peer: string
  readonly state: string
  readonly role: 'controlling' | 'controlled'
  readonly path: Path | undefined
  readonly pairs: readonly PairReport[]
  /** What we offer and what the peer offers, as `candidate:` lines. */
  readonly localCandidates: readonly string[]
  readonly remoteCandidates: readonly string[]
  /** Of this attempt, repetitions included: those given to listeners of `signal`, and those of the peer that could be read. */
  readonly signals: { readonly sent: number; readonly received: number }
  /** What became of the STUN servers and relays, a line for each. */
  readonly servers: readonly string[]
  /** What routers map for us with `portMapping`, proven or on trial, or why they do not: a line for each socket. */
  readonly mappings: readonly string[]
  /** Relays that give nothing, and servers whose names lead nowhere, with the reason. */
  readonly missing: readonly string[]
  /** Addresses of this machine that are not offered, with the reason. */
  readonly notOffered: readonly string[]
  /** Candidates and signals that were not used, with the reason. */
  readonly refused: readonly string[]
  /** The last things that happened, oldest first. */
  readonly log: readonly LogEntry[]
  /** All of it for a person to read. */
  toString(): string
}

export type AttemptReport = Pick<Explanation, 'role' | 'pairs' | 'remoteCandidates'>

/** Of the generations of one attempt, the present one last. */
export function reportAttempt(generations: readonly { readonly agent: Agent; readonly number: number }[]): AttemptReport {
  const present = generations.at(-1)?.agent
  return {
    role: present?.controlling === false ? 'controlled' : 'controlling',
    pairs: generations.flatMap(({ agent, number }) => reportPairs(agent, number)),
    remoteCandidates: (present?.remoteCandidates ?? []).map(formatCandidate),
  }
}

export function reportPairs(agent: Agent, generation: number): PairReport[] {
  return agent.pairs.map((pair) => ({
    generation,
    local: { type: (pair.mapped ?? pair.local).type, address: (pair.mapped ?? pair.local).address.key },
    remote: { type: pair.remote.type, address: pair.to.key },
    state: pair.state,
    valid: pair.valid,
    nominated: pair.nominated !== undefined,
    checksSent: pair.sent,
    answers: pair.received,
    heard: pair.heard,
    rtt: pair.rtt,
    outcome: outcome(pair, agent.selected),
  }))
}

function outcome(pair: Pair, selected: Pair | undefined): string {
  if (pair === selected) return 'carries the data'
  if (pair.valid) return 'works, kept as a spare'
  if (pair.state === 'failed') return pair.reason ?? 'failed'
  if (pair.state === 'frozen' && !pair.heard) return 'waits for a similar pair'
  if (pair.sent === 0) return pair.heard ? 'the peer gets through to us' : 'not checked yet'
  return pair.heard ? `the peer gets through to us, ${pair.sent} checks of ours are unanswered` : `${pair.sent} checks unanswered so far`
}

export function explain(parts: Omit<Explanation, 'toString'>): Explanation {
  return { ...parts, toString: () => describe(parts) }
}

/** What is in the way, if something is that checks do not show. */
export function obstacle(parts: Pick<Explanation, 'signals' | 'remoteCandidates' | 'missing'>): string | undefined {
  const { signals, remoteCandidates, missing } = parts
  if (signals.received === 0) return 'No signal of the peer’s has come: does your channel carry them?'
  if (remoteCandidates.length === 0) return 'The peer has offered no addresses.'
  return missing.length === 0 ? undefined : `Missing here: ${missing.join('; ')}`
}

function describe(parts: Omit<Explanation, 'toString'>): string {
  const { peer, state, role, path, pairs, log } = parts
  const lines = [
    `Session with ${peer}: ${state}, ${role}.`,
    path === undefined ? 'No path.' : `Path ${describePath(path)}.`,
    pairs.length === 0 ? 'No pairs of addresses that go together.' : `${pairs.length} ${pairs.length === 1 ? 'pair' : 'pairs'} tried:`,
  ]
  const inTheWay = obstacle(parts)
  if (inTheWay !== undefined && path === undefined) lines.splice(2, 0, inTheWay)
  for (const pair of pairs) {
    const rtt = pair.rtt === undefined ? '' : ` (${pair.rtt.toFixed(1)} ms)`
    lines.push(`  ${pair.local.type} ${pair.local.address} - ${pair.remote.type} ${pair.remote.address}: ${pair.outcome}${rtt}`)
  }
  const sections: readonly (readonly [string, readonly string[]])[] = [
    ['We offer:', parts.localCandidates],
    ['Not offered:', parts.notOffered],
    ['The peer offers:', parts.remoteCandidates],
    ['Servers:', parts.servers],
    ['Port mapping:', parts.mappings],
    ['Not used:', parts.refused],
  ]
  for (const [title, entries] of sections) if (entries.length > 0) lines.push(title, ...entries.map((entry) => `  ${entry}`))
  lines.push('What happened:', ...log.map(({ at, text }) => `  ${at.toFixed(0).padStart(6)} ms  ${text}`))
  // Candidate lines and reasons are the peer's and the servers' own words.
  return lines.map(printable).join('\n')
}
