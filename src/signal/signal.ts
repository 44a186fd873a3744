/**
 * What one peer tells the other, as plain JSON. Every signal says everything anew, so each one that arrives makes up for all that were
 * lost before it. The order of things and what is still unheard is `exchange.ts`'s.
 */
import {
  type Candidate,
  formatCandidate,
  type LocalCandidate,
  type NamedCandidate,
  type RelayDistance,
  readCandidate,
} from '../candidates/index.ts'
import { areCredentials } from '../ice/index.ts'

/** The version of the format; a higher one is refused. */
export const SIGNAL_VERSION = 1

/** JSON-safe; treat it as opaque, whatever the channel. It holds a password: whoever reads the channel can join the session. */
export interface Signal {
  readonly v: typeof SIGNAL_VERSION
  /** The sender's incarnation, drawn at random. Absent: another ICE agent, whose description somebody put into this form. */
  readonly id?: string
  /** Our incarnation, as far as the sender knows one: what `ack` is about. */
  readonly to?: string
  /** Counts the sender's changes, from 1. */
  readonly seq?: number
  /** The highest `seq` that the sender has seen of ours. */
  readonly ack?: number
  /** The sender does not know yet whether we have seen this. */
  readonly ask?: true
  readonly ufrag: string
  readonly pwd: string
  /** Our user fragment as the sender knows it: it has our credentials. Absent while it knows none. */
  readonly for?: string
  /** 64-bit tie-breaker, 16 hex digits: the larger controls. */
  readonly tie?: string
  /** From another ICE agent: the role it takes. Without it we control and leave the rest to role conflicts (RFC 8445 7.3.1.1). */
  readonly controlling?: boolean
  /** The sender answers checks and sends none (`a=ice-lite`, RFC 8839 5.3). */
  readonly lite?: true
  /**
   * From another ICE agent: it takes a nomination that is repeated with a higher value (`a=ice-options:renomination`). Ours always do.
   */
  readonly renomination?: true
  /** `candidate:` lines (RFC 8839 5.1). */
  readonly candidates: readonly string[]
  /**
   * Lines of the same kind: what the sender's router says to have mapped for it, and nobody has seen to work. Each check there names its destination,
   * so that the first one that comes in makes it a candidate for everybody.
   */
  readonly trials?: readonly string[]
  /** The version of the list of candidates, from 1. */
  readonly list?: number
  /** The version of our list to whose addresses the sender has sent checks: its NAT takes ours for answers. */
  readonly tried?: number
  /** The relays that the sender has measured, with the milliseconds there and back: both together find the one that lies best between them. */
  readonly relays?: readonly RelayDistance[]
  /** No more candidates are expected (RFC 8838 14). */
  readonly end?: boolean
  /** The sender closed the session. */
  readonly bye?: true
}

/** A signal that can be trusted to have the form it should; who sent it is another question. */
export interface ReadSignal {
  readonly signal: Signal
  readonly tieBreaker: bigint | undefined
  readonly candidates: readonly Candidate[]
  /** Those that have a name under `.local` instead of an address. */
  readonly named: readonly NamedCandidate[]
  /** Candidate lines that are not used, each with the reason. */
  readonly refused: readonly string[]
}

const MAX_CANDIDATES = 128
const MAX_RELAYS = 32
const MAX_TRIALS = 8

