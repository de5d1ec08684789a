// `runledger doctor`: is this machine fit to run the plane, and how fast does its disk keep a promise. Changes nothing it finds.

import { open, rm, statfs } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { readSettings, type Settings } from '../../schemas/settings.ts'
import { openDataDir } from '../data-dir.ts'
import { findPrograms } from '../engines/postgres-files.ts'

/** `warn`: it will run, and not as well as it could. */
export type Finding = { name: string; outcome: 'ok' | 'warn' | 'fail'; says: string }

const syncs = 100
const syncBytes = 8 * 1024
// Above it an acknowledgement takes longer than most exporters find pleasant; nothing is lost.
const slowSyncMs = 20
const freeBytesMin = 2 * 2 ** 30
// Longer than any pause of a loaded machine, so that what differs after it is the clock.
const clockWatchMs = 300
const clockStepMs = 50
// A laptop whose battery died wakes up here.
const builtAtMs = Date.UTC(2026, 0, 1)
const nodeMajorMin = 20

/** Prints what it finds; sets the exit code to 1 when something must be mended first. */
export async function doctor(
  env: Record<string, string | undefined>,
  print: (line: string) => void = console.log,
): Promise<void> {
  const findings = await examine(env)
  for (const { name, outcome, says } of findings)
    print(`${outcome.padEnd(5)} ${name.padEnd(12)} ${says}`)
  if (findings.some(({ outcome }) => outcome === 'fail')) process.exitCode = 1
}

export async function examine(env: Record<string, string | undefined>): Promise<Finding[]> {
  const findings = [aboutNode()]
  let settings: Settings
  try {
    settings = readSettings(env)
    findings.push({ name: 'settings', outcome: 'ok', says: 'All of them are valid.' })
  } catch (error) {
    return [...findings, failed('settings', error)]
  }
  findings.push(...aboutEngines(settings))
  return [...findings, ...(await aboutDataDir(settings.dataDir)), await aboutClock()]
}

function aboutNode(): Finding {
  const { node } = process.versions
  const isFit = Number(node.split('.')[0]) >= nodeMajorMin
  return {
    name: 'node',
    outcome: isFit ? 'ok' : 'fail',
    says: isFit
      ? `Version ${node}.`
      : `Version ${node} is too old: ${nodeMajorMin}.20 or later is needed.`,
  }
}

function aboutEngines(settings: Settings): Finding[] {
  const look = (name: string, external: string | undefined, find: () => string): Finding => {
    if (external) return { name, outcome: 'ok', says: 'Your own; not embedded.' }
    try {
      return { name, outcome: 'ok', says: find() }
    } catch (error) {
      return failed(name, error)
    }
  }
  const require = createRequire(import.meta.url)
  return [
    look(
      'clickhouse',
      settings.clickhouseUrl,
      () => `Embedded, chdb ${require('chdb/package.json').version}.`,
    ),
    look('postgres', settings.databaseUrl, () => {
      findPrograms()
      return 'Embedded; its programs are there.'
    }),
  ]
}

async function aboutDataDir(path: string): Promise<Finding[]> {
  let dir: Awaited<ReturnType<typeof openDataDir>>
  try {
    dir = await openDataDir(path)
  } catch (error) {
    // A plane that runs is healthy as far as this goes, and its disk must not be measured under it.
    return [failed('data dir', error)]
  }
  try {
    const lock: Finding = {
      name: 'data dir',
      outcome: 'ok',
      says: `${dir.path} is ours and nobody uses it.`,
    }
    return [lock, await aboutSpace(dir.path), await aboutSync(dir.path)]
  } finally {
    await dir.release()
  }
}

async function aboutSpace(path: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(path)
  const free = bavail * bsize
  const says = `${(free / 2 ** 30).toFixed(1)} GiB free.`
  return free >= freeBytesMin
    ? { name: 'disk', outcome: 'ok', says }
    : { name: 'disk', outcome: 'warn', says: `${says} Ingest answers 503 when it is nearly full.` }
}

/** What an acknowledgement costs here: append and `fdatasync`, as the spool does. */
async function aboutSync(path: string): Promise<Finding> {
  const file = join(path, `doctor-${process.pid}`)
  const handle = await open(file, 'wx', 0o600)
  try {
    const block = Buffer.alloc(syncBytes, 1)
    const times: number[] = []
    for (let i = 0; i < syncs; i++) {
      await handle.write(block)
      const startedAt = performance.now()
      await handle.datasync()
      times.push(performance.now() - startedAt)
    }
    times.sort((a, b) => a - b)
    const [p50, p99] = [times[syncs / 2] ?? 0, times[syncs - 1] ?? 0]
    const says = `p50 ${p50.toFixed(2)} ms, slowest of ${syncs} ${p99.toFixed(2)} ms for ${syncBytes / 1024} KiB.`
    return { name: 'fdatasync', outcome: p50 > slowSyncMs ? 'warn' : 'ok', says }
  } finally {
    await handle.close()
    await rm(file, { force: true })
  }
}

async function aboutClock(): Promise<Finding> {
  const before = Date.now() - performance.now()
  await wait(clockWatchMs)
  const step = Math.abs(Date.now() - performance.now() - before)
  const now = new Date().toISOString()
  if (Date.now() < builtAtMs)
    return {
      name: 'clock',
      outcome: 'fail',
      says: `It says ${now}, which has long passed. Signed records would carry that time.`,
    }
  if (step > clockStepMs)
    return {
      name: 'clock',
      outcome: 'warn',
      says: `It moved by ${step.toFixed(0)} ms while it was watched.`,
    }
  return { name: 'clock', outcome: 'ok', says: `${now}, and steady.` }
}

function failed(name: string, error: unknown): Finding {
  return { name, outcome: 'fail', says: error instanceof Error ? error.message : String(error) }
}
