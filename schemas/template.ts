// Templates of declared prompts: text with `{{variable}}` and nothing else. No logic, no code, no properties; values are put in
// once and never read again, so that `{{x}}` inside a value stays what it is.

import { parsePromptVersionId } from './ids.ts'

// Of one text before, and of a whole prompt after rendering; a reader of prompts, and not only we, must be able to hold it.
export const templateCharsMax = 262_144
export const renderedCharsMax = 1_048_576
export const placeholdersMax = 1_000

/** Text, a variable, or the content of another version (`{{> style@v2}}`). `at` is the offset of the opening braces. */
export type TemplatePart =
  | { kind: 'text'; text: string }
  | { kind: 'variable'; name: string; at: number }
  | { kind: 'reference'; versionId: string; at: number }

/** A mistake in a template and where it is; line and column count from 1. */
export class TemplateError extends Error {
  override name = 'TemplateError'
  readonly line: number
  readonly column: number
  constructor(text: string, at: number, says: string) {
    const before = text.slice(0, at).split('\n')
    const line = before.length
    const column = before[before.length - 1]!.length + 1
    super(`line ${line}, column ${column}: ${says}`)
    this.line = line
    this.column = column
  }
}

const namePattern = /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/
// Shown back to the caller; what they wrote there may be long.
const shownCharsMax = 40

/** The parts of a template in order. `\{{` is two braces of text. Throws a TemplateError at the first mistake. */
export function parseTemplate(text: string): TemplatePart[] {
  if (text.length > templateCharsMax)
    throw new TemplateError(text, 0, `a text has at most ${templateCharsMax} characters`)
  const parts: TemplatePart[] = []
  let literal = ''
  let at = 0
  let placeholders = 0
  for (;;) {
    const open = text.indexOf('{{', at)
    if (open < 0) break
    if (text[open - 1] === '\\') {
      literal += `${text.slice(at, open - 1)}{{`
      at = open + 2
      continue
    }
    literal += text.slice(at, open)
    if (++placeholders > placeholdersMax)
      throw new TemplateError(text, open, `a text has at most ${placeholdersMax} placeholders`)
    const close = text.indexOf('}}', open + 2)
    if (close < 0)
      throw new TemplateError(text, open, '`{{` is never closed; write `\\{{` for two braces')
    if (literal !== '') parts.push({ kind: 'text', text: literal })
    literal = ''
    parts.push(readPlaceholder(text, open, close))
    at = close + 2
  }
  literal += text.slice(at)
  if (literal !== '') parts.push({ kind: 'text', text: literal })
  return parts
}

function readPlaceholder(text: string, at: number, close: number): TemplatePart {
  const inner = text.slice(at + 2, close).trim()
  if (inner.startsWith('>')) {
    const versionId = inner.slice(1).trim()
    if (parsePromptVersionId(versionId)) return { kind: 'reference', versionId, at }
    const says = `\`${shown(versionId)}\` names no version; a reference is {{> name@version}}`
    throw new TemplateError(text, at, says)
  }
  if (namePattern.test(inner)) return { kind: 'variable', name: inner, at }
  const says = `\`${shown(inner)}\` is not a variable: a letter or underscore, then letters, digits, dashes and underscores`
  throw new TemplateError(text, at, says)
}

function shown(text: string): string {
  return text.length > shownCharsMax ? `${text.slice(0, shownCharsMax)}…` : text
}

/** The names of a template's variables, each once, in the order they appear. */
export function variablesOf(parts: readonly TemplatePart[]): string[] {
  return [...new Set(parts.flatMap((part) => (part.kind === 'variable' ? [part.name] : [])))]
}

/** The text of a template whose variables all have a value and whose references are resolved. */
export function renderTemplate(
  parts: readonly TemplatePart[],
  values: ReadonlyMap<string, string>,
): string {
  let text = ''
  for (const part of parts) {
    if (part.kind === 'reference')
      throw new Error(`The reference ${part.versionId} is not resolved.`)
    text += part.kind === 'text' ? part.text : (values.get(part.name) ?? '')
  }
  return text
}

/** A template as text again: parsing it gives the same parts. */
export function writeTemplate(parts: readonly TemplatePart[]): string {
  return parts.map(writePart).join('')
}

function writePart(part: TemplatePart): string {
  if (part.kind === 'text') return part.text.replaceAll('{{', '\\{{')
  return part.kind === 'variable' ? `{{${part.name}}}` : `{{> ${part.versionId}}}`
}

/**
 * The values that make a template give back exactly this text; undefined when none do, or when more than one reading is
 * possible (`{{a}}{{b}}`, or a value that holds the words that follow it): a guess would fill another template wrongly.
 */
export function extractVariables(
  parts: readonly TemplatePart[],
  text: string,
): Map<string, string> | undefined {
  const first = readForward(parts, text)
  if (!first) return undefined
  const last = readBackward(parts, text)
  const isOne = last !== undefined && [...first].every(([name, value]) => last.get(name) === value)
  return isOne && renderTemplate(parts, first) === text ? first : undefined
}

// Each value as short as it can be, from the left.
function readForward(
  parts: readonly TemplatePart[],
  text: string,
): Map<string, string> | undefined {
  return readValues(parts, (literal, from) => text.indexOf(literal, from), text)
}

// From the right, by reading everything mirrored.
function readBackward(
  parts: readonly TemplatePart[],
  text: string,
): Map<string, string> | undefined {
  const mirrored = parts
    .toReversed()
    .map((part) => (part.kind === 'text' ? { ...part, text: mirror(part.text) } : part))
  const turned = mirror(text)
  const found = readValues(mirrored, (literal, from) => turned.indexOf(literal, from), turned)
  return found && new Map([...found].map(([name, value]) => [name, mirror(value)]))
}

// By code unit, not by character: only compared with itself, mirrored twice.
function mirror(text: string): string {
  return text.split('').reverse().join('')
}

function readValues(
  parts: readonly TemplatePart[],
  find: (literal: string, from: number) => number,
  text: string,
): Map<string, string> | undefined {
  const values = new Map<string, string>()
  let at = 0
  for (const [i, part] of parts.entries()) {
    if (part.kind === 'text') {
      if (find(part.text, at) !== at) return undefined
      at += part.text.length
      continue
    }
    if (part.kind === 'reference') return undefined
    const next = parts[i + 1]
    if (next && next.kind !== 'text') return undefined
    const isLast = i + 2 >= parts.length
    const end = !next ? text.length : isLast ? text.length - next.text.length : find(next.text, at)
    if (end < at) return undefined
    const value = text.slice(at, end)
    const known = values.get(part.name)
    if (known !== undefined && known !== value) return undefined
    values.set(part.name, value)
    at = end
  }
  return at === text.length ? values : undefined
}
