// A prompt as lines and words that can be compared: dates, ids and addresses are masked, numbers and "not" never are.

import { segmentCharsMax, segmentsMax, tokensPerSegmentMax } from './limits.ts'

/** One line of a prompt, or one sentence of a long line, as numbers. Shared by every request that has it. */
export type Line = {
  /** The words after masking, in order. */
  key: number
  /** Where a line with changing words is looked for: its label, its first words, its last words. Absent: 0. */
  label: number
  head: number
  tail: number
  /** The first two words: a place to look in last, when the third is a variable. */
  opening: number
  /** One number a word, repeated words told apart. */
  tokens: number[]
}

export type Span = { start: number; end: number }
/** `masked`: a date, an id, a blob; never part of what a version is. */
export type Token = Span & { hash: number; masked: boolean }

// A URL, a word with its inner joints (dates, e-mails, ids, decimals), or one sign.
const tokenPattern =
  /https?:\/\/[^\s"'<>)\]]+|[\p{L}\p{N}_][\p{L}\p{M}\p{N}_]*(?:['’.\-:/@+][\p{L}\p{M}\p{N}_]+)*|[^\s\p{L}\p{M}\p{N}_]/gu
const datePattern =
  /^(\d{4}-\d{2}-\d{2}([T_].*)?|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./]\d{1,2}[./]\d{1,2})$/
const timePattern = /^\d{1,2}:\d{2}(:\d{2}([.:]\d+)?)?(Z|[ap]m)?$/i
const idPattern = /^(?=(?:.*\d){3})(?=.*[\p{L}_-])[\p{L}\d_-]{6,}$/u
const hexPattern = /^(?=.*\d)[0-9a-f]{8,}$/i
const mailPattern = /^[^\s@]+@[^\s@]+\.[^\s@]+$/
const monthPattern =
  /^(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sep(t|tember)?|oct(ober)?|nov(ember)?|dec(ember)?)$/i
const weekdayPattern = /^(mon|tue|wed|thu|fri|sat|sun)(day|s|sday|nesday|r|rs|rsday|urday)?$/i
const smallNumberPattern = /^\d{1,4}(st|nd|rd|th)?$/
const jsonPattern = /^\s*[[{]+\s*"([^"]{1,40})"\s*:/
const labelPattern = /^[\s\-*•>#"'[(]*([\p{L}][\p{L}\p{N} _-]{0,40}?)["'\])]*\s*[:=]\s*\S/u
const blobChars = 40
const longNumberDigits = 5
const headWords = 4

const masks = {
  date: hashText('\u0000date'),
  id: hashText('\u0000id'),
  blob: hashText('\u0000blob'),
}

/** 52 bits of a text, the same in every process: two 32-bit FNV-1a sums with different starts. */
export function hashText(text: string, start = 0, end = text.length): number {
  let a = 0x811c9dc5
  let b = 0x1b873593
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i)
    a = Math.imul(a ^ code, 0x01000193)
    b = Math.imul(b ^ code, 0x85ebca6b)
    b ^= b >>> 13
  }
  return toNumber(a, b)
}

/** A number from two, where the order matters. */
export function mix(hash: number, value: number): number {
  const low = value >>> 0
  const high = Math.floor(value / 2 ** 32)
  let a = Math.imul((hash >>> 0) ^ low, 0x9e3779b1)
  let b = Math.imul(Math.floor(hash / 2 ** 32) ^ high ^ low, 0x85ebca6b)
  a ^= (a >>> 15) + b
  b ^= (b >>> 13) + a
  return toNumber(Math.imul(a, 0x2c1b3c6d), Math.imul(b, 0x297a2d39))
}

function toNumber(a: number, b: number): number {
  return ((a ^ (a >>> 16)) >>> 0) * 2 ** 20 + ((b ^ (b >>> 15)) >>> 12)
}

/** Lines with something on them, long ones cut into sentences; at most `segmentsMax`. Offsets into the text as it came. */
export function segmentsOf(text: string): Span[] {
  const found: Span[] = []
  let start = 0
  while (start < text.length && found.length < segmentsMax) {
    let end = text.indexOf('\n', start)
    if (end < 0) end = text.length
    const span = trim(text, start, end)
    if (span.end - span.start > segmentCharsMax) pushSentences(text, span, found)
    else if (span.end > span.start) found.push(span)
    start = end + 1
  }
  return found
}

