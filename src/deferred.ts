/** A promise that is settled from outside. A rejection that nobody waits for is not an error of the process. */
export class Deferred<T> {
  readonly promise: Promise<T>
  #resolve: ((value: T) => void) | undefined
  #reject: ((reason: unknown) => void) | undefined

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.promise.catch(() => {})
  }

  resolve(value: T): void {
    this.#resolve?.(value)
  }

  reject(reason: unknown): void {
    this.#reject?.(reason)
  }
}
