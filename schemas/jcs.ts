// RFC 8785: one value, one text. What is signed or committed to is these bytes, so what could be read in two ways is refused.

// Deeper values are refused: recursion is what canonicalising is, and the stack is not ours to spend.
const depthMax = 500
const plainLengthMax = 128
// Names of members, quoted, that were written before: the same few hundred come again with every call.
const namesMax = 1_000
const nameLengthMax = 40
// Below it sorting by insertion is faster, and leaves no garbage.
const fewKeys = 24

/** The value has no canonical form; the message says why. */
export class NotCanonical extends Error {
  override name = 'NotCanonical'
}

/**
 * The canonical text. Strict I-JSON (RFC 7493): throws `NotCanonical` for NaN, infinities, undefined, lone surrogates,
 * integers that a double cannot hold exactly, and anything that is not JSON.
 */
export function toJcs(value: unknown): string {
  return write(value, strict, 0)
}

/** UTF-8 of the canonical text. */
export function toJcsBytes(value: unknown): Uint8Array<ArrayBuffer> {
  return utf8.encode(toJcs(value))
}

/**
 * The same order and spelling for values outside I-JSON, so that a caller's odd JSON can be committed to: integers beyond
 * 2^53 as ECMAScript prints the double, overflowed numbers as `1e999`, lone surrogates as `\udxxx`, absent members left out.
 * Throws `NotCanonical` only for what no JSON text can become, or for a depth above 500.
 */
export function toLooseJcs(value: unknown): string {
  return write(value, loose, 0)
}

const utf8 = new TextEncoder()

type Rules = {
  number(value: number): string
  text(value: string): string
  /** Undefined: the member is left out, the element becomes null. */
  other(value: unknown): string | undefined
}

const strict: Rules = {
  number(value) {
    if (!Number.isFinite(value)) throw new NotCanonical(`${value} is not a JSON number.`)
    // From 1e21 on ECMAScript prints an exponent, which nobody takes for an exact integer.
    if (Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21) {
      throw new NotCanonical(`${value} is beyond 2^53-1: digits of it may be lost already.`)
    }
    return String(value) // RFC 8785 3.2.2.3: exactly as ECMAScript writes it; -0 is 0
  },
  text(value) {
    if (isPlain(value)) return `"${value}"`
    if (!isWellFormed(value)) throw new NotCanonical('A string has a lone surrogate.')
    return JSON.stringify(value)
  },
  other(value) {
    throw new NotCanonical(`A value of type ${typeof value} is not JSON.`)
  },
}

const loose: Rules = {
  number(value) {
    if (Number.isFinite(value)) return String(value)
    return value > 0 ? '1e999' : value < 0 ? '-1e999' : 'null'
  },
  text: (value) => (isPlain(value) ? `"${value}"` : JSON.stringify(value)),
  other(value) {
    if (value === undefined) return undefined
    throw new NotCanonical(`A value of type ${typeof value} is not JSON.`)
  },
}

function write(value: unknown, rules: Rules, depth: number): string {
  switch (typeof value) {
    case 'string':
      return rules.text(value)
    case 'number':
      return rules.number(value)
    case 'boolean':
      return value ? 'true' : 'false'
    case 'object': {
      if (value === null) return 'null'
      if (depth >= depthMax) throw new NotCanonical(`Nested deeper than ${depthMax}.`)
      return Array.isArray(value)
        ? writeArray(value, rules, depth + 1)
        : writeObject(value, rules, depth + 1)
    }
    default:
      return rules.other(value) ?? 'null'
  }
}

function writeArray(value: readonly unknown[], rules: Rules, depth: number): string {
  let text = '['
  for (let i = 0; i < value.length; i++) {
    if (i > 0) text += ','
    text += write(value[i], rules, depth)
  }
  return `${text}]`
}

function writeObject(value: object, rules: Rules, depth: number): string {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== null && prototype !== Object.prototype) {
    throw new NotCanonical('Only plain objects and arrays are JSON.')
  }
  const members = value as Record<string, unknown> // a plain object, just checked
  let text = '{'
  for (const key of sortedKeys(members)) {
    const member = members[key]
    if (member === undefined && rules.other(member) === undefined) continue
    if (text.length > 1) text += ','
    text += quoted(key, rules)
    text += write(member, rules, depth)
  }
  return `${text}}`
}

const names = new Map<string, string>()

/** A member's name with its quotes and the colon. */
function quoted(key: string, rules: Rules): string {
  const known = names.get(key)
  if (known !== undefined) return known
  const made = `${rules.text(key)}:`
  // Only what both rules write alike is kept.
  if (names.size < namesMax && key.length <= nameLengthMax && isPlain(key)) names.set(key, made)
  return made
}

// Comparing strings compares UTF-16 code units, and so does Array.prototype.sort: the order of RFC 8785 3.2.3.
function sortedKeys(members: object): string[] {
  const keys = Object.keys(members)
  if (keys.length > fewKeys) return keys.sort()
  for (let i = 1; i < keys.length; i++) {
    const key = keys[i]!
    let at = i
    for (; at > 0 && keys[at - 1]! > key; at--) keys[at] = keys[at - 1]!
    keys[at] = key
  }
  return keys
}

// Names, ids and hashes are short and need no escape; looking is cheaper than asking JSON.stringify.
function isPlain(text: string): boolean {
  if (text.length > plainLengthMax) return false
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || code > 0x7e || code === 0x22 || code === 0x5c) return false
  }
  return true
}

const loneSurrogate = /[\ud800-\udfff]/u

// Every current engine has isWellFormed; the pattern is for those that came before it.
function isWellFormed(text: string): boolean {
  const native = (text as { isWellFormed?: () => boolean }).isWellFormed // ES2024, one above our lib
  return native ? native.call(text) : !loneSurrogate.test(text)
}
