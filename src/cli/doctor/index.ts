/**
 * `sallyport doctor`: what kind of network this is, and what that means. Section by section; what is made to find it out is undone before
 * the end.
 */
import { nodeNetwork } from '../../net/node/index.ts'
import { checkOptions, type TraversalOptions } from '../../options.ts'
import { printable } from '../../path/index.ts'
import { type Colours, colours } from '../format.ts'
import { readFileOption } from '../secrets.ts'
import { turnServers } from '../turn-options.ts'
import { readOptions, UsageError } from '../usage.ts'
import { examinePortMapping } from './port-mapping.ts'
import type { Section } from './section.ts'

export async function doctor(args: readonly string[]): Promise<number> {
  const values = readOptions('doctor', args, {
    server: { type: 'string', multiple: true, default: [] },
    'turn-user': { type: 'string', multiple: true, default: [] },
    'turn-pass': { type: 'string', multiple: true, default: [] },
    'turn-ca': { type: 'string' },
    json: { type: 'boolean', default: false },
  })
  const servers = readServers(values.server, values['turn-user'], values['turn-pass'])
  const ca = values['turn-ca']
  const relay = ca === undefined ? {} : { ca: readFileOption('turn-ca', ca) }
  checkServers({ servers, relay })

  const interrupted = new AbortController()
  const stop = (): void => interrupted.abort()
  process.once('SIGINT', stop).once('SIGTERM', stop)
  const progress = new Progress(process.stderr)
  try {
    const { signal } = interrupted
    const network = nodeNetwork()
    const portMapping = await examinePortMapping({ network, servers, relay, signal, progress: (text) => progress.show(text) })
    progress.clear()
    if (values.json) console.log(JSON.stringify(report({ portMapping })))
    else for (const line of page([portMapping], colours(process.stdout))) console.log(line)
    return 0
  } catch (error) {
    if (interrupted.signal.aborted) return 1
    throw error
  } finally {
    progress.clear()
    process.off('SIGINT', stop).off('SIGTERM', stop)
  }
}

/** What `--json` prints: the facts of each section under its name, and what they mean. */
export function report(sections: Readonly<Record<string, Section>>): object {
  const facts = Object.entries(sections).map(([name, section]) => [name, section.facts])
  return { ...Object.fromEntries(facts), findings: Object.values(sections).flatMap(({ findings }) => findings) }
}

/** Routers and servers have their own words in both. */
export function page(sections: readonly Section[], { bold, dim }: Colours): readonly string[] {
  const facts = sections.flatMap(({ title, lines }) => [bold(title), ...lines.map((line) => dim(`  ${printable(line)}`)), ''])
  return [...facts, bold('What it means'), ...sections.flatMap(({ findings }) => findings.map(({ text }) => `- ${printable(text)}`))]
}

/** As `connect` takes them, in one option: what is no relay by its scheme is a STUN server. */
function readServers(
  given: readonly string[],
  users: readonly string[],
  passwords: readonly string[],
): NonNullable<TraversalOptions['servers']> {
  const isRelay = (server: string): boolean => /^turns?:(?!\d+$)/i.test(server)
  const relays = turnServers(given.filter(isRelay), users, passwords, 'doctor', '--server turn:…')
  const stun = given.filter((server) => !isRelay(server)).map((server) => (/^stuns?:(?!\d+$)/i.test(server) ? server : `stun:${server}`))
  return [...stun, ...relays]
}

/** @throws UsageError before anything is asked */
function checkServers(options: TraversalOptions): void {
  try {
    checkOptions(options)
  } catch (error) {
    throw error instanceof TypeError ? new UsageError(`doctor: ${error.message}`) : error
  }
}

/** One line that says what is being done, where somebody watches. */
class Progress {
  readonly #stream: NodeJS.WriteStream
  #shown = false

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
  }

  show(text: string): void {
    if (this.#stream.isTTY !== true) return
    this.clear()
    this.#shown = true
    this.#stream.write(colours(this.#stream).dim(`${text} …`))
  }

  clear(): void {
    if (this.#shown) this.#stream.write('\r\u001b[K')
    this.#shown = false
  }
}
