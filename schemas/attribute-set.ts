// The attributes and events of one span, read by what they mean: the first key of a field's list that is not empty.
// Attributes live in a Map: whatever their keys are, no object's prototype is ever touched.

import { type AnyValue, type DialectField, dialects } from './dialects.ts'
import { toProvider } from './provider.ts'

export type Attribute = readonly [string, AnyValue]
export type SpanEvent = { name: string; attributes: Iterable<Attribute> }

export class AttributeSet {
  readonly all: ReadonlyMap<string, AnyValue>
  readonly events: readonly { name: string; attributes: ReadonlyMap<string, AnyValue> }[]

  constructor(attributes: Iterable<Attribute>, events: Iterable<SpanEvent> = []) {
    this.all = new Map(attributes)
    this.events = [...events].map(({ name, attributes: of }) => ({ name, attributes: new Map(of) }))
  }

  /** The value of the first key that has one. Indexed keys and events are left to `each`. */
  first(field: DialectField): AnyValue | undefined {
    for (const key of dialects[field]) {
      const value = this.all.get(key)
      if (isEmpty(value)) continue
      return typeof value === 'string' && field === 'provider' ? toProvider(value) : value
    }
    return undefined
  }

  text(field: DialectField): string {
    const value = this.first(field)
    if (value === undefined || value instanceof Uint8Array || typeof value === 'object') return ''
    return String(value)
  }

  number(field: DialectField): number | undefined {
    const value = this.first(field)
    const isNumeric =
      typeof value === 'number' ||
      typeof value === 'bigint' ||
      (typeof value === 'string' && /^-?\d/.test(value))
    const number = isNumeric ? Number(value) : Number.NaN
    return Number.isFinite(number) ? number : undefined
  }

  /** Strings of a list, of JSON that is a list, or of a single value. */
  list(field: DialectField): string[] {
    const value = toPlain(this.first(field))
    const parsed = typeof value === 'string' && value.startsWith('[') ? tryJson(value) : value
    const items = Array.isArray(parsed) ? parsed : parsed === undefined ? [] : [parsed]
    return items.map((item) => (typeof item === 'string' ? item : JSON.stringify(item)))
  }

  /** What stands under `prefix.<n>.`, by index: for each, its rest of the key and its value. At most 1,024 indices. */
  indexed(prefix: string): Map<string, AnyValue>[] {
    const found = new Map<number, Map<string, AnyValue>>()
    for (const [key, value] of this.all) {
      if (!key.startsWith(`${prefix}.`)) continue
      const match = /^(\d{1,4})\.(.+)$/s.exec(key.slice(prefix.length + 1))
      if (!match) continue
      const index = Number(match[1])
      const entries = found.get(index) ?? new Map<string, AnyValue>()
      if (found.size >= indicesMax && !found.has(index)) continue
      found.set(index, entries.set(match[2]!, value))
    }
    return [...found].sort(([a], [b]) => a - b).map(([, entries]) => entries)
  }

  /** What stands under `prefix`, as text by the rest of its key. */
  under(prefix: string): Map<string, string> {
    const found = new Map<string, string>()
    for (const [key, value] of this.all)
      if (key.startsWith(prefix)) found.set(key.slice(prefix.length), asText(value))
    return found
  }
}

const indicesMax = 1_024

function isEmpty(value: AnyValue | undefined): boolean {
  return value === undefined || value === null || value === ''
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Prose in brackets; it is its own only item.
    return text
  }
}

function asText(value: AnyValue): string {
  const plain = toPlain(value)
  return typeof plain === 'string' ? plain : (JSON.stringify(plain) ?? '')
}

/** As JSON would have it: maps become objects without prototype, ints numbers while they are exact, bytes base64. */
export function toPlain(value: AnyValue | undefined): unknown {
  if (value instanceof Uint8Array)
    return btoa(String.fromCharCode(...value.subarray(0, plainBytesMax)))
  if (Array.isArray(value)) return value.map(toPlain)
  if (value instanceof Map) {
    const object: Record<string, unknown> = Object.create(null)
    for (const [key, item] of value) object[key] = toPlain(item)
    return object
  }
  if (typeof value !== 'bigint') return value
  return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
}

// Spread into a call; bytes in a conversation are pictures, which are shown from the span itself.
const plainBytesMax = 32_768
