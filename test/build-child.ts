// The chDB child runs from its built form. Tests that start it build it first, from the sources as they are now.

import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'vite'
import { packageRoot } from '../src/root.ts'

/** Builds dist/server/chdb-child.js unless it is newer than every file it is made of. Safe beside other workers. */
export async function buildChild(): Promise<void> {
  const sources = join(packageRoot(), 'src', 'engines')
  const out = join(packageRoot(), 'dist', 'server')
  const built = join(out, 'chdb-child.js')
  const newest = Math.max(
    ...readdirSync(sources).map((name) => statSync(join(sources, name)).mtimeMs),
  )
  if (existsSync(built) && statSync(built).mtimeMs > newest) return
  const own = join(packageRoot(), 'dist', `child-${process.pid}`)
  await build({
    configFile: false,
    logLevel: 'warn',
    build: {
      ssr: join(sources, 'chdb-child.ts'),
      target: 'node20',
      outDir: own,
      minify: false,
      rolldownOptions: { output: { format: 'esm', entryFileNames: 'chdb-child.js' } },
    },
  })
  // Another worker may be starting the old file at this moment: a rename never shows it half a program.
  mkdirSync(out, { recursive: true })
  renameSync(join(own, 'chdb-child.js'), built)
  rmSync(own, { recursive: true, force: true })
}
