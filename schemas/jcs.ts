// RFC 8785: one value, one text. What is signed or committed to is these bytes, so what could be read in two ways is refused.

import { isWellFormed, JsonBytes } from './json-bytes.ts'

// Deeper values are refused: recursion is what canonicalising is, and the stack is not ours to spend.
const depthMax = 500
// Below it sorting by insertion is faster, and leaves no garbage.
const fewKeys = 24

const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d
const comma = 0x2c
const colon = 0x3a

/** The value has no canonical form; the message says why. */
export class NotCanonical extends Error {
  override name = 'NotCanonical'
}

/**
 * The canonical text. Strict I-JSON (RFC 7493): throws `NotCanonical` for NaN, infinities, undefined, lone surrogates,
 * integers that a double cannot hold exactly, and anything that is not JSON.
 */
export function toJcs(value: unknown): string {
  return canonical.write(value, 'strict').toString()
}

/** UTF-8 of the canonical text. */
export function toJcsBytes(value: unknown): Uint8Array<ArrayBuffer> {
  return lendJcs(value).slice()
}

/** The same bytes, lent: the next value is written over them. For what is hashed at once. */
export function lendJcs(value: unknown): Uint8Array<ArrayBuffer> {
  return canonical.write(value, 'strict').filled()
}

/**
 * The same order and spelling for values outside I-JSON, so that a caller's odd JSON can be committed to: integers beyond
 * 2^53 as ECMAScript prints the double, overflowed numbers as `1e999`, lone surrogates as `\udxxx`, absent members left out.
 * Throws `NotCanonical` only for what no JSON text can become, or for a depth above 500.
 */
export function toLooseJcs(value: unknown): string {
  return canonical.write(value, 'loose').toString()
}

/** UTF-8 of the looser text, lent. */
export function lendLooseJcs(value: unknown): Uint8Array<ArrayBuffer> {
  return canonical.write(value, 'loose').filled()
}

/** Writes one value after another over the same memory; none is begun before the one before it is whole. */
class Canonical {
  readonly to = new JsonBytes()
  #isLoose = false
  #depth = 0

  write(value: unknown, form: 'strict' | 'loose'): JsonBytes {
    this.#isLoose = form === 'loose'
    this.#depth = 0
    this.to.clear()
    this.#value(value)
    return this.to
  }

  #value(value: unknown): void {
    if (typeof value === 'string') this.#text(value)
    else if (typeof value === 'number') this.#number(value)
    else if (typeof value === 'boolean') this.to.ascii(value ? 'true' : 'false')
    else if (value === null) this.to.ascii('null')
    else if (typeof value === 'object') this.#nested(value)
    else if (this.#isAbsent(value)) this.to.ascii('null')
  }

  #nested(value: object): void {
    if (this.#depth >= depthMax) throw new NotCanonical(`Nested deeper than ${depthMax}.`)
    this.#depth += 1
    if (Array.isArray(value)) this.#array(value)
    else this.#object(value)
    this.#depth -= 1
  }

  #array(values: readonly unknown[]): void {
    const { to } = this
    to.byte(openBracket)
    for (let i = 0; i < values.length; i++) {
      if (i > 0) to.byte(comma)
      this.#value(values[i])
    }
    to.byte(closeBracket)
  }

  #object(value: object): void {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype !== null && prototype !== Object.prototype) {
      throw new NotCanonical('Only plain objects and arrays are JSON.')
    }
    const members = value as Record<string, unknown> // a plain object, just checked
    const { to } = this
    let isFirst = true
    to.byte(openBrace)
    for (const key of sortedKeys(members)) {
      const member = members[key]
      if (member === undefined && this.#isAbsent(member)) continue
      if (!isFirst) to.byte(comma)
      isFirst = false
      this.#text(key)
      to.byte(colon)
      this.#value(member)
    }
    to.byte(closeBrace)
  }

  #text(value: string): void {
    if (!this.#isLoose && !isWellFormed(value)) {
      throw new NotCanonical('A string has a lone surrogate.')
    }
    this.to.text(value)
  }

  #number(value: number): void {
    if (Number.isFinite(value)) {
      // From 1e21 on ECMAScript prints an exponent, which nobody takes for an exact integer.
      const isInexact =
        Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21
      if (isInexact && !this.#isLoose)
        throw new NotCanonical(`${value} is beyond 2^53-1: digits of it may be lost already.`)
      this.to.number(value)
    } else if (this.#isLoose) this.to.ascii(value > 0 ? '1e999' : value < 0 ? '-1e999' : 'null')
    else throw new NotCanonical(`${value} is not a JSON number.`)
  }

  /** True of what JSON leaves out: as a member it is, as an element it is null. Throws for what JSON cannot say at all. */
  #isAbsent(value: unknown): boolean {
    if (value === undefined && this.#isLoose) return true
    throw new NotCanonical(`A value of type ${typeof value} is not JSON.`)
  }
}

const canonical = new Canonical()

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
