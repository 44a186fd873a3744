/** Ends a run with what was not tested and why, so that a green run on a laptop is not taken for more than it is. */
import type { Reporter, TestModule } from 'vitest/node'

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
    if (lines.length > 0) console.log(`\n${lines.length} skipped:\n${lines.join('\n')}`)
  }
}
