// From a JSON key's bytes to its field. lowerCamelCase is what OTLP says; snake_case and the names of 2021 are recognised too.

import type { Field, Message } from './messages.ts'

type Key = { bytes: Buffer; field: Field }

/** Names that fields had before OTLP 1.0, in lowerCamelCase. */
const legacyNames = new Map([
  ['instrumentationLibrarySpans', 'scopeSpans'],
  ['instrumentationLibrary', 'scope'],
])

const byLength = new WeakMap<Message, Key[][]>()

/** The field spelled as OTLP says, compared as bytes. */
export function findField(
  of: Message,
  bytes: Buffer,
  [start, end]: readonly [number, number],
): Field | undefined {
  const size = end - start
  for (const key of keysOf(of)[size] ?? []) {
    let same = 0
    while (same < size && key.bytes[same] === bytes[start + same]) same++
    if (same === size) return key.field
  }
  return undefined
}

/** The field that a deviating spelling means, and which deviation it is. */
export function findLenient(
  of: Message,
  name: string,
): { field: Field; deviation: 'snake_case' | 'legacy_field' } | undefined {
  const camel = name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
  const current = legacyNames.get(camel) ?? camel
  const field = of.fields.find(({ json }) => json === current)
  if (field === undefined) return undefined
  return { field, deviation: current === camel ? 'snake_case' : 'legacy_field' }
}

function keysOf(of: Message): Key[][] {
  let keys = byLength.get(of)
  if (keys === undefined) {
    keys = []
    for (const field of of.fields) {
      const bytes = Buffer.from(field.json)
      const same = keys[bytes.length] ?? []
      same.push({ bytes, field })
      keys[bytes.length] = same
    }
    byLength.set(of, keys)
  }
  return keys
}
