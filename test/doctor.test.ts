// `runledger doctor` against real directories: what is fit, and what is named when it is not.

import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { doctor, examine } from '../src/cli/doctor.ts'
import { openDataDir } from '../src/data-dir.ts'
import { startClickhouse } from '../src/engines/clickhouse.ts'
import { connectClickhouse } from '../src/stores/clickhouse.ts'
import { startWorld } from './world.ts'

afterEach(() => {
  process.exitCode = 0
})

const newDir = () => mkdtempSync(join(tmpdir(), 'runledger-doctor-'))
const outcomes = async (env: Record<string, string>) =>
  Object.fromEntries((await examine(env)).map(({ name, outcome }) => [name, outcome]))

test('a fit machine is ok on every count, and nothing is left behind', async () => {
  const dir = newDir()
  const found = await outcomes({ RUNLEDGER_DATA_DIR: dir, PORT: '0' })
  expect(Object.keys(found)).toEqual([
    'node',
    'settings',
    'config',
    'port',
    'clickhouse',
    'postgres',
    'data dir',
    'modes',
    'spool',
    'disk',
    'fdatasync',
    'clock',
  ])
  expect(Object.entries(found).filter(([, outcome]) => outcome === 'fail')).toEqual([])
  expect(readdirSync(dir).filter((name) => name.startsWith('doctor'))).toEqual([])
})

test('a data directory in use is named, and is not measured under its user', async () => {
  const dir = newDir()
  const held = await openDataDir(dir)
  const lines: string[] = []
  await doctor({ RUNLEDGER_DATA_DIR: dir }, (line) => lines.push(line))
  await held.release()
  expect(lines.find((line) => line.startsWith('fail'))).toMatch(/Another Runledger .*is using/)
  expect(lines.some((line) => line.includes('fdatasync'))).toBe(false)
  expect(process.exitCode).toBe(1)
})

test('a plane that runs is asked how it is, and is no fault', async () => {
  const world = await startWorld()
  try {
    const { port } = new URL(world.url)
    const found = await examine({ RUNLEDGER_DATA_DIR: world.dataDir, PORT: port })
    expect(found.filter(({ outcome }) => outcome === 'fail')).toEqual([])
    expect(found.find(({ name }) => name === 'plane')).toMatchObject({
      outcome: 'ok',
      says: expect.stringMatching(/^Version .* runs here; \d+ rows on their way\.$/),
    })
    expect(found.map(({ name }) => name)).not.toContain('data dir')
  } finally {
    await world.end()
  }
})

test('wrong settings are all named, each with its variable', async () => {
  const [, settings] = await examine({ PORT: 'many', CLICKHOUSE_URL: 'ftp://x' })
  expect(settings).toMatchObject({ name: 'settings', outcome: 'fail' })
  expect(settings?.says).toMatch(/PORT: .*\n.*CLICKHOUSE_URL: /)
})

test('a port in use, a configuration with mistakes and files that others may read are each named', async () => {
  const dir = newDir()
  const held = await openDataDir(dir)
  await held.release()
  mkdirSync(join(dir, 'spool', 'quarantine'), { recursive: true, mode: 0o700 })
  writeFileSync(join(dir, 'spool', 'quarantine', '1-64.spans.bin'), 'refused', { mode: 0o600 })
  writeFileSync(join(dir, 'key'), 'secret', { mode: 0o644 })
  const config = join(newDir(), 'runledger.json')
  writeFileSync(config, '{"providers":[],"colour":"blue"}')
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const found = await examine({
    RUNLEDGER_DATA_DIR: dir,
    RUNLEDGER_CONFIG: config,
    PORT: String(port),
  })
  server.close()
  const says = (name: string) => found.find((finding) => finding.name === name)
  expect(says('port')).toMatchObject({
    outcome: 'fail',
    says: expect.stringContaining('EADDRINUSE'),
  })
  expect(says('config')).toMatchObject({ outcome: 'fail', says: expect.stringContaining('colour') })
  expect(says('modes')).toMatchObject({ outcome: 'warn', says: expect.stringContaining('key') })
  expect(says('spool')).toMatchObject({
    outcome: 'warn',
    says: expect.stringContaining('in quarantine'),
  })
})

test('databases of your own are asked for what the promises rest on, and one that is away is named', async () => {
  const dir = newDir()
  const clickhouse = await startClickhouse({ dir: join(dir, 'clickhouse'), log: () => {} })
  const client = connectClickhouse(clickhouse.url)
  const examined = async (env: Record<string, string>) => {
    const found = await examine({ RUNLEDGER_DATA_DIR: join(dir, 'data'), PORT: '0', ...env })
    return Object.fromEntries(found.map((finding) => [finding.name, finding]))
  }
  const env = { CLICKHOUSE_URL: clickhouse.url, DATABASE_URL: 'postgres://nobody@127.0.0.1:1/x' }
  const first = await examined(env)
  expect(first.clickhouse).toEqual({ name: 'clickhouse', outcome: 'ok', says: expect.any(String) })
  expect(first.postgres).toMatchObject({ outcome: 'fail' })
  await client.command('CREATE TABLE spans (a UInt8) ENGINE = MergeTree ORDER BY a')
  const second = await examined(env)
  expect(second.clickhouse).toMatchObject({
    outcome: 'fail',
    says: expect.stringContaining('table spans would store a repeated insert twice'),
  })
  await client.close()
  await clickhouse.stop()
})
