// Node 20 runs no TypeScript: what tests start as a process of its own is built first, from the sources as they are now.

import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { build } from 'vite'
import { packageRoot } from '../src/root.ts'

/** Builds dist/server/chdb-child.js unless it is newer than every file it is made of. Safe beside other workers. */
export async function buildChild(): Promise<void> {
  const sources = join(packageRoot(), 'src', 'engines')
  const built = join(packageRoot(), 'dist', 'server', 'chdb-child.js')
  const newest = Math.max(
    ...readdirSync(sources).map((name) => statSync(join(sources, name)).mtimeMs),
  )
  if (existsSync(built) && statSync(built).mtimeMs > newest) return
  await buildEntry(join(sources, 'chdb-child.ts'), join(packageRoot(), 'dist', 'server'))
}

/** Bundles one program into `outDir`, packages left outside; the path of the result. */
export async function buildEntry(
  entry: string,
  outDir = join(packageRoot(), 'dist', 'test'),
): Promise<string> {
  const name = basename(entry).replace(/\.ts$/, '.js')
  const own = join(packageRoot(), 'dist', `building-${process.pid}`)
  await build({
    configFile: false,
    logLevel: 'warn',
    build: {
      ssr: entry,
      target: 'node20',
      outDir: own,
      minify: false,
      rolldownOptions: { output: { format: 'esm', entryFileNames: name } },
    },
  })
  // Another worker may be starting the old file at this moment: a rename never shows it half a program.
  mkdirSync(outDir, { recursive: true })
  renameSync(join(own, name), join(outDir, name))
  rmSync(own, { recursive: true, force: true })
  return join(outDir, name)
}
