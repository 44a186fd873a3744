/** Texts as files, for programs that take paths. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Files {
  path(name: string): string
  close(): void
}

export function writeFiles(texts: object): Files {
  const folder = mkdtempSync(join(tmpdir(), 'security-'))
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(folder, name), String(text))
  return { path: (name) => join(folder, name), close: () => rmSync(folder, { recursive: true }) }
}
