/** The demo's running account: one line for each thing that happens, in columns, with as much of the like as one cares to read. */
import type { Signal } from '../../signal/index.ts'
import { type Colours, type End, milliseconds, type PathText, plural } from '../format.ts'
import type { Sight } from '../watch.ts'

/** Lines of one kind that one party gets; the others are counted. */
const ENOUGH = 4
const WHEN = 10
const WHO = 12
const WHAT = 9
/** Wide enough for IPv4, so that what is beside it stands in a column. */
const END = 27

const CHECKS = {
  sent: ['check', 'dim', ''],
  heard: ['heard', 'dim', 'theirs came in'],
  valid: ['works', 'green', ''],
  failed: ['failed', 'red', ''],
} as const

/** What a part came to. */
export interface Meeting {
  readonly path: PathText
  /** Milliseconds from the start of gathering to data both ways, by each peer. */
  readonly took: readonly number[]
}

export class Stage {
  readonly colours: Colours
  /** Somebody watches: give them time to read. */
  readonly live: boolean
  readonly #counts = new Map<string, number>()
  #hidden = 0
  #printed = 0
  #open = false

  constructor(painted: Colours, live: boolean) {
    this.colours = painted
    this.live = live
  }

  /** Lines so far. */
  get printed(): number {
    return this.#printed
  }

  /** Opens the account. */
  header(unit: string): void {
    this.#open = true
    console.log(this.colours.dim(`${unit.padStart(WHEN)}   ${'who'.padEnd(WHO)} what`))
  }

  /** `kind` groups the lines of which a few are enough. */
  line(
    ms: number,
    who: string,
    what: string,
    text: string,
    options: { readonly paint?: keyof Colours; readonly kind?: string } = {},
  ): void {
    const { paint = 'dim', kind } = options
    if (!this.#open || (kind !== undefined && this.#enough(`${who} ${kind}`))) return
    this.#printed++
    console.log(
      `${this.colours.dim(milliseconds(ms).padStart(WHEN))}   ${who.padEnd(WHO)} ${this.colours[paint](what.padEnd(WHAT))} ${text.trimEnd()}`,
    )
  }

  sight(ms: number, who: string, sight: Sight): void {
    switch (sight.event) {
      case 'candidate':
        this.line(ms, who, 'candidate', endText(sight), { paint: 'cyan', kind: 'candidate' })
        break
      case 'server':
        this.#server(ms, who, sight)
        break
      case 'check':
        this.#check(ms, who, sight)
    }
  }

  signal(ms: number, who: string, to: string, signal: Pick<Signal, 'candidates' | 'end' | 'bye'>): void {
    if (signal.bye === true) return
    const text = `to ${to}: ${plural(signal.candidates.length, 'candidate')}${signal.end === true ? ', all there are' : ' so far'}`
    // The same again, with news that is not for the eye.
    if (this.#counts.has(`${who} ${text}`)) return
    this.#counts.set(`${who} ${text}`, 1)
    this.line(ms, who, 'signal', text, { kind: 'signal' })
  }

  path(ms: number, who: string, { kind, local, localAddress, remote, remoteAddress }: PathText): void {
    const { dim } = this.colours
    const pair = this.pair(endText({ type: local, address: localAddress }), endText({ type: remote, address: remoteAddress }))
    this.line(ms, who, 'path', `${pair} ${dim(kind)}`, { paint: 'magenta' })
  }

  /** Closes the account: says how much was left out. What comes now is not of interest any more. */
  rest(): void {
    this.#open = false
    if (this.#hidden > 0) console.log(this.colours.dim(`${''.padStart(WHEN + 3)}and ${plural(this.#hidden, 'more line')} of these kinds`))
    this.#hidden = 0
    this.#counts.clear()
  }

  pair(from: string, to: string): string {
    return `${from.padEnd(END)} ${this.colours.dim('>')} ${to.padEnd(END)}`
  }

  #server(ms: number, who: string, { from, mapped, failure }: Sight & { event: 'server' }): void {
    if (mapped === undefined) this.line(ms, who, 'server', failure ?? '', { paint: 'red', kind: 'failure' })
    else {
      const meaning = mapped === from ? 'as we do: no NAT between' : 'behind a NAT'
      this.line(ms, who, 'server', `sees us at ${mapped} ${this.colours.dim(meaning)}`, { kind: 'server' })
    }
  }

  #check(ms: number, who: string, { state, local, remote, rtt = 0, reason = '' }: Sight & { event: 'check' }): void {
    const [what, paint, remark] = CHECKS[state]
    const words = state === 'valid' ? `${milliseconds(rtt)} ms` : state === 'failed' ? reason : remark
    this.line(ms, who, what, `${this.pair(endText(local), endText(remote))} ${this.colours.dim(words)}`, { paint, kind: state })
  }

  #enough(key: string): boolean {
    const count = (this.#counts.get(key) ?? 0) + 1
    this.#counts.set(key, count)
    if (count > ENOUGH) this.#hidden++
    return count > ENOUGH
  }
}

function endText({ type, address }: End): string {
  return `${type.padEnd(5)} ${address}`
}
