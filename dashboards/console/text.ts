// Text that models wrote, made safe to look at: what would be invisible, or would rearrange its neighbours, is shown by name.

/** A run of plain text, or one character that has to be named (`mark`). */
export type Piece = { text: string; mark: string | undefined }

// C0 but tab and newline, DEL and C1; then soft hyphen, fillers, zero-widths, bidi controls, tags.
const hiddenRanges = [
  '\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f',
  '\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u3164\\uffa0\\ufeff\\ufff9-\\ufffb',
  '\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u{e0000}-\\u{e0fff}',
]
const hidden = new RegExp(`[${hiddenRanges.join('')}]`, 'gu')

const names = new Map(
  Object.entries({
    '\u0000': 'NUL',
    '\u0007': 'BEL',
    '\u0008': 'BS',
    '\u000d': 'CR',
    '\u001b': 'ESC',
    '\u007f': 'DEL',
    '\u00ad': 'SHY',
    '\u200b': 'ZWSP',
    '\u200c': 'ZWNJ',
    '\u200d': 'ZWJ',
    '\u200e': 'LRM',
    '\u200f': 'RLM',
    '\u202a': 'LRE',
    '\u202b': 'RLE',
    '\u202c': 'PDF',
    '\u202d': 'LRO',
    '\u202e': 'RLO',
    '\u2066': 'LRI',
    '\u2067': 'RLI',
    '\u2068': 'FSI',
    '\u2069': 'PDI',
    '\ufeff': 'BOM',
  }),
)

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
    found.push({ text: match[0], mark: nameOf(match[0]) })
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

function nameOf(hiddenChar: string): string {
  const code = hiddenChar.codePointAt(0)!
  return names.get(hiddenChar) ?? `U+${code.toString(16).toUpperCase().padStart(4, '0')}`
}

function isForeign(neighbour: string | undefined): boolean {
  return neighbour !== undefined && neighbour > '\u02ff'
}
