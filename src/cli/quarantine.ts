// `runledger quarantine`: what ClickHouse refused for good or could not be read, why, and what is to become of it.
// Law: it works beside a running plane and without one. A retry is a mark on disk; whoever drains the spool loads what is marked.

import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { nodeDisk } from '../../collectors/spool/disk.ts'
import { spoolLimits } from '../../collectors/spool/limits.ts'
import { type Entry, Quarantine } from '../../collectors/spool/quarantine.ts'
import { readSettings } from '../../schemas/settings.ts'
import { openDataDir } from '../data-dir.ts'

const usage = 'Say what: list, show NAME, retry NAME or --all, drop NAME or --all.'
const lookEveryMs = 200
const retryDeadlineMs = 30_000
const reasonCharsShown = 100

type Print = (line: string) => void
/** One thing that is set aside, under the name it goes by here: the lane of calls is part of it. */
type Held = { name: string; path: string; entry: Entry; aside: Quarantine }

/** Sets the exit code to 1 when something stays that was to be loaded. */
export async function quarantine(
  args: string[],
  env: Record<string, string | undefined>,
  print: Print = console.log,
): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { all: { type: 'boolean', default: false } },
  })
  const [verb = 'list', ...names] = positionals
  const { dataDir } = readSettings(env)
  const all = await findAll(resolve(dataDir))
  switch (verb) {
    case 'list':
      return list(all, print)
    case 'show':
      return show(pick(all, names, false), print)
    case 'retry':
      return retry(pick(all, names, values.all), { dataDir, print })
    case 'drop':
      return drop(pick(all, names, values.all), print)
    default:
      throw new Error(usage)
  }
}

async function findAll(dataDir: string): Promise<Held[]> {
  const held: Held[] = []
  for (const lane of ['', 'calls/']) {
    const dir = join(dataDir, 'spool', lane, 'quarantine')
    if (!existsSync(dir)) continue
    const aside = new Quarantine(nodeDisk, dir, spoolLimits)
    for (const entry of await aside.entries())
      held.push({
        ...{ name: `${lane}${entry.name}`, path: join(dir, `${entry.name}.bin`) },
        ...{ entry, aside },
      })
  }
  return held
}

function pick(all: readonly Held[], names: readonly string[], isAll: boolean): readonly Held[] {
  if (isAll && names.length === 0) return all
  if (isAll || names.length === 0) throw new Error(usage)
  return names.map((name) => {
    const found = all.find((held) => held.name === name)
    if (!found) throw new Error(`Nothing named ${name} is in quarantine.`)
    return found
  })
}

function list(all: readonly Held[], print: Print): void {
  if (all.length === 0) print('The quarantine is empty.')
  for (const { name, entry } of all) {
    const { rows, bytes, reason } = entry.facts
    const size = rows === undefined ? `${bytes} bytes` : `${rows} rows, ${bytes} bytes`
    const marked = entry.isMarked ? ' (to be loaded again)' : ''
    print(`${name}  ${size}${marked}: ${reason.slice(0, reasonCharsShown)}`)
  }
}

function show(picked: readonly Held[], print: Print): void {
  for (const { name, path, entry } of picked)
    print(JSON.stringify({ name, file: path, marked: entry.isMarked, ...entry.facts }, null, 2))
}

async function drop(picked: readonly Held[], print: Print): Promise<void> {
  for (const { name, entry, aside } of picked) {
    await aside.remove(entry.name)
    print(`${name} is removed for good.`)
  }
}

async function retry(
  picked: readonly Held[],
  { dataDir, print }: { dataDir: string; print: Print },
): Promise<void> {
  const loadable = picked.filter(({ name, entry }) => {
    if (entry.facts.table !== undefined) return true
    print(`${name} is bytes that could not be read, not rows: look at them, then drop it.`)
    process.exitCode = 1
    return false
  })
  for (const { entry, aside } of loadable) await aside.mark(entry.name)
  const isRunning = await isInUse(dataDir)
  for (const { name, entry, aside } of loadable) {
    if (!isRunning) {
      print(`${name} is marked; the next start loads it.`)
      continue
    }
    const became = await outcomeOf(aside, entry)
    print(`${name} ${became.says}`)
    if (!became.isLoaded) process.exitCode = 1
  }
}

async function outcomeOf(
  aside: Quarantine,
  { name }: Entry,
): Promise<{ isLoaded: boolean; says: string }> {
  const until = performance.now() + retryDeadlineMs
  for (;;) {
    const now = await aside.find(name)
    if (!now) return { isLoaded: true, says: 'was loaded.' }
    if (!now.isMarked) return { isLoaded: false, says: `was refused again: ${now.facts.reason}` }
    if (performance.now() > until)
      return { isLoaded: false, says: 'is marked; the plane loads it once ClickHouse takes rows.' }
    await wait(lookEveryMs)
  }
}

async function isInUse(dataDir: string): Promise<boolean> {
  try {
    await (await openDataDir(dataDir)).release()
    return false
  } catch {
    return true
  }
}
