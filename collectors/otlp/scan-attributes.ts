// The attributes of one span by their keys: which have come, where each value is, and of a key given twice the last.

import { equal, type KeyEntry, KeyTable } from './key-table.ts'
import { type ReadValue, Values } from './scan-values.ts'
import type { WireReader } from './wire-reader.ts'

/** Attributes of a span that are kept for searching; those after it still count for the named fields and the payload. */
export const attributesMax = 512

export class ScanAttributes {
  /** Attributes, without the replaced ones. */
  count = 0
  readonly entries: KeyEntry[] = []
  readonly keyAt = new Int32Array(attributesMax)
  readonly keyEnd = new Int32Array(attributesMax)
  readonly values = new Values(attributesMax)
  readonly #table = new KeyTable()
  #sequence = 0

  reset(): void {
    this.count = 0
    this.#sequence += 1
  }

  /** Between requests: makes room in the key table when callers' keys have filled it. */
  tidy(): void {
    if (this.#table.tidy()) this.entries.length = 0
  }

  /** What the key means. The span before, most likely of the same code, had it at the same place. */
  entryOf(reader: WireReader, keyAt: number, keyEnd: number): KeyEntry {
    const guess = this.entries[this.count]
    return guess?.interned &&
      guess.bytes.byteLength === keyEnd - keyAt &&
      equal(guess.bytes, reader.view, keyAt)
      ? guess
      : this.#table.find(reader.view, keyAt, keyEnd)
  }

  /**
   * Notes that the key has come, if there is room. `again`: not simply a new one, so that its span is to be read with `file`.
   * Beyond the room only keys that are within it are told apart, as `file` does.
   */
  note(entry: KeyEntry): 'new' | 'again' | 'beyond' {
    const isRepeated = entry.interned && entry.stamp === this.#sequence
    if (this.count >= attributesMax) return isRepeated ? 'again' : 'beyond'
    if (isRepeated || !entry.interned) return 'again'
    entry.stamp = this.#sequence
    this.entries[this.count] = entry
    this.count += 1
    return 'new'
  }

  /** Keeps the value, unless there is no room. */
  file(entry: KeyEntry, reader: WireReader, at: { key: number; keyEnd: number; value: ReadValue }) {
    const slot = this.#slotOf(entry, reader, at)
    if (slot >= 0) this.values.copy(slot, at.value)
  }

  /** The place of an earlier duplicate, a new one, or -1 when there is no room. */
  #slotOf(entry: KeyEntry, reader: WireReader, at: { key: number; keyEnd: number }): number {
    if (entry.interned && entry.stamp === this.#sequence) return entry.slot
    // With no room left a foreign key is not even looked for: a span of 600,000 such keys would hold the loop for seconds.
    if (this.count >= attributesMax) return -1
    const known = entry.interned ? -1 : this.#findForeign(reader, at.key, at.keyEnd)
    if (known >= 0) return known
    const slot = this.count++
    entry.stamp = this.#sequence
    entry.slot = slot
    this.entries[slot] = entry
    this.keyAt[slot] = at.key
    this.keyEnd[slot] = at.keyEnd
    return slot
  }

  #findForeign({ view }: WireReader, keyAt: number, keyEnd: number): number {
    const key = new DataView(view.buffer, view.byteOffset + keyAt, keyEnd - keyAt)
    for (let i = 0; i < this.count; i++) {
      const isCandidate =
        !this.entries[i]!.interned && this.keyEnd[i]! - this.keyAt[i]! === key.byteLength
      if (isCandidate && equal(key, view, this.keyAt[i]!)) return i
    }
    return -1
  }
}
