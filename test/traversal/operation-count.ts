/**
 * How many steps something takes: look-ups in maps and sets, and elements that loops and array methods go over. Unlike time, the same on
 * every machine; unlike time, it sees a loop over all sessions also where that is fast.
 */

const LOOKUPS = ['get', 'set', 'has', 'delete', 'add'] as const
const OVER_ALL = [
  'forEach',
  'find',
  'findIndex',
  'findLast',
  'filter',
  'some',
  'every',
  'map',
  'flatMap',
  'reduce',
  'sort',
  'indexOf',
  'includes',
  'splice',
] as const

type Prototype = Record<string, (...parameters: readonly unknown[]) => unknown>

/** Runs it once, and counts. Synchronous code only. */
export function countOperations(run: () => void): number {
  let count = 0
  const restore: (() => void)[] = []
  const patch = (prototype: object, name: string, cost: (self: unknown) => number): void => {
    const original = (prototype as Prototype)[name]
    if (original === undefined) return
    const descriptor = Object.getOwnPropertyDescriptor(prototype, name) as PropertyDescriptor
    restore.push(() => Object.defineProperty(prototype, name, descriptor))
    Object.defineProperty(prototype, name, {
      ...descriptor,
      value(this: unknown, ...parameters: readonly unknown[]) {
        count += cost(this)
        return Reflect.apply(original, this, parameters)
      },
    })
  }
  const iterators = [new Map().values(), new Set().values(), [].values()].map((iterator) => Object.getPrototypeOf(iterator) as object)
  for (const prototype of iterators) patch(prototype, 'next', () => 1)
  for (const prototype of [Map.prototype, Set.prototype]) {
    for (const name of LOOKUPS) patch(prototype, name, () => 1)
    patch(prototype, 'forEach', (self) => (self as Set<unknown>).size)
  }
  for (const name of OVER_ALL) patch(Array.prototype, name, (self) => (self as readonly unknown[]).length)
  // Setting up has counted as well.
  const before = count
  try {
    run()
    return count - before
  } finally {
    for (const undo of restore) undo()
  }
}
