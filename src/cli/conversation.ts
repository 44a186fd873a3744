/**
 * What two `sallyport connect --json` say to each other over the path, to know that application data went both ways. It bears any loss,
 * and a peer that merely echoes what it gets.
 *
 *     ping <tag> <number> <text>     ours, under a tag drawn at random, again and again
 *     pong <datagram>                the answer to any datagram that is no answer itself
 *
 * Answered: something came back that bears our tag, a pong or an echo. Heard: a datagram came that is no pong, of the peer's own making
 * or an echo. Both: data has gone both ways.
 */
import { randomBytes } from 'node:crypto'

/** Milliseconds between pings until data went both ways, and after. */
const EAGER = 200
const CALM = 1_000
const PONG = 'pong '
/** An answer is never larger than a safe datagram, whatever it answers. */
const MAX_ANSWER = 1_200

export interface ConversationOutlet {
  /** May come to nothing. */
  send(data: Uint8Array): void
  /** Data has gone both ways. Said once. */
  done(): void
  /** The first datagram of the peer's own; of ours, the text in it. */
  heard(text: string): void
}

export class Conversation {
  readonly #outlet: ConversationOutlet
  readonly #text: string
  readonly #tag = randomBytes(6).toString('hex')
  #number = 0
  #answered = false
  #heard = false
  #timer: NodeJS.Timeout | undefined

  constructor(text: string, outlet: ConversationOutlet) {
    this.#text = text
    this.#outlet = outlet
  }

  get done(): boolean {
    return this.#answered && this.#heard
  }

  /** For the failure report: how far it came. */
  get progress(): string {
    if (this.#answered) return 'the peer answers, but sends nothing of its own'
    return this.#heard ? 'the peer sends, but does not answer' : 'nothing came from the peer'
  }

  /** There is a path, or another one: say something at once. */
  start(): void {
    this.stop()
    this.#ping()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  receive(data: Uint8Array): void {
    const wasDone = this.done
    const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('latin1')
    const answer = text.startsWith(PONG)
    if (text.startsWith(`${PONG}ping ${this.#tag} `) || text.startsWith(`ping ${this.#tag} `)) this.#answered = true
    if (!answer) {
      this.#outlet.send(Buffer.concat([Buffer.from(PONG), data]).subarray(0, MAX_ANSWER))
      if (!this.#heard) {
        this.#heard = true
        this.#outlet.heard(
          Buffer.from(data)
            .toString('utf8')
            .replace(/^ping \S+ \d+ ?/, ''),
        )
      }
    }
    if (this.done && !wasDone) this.#outlet.done()
  }

  #ping(): void {
    this.#outlet.send(Buffer.from(`ping ${this.#tag} ${++this.#number} ${this.#text}`))
    this.#timer = setTimeout(() => this.#ping(), this.done ? CALM : EAGER)
  }
}
