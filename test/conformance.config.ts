/** `npm run conformance`: of all tests those whose names have ids of the conformance table, from the files that have such tests. */
import { defineConfig } from 'vitest/config'
import { idsInFiles } from './conformance.ts'

export default defineConfig({
  test: {
    include: [...idsInFiles().keys()],
    // Ten thousand schedules take minutes, and show no row that nothing else shows; the table that CI prints has them, too.
    exclude: ['test/races/**'],
    testNamePattern: /(?:^| )C\d{2,}:? /,
    includeTaskLocation: true,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters: ['./test/conformance-reporter.ts'],
  },
})