function pushSentences(text: string, span: Span, found: Span[]): void {
  let start = span.start
  for (let i = span.start; i < span.end && found.length < segmentsMax; i++) {
    const isStop = '.!?。！？'.includes(text[i] as string) // i is inside the text
    const isLast = i === span.end - 1
    if (!isLast && !(isStop && /\s/.test(text[i + 1] ?? ''))) continue
    const sentence = trim(text, start, i + 1)
    if (sentence.end > sentence.start) found.push(sentence)
    start = i + 1
  }
}

function trim(text: string, from: number, to: number): Span {
  let [start, end] = [from, to]
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return { start, end }
}

function isBlank(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13) || code === 0xa0
}

/** The words and signs of a span with their places, masked and numbered. */
export function tokensOf(text: string, span: Span): Token[] {
  const part = text.slice(span.start, span.end)
  const words: Word[] = []
  for (const match of part.matchAll(tokenPattern)) {
    if (words.length >= tokensPerSegmentMax) break
    const start = span.start + match.index
    const end = start + match[0].length
    words.push({ text: match[0], start, end, kind: kindOf(match[0]) })
  }
  const times = new Map<number, number>()
  return maskWrittenDates(words).map((word) => {
    const hash = word.kind === 'word' ? hashText(word.text.normalize('NFC')) : masks[word.kind]
    const time = times.get(hash) ?? 0
    times.set(hash, time + 1)
    return {
      hash: time === 0 ? hash : mix(hash, time),
      masked: word.kind !== 'word',
      start: word.start,
      end: word.end,
    }
  })
}

type Word = Span & { text: string; kind: Kind }
type Kind = 'word' | keyof typeof masks

function kindOf(word: string): Kind {
  const first = word.charCodeAt(0)
  if (word.length < 4 && !(first >= 48 && first <= 57)) return 'word'
  if (datePattern.test(word) || timePattern.test(word)) return 'date'
  if (word.length >= blobChars && !word.startsWith('http') && /^[\w+/=.-]+$/.test(word))
    return 'blob'
  if (/^\d+$/.test(word)) return word.length >= longNumberDigits ? 'id' : 'word'
  if (hexPattern.test(word) || mailPattern.test(word) || idPattern.test(word)) return 'id'
  return 'word'
}

// "Friday, 20 November 2026": the month's neighbours are its day and year, a weekday belongs to it, and all of it is one date.
function maskWrittenDates(words: Word[]): Word[] {
  words.forEach((word, i) => {
    if (!monthPattern.test(word.text)) return
    const near = [-2, -1, 1, 2, 3].map((step) => words[i + step])
    const numbers = near.filter((other) => other && smallNumberPattern.test(other.text))
    for (const other of numbers) if (other) other.kind = 'date'
    if (numbers.length > 0) word.kind = 'date'
  })
  if (!words.some((word) => word.kind === 'date')) return words
  for (const word of words) if (weekdayPattern.test(word.text)) word.kind = 'date'
  const joined: Word[] = []
  words.forEach((word, i) => {
    const last = joined.at(-1)
    const isWithin = word.kind === 'date' || (word.text === ',' && words[i + 1]?.kind === 'date')
    if (last?.kind === 'date' && isWithin) last.end = word.end
    else joined.push(word)
  })
  return joined
}

/** A span as a line to compare. */
export function toLine(text: string, span: Span): Line {
  const tokens = tokensOf(text, span).map((token) => token.hash)
  const begin = text.slice(span.start, Math.min(span.end, span.start + 60))
  const label = (jsonPattern.exec(begin) ?? labelPattern.exec(begin))?.[1]
  const words = Math.min(headWords, tokens.length)
  let key = tokens.length
  for (const token of tokens) key = mix(key, token)
  // The part beyond the last counted word still tells two lines apart.
  if (tokens.length >= tokensPerSegmentMax) key = mix(key, hashText(text, span.start, span.end))
  const isLong = tokens.length >= headWords + 1
  return {
    key,
    label: label ? mix(1, hashText(label.replaceAll(/\d+/g, '#'))) : 0,
    head: isLong ? tokens.slice(0, words).reduce(mix, 2) : 0,
    tail: isLong ? tokens.slice(-words).reduce(mix, 3) : 0,
    opening: isLong ? tokens.slice(0, 2).reduce(mix, 5) : 0,
    tokens,
  }
}
