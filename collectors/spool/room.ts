// Whether there is room for one more write: unsynced bytes, undrained bytes, free disk.
// Law: the answer is known before anything is appended; nothing accepted is given up for lack of room.

import type { Disk } from './disk.ts'
import { reasonOf, type SpoolLimits, type SpoolLog } from './limits.ts'

export type Refusal =
  | 'closed'
  | 'pending'
  | 'tenant_share'
  | 'spool_full'
  | 'disk_full'
  | 'disk_failing'

export type RoomDeps = {
  disk: Disk
  dir: string
  limits: SpoolLimits
  log: SpoolLog
  /** Called after each look of the timer; must not reject. */
  onLook: () => Promise<void>
}

export class Room {
  /** Bytes of writes that are not synced yet; the group commit keeps it. */
  pendingBytes = 0
  readonly #disk: Disk
  readonly #dir: string
  readonly #limits: SpoolLimits
  readonly #log: SpoolLog
  readonly #onLook: () => Promise<void>
  #freeBytes = Number.POSITIVE_INFINITY
  #floorBytes = 0
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> | undefined

  constructor(deps: RoomDeps) {
    this.#disk = deps.disk
    this.#dir = deps.dir
    this.#limits = deps.limits
    this.#log = deps.log
    this.#onLook = deps.onLook
  }

  /** Looks at the disk now and then each second, until `stop`. */
  async start(): Promise<void> {
    await this.look()
    this.#timer = setInterval(() => {
      this.#looking ??= this.look()
        .then(this.#onLook)
        .finally(() => {
          this.#looking = undefined
        })
    }, this.#limits.spaceEveryMs)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#looking
  }

  /** Between two looks: bytes that we took ourselves. */
  spend(bytes: number): void {
    this.#freeBytes -= bytes
  }

  get isDiskLow(): boolean {
    return this.#freeBytes < this.#floorBytes
  }

  refusal(undrainedBytes: number): Refusal | undefined {
    if (this.pendingBytes >= this.#limits.pendingBytes) return 'pending'
    if (undrainedBytes + this.pendingBytes >= this.#limits.spoolBytes) return 'spool_full'
    return this.isDiskLow ? 'disk_full' : undefined
  }

  async look(): Promise<void> {
    const wasLow = this.isDiskLow
    try {
      const { freeBytes, totalBytes } = await this.#disk.space(this.#dir)
      this.#freeBytes = freeBytes
      this.#floorBytes = Math.max(this.#limits.freeBytesMin, totalBytes * this.#limits.freeShareMin)
      const facts = { freeBytes, neededBytes: this.#floorBytes }
      if (this.isDiskLow && !wasLow)
        this.#log('error', 'The disk is nearly full: writes are refused until there is room', facts)
      if (!this.isDiskLow && wasLow) this.#log('info', 'The disk has room again', facts)
    } catch (error) {
      this.#log('warn', 'The free space of the spool disk is not known', {
        reason: reasonOf(error),
      })
    }
  }
}
