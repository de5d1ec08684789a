// `npm run bench [-- name …]`: runs the named measurements, all without a name, and prints one table. TypeScript is bundled first.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'vite'

const root = fileURLToPath(new URL('../..', import.meta.url))
const here = fileURLToPath(new URL('.', import.meta.url))
const names = readdirSync(here)
  .filter((name) => name.endsWith('.bench.ts'))
  .map((name) => name.slice(0, -'.bench.ts'.length))
const [asked, options] = [
  process.argv.slice(2).filter((word) => !word.startsWith('--')),
  process.argv.slice(2).filter((word) => word.startsWith('--')),
]
const unknown = asked.filter((name) => !names.includes(name))
if (unknown.length > 0)
  throw new Error(`No such measurement: ${unknown.join(', ')}. There are: ${names.join(', ')}.`)

for (const script of ['build:server', 'build:console'])
  spawnSync('npm', ['run', '--silent', script], { cwd: root, stdio: 'inherit' })

// Inside the repository, so that the bundles find their packages.
const scratch = mkdtempSync(join(root, 'dist', 'bench-'))
try {
  console.log(
    `${cpus().length} × ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}\n`,
  )
  for (const name of asked.length > 0 ? asked : names) {
    await build({
      root,
      configFile: false,
      logLevel: 'warn',
      build: {
        ssr: join(here, `${name}.bench.ts`),
        outDir: scratch,
        emptyOutDir: false,
        target: 'node20',
        rolldownOptions: { output: { entryFileNames: `${name}.js` } },
      },
    })
    const { run, method } = await import(pathToFileURL(join(scratch, `${name}.js`)).href)
    console.log(`## ${name}\n${method}\n`)
    for (const row of await run(options)) {
      console.log(`| ${row.name} | ${row.figure} ${row.unit} | ${row.reference ?? ''} |`)
    }
    console.log('')
  }
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
