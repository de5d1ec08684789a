// JSON read byte by byte, in place: strict RFC 8259, bounded nesting, no object is ever built from what a caller sent.

import { Undecodable } from './wire-reader.ts'
import type { WireWriter } from './wire-writer.ts'

// Values that are passed over: unknown fields, and the rest of a span that is rejected.
const skipDepthMax = 512
// About a millisecond.
const skipStepBytes = 64 * 1024

const quote = 0x22
const backslash = 0x5c

/** A cursor over UTF-8 bytes; the caller has checked that they are. */
export class JsonCursor {
  readonly bytes: Buffer
  at: number
  /** The content of the string read last, without its quotes, and whether it holds escapes. */
  start = 0
  end = 0
  escaped = false

  readonly #view: DataView

  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes
    this.at = at
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  /** The first byte of the next token; -1 at the end. */
  peek(): number {
    const { bytes } = this
    let at = this.at
    let byte = bytes[at]
    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++at]
    this.at = at
    return byte ?? -1
  }

  /** Passes the punctuation if it comes next. */
  take(byte: number): boolean {
    if (this.peek() !== byte) return false
    this.at += 1
    return true
  }

  expect(byte: number): void {
    if (!this.take(byte)) this.fail(`expected ${String.fromCharCode(byte)}`)
  }

  fail(what: string): never {
    throw new Undecodable(this.at >= this.bytes.length ? 'the JSON ends early' : what, this.at)
  }

  /** Reads a string token into start, end and escaped. */
  string(): void {
    if (this.peek() !== quote) this.fail('expected a string')
    const { bytes } = this
    let at = this.at + 1
    this.start = at
    this.escaped = false
    for (;;) {
      at = this.#plainEnd(at)
      const byte = bytes[at]
      if (byte === quote) break
      if (byte === undefined) this.#failAt(at, 'unterminated string')
      if (byte < 0x20) this.#failAt(at, 'control character in a string')
      if (byte === backslash) {
        this.escaped = true
        at += 1
      }
      at += 1
    }
    this.end = at
    this.at = at + 1
  }

  /** The string read last. Escapes are checked here; a lone surrogate has no UTF-8 and is refused. */
  text(): string {
    if (!this.escaped) return this.bytes.toString('utf8', this.start, this.end)
    let text: unknown
    try {
      text = JSON.parse(this.bytes.toString('utf8', this.start - 1, this.end + 1))
    } catch {
      // JSON.parse names a position within the string; the one in the body is of more use.
      this.#failAt(this.start, 'malformed escape')
    }
    if (typeof text !== 'string' || /\p{Surrogate}/u.test(text))
      this.#failAt(this.start, 'lone surrogate')
    return text
  }

  /** Writes the string read last as a protobuf string field. */
  writeTo(writer: WireWriter, field: number): void {
    if (this.escaped) writer.textMember(field, this.text())
    else writer.bytesFrom(field, this.bytes, this.start, this.end)
  }

  /** Four bytes at a time up to where a quote, a backslash or a control character is near. */
  #plainEnd(start: number): number {
    const view = this.#view
    const last = this.bytes.length - 4
    let at = start
    for (; at <= last; at += 4) {
      const word = view.getInt32(at, true)
      const quotes = word ^ 0x22222222
      const slashes = word ^ 0x5c5c5c5c
      // A byte below n becomes negative by its subtraction; only bytes that were not negative before count.
      const hits =
        ((word - 0x20202020) & ~word) |
        ((quotes - 0x01010101) & ~quotes) |
        ((slashes - 0x01010101) & ~slashes)
      if ((hits & 0x80808080) !== 0) break
    }
    return at
  }

  /** Reads a number token, as its text. */
  number(): string {
    this.peek()
    const from = this.at
    this.passNumber()
    return this.bytes.toString('latin1', from, this.at)
  }

  /** Passes a number, by the grammar of RFC 8259. */
  passNumber(): void {
    this.peek()
    const { bytes } = this
    let at = this.at
    if (bytes[at] === 0x2d) at += 1
    const whole = digitsEnd(bytes, at)
    if (whole === at || (bytes[at] === 0x30 && whole > at + 1)) this.fail('not a JSON value')
    at = whole
    if (bytes[at] === 0x2e) {
      const fraction = digitsEnd(bytes, at + 1)
      if (fraction === at + 1) this.fail('not a JSON value')
      at = fraction
    }
    if (bytes[at] === 0x65 || bytes[at] === 0x45) {
      at += bytes[at + 1] === 0x2b || bytes[at + 1] === 0x2d ? 2 : 1
      const exponent = digitsEnd(bytes, at)
      if (exponent === at) this.fail('not a JSON value')
      at = exponent
    }
    const next = bytes[at]
    if (next !== undefined && isNumberByte(next)) this.fail('not a JSON value')
    this.at = at
  }

  /** Passes the literal if it comes next. */
  literal(word: 'null' | 'true' | 'false'): boolean {
    if (this.peek() !== word.charCodeAt(0)) return false
    for (let i = 1; i < word.length; i++)
      if (this.bytes[this.at + i] !== word.charCodeAt(i)) this.fail('not a JSON value')
    this.at += word.length
    return true
  }

  /** Passes over any value, checking that it is JSON. */
  skip(): void {
    for (const _ of this.skipSteps());
  }

  /** The same, yielding now and then: what nobody asked for may be all of a large body. */
  *skipSteps(): Generator<void, void, void> {
    const isObject: boolean[] = []
    let from = this.at
    for (;;) {
      const first = this.peek()
      if (first === 0x7b || first === 0x5b) {
        if (isObject.length >= skipDepthMax) this.fail(`nesting exceeds ${skipDepthMax}`)
        this.at += 1
        if (!this.take(first + 2)) {
          isObject.push(first === 0x7b)
          if (first === 0x7b) this.#passKey()
          continue
        }
      } else this.#passScalar(first)
      while (isObject.length > 0 && !this.take(0x2c)) this.expect(isObject.pop() ? 0x7d : 0x5d)
      if (isObject.length === 0) return
      if (isObject.at(-1)) this.#passKey()
      if (this.at - from < skipStepBytes) continue
      from = this.at
      yield
    }
  }

  #passKey(): void {
    this.string()
    if (this.escaped) this.text()
    this.expect(0x3a)
  }

  #passScalar(first: number): void {
    if (first === quote) {
      this.string()
      if (this.escaped) this.text()
    } else if (!this.literal('null') && !this.literal('true') && !this.literal('false'))
      this.passNumber()
  }

  #failAt(at: number, what: string): never {
    this.at = at
    this.fail(what)
  }
}

function digitsEnd(bytes: Buffer, start: number): number {
  let at = start
  for (let byte = bytes[at]; byte !== undefined && byte >= 0x30 && byte <= 0x39; byte = bytes[at])
    at++
  return at
}

function isNumberByte(byte: number): boolean {
  if (byte >= 0x30 && byte <= 0x39) return true
  return byte === 0x2d || byte === 0x2b || byte === 0x2e || byte === 0x65 || byte === 0x45
}
