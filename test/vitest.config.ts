// One worker at a time for files that start engines would be slow; two keeps both cores busy without starving timers.

import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/first-start.ts'],
    setupFiles: ['test/seed.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // What is waited for comes: a second, as it would be otherwise, is not always enough where two engines start beside it.
    expect: { poll: { timeout: 20_000 } },
    reporters: ['default'],
  },
})
