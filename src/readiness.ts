/** What `session.ready` promises, the first path of an attempt, and the AbortSignal that may end the wait for it. */
export class Readiness<T> {
  #promise: Promise<T>
  #resolve: (value: T) => void = () => {}
  #reject: (reason: unknown) => void = () => {}
  #signal: AbortSignal | undefined
  #listener: () => void = () => {}

  constructor() {
    this.#promise = this.#make()
  }

  /** A rejection that nobody waits for is not an error of the process. */
  get promise(): Promise<T> {
    return this.#promise
  }

  /** Another promise from now on; who holds the last one keeps it as it is. */
  renew(): void {
    this.#promise = this.#make()
  }

  resolve(value: T): void {
    this.#resolve(value)
  }

  reject(reason: unknown): void {
    this.#reject(reason)
  }

  /** Calls back with the signal's reason when it is aborted; in the place of an earlier signal. */
  heed(signal: AbortSignal, aborted: (reason: unknown) => void): void {
    this.heedNone()
    this.#signal = signal
    this.#listener = () => aborted(signal.reason)
    signal.addEventListener('abort', this.#listener, { once: true })
  }

  heedNone(): void {
    this.#signal?.removeEventListener('abort', this.#listener)
    this.#signal = undefined
    this.#listener = () => {}
  }

  #make(): Promise<T> {
    const promise = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    promise.catch(() => {})
    return promise
  }
}
