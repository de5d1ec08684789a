// A version as text with slots: what its runs share, word for word, and what each of them put in between.

import { hash } from 'node:crypto'
import type { VersionHashes } from '../../schemas/discovery.ts'
import type { Family, Version } from './state.ts'
import { segmentsOf, tokensOf } from './text.ts'

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
  const text = sha256(words.join(' '))
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
  const spans: { start: number; end: number }[] = []
  segmentsOf(text).forEach((segment, i) => {
    const group = family.groups.get(groups[i] ?? 0)
    if (!group?.presence.fixed) return
    if (!group.words) {
      spans.push(segment)
      return
    }
    let run: { start: number; end: number } | undefined
    for (const token of tokensOf(text, segment)) {
      if (!group.words.get(token.hash)?.fixed || isMask(text.slice(token.start, token.end))) {
        run = undefined
      } else if (run) run.end = token.end
      else {
        run = { start: token.start, end: token.end }
        spans.push(run)
      }
    }
  })
  return fromSpans(text, spans)
}
