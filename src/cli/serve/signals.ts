/** What the operator wants of a server that runs, by signals. */

export type Wish =
  /** SIGTERM: in order. */
  | 'drain'
  /** SIGINT, or a second signal: at once. */
  | 'stop'

export class Signals {
  readonly #hangup: (() => void) | undefined
  #asked = 0
  #waiting: ((wish: Wish) => void) | undefined
  #wishes: Wish[] = []

  /** @param hangup for SIGHUP; without it that ends the process, as when its terminal goes */
  constructor(hangup: (() => void) | undefined) {
    this.#hangup = hangup
  }

  listen(): void {
    process.on('SIGINT', this.#interrupted).on('SIGTERM', this.#terminated)
    if (this.#hangup !== undefined) process.on('SIGHUP', this.#hangup)
  }

  /** The next wish, asked already or later. */
  next(): Promise<Wish> {
    const early = this.#wishes.shift()
    if (early !== undefined) return Promise.resolve(early)
    return new Promise((resolve) => {
      this.#waiting = resolve
    })
  }

  ignore(): void {
    process.off('SIGINT', this.#interrupted).off('SIGTERM', this.#terminated)
    if (this.#hangup !== undefined) process.off('SIGHUP', this.#hangup)
  }

  readonly #interrupted = (): void => this.#wish('stop')

  readonly #terminated = (): void => this.#wish(this.#asked === 0 ? 'drain' : 'stop')

  #wish(wish: Wish): void {
    this.#asked++
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting === undefined) this.#wishes.push(wish)
    else waiting(wish)
  }
}
