// The grammar of `q`: words, "phrases", field:value, comparisons and ranges, AND, OR, NOT, parentheses.
// Law: what cannot be understood is refused with its place; nothing is guessed and nothing is left out.

import { Fault } from '../../schemas/faults.ts'

const termsMax = 40
const depthMax = 12

export type Comparison = { op: '>' | '>=' | '<' | '<='; value: string }
/** In a quoted text every character is itself. */
export type Wanted =
  | { kind: 'text'; text: string; isQuoted: boolean }
  | { kind: 'compare'; all: Comparison[] }

export type QNode =
  | { kind: 'and' | 'or'; of: QNode[] }
  | { kind: 'not'; of: QNode }
  | { kind: 'word'; text: string }
  | { kind: 'field'; field: string; wanted: Wanted; at: number }

type Token = {
  kind: 'open' | 'close' | 'minus' | 'word' | 'phrase' | 'and' | 'or' | 'not' | 'end'
  text: string
  at: number
  /** Set for `field:value`: the field; `text` is then the value. */
  field?: string
}

/** The tree of a query; undefined for one that says nothing. Throws `invalid_request` with the place, counted from 1. */
export function parseQ(text: string): QNode | undefined {
  const tokens = tokensOf(text)
  if (tokens.length === 1) return undefined
  let next = 0
  let terms = 0
  const peek = () => tokens[next]!
  const take = () => tokens[next++]!

  function either(depth: number): QNode {
    const of = [both(depth)]
    while (peek().kind === 'or') {
      take()
      of.push(both(depth))
    }
    return of.length === 1 ? of[0]! : { kind: 'or', of }
  }

  function both(depth: number): QNode {
    const of = [one(depth)]
    for (;;) {
      const { kind } = peek()
      if (kind === 'end' || kind === 'close' || kind === 'or') break
      if (kind === 'and') take()
      of.push(one(depth))
    }
    return of.length === 1 ? of[0]! : { kind: 'and', of }
  }

  function one(depth: number): QNode {
    const token = take()
    if (depth > depthMax) throw refused(token.at, `is nested deeper than ${depthMax}`)
    if (token.kind === 'minus' || token.kind === 'not') return { kind: 'not', of: one(depth + 1) }
    if (token.kind === 'open') {
      const inside = either(depth + 1)
      if (take().kind !== 'close') throw refused(token.at, 'has a parenthesis that is not closed')
      return inside
    }
    if (token.kind !== 'word' && token.kind !== 'phrase')
      throw refused(
        token.at,
        `needs a word or a condition ${token.kind === 'end' ? 'at its end' : `before \`${token.text}\``}`,
      )
    if (++terms > termsMax) throw refused(token.at, `has more than ${termsMax} conditions`)
    if (token.field === undefined) return { kind: 'word', text: token.text }
    const wanted: Wanted =
      token.kind === 'phrase' ? { kind: 'text', text: token.text, isQuoted: true } : toWanted(token)
    return { kind: 'field', field: token.field, wanted, at: token.at }
  }

  const tree = either(0)
  if (peek().kind !== 'end') throw refused(peek().at, 'closes a parenthesis that was not opened')
  return tree
}

/** The fault of a query that cannot be understood; `at` counts from 0, what is said from 1. */
export function refused(at: number, what: string): Fault {
  return new Fault('invalid_request', {
    message: `\`q\` ${what}, at character ${at + 1}.`,
    param: 'q',
  })
}

const operators: Record<string, Token['kind']> = { AND: 'and', OR: 'or', NOT: 'not' }
const fieldPattern = /([A-Za-z_][\w.\-/]*):/y
const wordPattern = /[^\s()"]+/y

function tokensOf(text: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  while (at < text.length) {
    const char = text[at]!
    if (/\s/.test(char)) at++
    else if (char === '(' || char === ')')
      tokens.push({ kind: char === '(' ? 'open' : 'close', text: char, at: at++ })
    else if (char === '-' && /[^\s)]/.test(text[at + 1] ?? ' '))
      tokens.push({ kind: 'minus', text: char, at: at++ })
    else {
      const { token, end } = readTerm(text, at)
      tokens.push(token)
      at = end
    }
  }
  tokens.push({ kind: 'end', text: '', at: text.length })
  return tokens
}

function readTerm(text: string, at: number): { token: Token; end: number } {
  fieldPattern.lastIndex = at
  const field = fieldPattern.exec(text)?.[1]
  const valueAt = field === undefined ? at : at + field.length + 1
  const given = field === undefined ? {} : { field }
  if (text[valueAt] === '"') {
    const { value, end } = readPhrase(text, valueAt)
    return { token: { kind: 'phrase', text: value, at, ...given }, end }
  }
  wordPattern.lastIndex = valueAt
  const word = wordPattern.exec(text)?.[0]
  if (word === undefined) throw refused(valueAt, `has no value after \`${field}:\``)
  const kind = (field === undefined && operators[word]) || 'word'
  return { token: { kind, text: word, at, ...given }, end: valueAt + word.length }
}

/** Between quotes everything is itself; a backslash keeps a quote or a backslash. */
function readPhrase(text: string, start: number): { value: string; end: number } {
  let value = ''
  for (let at = start + 1; at < text.length; at++) {
    const char = text[at]!
    if (char === '"') return { value, end: at + 1 }
    if (char === '\\' && at + 1 < text.length) at++
    value += text[at]
  }
  throw refused(start, 'has a quote that is not closed')
}

function toWanted({ text }: Token): Wanted {
  const compared = /^(>=|<=|>|<)(.*)$/s.exec(text)
  if (compared) {
    const [, op, value] = compared
    return { kind: 'compare', all: [{ op: op as Comparison['op'], value: value ?? '' }] } // the pattern allows no other
  }
  const range = /^(.+?)\.\.(.+)$/s.exec(text)
  if (range) {
    const [, low, high] = range
    return {
      kind: 'compare',
      all: [
        { op: '>=', value: low ?? '' },
        { op: '<=', value: high ?? '' },
      ],
    }
  }
  return { kind: 'text', text, isQuoted: false }
}
