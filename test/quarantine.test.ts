// What ClickHouse refused is not lost: it can be listed, looked at, loaded again after the cause is mended, and dropped.

import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Disk, nodeDisk } from '../collectors/spool/disk.ts'
import { spoolLimits } from '../collectors/spool/limits.ts'
import { Quarantine } from '../collectors/spool/quarantine.ts'
import { openSpool, type Spool } from '../collectors/spool/spool.ts'
import { quarantine } from '../src/cli/quarantine.ts'
import { openDataDir } from '../src/data-dir.ts'
import { contains, MemoryClickHouse, poison, pushSpan } from './spool-rows.ts'
import { openWorld, smallLimits, until } from './spool-world.ts'

let dir: string
let house: MemoryClickHouse

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'runledger-quarantine-'))
  writeFileSync(join(dir, 'runledger-data'), '1\n')
  house = new MemoryClickHouse()
})
afterEach(() => {
  process.exitCode = 0
  rmSync(dir, { recursive: true, force: true })
})

async function run(...args: string[]): Promise<string> {
  const lines: string[] = []
  await quarantine(args, { RUNLEDGER_DATA_DIR: dir }, (line) => lines.push(line))
  return lines.join('\n')
}

async function openIn(): Promise<Spool> {
  const spool = await openSpool({
    ...{ dir: join(dir, 'spool'), nowMs: Date.now, limits: smallLimits },
    ...{ counters: { count: () => {} }, log: () => {} },
  })
  spool.drainTo(house.insert)
  return spool
}

/** A spool on this disk in which the span `bad` was refused, and closed again. */
async function withRefused(): Promise<string> {
  house.before = (attempt) =>
    attempt.table === 'spans' && contains(attempt, 'bad') ? poison('no such column') : undefined
  const spool = await openIn()
  for (const name of ['good', 'bad']) await spool.write((batch) => pushSpan(batch, name))
  await spool.flush()
  await spool.close()
  expect(house.names('spans')).toEqual(['good'])
  const [file = ''] = asideFiles().filter((name) => name.endsWith('.bin'))
  return file.replace('.bin', '')
}

function asideFiles(): string[] {
  return readdirSync(join(dir, 'spool', 'quarantine'))
}

test('what was refused is listed with its reason, shown whole, and dropped when it is told to be', async () => {
  const name = await withRefused()
  expect(await run('list')).toMatch(new RegExp(`^${name}  1 rows, \\d+ bytes: no such column$`))
  const shown = JSON.parse(await run('show', name))
  expect(shown).toMatchObject({ name, table: 'spans', rows: 1, marked: false })
  expect(shown.file).toBe(join(dir, 'spool', 'quarantine', `${name}.bin`))
  await expect(run('drop', 'another')).rejects.toThrow('Nothing named another')
  await expect(run('drop')).rejects.toThrow('Say what')
  expect(await run('drop', name)).toBe(`${name} is removed for good.`)
  expect(asideFiles()).toEqual([])
  expect(await run()).toBe('The quarantine is empty.')
})

test.each([1, 2])(
  'what was being dropped is gone at the next start, though the one who dropped it was killed at step %i',
  async (steps) => {
    const name = await withRefused()
    let left = steps
    const dying: Disk = {
      ...nodeDisk,
      async remove(path) {
        if (left === 0) throw new Error('killed')
        left -= 1
        await nodeDisk.remove(path)
      },
    }
    const aside = new Quarantine(dying, join(dir, 'spool', 'quarantine'), spoolLimits)
    writeFileSync(join(dir, 'spool', 'quarantine', `${name}.json.tmp`), '{')
    await aside.remove(name).catch(() => {})
    expect(asideFiles()).not.toEqual([])
    const spool = await openIn()
    await until(() => asideFiles().length === 0 && spool.state().quarantineBytes === 0)
    expect(house.names('spans')).toEqual(['good'])
    await spool.close()
  },
)

test('rows that are marked while nothing runs are loaded by the next start, once', async () => {
  const name = await withRefused()
  house.before = () => undefined
  expect(await run('retry', '--all')).toBe(`${name} is marked; the next start loads it.`)
  const spool = await openIn()
  await until(() => asideFiles().length === 0 && spool.state().quarantineBytes === 0)
  expect(house.names('spans')).toEqual(['good', 'bad'])
  await spool.close()
})

test('a running plane loads what is marked, or says why not', async () => {
  const name = await withRefused()
  house.before = () => poison('still none')
  const held = await openDataDir(dir)
  const spool = await openIn()
  expect(await run('retry', name)).toBe(`${name} was refused again: still none`)
  expect(process.exitCode).toBe(1)
  expect(asideFiles().toSorted()).toEqual([`${name}.bin`, `${name}.json`])
  house.before = () => undefined
  expect(await run('retry', name)).toBe(`${name} was loaded.`)
  expect(house.names('spans')).toEqual(['good', 'bad'])
  await spool.close()
  await held.release()
})

test('bytes that were no rows are said to be none, and stay', async () => {
  const aside = join(dir, 'spool', 'calls', 'quarantine')
  mkdirSync(aside, { recursive: true })
  writeFileSync(join(aside, '1-64.torn.bin'), 'torn')
  const facts = { segment: 1, offset: 64, bytes: 4, reason: 'torn' }
  writeFileSync(join(aside, '1-64.torn.json'), JSON.stringify(facts))
  expect(await run('retry', 'calls/1-64.torn')).toMatch(/not rows/)
  expect(process.exitCode).toBe(1)
  expect(await run('list')).toBe('calls/1-64.torn  4 bytes: torn')
})

test('loading again doubles nothing, whichever call of the disk the process dies at', async () => {
  let at = 0
  for (let wasCut = true; wasCut; at++) {
    house = new MemoryClickHouse()
    house.before = (attempt) => (contains(attempt, 'bad') ? poison() : undefined)
    const first = await openWorld()
    await first.spool.write((batch) => pushSpan(batch, 'bad'))
    first.spool.drainTo(house.insert)
    await first.spool.flush()
    await first.spool.close()
    const marks = first.disk
      .paths()
      .filter((path) => path.includes('/quarantine/') && path.endsWith('.json'))
    for (const path of marks) await touch(first.disk, path.replace('.json', '.again'))
    house.before = () => undefined
    const second = await openWorld({ disk: first.disk })
    let crashed: typeof first.disk | undefined
    let calls = 0
    second.disk.fault = (_, path) => {
      if (path.includes('/quarantine') && !crashed && calls++ === at)
        crashed = second.disk.crash('kill')
      return undefined
    }
    second.spool.drainTo(house.insert)
    await until(() => crashed !== undefined || isEmpty(second.disk))
    await second.spool.close(0)
    wasCut = crashed !== undefined
    second.disk.fault = () => undefined
    const third = await openWorld({ disk: crashed ?? second.disk })
    third.spool.drainTo(house.insert)
    await until(() => isEmpty(third.disk))
    expect(house.names('spans'), `call ${at}`).toEqual(['bad'])
    expect(house.names('payloads'), `call ${at}`).toEqual(['bad'])
    await third.spool.close()
  }
  expect(at).toBeGreaterThan(10)
})

type MemoryDisk = Awaited<ReturnType<typeof openWorld>>['disk']

async function touch(disk: MemoryDisk, path: string): Promise<void> {
  await (await disk.open(path, 'create')).close()
}

function isEmpty(disk: MemoryDisk): boolean {
  return !disk.paths().some((path) => path.includes('/quarantine/'))
}
