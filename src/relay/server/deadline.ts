/** Promises of others, which may never settle. */
import type { Timers } from '../../net/index.ts'

/** The promise's outcome, or a rejection after so many milliseconds. What it does later goes to `late`. */
export function within<T>(timers: Timers, milliseconds: number, promise: PromiseLike<T>, late?: (value: T) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    let over = false
    const timer = timers.after(milliseconds, () => {
      over = true
      reject(new Error(`no answer after ${milliseconds / 1000} s`))
    })
    promise.then(
      (value) => {
        if (over) late?.(value)
        timer.cancel()
        resolve(value)
      },
      (error: unknown) => {
        timer.cancel()
        reject(error)
      },
    )
  })
}
