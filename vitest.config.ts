import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    includeTaskLocation: true,
    // Only where all tests run, as in CI: a row whose tests do not run is a failure there.
    reporters: [
      'default',
      ...(process.env.CONFORMANCE === 'table' ? ['./test/conformance-reporter.ts'] : []),
      './test/skipped-reporter.ts',
    ],
  },
})
