// Builds the console, the verify page and the pages of docs/ into dist/console: HTML files, hashed assets, nothing inline, nothing from outside.

import { fileURLToPath } from 'node:url'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))

const plane = `http://127.0.0.1:${process.env.PORT ?? '4100'}`

export default defineConfig({
  root: at('.'),
  base: '/console/',
  logLevel: 'warn',
  plugins: [react()],
  // `npm run dev`: the page comes from here, its answers from the plane beside it.
  server: { proxy: { '/v1': plane, '/console/session': plane } },
  build: {
    outDir: at('../../dist/console'),
    emptyOutDir: true,
    target: ['chrome123', 'firefox120', 'safari17.5'],
    modulePreload: { polyfill: false },
    // A data: font or script would need a wider policy than the plane sends.
    assetsInlineLimit: 0,
    sourcemap: true,
    rolldownOptions: {
      input: {
        index: at('./index.html'),
        verify: at('./verify.html'),
        prompts: at('./docs/prompts.html'),
        experiments: at('./docs/experiments.html'),
      },
    },
  },
})
