// @ts-check
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync, writeSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('../crashes/', import.meta.url))

/** Prints the input, saves it, and says how to run it again. @param {string} target @param {Uint8Array} input @param {unknown} error */
export function saveCrash(target, input, error) {
  const name = `${target}-${createHash('sha256').update(input).digest('hex').slice(0, 16)}`
  const path = join(FOLDER, name)
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(path, input)
  const file = relative(process.cwd(), path)
  const text = [
    `\n${target}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    `input, ${input.length} bytes, base64: ${Buffer.from(input).toString('base64')}`,
    `saved; again: npm run fuzz -- --replay ${file}`,
  ].join('\n')
  writeSync(2, `${text}\n`) // at once: the process may be about to be killed
  return file
}
