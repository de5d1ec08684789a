// A stored message read whole into values, by the table of messages.ts: for the span page and for JSON, not for the hot path.
// Merging follows protobuf: the last scalar wins, messages merge, a later member of a oneof replaces an earlier one.

import type { Field, Message } from './messages.ts'
import { fieldOf } from './text-check.ts'
import { toBigInt, WireReader } from './wire-reader.ts'

/** Strings, bytes, booleans; bigint for 64-bit integers; number for the rest. */
export type Leaf = string | Uint8Array | boolean | bigint | number
export type Value = Leaf | Tree

/** The values of one message by field number; unknown fields are left out. */
export class Tree {
  readonly of: Message
  readonly #values: (Value | Value[] | undefined)[] = []

  constructor(of: Message) {
    this.of = of
  }

  one(field: Field): Value | undefined {
    const value = this.#values[field.number]
    return Array.isArray(value) ? undefined : value
  }

  many(field: Field): readonly Value[] {
    const value = this.#values[field.number]
    return Array.isArray(value) ? value : []
  }

  set(field: Field, value: Value): void {
    if (field.repeated) {
      const values = this.#values[field.number]
      if (Array.isArray(values)) values.push(value)
      else this.#values[field.number] = [value]
      return
    }
    if (field.oneof) for (const other of this.of.fields) this.#values[other.number] = undefined
    this.#values[field.number] = value
  }
}

/** Throws Undecodable for what is not such a message. */
export function readTree(of: Message, bytes: Uint8Array): Tree {
  const tree = new Tree(of)
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  readInto(tree, new WireReader(buffer), buffer.length)
  return tree
}

function readInto(tree: Tree, reader: WireReader, end: number): void {
  while (reader.at < end) {
    const tag = reader.tag(end)
    const field = fieldOf(tree.of, tag, reader)
    if (field === undefined) reader.skip(tag, end)
    else if (field.of === undefined) tree.set(field, readLeaf(field, reader, end))
    else {
      const before = field.repeated ? undefined : tree.one(field)
      const child = before instanceof Tree ? before : new Tree(field.of)
      readInto(child, reader, reader.lengthEnd(end))
      if (child !== before) tree.set(field, child)
    }
  }
}

function readLeaf(field: Field, reader: WireReader, end: number): Leaf {
  switch (field.kind) {
    case 'string':
    case 'bytes':
    case 'id': {
      const last = reader.lengthEnd(end)
      const start = reader.at
      reader.at = last
      return field.kind === 'string'
        ? reader.bytes.toString('utf8', start, last)
        : reader.bytes.subarray(start, last)
    }
    case 'double':
      return reader.double(end)
    case 'fixed32':
      return reader.fixed32(end)
    case 'fixed64':
      reader.fixed64(end)
      return toBigInt(reader.low, reader.high)
    default:
      reader.varint64(end)
      return fromVarint(field, reader.low, reader.high)
  }
}

function fromVarint(field: Field, low: number, high: number): Leaf {
  if (field.kind === 'bool') return (low | high) !== 0
  if (field.kind === 'int64') return BigInt.asIntN(64, toBigInt(low, high))
  return field.kind === 'uint32' ? low : low | 0
}
