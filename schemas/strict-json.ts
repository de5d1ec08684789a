// JSON as a verifier must read it: a text that two parsers could read differently is refused (RFC 7493, RFC 8259 section 4).

// An evidence pack is a few kilobytes and eight levels deep; anything far beyond is an attack on the reader.
const textLengthMax = 1024 * 1024
const depthMax = 64

/** The text is not I-JSON; the message says where and why. */
export class NotStrictJson extends Error {
  override name = 'NotStrictJson'
}

/** The value of a JSON text of at most 1 Mi characters. Refuses duplicate member names, lone surrogates, unsafe integers. */
export function parseStrictJson(text: string): unknown {
  if (text.length > textLengthMax) throw new NotStrictJson('The text is longer than 1 MiB.')
  const reader = new Reader(text)
  const value = reader.value(0)
  reader.end()
  return value
}

const token = /[ \t\r\n]*(?:([{}[\],:])|("(?:[^"\\]|\\.)*")|([-+.\w]+))?/y
const number = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?$/
const loneSurrogate = /[\ud800-\udfff]/u

class Reader {
  readonly #text: string
  #at = 0
  #punctuation: string | undefined
  #string: string | undefined
  #word: string | undefined

  constructor(text: string) {
    this.#text = text
    this.#next()
  }

  value(depth: number): unknown {
    if (depth > depthMax) this.#refuse(`nested deeper than ${depthMax}`)
    if (this.#string !== undefined) return this.#takeString()
    if (this.#word !== undefined) return this.#takeWord(this.#word)
    if (this.#take('{')) return this.#object(depth + 1)
    if (this.#take('[')) return this.#array(depth + 1)
    return this.#refuse('a value was expected')
  }

  end(): void {
    if (this.#at !== this.#text.length || this.#punctuation || this.#string || this.#word)
      this.#refuse('text after the value')
  }

  #object(depth: number): Record<string, unknown> {
    const members: Record<string, unknown> = {}
    if (this.#take('}')) return members
    do {
      if (this.#string === undefined) this.#refuse('a member name was expected')
      const name = this.#takeString()
      if (Object.hasOwn(members, name)) this.#refuse(`the name "${name}" appears twice`)
      if (!this.#take(':')) this.#refuse('":" was expected')
      // Not an assignment: a member called __proto__ must become a member.
      Object.defineProperty(members, name, {
        value: this.value(depth),
        enumerable: true,
        configurable: true,
        writable: true,
      })
    } while (this.#take(','))
    if (!this.#take('}')) this.#refuse('"," or "}" was expected')
    return members
  }

  #array(depth: number): unknown[] {
    const elements: unknown[] = []
    if (this.#take(']')) return elements
    do elements.push(this.value(depth))
    while (this.#take(','))
    if (!this.#take(']')) this.#refuse('"," or "]" was expected')
    return elements
  }

  // JSON.parse judges what stands between the quotes.
  #takeString(): string {
    let value = ''
    try {
      value = JSON.parse(this.#string ?? '') as string // the token is one JSON string
    } catch {
      this.#refuse('a string has a bad escape or a bare control character')
    }
    if (loneSurrogate.test(value)) this.#refuse('a string has a lone surrogate')
    this.#next()
    return value
  }

  #takeWord(word: string): boolean | number | null {
    let value: boolean | number | null
    if (word === 'true' || word === 'false') value = word === 'true'
    else if (word === 'null') value = null
    else {
      if (!number.test(word)) this.#refuse(`"${word.slice(0, 40)}" is not JSON`)
      value = Number(word)
      const exact = !Number.isInteger(value) || Number.isSafeInteger(value) || /[.eE]/.test(word)
      if (!Number.isFinite(value) || !exact) this.#refuse('a number is out of range')
    }
    this.#next()
    return value
  }

  #take(punctuation: string): boolean {
    if (this.#punctuation !== punctuation) return false
    this.#next()
    return true
  }

  #next(): void {
    token.lastIndex = this.#at
    const found = token.exec(this.#text)
    this.#at = token.lastIndex
    this.#punctuation = found?.[1]
    this.#string = found?.[2]
    this.#word = found?.[3]
  }

  #refuse(reason: string): never {
    throw new NotStrictJson(`Not readable as strict JSON near character ${this.#at}: ${reason}.`)
  }
}
