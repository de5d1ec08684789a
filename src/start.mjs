#!/usr/bin/env node
// What `npm start` runs. Builds what is missing or older than its sources, then starts the plane in this process.

import { spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

const builds = [
  {
    script: 'build:server',
    output: 'dist/server/main.js',
    sources: ['src', 'collectors', 'replay', 'schemas'],
  },
  {
    script: 'build:console',
    output: 'dist/console/index.html',
    sources: ['dashboards', 'schemas'],
  },
]

for (const { script, output, sources } of builds) {
  if (isFresh(output, sources)) continue
  console.error(`Building (${script}) …`)
  const built = spawnSync('npm', ['run', '--silent', script], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  if (built.status !== 0) {
    process.exitCode = 1
    throw new Error(`${script} failed; see above.`)
  }
}

await import(new URL('../dist/server/main.js', import.meta.url).href)

function isFresh(output, sources) {
  const built = statSync(`${root}${output}`, { throwIfNoEntry: false })?.mtimeMs
  return built !== undefined && sources.every((folder) => newestOf(`${root}${folder}`) <= built)
}

function newestOf(folder) {
  let newest = 0
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile())
      newest = Math.max(newest, statSync(`${entry.parentPath}/${entry.name}`).mtimeMs)
  }
  return newest
}
