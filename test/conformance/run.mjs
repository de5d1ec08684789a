// `npm run conformance [-- --url … --header k=v]`: prints the table. TypeScript is bundled first, as for the measurements.

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'vite'

const root = fileURLToPath(new URL('../..', import.meta.url))
const args = process.argv.slice(2)

// The product that is measured is the one of this source; another endpoint needs no build of it.
if (!args.includes('--url')) {
  const built = spawnSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: 'inherit' })
  if (built.status !== 0) throw new Error('npm run build failed')
}

// Inside the repository, so that the bundle finds its packages.
mkdirSync(join(root, 'dist'), { recursive: true })
const scratch = mkdtempSync(join(root, 'dist', 'conformance-'))
try {
  await build({
    root,
    configFile: false,
    logLevel: 'warn',
    build: {
      ssr: fileURLToPath(new URL('table.ts', import.meta.url)),
      outDir: scratch,
      emptyOutDir: false,
      target: 'node20',
      rolldownOptions: { output: { entryFileNames: 'table.js' } },
    },
  })
  const { run } = await import(pathToFileURL(join(scratch, 'table.js')).href)
  process.exitCode = (await run(args)) === 0 ? 0 : 1
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
