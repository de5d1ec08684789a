// Bundles the server: one file for the plane, one for the ClickHouse child it starts, one for its thread. Packages stay outside.

import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  root: at('..'),
  logLevel: 'warn',
  build: {
    ssr: true,
    target: 'node20',
    outDir: at('../dist/server'),
    // A plane that runs from here may start its child again while a build goes on: nothing vanishes, files are replaced.
    emptyOutDir: false,
    minify: false,
    sourcemap: true,
    rolldownOptions: {
      input: {
        main: at('./main.ts'),
        'chdb-child': at('./engines/chdb-child.ts'),
        'discovery-thread': at('./registry/discovery-thread.ts'),
      },
      output: { format: 'esm', entryFileNames: '[name].js' },
    },
  },
})
