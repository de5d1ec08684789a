// Calls that have begun and have not ended: noted in chunks beside the rows, and written again before the drain passes them.
// Law: a note is found after a crash if and only if its opening is durable and its end is not.

import { isBefore, type Position } from './chunk.ts'

const idBytes = 16
const entryHeadBytes = 1 + idBytes + 4
const [closed, opened] = [0, 1]

/** A call that begins: sixteen bytes that name it, and what recovery needs to end it in its stead. */
export type Opening = { id: Uint8Array; note: string }

/** By id, as latin1: the note of a call that begins, undefined for one that ends. */
export type JournalEntries = Map<string, string | undefined>

export function keyOf(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.length).toString('latin1')
}

export function encodeJournal(entries: JournalEntries): Buffer {
  let size = 0
  for (const note of entries.values()) size += entryHeadBytes + Buffer.byteLength(note ?? '')
  const bytes = Buffer.allocUnsafe(size)
  let at = 0
  for (const [key, note] of entries) {
    bytes[at] = note === undefined ? closed : opened
    bytes.write(key, at + 1, idBytes, 'latin1')
    const length = bytes.write(note ?? '', at + entryHeadBytes)
    bytes.writeUInt32LE(length, at + 1 + idBytes)
    at += entryHeadBytes + length
  }
  return bytes
}

export function* readJournal(bytes: Buffer): Generator<[key: string, note: string | undefined]> {
  for (let at = 0; at + entryHeadBytes <= bytes.length; ) {
    const key = bytes.toString('latin1', at + 1, at + 1 + idBytes)
    const end = at + entryHeadBytes + bytes.readUInt32LE(at + 1 + idBytes)
    const isOpened = bytes[at] === opened
    yield [key, isOpened ? bytes.toString('utf8', at + entryHeadBytes, end) : undefined]
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
  take(entries: Iterable<readonly [string, string | undefined]>, at: Position): void {
    for (const [key, note] of entries) {
      if (note === undefined) this.#calls.delete(key)
      else this.#calls.set(key, { note, at })
    }
  }

  /** Those that were noted before this place only. */
  *before(place: Position): Generator<[key: string, note: string]> {
    for (const [key, { note, at }] of this.#calls) if (isBefore(at, place)) yield [key, note]
  }

  all(): Opening[] {
    return [...this.#calls].map(([key, { note }]) => ({ id: Buffer.from(key, 'latin1'), note }))
  }
}
