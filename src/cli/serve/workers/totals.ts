/** Numbers of several processes added up. */
import type { RelayCounters, RelayStatus } from '../../../relay/index.ts'

/** A tree of numbers, as counters are. */
interface Numbers {
  readonly [name: string]: number | Numbers
}

/** Member by member; what only one of them has is kept. */
export function sum(a: Numbers, b: Numbers): Numbers {
  const total: Record<string, number | Numbers> = { ...a }
  for (const [name, value] of Object.entries(b)) {
    const other = total[name]
    if (typeof value === 'number') total[name] = value + (typeof other === 'number' ? other : 0)
    else total[name] = sum(typeof other === 'object' ? other : {}, value)
  }
  return total
}

export function addCounters(a: RelayCounters | undefined, b: RelayCounters): RelayCounters {
  return a === undefined ? b : (sum(a as unknown as Numbers, b as unknown as Numbers) as unknown as RelayCounters)
}

/**
 * @param past counters of processes that are no more
 * @param users of whom one may be on several processes
 */
export function addStatuses(statuses: readonly RelayStatus[], past: RelayCounters | undefined, users: number): RelayStatus | undefined {
  let total: RelayStatus | undefined
  for (const status of statuses) {
    const { draining, ...numbers } = status
    if (total === undefined) total = status
    else {
      const { draining: other, ...others } = total
      total = {
        ...(sum(others as unknown as Numbers, numbers as unknown as Numbers) as unknown as RelayStatus),
        draining: draining || other,
      }
    }
  }
  return total === undefined
    ? undefined
    : { ...total, users, counters: past === undefined ? total.counters : addCounters(past, total.counters) }
}
