// JSON text written as UTF-8 in place: of what is only hashed, signed or stored no string is made, and nothing is left to collect.
// Spelling: as JSON.stringify has it, which is RFC 8785 3.2.2 for texts that are well-formed and for numbers that are finite.

const bytesFirst = 4096
// One very long value does not keep its memory.
const bytesKeptMax = 1024 * 1024
// Up to here a loop is faster than the encoder and a look for escapes after it: names, ids and hashes.
const shortCharsMax = 40
// Room for three bytes a character is made up to here; a longer text is encoded by itself first.
const roomyCharsMax = 64 * 1024

const quote = 0x22
const backslash = 0x5c
const utf8 = new TextEncoder()
const fromUtf8 = new TextDecoder()

export class JsonBytes {
  bytes = new Uint8Array(bytesFirst)
  length = 0
  #view = new DataView(this.bytes.buffer)

  /** Begins anew, over what was written. */
  clear(): void {
    this.length = 0
    if (this.bytes.length > bytesKeptMax) this.#take(new Uint8Array(bytesFirst))
  }

  /** What was written: a view, good until the next write. */
  filled(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(0, this.length)
  }

  toString(): string {
    return fromUtf8.decode(this.filled())
  }

  /** What is ours to spell: ASCII, as it stands. */
  ascii(text: string): void {
    const { length } = text
    this.reserve(length)
    const { bytes } = this
    let at = this.length
    for (let i = 0; i < length; i++) bytes[at++] = text.charCodeAt(i)
    this.length = at
  }

  byte(code: number): void {
    this.reserve(1)
    this.bytes[this.length++] = code
  }

  /** JSON that somebody else wrote. */
  raw(json: string): void {
    if (json.length <= roomyCharsMax) {
      this.reserve(3 * json.length)
      this.length += utf8.encodeInto(json, this.bytes.subarray(this.length)).written
      return
    }
    const encoded = utf8.encode(json)
    this.reserve(encoded.length)
    this.bytes.set(encoded, this.length)
    this.length += encoded.length
  }

  /** In quotes. A lone surrogate becomes its escape, which is no I-JSON. */
  text(text: string): void {
    if (text.length <= shortCharsMax && this.#plain(text)) return
    if (!isWellFormed(text)) {
      this.raw(JSON.stringify(text))
      return
    }
    this.byte(quote)
    const start = this.length
    this.raw(text)
    if (this.#hasEscapes(start)) this.#escape(start)
    this.byte(quote)
  }

  /** A finite number, as ECMAScript writes it; -0 is 0. */
  number(value: number): void {
    if (value >= 0 && value <= 0x7fffffff && (value | 0) === value) this.#digits(value | 0)
    else this.ascii(String(value))
  }

  reserve(more: number): void {
    const needed = this.length + more
    if (needed <= this.bytes.length) return
    const larger = new Uint8Array(Math.max(needed, 2 * this.bytes.length))
    larger.set(this.filled())
    this.#take(larger)
  }

  #take(bytes: Uint8Array<ArrayBuffer>): void {
    this.bytes = bytes
    this.#view = new DataView(bytes.buffer)
  }

  /** A short text that needs no escape; false, and nothing is written, for any other. */
  #plain(text: string): boolean {
    const { length } = text
    this.reserve(length + 2)
    const { bytes } = this
    let at = this.length
    bytes[at++] = quote
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i)
      if (code < 0x20 || code > 0x7e || code === quote || code === backslash) return false
      bytes[at++] = code
    }
    bytes[at++] = quote
    this.length = at
    return true
  }

  /** Whether a byte since `start` is a control, a quote or a backslash: four side by side, none of which is above 0x7f. */
  #hasEscapes(start: number): boolean {
    const view = this.#view
    const end = this.length
    let at = start
    let found = 0
    for (; at + 4 <= end; at += 4) {
      const word = view.getInt32(at, true)
      const quotes = word ^ 0x22222222
      const backslashes = word ^ 0x5c5c5c5c
      found |= (word - 0x20202020) & ~word
      found |= (quotes - 0x01010101) & ~quotes
      found |= (backslashes - 0x01010101) & ~backslashes
    }
    if ((found & 0x80808080) !== 0) return true
    for (; at < end; at++) if (escapes[this.bytes[at]!] !== 0) return true
    return false
  }

  /** Moved up from the end, so that no byte is written before it was read. */
  #escape(start: number): void {
    let more = 0
    for (let at = start; at < this.length; at++) more += moreBytes[this.bytes[at]!]!
    this.reserve(more)
    const { bytes } = this
    let from = this.length
    let to = from + more
    this.length = to
    while (from < to) {
      const byte = bytes[--from]!
      const mark = escapes[byte]!
      if (mark === 0) bytes[--to] = byte
      else if (mark === letterU) {
        bytes[--to] = hexDigits.charCodeAt(byte & 0xf)
        bytes[--to] = hexDigits.charCodeAt(byte >> 4)
        bytes[--to] = 0x30
        bytes[--to] = 0x30
        bytes[--to] = letterU
        bytes[--to] = backslash
      } else {
        bytes[--to] = mark
        bytes[--to] = backslash
      }
    }
  }

  #digits(value: number): void {
    let size = 1
    for (let bound = 10; size < 10 && value >= bound; bound *= 10) size++
    this.reserve(size)
    const { bytes } = this
    let rest = value
    for (let at = this.length + size - 1; at >= this.length; at--) {
      const next = (rest / 10) | 0
      bytes[at] = 0x30 + rest - 10 * next
      rest = next
    }
    this.length += size
  }
}

const hexDigits = '0123456789abcdef'
const letterU = 0x75

/** By its code, what stands behind the backslash; 0 for what needs none. */
const escapes = new Uint8Array(256).fill(letterU, 0, 0x20)
for (const [code, letter] of ['\bb', '\tt', '\nn', '\ff', '\rr', '""', '\\\\'])
  escapes[code!.charCodeAt(0)] = letter!.charCodeAt(0)
const moreBytes = escapes.map((mark) => (mark === 0 ? 0 : mark === letterU ? 5 : 1))

const loneSurrogate = /[\ud800-\udfff]/u

/** No surrogate stands alone. Every current engine can say so itself; the pattern is for those that came before it. */
export function isWellFormed(text: string): boolean {
  const native = (text as { isWellFormed?: () => boolean }).isWellFormed // ES2024, one above our lib
  return native ? native.call(text) : !loneSurrogate.test(text)
}
