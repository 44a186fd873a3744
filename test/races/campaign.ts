/** Many schedules from one seed: the first that breaks a rule, made as small as it can be, in words. */
import fc from 'fast-check'
import { describe, schedules, type World } from './schedule.ts'
import { storm } from './storm.ts'

export interface Campaign {
  readonly runs: number
  readonly seed: number
  /** Of a failure: only that one again. */
  readonly path?: string
  /** Who else there may be. */
  readonly others?: readonly World['other'][]
  /** With relays in every schedule. */
  readonly relayed?: boolean
}

export const ANY_OTHERS: readonly World['other'][] = ['nobody', 'nobody', 'twin', 'third']

/** Resolves with undefined when all held. */
export async function campaign({ runs, seed, path, others = ANY_OTHERS, relayed = false }: Campaign): Promise<string | undefined> {
  const details = await fc.check(fc.asyncProperty(schedules(others, relayed), storm), {
    numRuns: runs,
    seed,
    ...(path === undefined ? {} : { path }),
  })
  if (!details.failed) return undefined
  const { counterexample, counterexamplePath, numShrinks, errorInstance } = details
  const [schedule] = counterexample ?? []
  const lines = [`seed ${seed}, path ${counterexamplePath}${relayed ? ' --relays' : ''}, after ${numShrinks} shrinks:`]
  if (schedule !== undefined) lines.push(describe(schedule))
  const { name, message, stack } = errorInstance as Error
  lines.push(name === 'Broken' ? `broken: ${message}` : `thrown: ${stack}`)
  return lines.join('\n')
}
