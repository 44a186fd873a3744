/** What happened in a session, for `explain`: the last events with their times, and what was refused. */
import { diagnose } from '../diagnostics.ts'
import type { LogEntry } from './explain.ts'

const MOST = 200

export class SessionLog {
  readonly #peer: string
  // Made anew at each entry: an array that grows keeps room for seventeen, and most sessions have five.
  #entries: readonly LogEntry[] = []
  #refused: readonly string[] = []
  #start = 0

  constructor(peer: string) {
    this.#peer = peer
  }

  get entries(): readonly LogEntry[] {
    return [...this.#entries]
  }

  get refused(): readonly string[] {
    return [...this.#refused]
  }

  /** From now on times count from here. */
  restart(now: number): void {
    this.#start = now
  }

  note(now: number, text: string): void {
    this.#entries = [...this.#entries.slice(1 - MOST), { at: now - this.#start, text: flat(text) }]
    diagnose('ice', () => ({ event: 'note', peer: this.#peer, text }))
  }

  refuse(reason: string): void {
    this.#refused = [...this.#refused.slice(1 - MOST), flat(reason)]
    diagnose('drop', () => ({ event: 'refused', peer: this.#peer, reason }))
  }
}

/** A text put together stays a tree of its parts, three times its size, until somebody asks for a character of it. */
function flat(text: string): string {
  return text.charCodeAt(0) === 0 ? '' : text
}
