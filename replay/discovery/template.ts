// A version as text with slots: what its runs share, word for word, and what each of them put in between.

import { hash } from 'node:crypto'
import type { VersionHashes } from '../../schemas/discovery.ts'
import { sameTextMin } from './limits.ts'
import type { Family, Version } from './state.ts'
import { type Span, segmentsOf, tokensOf } from './text.ts'

/** `inline`: within a line. `gap`: between lines, where optional lines and retrieved text stand; often only a line break. */
export type Slot = { name: string; kind: 'inline' | 'gap'; sample: string }
/** Literals with slots before, between and after them: `slots` has one more. */
export type Template = { literals: string[]; slots: Slot[] }

/** Hashes of a version's parts, from the words themselves: the same in every process. */
export function hashesOf(family: Family, version: Version): VersionHashes {
  const { exemplar } = version
  const words: number[] = []
  exemplar.lines.forEach((line, i) => {
    const group = family.groups.get(exemplar.groups[i]!)
    if (!group?.presence.fixed) return
    for (const word of line.tokens)
      if (!group.words || group.words.get(word)?.fixed) words.push(word)
    words.push(0)
  })
  // A name that was given to one text is a name for that text, whatever of it has shown to be fixed.
  const isOneText = exemplar.label !== undefined && isStatic(version)
  const text = sha256(isOneText ? version.sample!.text : words.join(' '))
  const { tools, responseFormat, params } = exemplar.hashes
  return {
    content: sha256([text, tools, responseFormat, params].join('\n')),
    text,
    tools,
    responseFormat,
    params,
  }
}

export function sha256(text: string): string {
  return hash('sha256', text, 'hex')
}

/** The template of a version from its sample; undefined while it has none. */
export function templateOf(family: Family, version: Version): Template | undefined {
  if (!version.sample) return undefined
  const { text, groups } = version.sample
  if (isStatic(version)) return wholeOf(text)
  const literals: Span[] = []
  const starts = new Set<number>()
  segmentsOf(text).forEach((segment, i) => {
    const group = family.groups.get(groups[i] ?? 0)
    if (!group?.presence.fixed) return
    let run: Span | undefined
    for (const token of tokensOf(text, segment)) {
      if (token.masked || (group.words && !group.words.get(token.hash)?.fixed)) run = undefined
      else if (run) run.end = token.end
      else {
        run = { start: token.start, end: token.end }
        if (token.start === segment.start) starts.add(token.start)
        literals.push(run)
      }
    }
  })
  // A comma between two names is no landmark.
  const landmarks = literals.filter((span) =>
    /[\p{L}\p{N}]/u.test(text.slice(span.start, span.end)),
  )
  return fromLandmarks(text, landmarks, starts)
}

/** Every prompt of this version was the very same text: nothing in it is a variable, as far as anybody can tell. */
export function isStatic(version: Version): boolean {
  return version.compared >= sameTextMin && version.same === version.compared
}

function wholeOf(text: string): Template {
  const gap = (name: string): Slot => ({ name, kind: 'gap', sample: '' })
  return { literals: [text], slots: [gap('begin'), gap('end')] }
}

function fromLandmarks(text: string, spans: Span[], starts: Set<number>): Template {
  const literals = spans.map((span) => text.slice(span.start, span.end))
  const names = new Map<string, number>()
  const slots: Slot[] = []
  for (let i = 0; i <= spans.length; i++) {
    const sample = text.slice(spans[i - 1]?.end ?? 0, spans[i]?.start ?? text.length)
    const kind = i === 0 || i === spans.length || starts.has(spans[i]!.start) ? 'gap' : 'inline'
    // A line that ends in a value: the slot goes on into the gap, and is named by the words before it.
    const isValue = kind === 'inline' || (/^[^\n]*\S/.test(sample) && i > 0)
    const name = isValue
      ? nameBefore(literals[i - 1]!, 'inline')
      : nameBefore(literals[i] ?? '', 'gap')
    const time = (names.get(name) ?? 0) + 1
    names.set(name, time)
    slots.push({ name: time === 1 ? name : `${name}_${time}`, kind, sample })
  }
  return { literals, slots }
}

// Named by its neighbour, so that an edit elsewhere does not rename it: the words before a value, the line after a gap.
function nameBefore(literal: string, kind: Slot['kind']): string {
  const words = literal.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
  if (kind === 'inline') return words.slice(-3).join('_') || 'value'
  return words.length > 0 ? `before_${words.slice(0, 4).join('_')}` : 'end'
}

/** What a prompt holds in each slot, in order; undefined when a literal is missing. */
export function extract(template: Template, text: string): string[] | undefined {
  const values: string[] = []
  let at = 0
  for (const literal of template.literals) {
    const found = findWhole(text, literal, at)
    if (found < 0) return undefined
    values.push(text.slice(at, found))
    at = found + literal.length
  }
  values.push(text.slice(at))
  return values
}

// Not inside a word: the "in" of a template is not the one in "Martin".
function findWhole(text: string, literal: string, from: number): number {
  for (let at = text.indexOf(literal, from); at >= 0; at = text.indexOf(literal, at + 1)) {
    const end = at + literal.length
    const isCut =
      (isWordAt(text, at - 1) && isWordAt(text, at)) ||
      (isWordAt(text, end - 1) && isWordAt(text, end))
    if (!isCut) return at
  }
  return -1
}

function isWordAt(text: string, at: number): boolean {
  return at >= 0 && at < text.length && /[\p{L}\p{N}_]/u.test(text[at] as string) // inside, just checked
}

/** The prompt that a template makes of values. */
export function render(template: Template, values: readonly string[]): string {
  let text = values[0] ?? ''
  template.literals.forEach((literal, i) => {
    text += literal + (values[i + 1] ?? '')
  })
  return text
}

/** A recorded prompt can be replayed when its own template gives it back byte for byte. */
export function isRendered(template: Template, text: string): boolean {
  const values = extract(template, text)
  return values !== undefined && render(template, values) === text
}

/**
 * Values of one version for the slots of another, by name. A gap that only the other has keeps its blank sample; any
 * other slot without a value is named as missing, and the run cannot be replayed.
 */
export function carry(
  values: readonly string[],
  from: Template,
  to: Template,
): { values: string[]; missing: string[] } {
  const given = new Map(from.slots.map((slot, i) => [slot.name, values[i] ?? '']))
  const missing: string[] = []
  const carried = to.slots.map((slot) => {
    const value = given.get(slot.name)
    if (value !== undefined) return value
    if (slot.sample.trim() !== '') missing.push(slot.name)
    return slot.sample.trim() === '' ? slot.sample : ''
  })
  return { values: carried, missing }
}
