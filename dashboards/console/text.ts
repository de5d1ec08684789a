// Text that models wrote, made safe to look at: what would be invisible, or would rearrange its neighbours, is shown by name.

/** A run of plain text, or one character that has to be named (`mark`). */
export type Piece = { text: string; mark: string | undefined }

// C0 but tab and newline, DEL, C1, soft hyphen, Arabic letter mark, zero-widths, bidi controls, fillers, tags, BOM.
const hidden =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu

const names: Record<number, string> = {
  27: 'ESC',
  0: 'NUL',
  7: 'BEL',
  8: 'BS',
  13: 'CR',
  127: 'DEL',
  173: 'SHY',
  8203: 'ZWSP',
  8204: 'ZWNJ',
  8205: 'ZWJ',
  8206: 'LRM',
  8207: 'RLM',
  8234: 'LRE',
  8235: 'RLE',
  8236: 'PDF',
  8237: 'LRO',
  8238: 'RLO',
  8294: 'LRI',
  8295: 'RLI',
  8296: 'FSI',
  8297: 'PDI',
  65279: 'BOM',
}

/** Cuts a text into plain pieces and named characters. A joiner between two letters of another script is left alone. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = []
  let from = 0
  for (const match of text.matchAll(hidden)) {
    const at = match.index
    const code = match[0].codePointAt(0)!
    const end = at + match[0].length
    if (code === 0x0d && text[end] === '\n') continue
    if ((code === 0x200c || code === 0x200d) && isForeign(text[at - 1]) && isForeign(text[end]))
      continue
    if (at > from) found.push({ text: text.slice(from, at), mark: undefined })
    found.push({ text: match[0], mark: nameOf(code) })
    from = end
  }
  if (from < text.length) found.push({ text: text.slice(from), mark: undefined })
  return found
}

/** JSON for reading. Input that nests deeper than the stack is shown as what it is instead of failing the page. */
export function pretty(value: unknown): string {
  if (typeof value === 'string') return prettyText(value)
  return print(value)
}

function prettyText(text: string): string {
  const first = text.trimStart()[0]
  if (first !== '{' && first !== '[') return text
  try {
    return print(JSON.parse(text))
  } catch {
    return text
  }
}

function print(value: unknown): string {
  try {
    return JSON.stringify(value, null, 2) ?? 'null'
  } catch {
    return '(nested too deeply to print here; the export has it whole)'
  }
}

function nameOf(code: number): string {
  return names[code] ?? `U+${code.toString(16).toUpperCase().padStart(4, '0')}`
}

function isForeign(neighbour: string | undefined): boolean {
  return neighbour !== undefined && neighbour > '\u02ff'
}
