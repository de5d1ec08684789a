// `runledger doctor`: is this machine fit to run the plane, and are the stores that it is to use. Changes nothing it finds.

import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { readSettings, type Settings } from '../../schemas/settings.ts'
import { openConfig } from '../config.ts'
import { openDataDir } from '../data-dir.ts'
import { aboutDisk, aboutFiles } from './doctor-disk.ts'
import { type Finding, failed } from './doctor-finding.ts'
import { aboutPlane } from './doctor-plane.ts'
import { aboutClickhouse, aboutPostgres } from './doctor-stores.ts'

export type { Finding } from './doctor-finding.ts'

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
  const plane = await aboutPlane(settings)
  findings.push(await aboutConfig(settings, env), plane ?? (await aboutPort(settings)))
  findings.push(await aboutClickhouse(settings.clickhouseUrl))
  findings.push(await aboutPostgres(settings.databaseUrl))
  // Its directory is held, as it must be, and its disk is not measured under it.
  if (!plane) findings.push(...(await aboutDataDir(settings.dataDir)))
  return [...findings, await aboutClock()]
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

async function aboutConfig(
  settings: Settings,
  env: Record<string, string | undefined>,
): Promise<Finding> {
  const quiet = { counters: { count: () => {} }, log: () => {} }
  try {
    const config = await openConfig({
      ...quiet,
      settings,
      env: (name) => env[name],
      nowMs: Date.now,
    })
    config.close()
    const says = 'It can be used; without a runledger.json the defaults hold.'
    return { name: 'config', outcome: 'ok', says }
  } catch (error) {
    return failed('config', error)
  }
}

async function aboutPort({ host, port }: Settings): Promise<Finding> {
  const server = createServer()
  try {
    server.listen(port, host)
    await once(server, 'listening')
    return { name: 'port', outcome: 'ok', says: `${host}:${port} is free.` }
  } catch (error) {
    return failed('port', error)
  } finally {
    server.close()
  }
}

async function aboutDataDir(path: string): Promise<Finding[]> {
  let dir: Awaited<ReturnType<typeof openDataDir>>
  try {
    dir = await openDataDir(path)
  } catch (error) {
    // Whoever holds it does not answer where this plane would.
    return [failed('data dir', error)]
  }
  try {
    const lock: Finding = {
      name: 'data dir',
      outcome: 'ok',
      says: `${dir.path} is ours and nobody uses it.`,
    }
    return [lock, ...(await aboutFiles(dir.path)), ...(await aboutDisk(dir.path))]
  } finally {
    await dir.release()
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