/** Returns why it is no signal, as a string, for whatever may come over a channel. Never throws. */
export function readSignal(value: unknown): ReadSignal | string {
  if (typeof value !== 'object' || value === null) return 'it is not an object'
  const signal = value as Partial<Record<keyof Signal, unknown>>
  if (signal.v !== SIGNAL_VERSION) {
    // What came over a channel may be an object that has no text.
    const version = typeof signal.v === 'number' || typeof signal.v === 'string' ? String(signal.v).slice(0, 20) : typeof signal.v
    return `version ${version} is not spoken here, only ${SIGNAL_VERSION}`
  }
  if (!areCredentials({ ufrag: signal.ufrag, pwd: signal.pwd })) return 'ufrag or pwd is missing or malformed'
  if (!Array.isArray(signal.candidates) || signal.candidates.length > MAX_CANDIDATES)
    return `candidates is not a list of at most ${MAX_CANDIDATES}`
  if (!isOptional(signal.trials, (lines) => Array.isArray(lines) && lines.length <= MAX_TRIALS))
    return `trials is not a list of at most ${MAX_TRIALS}`
  if (![signal.for, signal.id, signal.to].every((text) => isOptional(text, isText))) return 'id, to or for is malformed'
  if (!isOptional(signal.seq, isCount) || !isOptional(signal.ack, isCount)) return 'seq or ack is not a count'
  if (!isOptional(signal.list, isCount) || !isOptional(signal.tried, isCount)) return 'list or tried is not a count'
  if (signal.id !== undefined && signal.seq === undefined) return 'seq is missing'
  if (!isOptional(signal.tie, (tie) => typeof tie === 'string' && /^[0-9a-f]{16}$/.test(tie))) return 'tie is not 16 hex digits'
  if (!isOptional(signal.relays, areDistances)) return `relays is not a list of at most ${MAX_RELAYS} servers with milliseconds`
  for (const flag of ['end', 'bye', 'ask', 'controlling', 'lite', 'renomination'] as const) {
    if (!isOptional(signal[flag], (on) => typeof on === 'boolean')) return `${flag} is not true or false`
  }
  const candidates: Candidate[] = []
  const named: NamedCandidate[] = []
  const refused: string[] = []
  const tried: Candidate[] = []
  const read = (lines: readonly string[], into: Candidate[], names: NamedCandidate[]): void => {
    for (const line of lines) {
      try {
        const candidate = readCandidate(line)
        if ('name' in candidate) names.push(candidate)
        else into.push(candidate)
      } catch (error) {
        refused.push((error as Error).message)
      }
    }
  }
  read(signal.candidates, candidates, named)
  read((signal.trials as Signal['trials']) ?? [], tried, [])
  // What servers see of the sender may be what is on trial, too: one candidate then, whose checks name their destination.
  for (const candidate of tried) {
    const index = candidates.findIndex(({ address }) => address.equals(candidate.address))
    const known = candidates[index]
    if (known === undefined) candidates.push({ ...candidate, trial: true })
    else candidates[index] = { ...known, trial: true }
  }
  const tieBreaker = signal.tie === undefined ? undefined : BigInt(`0x${signal.tie as string}`)
  return { signal: signal as Signal, tieBreaker, candidates, named, refused }
}

interface Lines {
  readonly candidates: readonly string[]
  readonly trials: readonly string[] | undefined
}

/** The lines of each list, which all sessions of a traversal share. */
const lines = new WeakMap<readonly LocalCandidate[], Lines>()

/** As a signal has them. @param candidates a list that nobody changes */
export function candidateLines(candidates: readonly LocalCandidate[]): Lines {
  let known = lines.get(candidates)
  if (known === undefined) {
    const trials = candidates.filter(({ mapping }) => mapping === 'trial').map(formatCandidate)
    known = {
      candidates: Object.freeze(candidates.filter(({ mapping }) => mapping !== 'trial').map(formatCandidate)),
      trials: trials.length === 0 ? undefined : Object.freeze(trials.slice(0, MAX_TRIALS)),
    }
    lines.set(candidates, known)
  }
  return known
}

export function tieText(tieBreaker: bigint): string {
  return tieBreaker.toString(16).padStart(16, '0')
}

function isOptional(value: unknown, test: (value: unknown) => boolean): boolean {
  return value === undefined || test(value)
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value.length > 0 && value.length <= 256
}

function areDistances(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > MAX_RELAYS) return false
  return value.every((one) => Array.isArray(one) && one.length === 2 && isText(one[0]) && typeof one[1] === 'number' && one[1] >= 0)
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
