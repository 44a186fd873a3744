/** Datagrams that wait for a path: a few, in order, copied since their owner may write to them meanwhile. */

/** More than these are dropped and counted. */
const MOST = 64

export class Outbox {
  readonly #waiting: Uint8Array[] = []
  /** Dropped for good. */
  lost = 0

  get size(): number {
    return this.#waiting.length
  }

  put(data: Uint8Array): void {
    if (this.#waiting.length < MOST) this.#waiting.push(data.slice())
    else this.lost++
  }

  /** Hands them over in order for as long as `take` says that it took one. */
  empty(take: (data: Uint8Array) => boolean): void {
    for (let data = this.#waiting[0]; data !== undefined && take(data); data = this.#waiting[0]) this.#waiting.shift()
  }

  discard(): void {
    this.lost += this.#waiting.length
    this.#waiting.length = 0
  }
}
