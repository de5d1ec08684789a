// A disk of its own for the spool, that can be filled and emptied at once, and made to fail: a file as a filesystem, and strace.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { newDataDir, removeDataDir } from '../product.ts'

// Above the floor of bulk (1 GiB). A sparse file: what is not written takes no room.
const diskBytes = 2 * 2 ** 30
const slackBytes = 4 * 2 ** 20
const triesMax = 10

export type SmallDisk = {
  dataDir: string
  /** Leaves this many bytes free. */
  fill(leftBytes: number): void
  empty(): void
  end(): void
}

/** Why this machine cannot have one; undefined when it can. */
export function whyNoSmallDisk(): string | undefined {
  if (process.platform !== 'linux') return 'it takes a loop device, which Linux has'
  if (process.getuid?.() !== 0) return 'only root may mount'
  for (const tool of ['mkfs.ext4', 'fallocate', 'strace'])
    if (spawnSync(tool, ['-V']).error) return `there is no ${tool}`
  try {
    run('strace', '-qq', '-o', '/dev/null', 'true')
    openSmallDisk().end()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

export function openSmallDisk(): SmallDisk {
  const holder = newDataDir()
  const [image, dataDir] = [join(holder, 'image'), join(holder, 'data')]
  const spool = join(dataDir, 'spool')
  const filler = join(spool, 'filler')
  chmodSync(holder, 0o711)
  mkdirSync(spool, { recursive: true, mode: 0o700 })
  writeFileSync(join(dataDir, 'runledger-data'), '1\n')
  closeSync(openSync(image, 'w'))
  truncateSync(image, diskBytes)
  const unmount = () => void spawnSync('umount', ['-l', spool])
  try {
    run('mkfs.ext4', '-q', '-F', '-m', '0', image)
    run('mount', '-o', 'loop', image, spool)
  } catch (error) {
    removeDataDir(holder)
    throw error
  }
  chmodSync(spool, 0o700)
  return {
    dataDir,
    fill(leftBytes) {
      rmSync(filler, { force: true })
      // Blocks are taken, none is written. The spool takes some of its own meanwhile.
      for (let left = leftBytes; ; left += slackBytes) {
        const { bavail, bsize } = statfsSync(spool)
        if (isRun('fallocate', '-l', String(bavail * bsize - left), filler)) return
        if (left > leftBytes + triesMax * slackBytes) throw new Error('the disk cannot be filled')
      }
    },
    empty: () => rmSync(filler, { force: true }),
    end() {
      unmount()
      removeDataDir(holder)
    },
  }
}

/** Some of these calls of the process fail until it is over, counted in each of its threads. */
export async function failing(
  pid: number,
  how: { calls: string; error: 'EIO' | 'ENOSPC'; when: string },
  work: () => Promise<void>,
): Promise<void> {
  const inject = `inject=${how.calls}:error=${how.error}:when=${how.when}`
  const args = ['-f', '-qq', '-p', String(pid), '-e', `trace=${how.calls}`, '-e', inject]
  const tracer = spawn('strace', [...args, '-o', '/dev/null'], { stdio: 'ignore' })
  try {
    await work()
  } finally {
    await ended(tracer)
  }
}

async function ended(tracer: ChildProcess): Promise<void> {
  if (tracer.exitCode !== null || tracer.signalCode !== null) return
  tracer.kill('SIGINT')
  await once(tracer, 'exit')
}

function isRun(command: string, ...args: string[]): boolean {
  return spawnSync(command, args).status === 0
}

function run(command: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command}: ${error?.message ?? stderr.trim()}`)
}
