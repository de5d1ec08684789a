// The disk under the data directory: room, kind, how fast it keeps a promise, who may read it, and what waits in the spool.

import { open, readdir, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { type Finding, failed } from './doctor-finding.ts'

const syncs = 100
const syncBytes = 8 * 1024
// Above it an acknowledgement takes longer than most exporters find pleasant; nothing is lost.
const slowSyncMs = 20
// Below it the spool is near its own floor (collectors/spool/limits.ts).
const freeBytesMin = 2 * 2 ** 30
const gibi = 2 ** 30

// Numbers of statfs(2). A promise kept on these is another's, or ends with the machine.
const kinds = new Map<number, string>([
  [0x6969, 'NFS: its syncs and locks are those of a server elsewhere'],
  [0xff534d42, 'CIFS: its syncs and locks are those of a server elsewhere'],
  [0xfe534d42, 'SMB: its syncs and locks are those of a server elsewhere'],
  [0x65735546, 'FUSE: what a sync means there is up to its program'],
  [0x794c7630, 'overlay: it is gone with the container; mount a volume'],
  [0x01021994, 'tmpfs: it is memory, and gone with the machine'],
])

export async function aboutDisk(path: string): Promise<Finding[]> {
  return [await aboutSpace(path), await aboutSync(path)]
}

/** Modes of what must be nobody else's, and what earlier runs left in the spool. */
export async function aboutFiles(path: string): Promise<Finding[]> {
  return [await aboutModes(path), await aboutSpool(join(path, 'spool'))]
}

async function aboutModes(path: string): Promise<Finding> {
  const open: string[] = []
  for (const name of await readdir(path)) {
    const { mode } = await stat(join(path, name))
    if ((mode & 0o077) !== 0) open.push(name)
  }
  return open.length === 0
    ? { name: 'modes', outcome: 'ok', says: 'Nobody else may read what is in it.' }
    : {
        name: 'modes',
        outcome: 'warn',
        says: `Others may read ${open.join(', ')}: take their rights with chmod go-rwx.`,
      }
}

async function aboutSpool(dir: string): Promise<Finding> {
  try {
    const lanes = [dir, join(dir, 'calls')]
    const sum = async (folder: string) =>
      (await Promise.all(lanes.map((lane) => bytesIn(join(lane, folder))))).reduce((a, b) => a + b)
    const [waiting, refused] = [await sum('segments'), await sum('quarantine')]
    const says = `${toMib(waiting)} MiB of segments to be loaded by the next start.`
    return refused === 0
      ? { name: 'spool', outcome: 'ok', says }
      : {
          name: 'spool',
          outcome: 'warn',
          says: `${says} ${toMib(refused)} MiB in quarantine: rows that ClickHouse refused; see runledger quarantine list.`,
        }
  } catch (error) {
    return failed('spool', error)
  }
}

async function bytesIn(dir: string): Promise<number> {
  const names = await readdir(dir).catch(() => [])
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(dir, name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

function toMib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1)
}

async function aboutSpace(path: string): Promise<Finding> {
  const { bavail, bsize, type } = await statfs(path)
  const free = bavail * bsize
  const said = [`${(free / gibi).toFixed(1)} GiB free.`]
  const kind = kinds.get(type)
  if (free < freeBytesMin) said.push('Ingest answers 503 when it is nearly full.')
  if (kind) said.push(`It is ${kind}.`)
  return { name: 'disk', outcome: said.length > 1 ? 'warn' : 'ok', says: said.join(' ') }
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
