// `runledger doctor` against real directories: what is fit, and what is named when it is not.

import { mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { doctor, examine } from '../src/cli/doctor.ts'
import { openDataDir } from '../src/data-dir.ts'

afterEach(() => {
  process.exitCode = 0
})

const newDir = () => mkdtempSync(join(tmpdir(), 'runledger-doctor-'))
const outcomes = async (env: Record<string, string>) =>
  Object.fromEntries((await examine(env)).map(({ name, outcome }) => [name, outcome]))

test('a fit machine is ok on every count, and nothing is left behind', async () => {
  const dir = newDir()
  const found = await outcomes({ RUNLEDGER_DATA_DIR: dir })
  expect(Object.keys(found)).toEqual([
    'node',
    'settings',
    'clickhouse',
    'postgres',
    'data dir',
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

test('wrong settings are all named, each with its variable', async () => {
  const [, settings] = await examine({ PORT: 'many', CLICKHOUSE_URL: 'ftp://x' })
  expect(settings).toMatchObject({ name: 'settings', outcome: 'fail' })
  expect(settings?.says).toMatch(/PORT: .*\n.*CLICKHOUSE_URL: /)
})
