/**
 * The conformance table, docs/conformance.md, and how a test says which of its rows it shows: its name, or the name of a `describe`
 * around it, starts with their ids (`C32 C33 with another password …`).
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Row {
  readonly id: string
  readonly behaviour: string
  /** Where it is required, or shown. */
  readonly source: string
  /** What it comes with, where it cannot be shown yet; such a row may be without a test. */
  readonly later: string | undefined
}

export const TABLE = 'docs/conformance.md'

const ROW = /^\| (C\d{2,}) +\| (.+?) +\| (.+?) +\|$/gm
const LEADING = /^(?:C\d{2,}:? )+/
const LATER = /\(comes with ([^)]+)\)$/

export function readTable(text: string = readFileSync(TABLE, 'utf8')): readonly Row[] {
  return [...text.matchAll(ROW)].map(([, id = '', behaviour = '', source = '']) => ({
    id,
    behaviour,
    source,
    later: LATER.exec(behaviour)?.[1],
  }))
}

/** The ids that a name starts with. */
export function idsOf(name: string): readonly string[] {
  return LEADING.exec(name)?.[0].match(/C\d+/g) ?? []
}

/** Test files that use ids, with the ids: read, not run, so ids that only stand in a parameter count, too. */
export function idsInFiles(): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, ReadonlySet<string>>()
  for (const entry of readdirSync('test', { recursive: true, encoding: 'utf8' })) {
    if (!entry.endsWith('.test.ts')) continue
    const file = join('test', entry)
    const ids = [...readFileSync(file, 'utf8').matchAll(/['"`]((?:C\d{2,}:? )+)/g)].flatMap(([, text = '']) => idsOf(text))
    if (ids.length > 0) found.set(file, new Set(ids))
  }
  return found
}
