// SQL text looked at, not parsed: its words outside quotes and comments (ClickHouse's lexical rules).
// Enough to split statements, to see what kind one is, and to find a trailing FORMAT. Meaning is the engine's business.

export type Token = {
  kind: 'word' | 'quoted' | 'symbol'
  /** Words upper-cased; symbols as they are; quoted text without its value. */
  text: string
  start: number
  end: number
  /** How many brackets are open around it. */
  depth: number
}

const wordPattern = /[A-Za-z0-9_\u0080-\uffff]+/y
const heredocPattern = /\$[A-Za-z0-9_]*\$/y

/** The tokens of a text. An unclosed quote or comment runs to the end: the engine will name the mistake. */
export function tokensOf(sql: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  let depth = 0
  while (at < sql.length) {
    const next = skipBlank(sql, at)
    if (next > at) {
      at = next
      continue
    }
    const start = at
    const sign = sql[at]!
    if (sign === "'" || sign === '"' || sign === '`') {
      at = endOfQuote(sql, at)
      tokens.push({ kind: 'quoted', text: sign, start, end: at, depth })
      continue
    }
    const heredoc = matchAt(heredocPattern, sql, at)
    if (heredoc) {
      const close = sql.indexOf(heredoc, at + heredoc.length)
      at = close < 0 ? sql.length : close + heredoc.length
      tokens.push({ kind: 'quoted', text: '$', start, end: at, depth })
      continue
    }
    const word = matchAt(wordPattern, sql, at)
    if (word) {
      at += word.length
      tokens.push({ kind: 'word', text: word.toUpperCase(), start, end: at, depth })
      continue
    }
    at += 1
    if (sign === ')' || sign === ']' || sign === '}') depth = Math.max(0, depth - 1)
    tokens.push({ kind: 'symbol', text: sign, start, end: at, depth })
    if (sign === '(' || sign === '[' || sign === '{') depth += 1
  }
  return tokens
}

/** The statements of a file, trimmed, without their semicolons; comments between them are left out. */
export function splitStatements(sql: string): string[] {
  const statements: string[] = []
  let first: Token | undefined
  let last: Token | undefined
  const close = () => {
    if (first && last) statements.push(sql.slice(first.start, last.end))
    first = undefined
  }
  for (const token of tokensOf(sql)) {
    if (token.text === ';' && token.depth === 0) close()
    else {
      first ??= token
      last = token
    }
  }
  close()
  return statements
}

/** A text as a ClickHouse string literal. */
export function toLiteral(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}

function skipBlank(sql: string, at: number): number {
  if (/\s/.test(sql[at]!)) return at + 1
  const two = sql.slice(at, at + 2)
  if (two === '--' || two === '# ' || two === '#!') return endOr(sql.indexOf('\n', at), sql.length)
  if (two === '/*') return endOr(sql.indexOf('*/', at + 2), sql.length - 2) + 2
  return at
}

function endOr(at: number, otherwise: number): number {
  return at < 0 ? otherwise : at
}

function endOfQuote(sql: string, start: number): number {
  const quote = sql[start]
  let at = start + 1
  while (at < sql.length) {
    if (sql[at] === '\\') at += 2
    else if (sql[at] === quote) {
      if (sql[at + 1] !== quote) return at + 1
      at += 2
    } else at += 1
  }
  return sql.length
}

function matchAt(pattern: RegExp, sql: string, at: number): string | undefined {
  pattern.lastIndex = at
  return pattern.exec(sql)?.[0]
}
