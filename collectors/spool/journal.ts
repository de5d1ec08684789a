// Calls that have begun and have not ended: noted in chunks beside the rows, and written again before the drain passes them.
// Law: a note is found after a crash if and only if its opening is durable and its end is not.

import { isBefore, type Position } from './chunk.ts'

const idBytes = 16
const entryHeadBytes = 1 + idBytes + 4
const [closed, opened] = [0, 1]

/**
 * A call that begins: sixteen bytes that name it, and what recovery needs to end it in its stead. The note is read once, and only
 * when it has to be written: a getter may make it then.
 */
export type Opening = { readonly id: Uint8Array; readonly note: string }

type Note = Pick<Opening, 'note'>

/** By id, as latin1: the note of a call that begins, undefined for one that ends. */
export type JournalEntries = Map<string, Note | undefined>

export function keyOf(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.length).toString('latin1')
}

/** Reads each note, and puts in its place what it said. */
export function encodeJournal(entries: JournalEntries): Buffer {
  let size = 0
  for (const [key, entry] of entries) {
    const note = entry?.note
    if (note !== undefined) entries.set(key, { note })
    size += entryHeadBytes + Buffer.byteLength(note ?? '')
  }
  const bytes = Buffer.allocUnsafe(size)
  let at = 0
  for (const [key, entry] of entries) {
    const note = entry?.note
    bytes[at] = note === undefined ? closed : opened
    bytes.write(key, at + 1, idBytes, 'latin1')
    const length = bytes.write(note ?? '', at + entryHeadBytes)
    bytes.writeUInt32LE(length, at + 1 + idBytes)
    at += entryHeadBytes + length
  }
  return bytes
}

export function* readJournal(bytes: Buffer): Generator<[key: string, Note | undefined]> {
  for (let at = 0; at + entryHeadBytes <= bytes.length; ) {
    const key = bytes.toString('latin1', at + 1, at + 1 + idBytes)
    const end = at + entryHeadBytes + bytes.readUInt32LE(at + 1 + idBytes)
    const isOpened = bytes[at] === opened
    yield [key, isOpened ? { note: bytes.toString('utf8', at + entryHeadBytes, end) } : undefined]
    at = end
  }
}

/** The calls whose opening is durable and whose end is not, each with the last place it was noted at. */
export class OpenCalls {
  readonly #calls = new Map<string, { note: string; at: Position }>()

  get size(): number {
    return this.#calls.size
  }

  /** Takes what a durable chunk says; chunks come in their order. */
  take(entries: Iterable<readonly [string, Note | undefined]>, at: Position): void {
    for (const [key, entry] of entries) {
      if (entry) this.#calls.set(key, { note: entry.note, at })
      else this.#calls.delete(key)
    }
  }

  /** Those that were noted before this place only. */
  *before(place: Position): Generator<[key: string, Note]> {
    for (const [key, call] of this.#calls) if (isBefore(call.at, place)) yield [key, call]
  }

  all(): Opening[] {
    return [...this.#calls].map(([key, { note }]) => ({ id: Buffer.from(key, 'latin1'), note }))
  }
}
