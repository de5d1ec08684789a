// Segments that were drained, kept for a while as a second net and then removed, or written over.
// Law: a segment comes here only after the cursor beyond it is durable.

import type { Disk } from './disk.ts'
import { reasonOf, type SpoolLimits, type SpoolLog } from './limits.ts'
import { type Drained, parseSegmentName, segmentName } from './segment.ts'

type Kept = { number: number; bytes: number; sinceMs: number }

export type RetiredDeps = {
  disk: Disk
  from: string
  dir: string
  limits: SpoolLimits
  nowMs: () => number
  log: SpoolLog
}

export class Retired {
  bytes = 0
  readonly #deps: RetiredDeps
  readonly #kept: Kept[] = []

  constructor(deps: RetiredDeps) {
    this.#deps = deps
  }

  get lastNumber(): number {
    return this.#kept.at(-1)?.number ?? 0
  }

  async open(): Promise<void> {
    const { disk, dir } = this.#deps
    await disk.makeDir(dir)
    for (const name of (await disk.list(dir)).sort()) {
      const number = parseSegmentName(name)
      if (number === undefined) continue
      const { bytes, modifiedMs } = await disk.stat(`${dir}/${name}`)
      this.#keep({ number, bytes, sinceMs: modifiedMs })
    }
  }

  /** Failures are logged: the segment is found again, and retired, at the next start. */
  async add(numbers: readonly number[]): Promise<void> {
    const { disk, from, dir, nowMs, log } = this.#deps
    for (const number of numbers) {
      const name = segmentName(number)
      try {
        await disk.rename(`${from}/${name}`, `${dir}/${name}`)
        const { bytes } = await disk.stat(`${dir}/${name}`)
        this.#keep({ number, bytes, sinceMs: nowMs() })
      } catch (error) {
        log('warn', 'A drained segment could not be moved', { name, reason: reasonOf(error) })
      }
    }
  }

  /** Removes the segments up to this number for good, whatever their age. All of them must be drained; throws until none is left. */
  async purge(through: number): Promise<void> {
    const { disk, from, dir } = this.#deps
    for (const folder of [from, dir]) {
      for (const name of await disk.list(folder)) {
        const number = parseSegmentName(name)
        if (number !== undefined && number <= through) await disk.remove(`${folder}/${name}`)
      }
      await disk.syncDir(folder)
    }
    const left = this.#kept.filter(({ number }) => number > through)
    this.#kept.splice(0, this.#kept.length, ...left)
    this.bytes = left.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** The oldest, once another would be too much: it is not kept here any more, and the caller's to write over. */
  recycle(): Drained | undefined {
    const first = this.#kept[0]
    const { segmentBytes, retainedBytes } = this.#deps.limits
    const isSpare = this.bytes + segmentBytes > retainedBytes
    if (!first || !isSpare || first.bytes > segmentBytes) return undefined
    this.#kept.shift()
    this.bytes -= first.bytes
    return { path: `${this.#deps.dir}/${segmentName(first.number)}`, bytes: first.bytes }
  }

  /** Removes what is too old or too much; everything when the disk is low. */
  async evict(isDiskLow: boolean): Promise<void> {
    const { disk, dir, limits, nowMs, log } = this.#deps
    for (let first = this.#kept[0]; first; first = this.#kept[0]) {
      const isOld = nowMs() - first.sinceMs >= limits.retainMs
      if (!isOld && !isDiskLow && this.bytes <= limits.retainedBytes) return
      this.#kept.shift()
      this.bytes -= first.bytes
      const name = segmentName(first.number)
      await disk.remove(`${dir}/${name}`).catch((error: unknown) => {
        log('warn', 'A drained segment could not be removed', { name, reason: reasonOf(error) })
      })
    }
  }

  #keep(kept: Kept): void {
    this.#kept.push(kept)
    this.bytes += kept.bytes
  }
}
