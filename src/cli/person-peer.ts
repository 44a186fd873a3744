/** `sallyport connect` for people: shows what happens, swaps codes by copy and paste, then carries the lines that are typed. */
import { createInterface } from 'node:readline'
import { SallyportError } from '../errors.ts'
import { describePath, printable } from '../path/index.ts'
import type { Session } from '../session.ts'
import type { Signal } from '../signal/index.ts'
import type { Traversal } from '../traversal.ts'
import { describeMapping } from '../traversal-status.ts'
import { decodeCode, encodeCode } from './code.ts'
import { type Colours, colours, endText, milliseconds } from './format.ts'
import { openTraversal, type PeerSetup } from './peer-setup.ts'
import { type Sight, Watch, whenever } from './watch.ts'

/** Milliseconds that the code waits for servers: one that is silent until then is left out of it. */
const GATHERING = 3_000
/** The datagram that says goodbye, since nobody will carry the last signal by hand: ASCII's end of transmission. */
const GOODBYE = Uint8Array.of(4)
/** As long as the agent keeps the NAT open for a peer that has not got our signal yet. */
const ADVICE = 'Take your time: the side that has pasted waits for half an hour.'

export async function runForPeople(setup: PeerSetup): Promise<number> {
  const screen = new Screen(colours(process.stdout))
  let finish: (code: number) => void = () => {}
  const finished = new Promise<number>((resolve) => {
    finish = resolve
  })
  const stop = (): void => finish(0)
  const input = createInterface({ input: process.stdin })
  const early: string[] = []
  let take = (line: string): void => void early.push(line)
  input.on('line', (line) => take(line))
  input.once('close', stop)
  process.stdout.once('error', stop) // nobody reads any more
  process.once('SIGINT', stop).once('SIGTERM', stop)
  let traversal: Traversal | undefined
  let unwatch: (() => void) | undefined
  let timer: NodeJS.Timeout | undefined
  let session: Session | undefined
  try {
    traversal = await openTraversal(setup)
    session = traversal.connect({ peer: 'the peer' })
    const signals = latestSignal(session)
    const watch = new Watch(traversal, session, (sight) => screen.sight(sight))
    screen.heading('This machine may be reached at')
    if (setup.traversal.servers?.length === 0)
      screen.note('no --stun server was given: that is enough within one network, or with public addresses')
    unwatch = await whenever(() => watch.look())

    const own = await codeOf(traversal, signals)
    watch.look()
    screen.code(own)
    let pasted = false
    take = (line) => {
      if (session === undefined || line.trim() === '') return
      if (session.path !== undefined) session.send(new TextEncoder().encode(line))
      else if (pasted) screen.note('not connected yet; that line was not sent')
      else {
        const signal = decodeCode(line)
        const complaint =
          typeof signal === 'string' ? signal : signal.id === signals().id ? 'it is our own; paste the other side’s' : undefined
        if (typeof signal === 'string' || complaint !== undefined) screen.problem(`That is no code to use: ${complaint}.`)
        else {
          pasted = true
          screen.heading('Checking')
          session.signal(signal)
        }
      }
    }
    session.on('path', (path) => screen.connected(describePath(path)))
    session.on('message', (data) => {
      if (data.length !== 1 || data[0] !== GOODBYE[0]) screen.message(new TextDecoder().decode(data))
      else {
        screen.note('The other side left.')
        finish(0)
      }
    })
    session.on('state', (state) => {
      if (state === 'connecting') screen.problem('The path is lost; looking for another one.')
    })
    session.on('error', (error) => {
      screen.problem(`${error.message}.`)
      if (error instanceof SallyportError && setup.verbose) console.error(String(error.report))
      screen.note(`Start again on both sides. ${ADVICE}`)
      finish(1)
    })
    if (setup.timeout !== undefined)
      timer = setTimeout(() => {
        if (session?.path !== undefined) return
        screen.problem('No path in time.')
        finish(1)
      }, setup.timeout)
    for (const line of early) take(line)
    return await finished
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop)
    clearTimeout(timer)
    unwatch?.()
    input.close()
    process.stdin.destroy()
    if (setup.verbose && session?.state === 'connected') console.error(String(session.explain()))
    if (session?.path !== undefined) session.send(GOODBYE)
    await session?.close()
    await traversal?.close()
  }
}

/** The last word of a session that can only be heard once. */
function latestSignal(session: Session): () => Signal {
  let latest: Signal | undefined
  session.on('signal', (signal) => {
    latest = signal
  })
  return () => {
    if (latest === undefined) throw new Error('the session has not said anything yet')
    return latest
  }
}

async function codeOf(traversal: Traversal, signals: () => Signal): Promise<string> {
  let timer: NodeJS.Timeout | undefined
  const enough = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, GATHERING)
  })
  await Promise.race([traversal.gathered, enough])
  clearTimeout(timer)
  // The signal with the last candidate comes in the next turn.
  await new Promise((resolve) => setImmediate(resolve))
  return encodeCode(signals())
}

class Screen {
  readonly #colours: Colours

  constructor(painted: Colours) {
    this.#colours = painted
  }

  heading(text: string): void {
    console.log(`\n${this.#colours.bold(text)}`)
  }

  note(text: string): void {
    console.log(`  ${this.#colours.dim(text)}`)
  }

  problem(text: string): void {
    console.log(`  ${this.#colours.red(text)}`)
  }

  code(code: string): void {
    const { bold, cyan, dim } = this.#colours
    console.log(`\n${bold('Give this code to the other side')} ${dim('(to nobody else: it lets its holder in)')}\n`)
    console.log(cyan(code))
    console.log(`\n${bold('Paste the code of the other side here, and press Enter')}`)
    this.note(ADVICE)
  }

  connected(path: string): void {
    const { bold, dim, green } = this.#colours
    console.log(`\n${green(bold('Connected'))} ${path}`)
    console.log(dim('Type a line to send it; Ctrl-D leaves.'))
  }

  message(text: string): void {
    // What comes from elsewhere must not steer this terminal.
    console.log(`${this.#colours.cyan('<')} ${printable(text)}`)
  }

  sight(sight: Sight): void {
    const { dim, green, red } = this.#colours
    switch (sight.event) {
      case 'candidate':
        console.log(`  ${sight.type.padEnd(6)} ${sight.address}`)
        return
      case 'server':
      case 'relay':
        if (sight.failure !== undefined) this.problem(`${sight.server}: ${sight.failure}`)
        return
      case 'mapping':
        if (sight.failure !== undefined) this.problem(describeMapping(sight))
        else this.note(describeMapping(sight))
        return
      case 'check': {
        const pair = `${endText(sight.local)} ${dim('>')} ${endText(sight.remote)}`
        if (sight.state === 'sent') console.log(`  ${dim('asked'.padEnd(8))} ${pair}`)
        if (sight.state === 'heard') console.log(`  ${dim('heard'.padEnd(8))} ${pair}`)
        if (sight.state === 'valid') console.log(`  ${green('works'.padEnd(8))} ${pair} ${dim(`${milliseconds(sight.rtt ?? 0)} ms`)}`)
        if (sight.state === 'failed') console.log(`  ${red('failed'.padEnd(8))} ${pair} ${dim(sight.reason ?? '')}`)
      }
    }
  }
}
