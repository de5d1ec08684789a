// Attribute keys, interned by their bytes: the same key is recognised again without making a string of it.
// Probes and entries are bounded, so that no choice of keys makes a lookup long; what finds no place is looked at afresh.

import { isUtf8 } from 'node:buffer'
import { bulkFields, type DialectField, dialects, typeMarkers } from '../../schemas/dialects.ts'

// Slots are four times the entries: probes stay short. Entries hold their key: 4,096 of at most 256 bytes are 1 MiB.
const slots = 16_384
const entriesMax = 4_096
const probesMax = 8
const keyBytesMax = 256

/** What one key means to us. */
export type KeyEntry = {
  readonly bytes: DataView
  /** Pairs of field index and rank: where this key stands in the list of that field. */
  readonly fields: readonly { field: number; rank: number }[]
  /** Index into typeMarkers, or -1. */
  readonly marker: number
  /** Part of a conversation: kept out of the search attributes. */
  readonly bulk: boolean
  /** Whether the key is UTF-8; unknown, and false, for what is not interned. */
  readonly valid: boolean
  /** The same bytes always find this very entry, so that its stamp finds duplicates. */
  interned: boolean
  /** The span (by sequence) that showed this key last, and at which of its attributes. */
  stamp: number
  slot: number
  /** Its number in the dictionary of a map's keys, good while that dictionary's generation is this one. */
  stringGeneration: number
  stringIndex: number
  numberGeneration: number
  numberIndex: number
}

const nowhere = {
  stamp: -1,
  slot: -1,
  stringGeneration: -1,
  stringIndex: 0,
  numberGeneration: -1,
  numberIndex: 0,
}

/** Stands for any key that means nothing to us and found no place in the table. */
export const foreignKey: KeyEntry = {
  bytes: viewOf(Buffer.alloc(0)),
  fields: [],
  marker: -1,
  bulk: false,
  valid: false,
  interned: false,
  ...nowhere,
}

export const fieldNames = Object.keys(dialects) as DialectField[] // the keys of the very table the type is made from
/** The index a field has in the arrays of a scan. */
export const fieldIndex = Object.fromEntries(
  fieldNames.map((name, index) => [name, index]),
) as Record<DialectField, number> // every field name is in

/** `@event/attribute` keys: by event name, then by attribute. */
export const eventKeys = new Map<string, Map<string, { field: number; rank: number }>>()

const patterns: { regex: RegExp; field: number; rank: number; bulk: boolean }[] = []
const known = new Map<string, { field: number; rank: number }[]>()
const markerOf = new Map<string, number>()
const bulkKeys = new Set<string>()
// Every pattern starts so; whatever does not, needs no regular expression to be told apart.
const patternHeads = ['gen_ai.', 'llm.', 'traceloop.'].map((head) => viewOf(Buffer.from(head)))
compile()

export class KeyTable {
  readonly #slots: (KeyEntry | undefined)[] = new Array(slots).fill(undefined)
  #entries = 0

  constructor() {
    this.#reset()
  }

  /** The entry of the key at bytes[start…end): its own, interned if there is room, or the one for foreign keys. */
  find(bytes: DataView, start: number, end: number): KeyEntry {
    const size = end - start
    let slot = hash(bytes, start, size) & (slots - 1)
    let free = -1
    for (let probe = 0; probe < probesMax; probe++) {
      const entry = this.#slots[slot]
      if (entry === undefined) {
        free = slot
        break
      }
      if (entry.bytes.byteLength === size && equal(entry.bytes, bytes, start)) return entry
      slot = (slot + 1) & (slots - 1)
    }
    const fits = free >= 0 && size <= keyBytesMax && this.#entries < entriesMax
    if (!fits && (size > keyBytesMax || !mayMatchPattern(bytes, start, size))) return foreignKey
    const entry = makeEntry(
      Buffer.copyBytesFrom(new Uint8Array(bytes.buffer, bytes.byteOffset + start, size)),
    )
    if (fits) {
      this.#slots[free] = entry
      this.#entries += 1
      entry.interned = true
    }
    return entry
  }

  /** Forgets the keys that callers made up, once the table is full. True when it did: entries held elsewhere are void. */
  tidy(): boolean {
    if (this.#entries < entriesMax) return false
    this.#reset()
    return true
  }

  #reset(): void {
    this.#slots.fill(undefined)
    this.#entries = 0
    for (const key of [...known.keys(), ...markerOf.keys()]) {
      const bytes = Buffer.from(key)
      if (!this.find(viewOf(bytes), 0, bytes.length).interned)
        throw new Error(`no place for key ${key}`)
    }
  }
}

/** Whether the bytes from `start` on are those of the key; the caller knows that there are as many. */
export function equal(key: DataView, bytes: DataView, start: number): boolean {
  const size = key.byteLength
  let i = 0
  for (; i + 4 <= size; i += 4)
    if (key.getUint32(i, true) !== bytes.getUint32(start + i, true)) return false
  for (; i < size; i++) if (key.getUint8(i) !== bytes.getUint8(start + i)) return false
  return true
}

export function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

function hash(bytes: DataView, start: number, size: number): number {
  let value = 0x811c9dc5 ^ size
  for (let i = start; i < start + size; i++)
    value = Math.imul(value ^ bytes.getUint8(i), 0x01000193)
  return value ^ (value >>> 15)
}

function makeEntry(bytes: Buffer): KeyEntry {
  const key = bytes.toString('utf8')
  const fields = known.get(key) ?? []
  const indexed = patterns.filter(({ regex }) => regex.test(key))
  return {
    bytes: viewOf(bytes),
    fields: [...fields, ...indexed.map(({ field, rank }) => ({ field, rank }))],
    marker: markerOf.get(key) ?? -1,
    bulk: bulkKeys.has(key) || indexed.some(({ bulk }) => bulk),
    valid: isUtf8(bytes),
    interned: false,
    ...nowhere,
  }
}

function mayMatchPattern(bytes: DataView, start: number, size: number): boolean {
  return patternHeads.some((head) => head.byteLength < size && equal(head, bytes, start))
}

function compile(): void {
  for (const name of fieldNames) {
    const bulk = bulkFields.includes(name)
    dialects[name].forEach((key, rank) => {
      const field = fieldIndex[name]
      if (key.startsWith('@')) compileEvent(key, field, rank)
      else if (key.includes('{n}') || key.endsWith('*'))
        patterns.push({ regex: toRegex(key), field, rank, bulk })
      else {
        known.set(key, [...(known.get(key) ?? []), { field, rank }])
        if (bulk) bulkKeys.add(key)
      }
    })
  }
  typeMarkers.forEach(([, keys], index) => {
    for (const key of keys) markerOf.set(key, index)
  })
}

function compileEvent(key: string, field: number, rank: number): void {
  const slash = key.indexOf('/')
  const event = key.slice(1, slash)
  const attributes = eventKeys.get(event) ?? new Map()
  attributes.set(key.slice(slash + 1), { field, rank })
  eventKeys.set(event, attributes)
}

/** A pattern of the table as a regular expression: `{n}` is one to four digits, a final `*` anything. */
function toRegex(pattern: string): RegExp {
  const escaped = pattern.replaceAll(/[.+?^$()[\]\\|]/g, '\\$&')
  const source = escaped.replaceAll('{n}', '\\d{1,4}').replace(/\*$/, '.+')
  return new RegExp(`^${source}$`, 's')
}
