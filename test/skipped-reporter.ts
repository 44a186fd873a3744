/**
 * Ends a run with what was not tested and why, so that a green run on a laptop is not taken for more than it is. In CI the last line is the
 * count alone.
 */
import type { Reporter, TestModule } from 'vitest/node'

function count(modules: readonly TestModule[], state: 'passed' | 'failed'): number {
  // A file that could not even be read has no tests to fail, and fails itself.
  const broken = state === 'failed' ? modules.filter((module) => module.errors().length > 0).length : 0
  return modules.reduce((sum, module) => sum + [...module.children.allTests(state)].length, broken)
}

export default class SkippedReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const lines: string[] = []
    for (const module of modules) {
      for (const test of module.children.allTests('skipped')) {
        const result = test.result()
        const note = result.state === 'skipped' ? result.note : undefined
        lines.push(`  ${test.fullName} — ${note ?? (test.meta() as { readonly needs?: string }).needs ?? 'no reason given'}`)
      }
    }
    console.log(lines.length > 0 ? `\n${lines.length} skipped:\n${lines.join('\n')}` : '\nNothing was skipped.')
    if (process.env.CI) console.log(`\n${count(modules, 'passed')} passed, ${count(modules, 'failed')} failed, ${lines.length} skipped`)
  }
}
