// Bundles the TypeScript of this folder and runs it; Node 20 cannot by itself.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'vite'

const root = fileURLToPath(new URL('../..', import.meta.url))
for (const script of ['build:server', 'build:console'])
  spawnSync('npm', ['run', '--silent', script], { cwd: root, stdio: 'inherit' })
// Inside the repository, so that the bundle finds its packages.
const scratch = mkdtempSync(join(root, 'dist', 'chaos-'))
try {
  await build({
    root,
    configFile: false,
    logLevel: 'warn',
    build: {
      ssr: fileURLToPath(new URL('./main.ts', import.meta.url)),
      outDir: scratch,
      emptyOutDir: false,
      target: 'node20',
      rolldownOptions: { output: { entryFileNames: 'main.js' } },
    },
  })
  const { main } = await import(pathToFileURL(join(scratch, 'main.js')).href)
  await main(process.argv.slice(2))
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
