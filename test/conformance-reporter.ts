/**
 * Prints the conformance table with the tests that showed each row in this run, and what came of them. A row without a test, with one that
 * failed or with one that did not run fails the command; so does an id that is no row.
 */
import { relative } from 'node:path'
import type { Reporter, TestCase, TestModule } from 'vitest/node'
import { idsOf, type Row, readTable } from './conformance.ts'

type Result = 'passed' | 'failed' | 'skipped' | 'no test'

/** One place in the tests; a parametrised test runs many times there. */
interface Shown {
  readonly place: string
  readonly name: string
  count: number
  result: Result
  /** Of the first that failed. */
  complaint: string | undefined
}

const MARK: Readonly<Record<Result, string>> = { passed: '✓', failed: '✗', skipped: '-', 'no test': '?' }

export default class ConformanceReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const shown = new Map<string, Map<string, Shown>>()
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        for (const id of idsOfTest(test)) {
          const places = shown.get(id) ?? new Map<string, Shown>()
          shown.set(id, places)
          note(places, test)
        }
      }
    }
    const rows = readTable()
    const results = rows.map((row) => print(row, [...(shown.get(row.id)?.values() ?? [])]))
    const strangers = [...shown.keys()].filter((id) => !rows.some((row) => row.id === id))
    if (strangers.length > 0) console.log(`\nIds that are no row of the table: ${strangers.join(', ')}`)
    for (const module of modules) for (const { message } of module.errors()) console.log(`\n${module.moduleId}: ${message}`)
    const bad = rows.filter(({ later }, i) => results[i] !== 'passed' && !(results[i] === 'no test' && later !== undefined))
    const passed = results.filter((result) => result === 'passed').length
    const later = rows.filter((row, i) => row.later !== undefined && results[i] === 'no test').length
    console.log(
      `\n${rows.length} behaviours: ${passed} shown, ${later} to come, ${bad.length} not shown${bad.map(({ id }) => ` ${id}`).join('')}`,
    )
    if (bad.length + strangers.length > 0 || modules.some((module) => module.errors().length > 0)) process.exitCode = 1
  }
}

function idsOfTest(test: TestCase): ReadonlySet<string> {
  const ids = new Set(idsOf(test.name))
  for (let at = test.parent; at.type === 'suite'; at = at.parent) for (const id of idsOf(at.name)) ids.add(id)
  return ids
}

function note(places: Map<string, Shown>, test: TestCase): void {
  const { state, errors } = test.result()
  const result = state === 'pending' ? 'skipped' : state
  const complaint = errors?.[0]?.message
  const place = `${relative('.', test.module.moduleId)}:${test.location?.line ?? 0}`
  const known = places.get(place)
  if (known === undefined) places.set(place, { place, name: test.fullName, count: 1, result, complaint })
  else {
    known.count++
    known.complaint ??= complaint
    if (worse(result, known.result)) known.result = result
  }
}

function worse(a: Result, b: Result): boolean {
  const order: readonly Result[] = ['passed', 'skipped', 'failed']
  return order.indexOf(a) > order.indexOf(b)
}

function print({ id, behaviour }: Row, tests: readonly Shown[]): Result {
  const result = tests.reduce<Result>((worst, test) => (worse(test.result, worst) ? test.result : worst), 'passed')
  const all = tests.length === 0 ? 'no test' : result
  console.log(`\n${id} ${MARK[all]} ${behaviour} · ${all}`)
  for (const { place, name, count, result: one, complaint } of tests) {
    console.log(`      ${MARK[one]} ${name}${count > 1 ? ` (and ${count - 1} more like it)` : ''} · ${place} · ${one}`)
    if (complaint !== undefined) console.log(complaint.replaceAll(/^/gm, '          '))
  }
  return all
}
