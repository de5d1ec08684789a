// What could not be read or was refused for good: its bytes and the reason, in files, never thrown away by us.
// Law: `save` resolves when they are durable, or throws and the drain stays where it is.

import { type Disk, isMissing, replaceFile } from './disk.ts'
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
