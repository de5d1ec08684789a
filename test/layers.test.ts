// The shape of this repository: who may import whom, how large a file may be, and who alone touches a heavy dependency.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

const mayImport: Record<string, string[]> = {
  schemas: ['schemas'],
  collectors: ['collectors', 'schemas'],
  replay: ['replay', 'schemas'],
  dashboards: ['dashboards', 'schemas'],
  src: ['src', 'schemas', 'collectors', 'replay'],
}

// Packages a folder may use. `src` and `test` may use what they like, but for the heavy ones below.
const mayUse: Record<string, RegExp> = {
  schemas: /^(zod|@noble\/ed25519)(\/|$)/,
  collectors: /^(node:|koa$|undici$|busboy$|@grpc\/grpc-js$|zod(\/|$))/,
  replay: /^(node:|bullmq$|zod(\/|$)|string-similarity$)/,
  dashboards: /^(node:url$|react|@tanstack\/|vite$|@vitejs\/)/,
}

const oneImporter: Record<string, RegExp> = {
  '@clickhouse/client': /^src\/stores\/clickhouse\.ts$/,
  pg: /^src\/stores\/postgres\.ts$/,
  bullmq: /^replay\/queues\.ts$/,
  undici: /^collectors\/proxy\/outbound\.ts$/,
  busboy: /^collectors\/proxy\/upload\.ts$/,
  chdb: /^src\/engines\//,
  '@grpc/grpc-js': /^collectors\/otlp\/grpc\.ts$/,
}

const fileLinesMax = 300
const functionLinesMax = 70

const files = ['src', 'collectors', 'replay', 'schemas', 'dashboards', 'test'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|tsx)$/.test(name) && !name.includes('node_modules'))
    .map((name) => join(folder, name)),
)

const importsOf = (file: string) =>
  [
    ...read(file).matchAll(
      /^\s*(?:import|export)\b[^'"`;]*?from\s+['"]([^'"]+)['"]|^\s*import\s+['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm,
    ),
  ].map((match) => match[1] ?? match[2] ?? match[3] ?? '')

test('a folder imports only the folders below it', () => {
  const wrong = files.flatMap((file) => {
    const folder = file.split('/')[0] ?? ''
    return importsOf(file)
      .filter((name) => name.startsWith('.'))
      .map((name) => relative(root, resolve(root, dirname(file), name)))
      .filter(
        (target) => mayImport[folder] && !mayImport[folder].includes(target.split('/')[0] ?? ''),
      )
      .map((target) => `${file} imports ${target}`)
  })
  expect(wrong).toEqual([])
})

test('a folder uses only the packages it may', () => {
  const wrong = files.flatMap((file) => {
    const allowed = mayUse[file.split('/')[0] ?? '']
    return importsOf(file)
      .filter((name) => !name.startsWith('.') && allowed && !allowed.test(name))
      .map((name) => `${file} imports ${name}`)
  })
  expect(wrong).toEqual([])
})

test('a heavy dependency has one importer', () => {
  const wrong = files
    .filter((file) => !file.startsWith('test/'))
    .flatMap((file) =>
      importsOf(file)
        .filter((name) => oneImporter[name] && !oneImporter[name].test(file))
        .map((name) => `${file} imports ${name}`),
    )
  expect(wrong).toEqual([])
})

test('a file has at most 300 lines, and none is called index', () => {
  const product = files.filter((file) => !file.startsWith('test/'))
  expect(product.filter((file) => read(file).split('\n').length - 1 > fileLinesMax)).toEqual([])
  expect(files.filter((file) => /(^|\/)index\.tsx?$/.test(file))).toEqual([])
})

test('a function has at most 70 lines', () => {
  const wrong = files
    .filter((file) => !file.startsWith('test/'))
    .flatMap((file) => longFunctions(file))
  expect(wrong).toEqual([])
})

test('the environment is read in one place, and no one ends the process', () => {
  const inside = files.filter((file) => /^(src|collectors|replay|schemas)\//.test(file))
  expect(
    inside.filter((file) => file !== 'src/main.ts' && /process\.env\b/.test(code(file))),
  ).toEqual([])
  expect(inside.filter((file) => /process\.exit\(/.test(code(file)))).toEqual([])
})

test('every file says first what it is for', () => {
  const product = files.filter((file) => !file.endsWith('.d.ts'))
  expect(product.filter((file) => !/^(\/\/|\/\*|#!)/.test(read(file)))).toEqual([])
})

test('every folder that the map names has its README', () => {
  const folders = ['src', 'collectors', 'replay', 'schemas', 'dashboards', 'test']
  expect(
    folders.filter(
      (folder) => !statSync(join(root, folder, 'README.md'), { throwIfNoEntry: false }),
    ),
  ).toEqual([])
  expect(read('README.md').split('\n').length).toBeLessThanOrEqual(151)
})

test('migrations are numbered one after the other', () => {
  for (const store of ['postgres', 'clickhouse']) {
    const names = readdirSync(join(root, 'schemas', store)).filter((name) => name.endsWith('.sql'))
    expect(names.sort().map((name) => Number(name.slice(0, 4)))).toEqual(names.map((_, i) => i + 1))
  }
})

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8')
}

function code(file: string): string {
  return read(file).replace(/^\s*(\/\/|\*|\/\*).*$/gm, '')
}

// The formatter puts a function's closing brace in the column of its first line, which is all this needs to know.
// A function that is only declarations of others inside (a factory's body) is measured by what stands between them.
function longFunctions(file: string): string[] {
  const lines = read(file).split('\n')
  const found: string[] = []
  lines.forEach((line, start) => {
    const match = /^(\s*)(?:export )?(?:default )?(?:async )?function\*? (\w+)/.exec(line)
    if (!match) return
    const end = lines.findIndex((other, i) => i >= start && other.startsWith(`${match[1]}}`))
    const inner = innerFunctionLines(lines.slice(start + 1, end), `${match[1]}  `)
    if (end - start + 1 - inner > functionLinesMax)
      found.push(`${file}: ${match[2]} has ${end - start + 1 - inner} lines`)
  })
  return found
}

function innerFunctionLines(body: string[], indent: string): number {
  let count = 0
  for (let i = 0; i < body.length; i++) {
    if (!new RegExp(`^${indent}(?:async )?function\\*? \\w+`).test(body[i] ?? '')) continue
    const end = body.findIndex((line, j) => j > i && line.startsWith(`${indent}}`))
    count += end - i + 1
    i = end
  }
  return count
}

test('every figure of /metrics says what it is, and counts in base units', () => {
  const told = read('src/metric-help.ts')
  const said = new Set([...told.matchAll(/^ {2}([a-z_]+):/gm)].map(([, name]) => name ?? ''))
  const counted = new Set<string>()
  for (const file of files.filter((one) => /^(src|collectors|replay)/.test(one)))
    for (const [, total, called, listed] of read(file).matchAll(
      /'([a-z_]+_total)'|\b(?:gauge|histogram)\(\s*[\w.,\s]*'([a-z_]+)'|\['([a-z_]+)', 'gauge'/g,
    ))
      counted.add(total ?? called ?? listed ?? '')
  expect([...counted].filter((name) => !said.has(name))).toEqual([])
  expect([...said].filter((name) => !counted.has(name))).toEqual([])
  expect([...counted].filter((name) => /_(ms|us|ns|kb|mb|count)$/.test(name))).toEqual([])
})
