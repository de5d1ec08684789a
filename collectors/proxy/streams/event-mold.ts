// The events of one stream differ in their text alone: whoever has parsed one of them knows what the next one says from its text,
// where every other byte is the same. Law: what is read so is what parsing would have read, or nothing.

const quote = 0x22
const backslash = 0x5c
const firstPlain = 0x20

/** From behind the quote that opens a text to the one that closes it. */
export type Place = { start: number; end: number }

/** One event without its text. */
export class EventMold {
  readonly #before: Buffer
  readonly #after: Buffer

  constructor(event: Buffer, { start, end }: Place) {
    this.#before = Buffer.from(event.subarray(0, start))
    this.#after = Buffer.from(event.subarray(end))
  }

  /** The text of an event that is the same in every other byte; undefined of any other. */
  textOf(event: Buffer): string | undefined {
    const start = this.#before.length
    const end = event.length - this.#after.length
    if (end < start) return undefined
    if (this.#before.compare(event, 0, start) !== 0) return undefined
    if (this.#after.compare(event, end) !== 0) return undefined
    let isEscaped = false
    for (let at = start; at < end; at++) {
      const byte = event[at]!
      if (byte < firstPlain || (byte === quote && !isEscaped)) return undefined
      if (byte === backslash) isEscaped = true
    }
    return isEscaped ? parseText(event, start, end) : event.toString('utf8', start, end)
  }

  /** The same event with another text in it, which needs no escape. */
  filledWith(text: string): Buffer {
    return Buffer.concat([this.#before, Buffer.from(text), this.#after])
  }
}

/** Where the first text stands that is a member called `content`; undefined when there is none. */
export function placeOfContent(event: Buffer): Place | undefined {
  const found = /"content"\s*:\s*"((?:[^"\\\n\r]|\\.)*)"/.exec(event.toString('latin1'))
  if (!found) return undefined
  const [whole, text = ''] = found
  const end = found.index + whole.length - 1
  return { start: end - text.length, end }
}

/** Undefined of what is not one text: a quote inside it ended it, or nothing did. */
function parseText(event: Buffer, start: number, end: number): string | undefined {
  try {
    const text: unknown = JSON.parse(`"${event.toString('utf8', start, end)}"`)
    return typeof text === 'string' ? text : undefined
  } catch {
    return undefined
  }
}
