#!/usr/bin/env node
/**
 * The `sallyport` command: finds the subcommand, loads nothing but that, and turns what goes wrong into a message and an exit code.
 * 0: it did what was asked. 1: it could not. 2: it was asked wrongly.
 */
import { readFileSync } from 'node:fs'
import { colours } from './format.ts'
import { COMMAND_NAMES, commandHelp, generalHelp, isCommand, UsageError } from './usage.ts'

async function run(args: readonly string[]): Promise<number> {
  const [name = '--help', ...rest] = args
  switch (name) {
    case '--version':
    case '-v':
      console.log(version())
      return 0
    case 'help':
    case '--help':
    case '-h':
      return help(rest[0])
  }
  if (!isCommand(name)) {
    const what = name.startsWith('-') ? 'option' : 'command'
    throw new UsageError(`there is no ${what} ${name}; the commands are ${COMMAND_NAMES.join(', ')}`)
  }
  if (rest.includes('--help') || rest.includes('-h')) return help(name)
  switch (name) {
    case 'connect':
      return (await import('./connect.ts')).connect(rest)
    case 'serve':
      return (await import('./serve/index.ts')).serve(rest)
    case 'credentials':
      return (await import('./credentials.ts')).credentials(rest)
    case 'doctor':
      return (await import('./doctor/index.ts')).doctor(rest)
    case 'demo':
      return (await import('./demo/index.ts')).demo(rest)
  }
}

function help(topic: string | undefined): number {
  if (topic !== undefined && !isCommand(topic))
    throw new UsageError(`there is no command ${topic}; the commands are ${COMMAND_NAMES.join(', ')}`)
  console.log(topic === undefined ? generalHelp(colours(process.stdout)) : commandHelp(topic, colours(process.stdout)))
  return 0
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

// Whoever read us stopped reading (`| head`): no reason to crash. Commands that are nothing without a reader listen for themselves.
process.stdout.on('error', () => {})

try {
  process.exitCode = await run(process.argv.slice(2))
} catch (error) {
  const { red } = colours(process.stderr)
  const message = error instanceof Error ? error.message : String(error)
  console.error(`${red('sallyport:')} ${message}`)
  const [command = ''] = process.argv.slice(2)
  if (error instanceof UsageError) console.error(isCommand(command) ? `Try: sallyport help ${command}` : 'Try: sallyport help')
  process.exitCode = error instanceof UsageError ? 2 : 1
}
