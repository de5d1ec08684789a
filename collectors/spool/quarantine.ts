// What could not be read or was refused for good: its bytes and the reason, in files, never thrown away by us.
// Law: `save` resolves when they are durable, or throws and the drain stays where it is. The file with the reason says that the
// bytes beside it are set aside: it comes last and goes first.

import { type Disk, isMissing, loadFile, replaceFile, temporaryEnd } from './disk.ts'
import { holdsAny } from './ids-in.ts'
import { reasonOf, type SpoolLimits } from './limits.ts'

const [bytesEnd, factsEnd, againEnd] = ['.bin', '.json', '.again']

/** As written beside the bytes. `table`, `rows` and `token` are those of an insert; what was damaged has none. */
export type Facts = {
  segment: number
  offset: number
  bytes: number
  reason: string
  table?: string
  rows?: number
  token?: string
}

/** `isMarked`: it is to be loaded again. */
export type Entry = { name: string; facts: Facts; isMarked: boolean }

export class Quarantine {
  /** Bytes set aside so far, of this and earlier processes. */
  bytes = 0
  /** Hears, after a look, of what is to be loaded again. */
  onMarked: ((names: readonly string[]) => void) | undefined
  readonly #disk: Disk
  readonly #dir: string
  readonly #limits: Pick<SpoolLimits, 'quarantineBytes'>
  #files = 0

  constructor(disk: Disk, dir: string, limits: Pick<SpoolLimits, 'quarantineBytes'>) {
    this.#disk = disk
    this.#dir = dir
    this.#limits = limits
  }

  /** Before anything is set aside. */
  async open(): Promise<void> {
    await this.#disk.makeDir(this.#dir)
    await this.#removeUnsaid()
    await this.#measure()
  }

  /** Others take things out and mark them: the command line, or whoever empties the folder. */
  async look(): Promise<void> {
    const names = await this.#disk.list(this.#dir)
    if (names.length !== this.#files) await this.#measure()
    const marked = names.filter((name) => name.endsWith(againEnd)).sort()
    if (marked.length > 0) this.onMarked?.(marked.map((name) => name.slice(0, -againEnd.length)))
  }

  /** `name` says where the bytes came from; the same name again replaces the same bytes. False: it was there already. */
  async save(
    name: string,
    pieces: readonly Buffer[],
    facts: Omit<Facts, 'bytes'>,
  ): Promise<boolean> {
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    if (await this.#has(`${name}${factsEnd}`)) return false
    if (this.bytes + bytes > this.#limits.quarantineBytes)
      throw new Error(`The quarantine is full (${this.bytes} bytes): look at it and empty it`)
    await replaceFile(this.#disk, { dir: this.#dir, name: `${name}${bytesEnd}` }, pieces)
    await this.#say(name, { ...facts, bytes })
    return true
  }

  async entries(): Promise<Entry[]> {
    const names = await this.#disk.list(this.#dir)
    const entries: Entry[] = []
    for (const name of names.filter((one) => one.endsWith(factsEnd)).sort()) {
      const entry = await this.find(name.slice(0, -factsEnd.length))
      if (entry) entries.push(entry)
    }
    return entries
  }

  /** Undefined: there is nothing of that name, or what is said of it cannot be read. */
  async find(name: string): Promise<Entry | undefined> {
    const said = await loadFile(this.#disk, `${this.#dir}/${name}${factsEnd}`)
    if (!said) return undefined
    const isMarked = await this.#has(`${name}${againEnd}`)
    try {
      return { name, facts: JSON.parse(said.toString()) as Facts, isMarked } // we wrote it, whole or not at all
    } catch {
      return undefined
    }
  }

  async read(name: string): Promise<Buffer | undefined> {
    return loadFile(this.#disk, `${this.#dir}/${name}${bytesEnd}`)
  }

  /** Has it loaded again by whoever drains this spool: now, or at the next start. */
  async mark(name: string): Promise<void> {
    await replaceFile(this.#disk, { dir: this.#dir, name: `${name}${againEnd}` }, [])
    await this.#measure()
  }

  /** It was refused again: the newer reason stands, and the mark goes. */
  async keep(name: string, facts: Facts): Promise<void> {
    await this.#say(name, facts)
    await this.#disk.remove(`${this.#dir}/${name}${againEnd}`)
    await this.#measure()
  }

  /** For good. */
  async remove(name: string): Promise<void> {
    for (const end of [factsEnd, bytesEnd, againEnd])
      await this.#disk.remove(`${this.#dir}/${name}${end}`)
    await this.#disk.syncDir(this.#dir)
    await this.#measure()
  }

  /**
   * Removes everything in which these bytes stand, and with `isShared` what else came in its chunk; how many there were. Rows that
   * share a file go with it: they were refused for good, and who asks to be forgotten comes first.
   */
  removeHolding(bytes: Buffer, isShared: boolean): Promise<number> {
    return this.#removeWhere((held) => held.includes(bytes), isShared)
  }

  /** The same for any of these ids of sixteen bytes. */
  removeHoldingIds(ids: readonly Buffer[]): Promise<number> {
    return this.#removeWhere((held) => holdsAny(held, ids), false)
  }

  /**
   * What a process that was killed has left: bytes without their reason. They were on their way out, or on their way in, and then
   * they stand in the spool yet and are set aside once more.
   */
  async #removeUnsaid(): Promise<void> {
    const names = new Set(await this.#disk.list(this.#dir))
    for (const name of names) {
      const isUnsaid =
        name.endsWith(bytesEnd) && !names.has(`${name.slice(0, -bytesEnd.length)}${factsEnd}`)
      if (isUnsaid || name.endsWith(temporaryEnd)) await this.#disk.remove(`${this.#dir}/${name}`)
    }
  }

  async #removeWhere(isHit: (held: Buffer) => boolean, isShared: boolean): Promise<number> {
    const files = await this.#disk.list(this.#dir)
    const names = files.filter((file) => file.endsWith(bytesEnd))
    const hit = new Set<string>()
    for (const file of names) {
      const held = await loadFile(this.#disk, `${this.#dir}/${file}`)
      if (held && isHit(held)) hit.add(file)
    }
    const places = new Set([...hit].map(placeOf))
    const gone = isShared ? names.filter((file) => places.has(placeOf(file))) : [...hit]
    for (const file of gone) await this.remove(file.slice(0, -bytesEnd.length))
    return gone.length
  }

  async #say(name: string, facts: Facts): Promise<void> {
    const said = Buffer.from(`${JSON.stringify(facts, undefined, 2)}\n`)
    await replaceFile(this.#disk, { dir: this.#dir, name: `${name}${factsEnd}` }, [said])
    await this.#measure()
  }

  async #measure(): Promise<void> {
    const names = await this.#disk.list(this.#dir)
    let bytes = 0
    for (const name of names) {
      const size = await this.#disk.stat(`${this.#dir}/${name}`).catch(goneSince)
      bytes += size?.bytes ?? 0
    }
    this.bytes = bytes
    this.#files = names.length
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

/** `<segment>-<offset>`: everything of one chunk begins with it. */
function placeOf(file: string): string {
  return file.slice(0, file.indexOf('.'))
}

function goneSince(error: unknown): undefined {
  if (!isMissing(error)) throw error
}
