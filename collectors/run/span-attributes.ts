// The attributes of one span on their way into its message and, the small ones, into the columns that are searched: each is written
// once, in place, and nothing is kept of it.

import type { JsonBytes } from '../../schemas/json-bytes.ts'
import { cutAtRune } from '../otlp/column-text.ts'
import { WireWriter } from '../otlp/wire-writer.ts'
import type { Batch } from '../spool/intake.ts'
import type { LowCardinalityColumn } from '../spool/native.ts'

// What the search columns hold of a text; the span message keeps all of it.
const textBytesMax = 1024
const searchedMax = 128
// Our own names are some forty; the rest is what callers named.
const namesHeld = 1000
const nameCharsMax = 128
const writerBytesMax = 1024 * 1024
const attributesField = 9

/** A name as the message has it, and its number in the dictionary of either column. */
type Name = {
  /** Of KeyValue: the field `key`, whole. */
  field: Uint8Array
  /** The name itself, in those bytes. */
  view: DataView
  textIndex: number
  textGeneration: number
  numberIndex: number
  numberGeneration: number
}

export class SpanAttributes {
  /** Holds the message; a very large one does not keep its memory. */
  writer = new WireWriter()
  /** What a list shows of either side. */
  input = ''
  output = ''
  #columns: Batch['spans']['columns'] | undefined
  #room = 0
  #outer = 0
  #inner = 0

  /** Begins a span: an empty message, and a row of the two columns. */
  begin(batch: Pick<Batch, 'spans'>): WireWriter {
    if (this.writer.bytes.length > writerBytesMax) this.writer = new WireWriter()
    this.writer.length = 0
    this.input = ''
    this.output = ''
    this.#columns = batch.spans.columns
    this.#room = searchedMax
    return this.writer
  }

  text(name: string, value: string): void {
    const { writer } = this
    const known = nameOf(name)
    this.#open(known)
    const size = writer.textMember(1, value)
    const end = writer.length
    const cut = cutAtRune(writer.bytes, end - size, end, textBytesMax)
    if (this.#takesRoom()) {
      const texts = this.#texts
      texts.key.push(textIndexOf(known, texts.key))
      texts.value.pushBytes(writer.bytes, end - size, cut)
      texts.count()
    }
    this.#close()
  }

  /** An integer travels as one. */
  number(name: string, value: number): void {
    const { writer } = this
    const known = nameOf(name)
    this.#open(known)
    // Most integers are small and need no bigint on their way.
    if (value > 0 && value <= 0xffffffff && Number.isInteger(value))
      writer.varintMember(3, value, 0)
    else if (Number.isSafeInteger(value) && !Object.is(value, -0))
      writer.bigMember(3, BigInt(value))
    else writer.doubleMember(4, value)
    this.#close()
    this.#search(known, value)
  }

  double(name: string, value: number): void {
    const known = nameOf(name)
    this.#open(known)
    this.writer.doubleMember(4, value)
    this.#close()
    this.#search(known, value)
  }

  flag(name: string, value: boolean): void {
    const known = nameOf(name)
    this.#open(known)
    this.writer.varintMember(2, value ? 1 : 0)
    this.#close()
    this.#search(known, value ? 1 : 0)
  }

  /** In the message only, as all that follow. */
  list(name: string, values: readonly string[]): void {
    const { writer } = this
    this.#open(nameOf(name))
    const list = writer.begin(5)
    for (const value of values) {
      const item = writer.begin(1)
      writer.textMember(1, value)
      writer.end(item)
    }
    writer.end(list)
    this.#close()
  }

  long(name: string, value: string): void {
    this.#open(nameOf(name))
    this.writer.textMember(1, value)
    this.#close()
  }

  json(name: string, value: JsonBytes): void {
    this.#open(nameOf(name))
    this.writer.bytesFrom(1, value.bytes, 0, value.length)
    this.#close()
  }

  /** Ends the row of the two columns. */
  end(): void {
    this.#texts.endRow()
    this.#numbers.endRow()
  }

  get #texts(): Batch['spans']['columns']['attr_str'] {
    return this.#columns!.attr_str // `begin` comes first
  }

  get #numbers(): Batch['spans']['columns']['attr_num'] {
    return this.#columns!.attr_num // so too
  }

  #takesRoom(): boolean {
    if (this.#room === 0) return false
    this.#room -= 1
    return true
  }

  #search(name: Name, value: number): void {
    if (!this.#takesRoom()) return
    const { key, value: values } = this.#numbers
    key.push(numberIndexOf(name, key))
    values.push(value)
    this.#numbers.count()
  }

  /** A KeyValue with its key, and its AnyValue begun. */
  #open({ field }: Name): void {
    const { writer } = this
    this.#outer = writer.begin(attributesField)
    writer.raw(field)
    this.#inner = writer.begin(2)
  }

  #close(): void {
    this.writer.end(this.#inner)
    this.writer.end(this.#outer)
  }
}

const names = new Map<string, Name>()

function nameOf(name: string): Name {
  const known = names.get(name)
  if (known) return known
  const writer = new WireWriter(name.length + 8)
  const size = name === '' ? 0 : writer.textMember(1, name)
  const field = new Uint8Array(writer.finish())
  const view = new DataView(field.buffer, field.byteOffset + field.length - size, size)
  const numbers = { textIndex: 0, textGeneration: 0, numberIndex: 0, numberGeneration: 0 }
  const made = { field, view, ...numbers }
  if (names.size < namesHeld && name.length <= nameCharsMax) names.set(name, made)
  return made
}

function textIndexOf(name: Name, column: LowCardinalityColumn): number {
  if (name.textGeneration !== column.generation) {
    name.textIndex = column.indexOf(name.view, 0, name.view.byteLength)
    name.textGeneration = column.generation
  }
  return name.textIndex
}

function numberIndexOf(name: Name, column: LowCardinalityColumn): number {
  if (name.numberGeneration !== column.generation) {
    name.numberIndex = column.indexOf(name.view, 0, name.view.byteLength)
    name.numberGeneration = column.generation
  }
  return name.numberIndex
}
