// JSON read byte by byte, in place: strict RFC 8259, bounded nesting, no object is ever built from what a caller sent.

import { Undecodable } from './wire-reader.ts'
import type { WireWriter } from './wire-writer.ts'

// Values that are passed over: unknown fields, and the rest of a span that is rejected.
const skipDepthMax = 512

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

  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes
    this.at = at
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
    else writer.bytesMember(field, this.bytes.subarray(this.start, this.end))
  }

  /** Reads a number token, as its text. */
  number(): string {
    const first = this.peek()
    const from = this.at
    let at = from
    while (isNumberByte(this.bytes[at])) at++
    const text = this.bytes.toString('latin1', from, at)
    if (first === -1 || !/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text))
      this.fail('not a JSON value')
    this.at = at
    return text
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
  skip(depth = 1): void {
    if (depth > skipDepthMax) this.fail(`nesting exceeds ${skipDepthMax}`)
    switch (this.peek()) {
      case quote:
        this.string()
        if (this.escaped) this.text()
        return
      case 0x7b:
        this.at += 1
        if (this.take(0x7d)) return
        do {
          this.string()
          if (this.escaped) this.text()
          this.expect(0x3a)
          this.skip(depth + 1)
        } while (this.take(0x2c))
        this.expect(0x7d)
        return
      case 0x5b:
        this.at += 1
        if (this.take(0x5d)) return
        do this.skip(depth + 1)
        while (this.take(0x2c))
        this.expect(0x5d)
        return
      default:
        if (!this.literal('null') && !this.literal('true') && !this.literal('false')) this.number()
    }
  }

  #failAt(at: number, what: string): never {
    this.at = at
    this.fail(what)
  }
}

function isNumberByte(byte: number | undefined): boolean {
  if (byte === undefined) return false
  if (byte >= 0x30 && byte <= 0x39) return true
  return byte === 0x2d || byte === 0x2b || byte === 0x2e || byte === 0x65 || byte === 0x45
}
