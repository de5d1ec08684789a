// A disk in memory that behaves as a kernel does: writes go to a cache, a sync makes them durable, a kill keeps the cache, a power
// loss keeps any part of what was not synced. Every call can be made to fail.

import { type Disk, type DiskFile, type DiskMode, writeAll } from '../collectors/spool/disk.ts'

const sectorBytes = 512

export type DiskOp = keyof Disk | 'write' | 'read' | 'sync' | 'truncate'
/** `short`: a write that takes half. `lost`: a sync that fails and forgets the pages it was to write, as Linux does. */
export type Fault = 'ENOSPC' | 'EIO' | 'short' | 'lost'

type Content = { cache: Buffer; durable: Buffer; dirty: Set<number>; modifiedMs: number }

export class MemoryDisk implements Disk {
  freeBytes = 2 ** 40
  /** Consulted before every call. */
  fault: (op: DiskOp, path: string) => Fault | undefined = () => undefined
  /** How long a call takes, before it takes effect. */
  latency: (op: DiskOp) => Promise<void> = async () => {}
  /** Resolves before every sync; a test holds it to see what gathers meanwhile. */
  beforeSync: () => Promise<void> = async () => {}
  readonly calls: string[] = []
  nowMs = 0
  zerosWritten = 0
  #isDead = false
  #names = new Map<string, Content>()
  #durableNames = new Map<string, Content>()

  async makeDir(): Promise<void> {
    await this.#call('makeDir', '')
  }

  async list(path: string): Promise<string[]> {
    await this.#call('list', path)
    const inside = [...this.#names.keys()].filter((name) => dirOf(name) === path)
    return inside.map((name) => name.slice(path.length + 1))
  }

  async open(path: string, mode: DiskMode): Promise<DiskFile> {
    await this.#call('open', path)
    let content = this.#names.get(path)
    const isNew = mode === 'create' || mode === 'commit'
    if (!isNew && !content) throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' })
    if (isNew) {
      content = newContent(this.nowMs)
      this.#names.set(path, content)
    }
    return this.#file(path, content!)
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#call('rename', from)
    this.#names.set(to, this.#get(from))
    this.#names.delete(from)
  }

  async remove(path: string): Promise<void> {
    await this.#call('remove', path)
    this.#names.delete(path)
  }

  async syncDir(path: string): Promise<void> {
    await this.#call('syncDir', path)
    for (const name of [...this.#durableNames.keys()])
      if (dirOf(name) === path) this.#durableNames.delete(name)
    for (const [name, content] of this.#names)
      if (dirOf(name) === path) this.#durableNames.set(name, content)
  }

  async stat(path: string): Promise<{ bytes: number; modifiedMs: number }> {
    await this.#call('stat', path)
    const { cache, modifiedMs } = this.#get(path)
    return { bytes: cache.length, modifiedMs }
  }

  async space(): Promise<{ freeBytes: number; totalBytes: number }> {
    await this.#call('space', '')
    return { freeBytes: this.freeBytes, totalBytes: 2 ** 40 }
  }

  /** What the next process finds. This disk is dead afterwards: whoever still holds it gets errors. */
  crash(kind: 'kill' | 'power', random: () => number = Math.random): MemoryDisk {
    this.#isDead = true
    const next = new MemoryDisk()
    next.freeBytes = this.freeBytes
    next.nowMs = this.nowMs
    const names = kind === 'power' ? this.#durableNames : this.#names
    for (const [name, content] of names) {
      const survived = kind === 'power' ? afterPowerLoss(content, random) : content.cache
      const copy = Buffer.from(survived)
      const content2 = {
        ...newContent(content.modifiedMs),
        cache: copy,
        durable: Buffer.from(copy),
      }
      next.#names.set(name, content2)
      next.#durableNames.set(name, content2)
    }
    return next
  }

  /** The bytes of a file as they are now; a test may change them in place. */
  bytesOf(path: string): Buffer {
    return this.#get(path).cache
  }

  paths(): string[] {
    return [...this.#names.keys()].sort()
  }

  #file(path: string, content: Content): DiskFile {
    const file: DiskFile = {
      write: async (pieces, position) => {
        const fault = await this.#call('write', path)
        const whole = Buffer.concat(pieces)
        const bytes = fault === 'short' ? whole.subarray(0, whole.length >> 1) : whole
        put(content, bytes, position)
        if (bytes.every((byte) => byte === 0)) this.zerosWritten += bytes.length
        content.modifiedMs = this.nowMs
        return bytes.length
      },
      writeDurably: async (pieces, position) => {
        await writeAll(file, pieces, position)
        await file.sync()
      },
      read: async (into, position) => {
        await this.#call('read', path)
        return content.cache.copy(into, 0, position, position + into.length)
      },
      sync: async () => {
        await this.beforeSync()
        if ((await this.#call('sync', path)) === 'lost') {
          content.dirty.clear()
          throw new Error('EIO: pages were lost')
        }
        content.durable = Buffer.from(content.durable)
        persist(content, content.dirty)
        content.dirty.clear()
      },
      truncate: async (bytes) => {
        await this.#call('truncate', path)
        content.cache = Buffer.from(content.cache.subarray(0, bytes))
      },
      close: async () => {},
    }
    return file
  }

  #get(path: string): Content {
    const content = this.#names.get(path)
    if (!content) throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' })
    return content
  }

  async #call(op: DiskOp, path: string): Promise<Fault | undefined> {
    await this.latency(op)
    if (this.#isDead) throw new Error('this process has crashed')
    this.calls.push(`${op} ${path}`)
    const fault = this.fault(op, path)
    if (fault === 'ENOSPC' || fault === 'EIO')
      throw Object.assign(new Error(`${fault}: injected`), { code: fault })
    if (fault === 'lost' && op !== 'sync')
      throw Object.assign(new Error('EIO: injected'), { code: 'EIO' })
    return fault
  }
}

function newContent(modifiedMs: number): Content {
  return { cache: Buffer.alloc(0), durable: Buffer.alloc(0), dirty: new Set(), modifiedMs }
}

function put(content: Content, bytes: Buffer, position: number): void {
  const end = position + bytes.length
  if (end > content.cache.length)
    content.cache = Buffer.concat([content.cache, Buffer.alloc(end - content.cache.length)])
  bytes.copy(content.cache, position)
  for (let at = Math.floor(position / sectorBytes); at * sectorBytes < end; at++)
    content.dirty.add(at)
}

/** Copies sectors of the cache onto what is durable. */
function persist(content: Content, sectors: Iterable<number>): void {
  const missing = content.cache.length - content.durable.length
  if (missing > 0) content.durable = Buffer.concat([content.durable, Buffer.alloc(missing)])
  const last = Math.ceil(content.cache.length / sectorBytes)
  for (const at of [...sectors].filter((sector) => sector < last))
    content.cache.copy(content.durable, at * sectorBytes, at * sectorBytes, (at + 1) * sectorBytes)
}

function afterPowerLoss(content: Content, random: () => number): Buffer {
  const copy = { ...content, durable: Buffer.from(content.durable) }
  persist(
    copy,
    [...content.dirty].filter(() => random() < 0.5),
  )
  return copy.durable
}

function dirOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}
