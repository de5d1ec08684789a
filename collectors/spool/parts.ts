// What a spool is made of, opened and recovered: its directories, its identity, and what earlier runs left in it.

import { randomBytes } from 'node:crypto'
import type { Counters } from '../../schemas/counters.ts'
import { type Disk, loadFile, replaceFile } from './disk.ts'
import { DamagedDrainFile, type DrainState, loadDrainState } from './drain-file.ts'
import { loadRules } from './forgetting.ts'
import { OpenCalls } from './journal.ts'
import { reasonOf, type SpoolLimits, type SpoolLog } from './limits.ts'
import { Quarantine } from './quarantine.ts'
import { lastSeqOf, recover } from './recover.ts'
import { Retired } from './retired.ts'
import { Room } from './room.ts'
import { segmentName } from './segment.ts'
import { Sequence } from './sequence.ts'
import { Shelf } from './shelf.ts'
import { Tenants } from './tenants.ts'

export type SpoolOptions = {
  /** Made when missing. One process at a time: the owner of the data directory holds the lock. */
  dir: string
  nowMs: () => number
  counters: Counters
  log: SpoolLog
  limits?: Partial<SpoolLimits>
  /** Shared by the lanes of one spool; its own when absent. */
  sequence?: Sequence
  /** Tests put faults here. */
  disk?: Disk
}

export type Parts = Awaited<ReturnType<typeof openParts>>
export type Full = SpoolOptions & { limits: SpoolLimits; disk: Disk }

export async function openParts(options: Full) {
  const { dir, disk, limits, log, nowMs, counters } = options
  const dirs = { segments: `${dir}/segments`, drained: `${dir}/drained` }
  await disk.makeDir(dir)
  await disk.makeDir(dirs.segments)
  const quarantine = new Quarantine(disk, `${dir}/quarantine`, limits)
  await quarantine.open()
  const retired = new Retired({
    ...options,
    from: dirs.segments,
    dir: dirs.drained,
  })
  await retired.open()
  await disk.syncDir(dir)
  const node = await loadNode(disk, dir)
  const loaded = await loadState(options)
  const shelf = new Shelf(loaded?.cursor ?? { segment: 0, offset: 0 }, limits.heldBytes)
  const onTorn = (bytes: number) =>
    counters.count('spool_damaged_bytes_total', { where: 'tail' }, bytes)
  const openCalls = new OpenCalls()
  const found = await recover({
    ...options,
    ...{ dir: dirs.segments, shelf, openCalls, quarantine, onTorn },
  })
  const last = retired.lastNumber
  const path = `${dirs.drained}/${segmentName(last)}`
  let nextSeq = loaded?.seq ?? 0n
  if (!loaded && last > 0) nextSeq = await lastSeqOf(disk, path, last)
  if (found.nextSeq > nextSeq) nextSeq = found.nextSeq
  await retired.add(shelf.takeDrained())
  const sequence = options.sequence ?? new Sequence()
  sequence.startAt(nextSeq)
  const room: Room = new Room({
    ...{ disk, dir, limits, log },
    onLook: async () => {
      await retired.evict(room.isDiskLow)
      await quarantine
        .look()
        .catch(() => counters.count('spool_errors_total', { where: 'quarantine' }))
    },
  })
  const rules = await loadRules({ disk, dir, log, isRepeated: loaded === undefined })
  return {
    ...{ options, disk, dir, dirs, limits, nowMs, counters, log, node },
    ...{ quarantine, retired, shelf, room, rules, openCalls },
    interrupted: openCalls.all(),
    previous: found.previous,
    nextNumber: Math.max(found.nextNumber, last + 1),
    sequence,
    tenants: new Tenants(limits),
    drainState: loaded ?? { cursor: shelf.cursor, seq: 0n, plan: undefined },
  }
}

async function loadNode(disk: Disk, dir: string): Promise<string> {
  const text = (await loadFile(disk, `${dir}/node`))?.toString('latin1').trim()
  if (text !== undefined && /^[0-9a-f]{32}$/.test(text)) return text
  const node = randomBytes(16).toString('hex')
  await replaceFile(disk, { dir, name: 'node' }, [Buffer.from(`${node}\n`)])
  return node
}

/** A damaged file is put aside: then every segment still here is drained again, rather than any row lost. */
async function loadState({ disk, dir, log }: Full): Promise<DrainState | undefined> {
  try {
    return await loadDrainState(disk, dir)
  } catch (error) {
    if (!(error instanceof DamagedDrainFile)) throw error
    log('error', 'The drain file is damaged; segments that are still here are drained again', {
      reason: reasonOf(error),
    })
    await disk.rename(`${dir}/drain.json`, `${dir}/drain.json.damaged`)
    return undefined
  }
}
