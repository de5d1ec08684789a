// The attribute maps of one row, filled while its span is read: the common case copies each value once and each key not at all.
// Law: a row that turns out to be otherwise (a key twice, a text to repair, a span to reject) is taken back whole.

import type { F64Column, MapColumn, StringColumn } from '../spool/native.ts'
import { columnTextBytesMax, cutAtRune } from './column-text.ts'
import type { KeyEntry } from './key-table.ts'
import { isText } from './text-check.ts'
import type { WireReader } from './wire-reader.ts'

/** Entries of the two attribute maps of one row together. */
export const mapEntriesMax = 128

export class AttributeMaps {
  /** How many entries this row still takes. */
  left = 0
  readonly #strings: MapColumn<StringColumn>
  readonly #numbers: MapColumn<F64Column>
  #stringsBefore = 0
  #valuesBefore = 0
  #numbersBefore = 0

  constructor(strings: MapColumn<StringColumn>, numbers: MapColumn<F64Column>) {
    this.#strings = strings
    this.#numbers = numbers
  }

  begin(): void {
    this.left = mapEntriesMax
    this.#stringsBefore = this.#strings.entries
    this.#valuesBefore = this.#strings.value.length
    this.#numbersBefore = this.#numbers.entries
  }

  /** Takes back what came since `begin`. */
  abandon(): void {
    const [strings, numbers] = [this.#strings, this.#numbers]
    strings.entries = this.#stringsBefore
    strings.key.rewindTo(this.#stringsBefore)
    strings.value.length = this.#valuesBefore
    numbers.entries = this.#numbersBefore
    numbers.key.rewindTo(this.#numbersBefore)
    numbers.value.length = this.#numbersBefore * 8
  }

  end(): void {
    this.#strings.endRow()
    this.#numbers.endRow()
  }

  /** A text, cut to what is searched. False when it is not UTF-8; its key is interned, and so a short one. */
  string(entry: KeyEntry, reader: WireReader, at: number, end: number): boolean {
    this.left -= 1
    const { key, value } = this.#strings
    if (entry.stringGeneration !== key.generation) {
      entry.stringIndex = key.indexOf(entry.bytes, 0, entry.bytes.byteLength)
      entry.stringGeneration = key.generation
    }
    key.push(entry.stringIndex)
    this.#strings.count()
    if (end - at > columnTextBytesMax) {
      value.pushView(reader.view, at, cutAtRune(reader.bytes, at, end, columnTextBytesMax))
      return isText(reader, at, end)
    }
    const bits = value.pushView(reader.view, at, end)
    return (bits & 0x80808080) === 0 || isText(reader, at, end)
  }

  number(entry: KeyEntry, number: number): void {
    this.left -= 1
    const { key, value } = this.#numbers
    if (entry.numberGeneration !== key.generation) {
      entry.numberIndex = key.indexOf(entry.bytes, 0, entry.bytes.byteLength)
      entry.numberGeneration = key.generation
    }
    key.push(entry.numberIndex)
    value.push(number)
    this.#numbers.count()
  }
}
