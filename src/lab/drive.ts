/** Makes virtual time pass around asynchronous code: between two points in time, promises get their turn. */
import type { Scheduler } from './clock.ts'

/** Turns of the real event loop that code gets to schedule something before it is said to be stuck. */
const PATIENCE = 64

// Taken now: a test that fakes timers later must not stop the lab.
const nextTurn = setImmediate

/** One turn of the event loop: every microtask that is ready, and those that follow from them, has run after it. */
function settle(): Promise<void> {
  return new Promise((resolve) => nextTurn(resolve))
}

export async function drive(scheduler: Scheduler, end: number, held: ReadonlySet<Promise<unknown>>): Promise<void> {
  await settle()
  for (;;) {
    if (held.size > 0) await released(held)
    if (scheduler.next > end) break
    scheduler.touched = false
    scheduler.step()
    if (scheduler.touched) await settle()
  }
  scheduler.runTo(end)
}

export async function driveUntil<T>(
  scheduler: Scheduler,
  promise: PromiseLike<T>,
  within: number,
  held: ReadonlySet<Promise<unknown>>,
): Promise<T> {
  let settled = false
  const done = (): void => {
    settled = true
  }
  promise.then(done, done)
  const end = scheduler.now + within
  await settle()
  for (let idle = 0; !settled; ) {
    if (held.size > 0) {
      await released(held)
      continue
    }
    if (scheduler.size === 0) {
      if (++idle > PATIENCE) throw new Error(`nothing is scheduled after ${scheduler.now} ms, and the promise is still pending`)
      await settle()
      continue
    }
    if (scheduler.next > end) {
      scheduler.runTo(end)
      throw new Error(`the promise is still pending after ${within} ms`)
    }
    idle = 0
    scheduler.touched = false
    scheduler.step()
    if (scheduler.touched) await settle()
  }
  return promise
}

async function released(held: ReadonlySet<Promise<unknown>>): Promise<void> {
  await Promise.allSettled(held)
  await settle()
}
