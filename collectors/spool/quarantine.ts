// What could not be read or was refused for good: its bytes and the reason, in files, never thrown away by us.
// Law: `save` resolves when they are durable, or throws and the drain stays where it is.

import { type Disk, isMissing, loadFile, replaceFile } from './disk.ts'
import { reasonOf, type SpoolLimits } from './limits.ts'

export class Quarantine {
  /** Bytes set aside so far, of this and earlier processes. */
  bytes = 0
  readonly #disk: Disk
  readonly #dir: string
  readonly #limits: SpoolLimits

  constructor(disk: Disk, dir: string, limits: SpoolLimits) {
    this.#disk = disk
    this.#dir = dir
    this.#limits = limits
  }

  async open(): Promise<void> {
    await this.#disk.makeDir(this.#dir)
    for (const name of await this.#disk.list(this.#dir))
      this.bytes += (await this.#disk.stat(`${this.#dir}/${name}`)).bytes
  }

  /** `name` says where the bytes came from; the same name again replaces the same bytes. False: it was there already. */
  async save(
    name: string,
    pieces: readonly Buffer[],
    facts: Record<string, unknown>,
  ): Promise<boolean> {
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    if (await this.#has(`${name}.json`)) return false
    if (this.bytes + bytes > this.#limits.quarantineBytes)
      throw new Error(`The quarantine is full (${this.bytes} bytes): look at it and empty it`)
    await replaceFile(this.#disk, { dir: this.#dir, name: `${name}.bin` }, pieces)
    const said = Buffer.from(`${JSON.stringify({ ...facts, bytes }, undefined, 2)}\n`)
    await replaceFile(this.#disk, { dir: this.#dir, name: `${name}.json` }, [said])
    this.bytes += bytes + said.length
    return true
  }

  /**
   * Removes every file in which these bytes stand, and what is said of it; how many there were. Rows that share the file go with
   * it: they were refused for good, and who asks to be forgotten comes first.
   */
  async removeHolding(bytes: Buffer): Promise<number> {
    let removed = 0
    for (const name of await this.#disk.list(this.#dir)) {
      if (!name.endsWith('.bin')) continue
      const held = await loadFile(this.#disk, `${this.#dir}/${name}`)
      if (!held?.includes(bytes)) continue
      // What says that the bytes are set aside goes first: after a crash between the two they are found again here.
      await this.#disk.remove(`${this.#dir}/${name.slice(0, -'.bin'.length)}.json`)
      await this.#disk.remove(`${this.#dir}/${name}`)
      this.bytes = Math.max(0, this.bytes - held.length)
      removed += 1
    }
    if (removed > 0) await this.#disk.syncDir(this.#dir)
    return removed
  }

  async #has(name: string): Promise<boolean> {
    try {
      await this.#disk.stat(`${this.#dir}/${name}`)
      return true
    } catch (error) {
      if (isMissing(error)) return false
      throw new Error(`The quarantine cannot be read: ${reasonOf(error)}`, { cause: error })
    }
  }
}
