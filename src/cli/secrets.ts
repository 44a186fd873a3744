/** What must not be said aloud: users and secrets from the command line, from files, and from the environment. */
import { readFileSync } from 'node:fs'
import { UsageError } from './usage.ts'

const VARIABLE = 'SALLYPORT_SECRET'

/** All secrets, in the order of the command line, the files, the environment; none twice. @throws UsageError */
export function readSecrets(texts: readonly string[], files: readonly string[]): readonly string[] {
  const secrets = [...texts, ...files.flatMap((file) => filledLines('secret-file', file)), ...linesOf(process.env[VARIABLE] ?? '')]
  if (secrets.includes('')) throw new UsageError('--secret must not be empty')
  return [...new Set(secrets)]
}

/** Passwords by name. @throws UsageError for what is no `name:password`, or a name that comes twice */
export function readUsers(texts: readonly string[], files: readonly string[]): Readonly<Record<string, string>> {
  // No prototype: a user may be called "constructor".
  const users: Record<string, string> = Object.create(null)
  const add = (option: string, text: string): void => {
    const colon = text.indexOf(':')
    // A password that was typed in the wrong place is not printed again.
    if (colon < 1 || colon === text.length - 1) throw new UsageError(`--${option} must be NAME:PASSWORD`)
    const name = text.slice(0, colon)
    if (name in users) throw new UsageError(`--${option} names ${name} twice`)
    users[name] = text.slice(colon + 1)
  }
  for (const text of texts) add('user', text)
  for (const file of files) for (const line of filledLines('user-file', file)) add('user-file', line)
  return users
}

/** @throws UsageError when it cannot be read */
export function readFileOption(option: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new UsageError(`--${option}: ${(error as Error).message}`)
  }
}

function filledLines(option: string, file: string): readonly string[] {
  const lines = linesOf(readFileOption(option, file))
  if (lines.length === 0) throw new UsageError(`--${option}: ${file} is empty`)
  return lines
}

function linesOf(text: string): readonly string[] {
  return text.split(/\r?\n/).filter((line) => line !== '')
}
