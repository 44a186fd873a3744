/** An emitter whose listeners cannot leave it halfway: what one of them throws is the caller's to see, later. */
import { EventEmitter } from 'node:events'

export class SafeEmitter<Events extends Record<keyof Events, unknown[]>> extends EventEmitter<Events> {
  /** As `emit`; an error goes to the listeners of `error`, or becomes an uncaught exception of its own turn. */
  protected safeEmit<K extends keyof Events & string>(event: K, ...values: Events[K]): void {
    try {
      ;(this as EventEmitter).emit(event, ...values)
    } catch (error) {
      this.#threw(event, error)
    }
  }

  /** The same for one value, without the array that rest parameters cost. */
  protected safeEmitOne<K extends keyof Events & string>(event: K, value: Events[K][0]): void {
    try {
      ;(this as EventEmitter).emit(event, value)
    } catch (error) {
      this.#threw(event, error)
    }
  }

  #threw(event: string, error: unknown): void {
    const emitter = this as EventEmitter
    if (event !== 'error' && emitter.listenerCount('error') > 0) {
      try {
        emitter.emit('error', error)
        return
      } catch (second) {
        error = second
      }
    }
    queueMicrotask(() => {
      throw error
    })
  }
}
