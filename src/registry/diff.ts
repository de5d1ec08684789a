// What is different between two versions: which part, by hash, and within it which lines.

import type { VersionFacts } from './rows.ts'
import { templateText } from './show.ts'

export type DiffLine = { kind: 'same' | 'removed' | 'added'; text: string }
const parts = ['text', 'tools', 'response_format', 'params'] as const
type Part = (typeof parts)[number]

export type VersionDiff = {
  from: string
  to: string
  /** Null: too little is known of one of them. */
  same: boolean | null
  parts: Record<
    Part,
    { same: boolean | null; from: string | null; to: string | null; lines: DiffLine[] | null }
  >
}

// Pairs of lines compared; two texts with more different lines than that are shown one after the other.
const cellsMax = 4_000_000

export function diffVersions(from: VersionFacts, to: VersionFacts): VersionDiff {
  const known = from.contentHash !== null && to.contentHash !== null
  const diffs = parts.map((part) => {
    const [a, b] = [hashOf(from, part), hashOf(to, part)]
    const same = a === null || b === null ? null : a === b
    const texts = [textOf(from, part), textOf(to, part)]
    const lines =
      texts[0] === undefined || texts[1] === undefined
        ? null
        : diffLines(linesOf(texts[0]), linesOf(texts[1]))
    return [part, { same, from: a, to: b, lines }] as const
  })
  return {
    from: from.versionId,
    to: to.versionId,
    same: known ? from.contentHash === to.contentHash : null,
    parts: Object.fromEntries(diffs) as VersionDiff['parts'], // one entry for each part
  }
}

function hashOf({ hashes }: VersionFacts, part: Part): string | null {
  if (!hashes) return null
  return part === 'response_format' ? hashes.responseFormat : hashes[part]
}

/** Undefined when the version's content is not known; '' when it says nothing of this part. */
function textOf({ content }: VersionFacts, part: Part): string | undefined {
  if (!content) return undefined
  if (part === 'text') return templateText(content)
  if (part === 'tools') return pretty(content.tools)
  if (part === 'response_format') return pretty(content.response_format)
  if (content.kind === 'discovered') return ''
  const { model, params } = content
  return pretty(model === undefined && params === undefined ? undefined : { model, ...params })
}

function pretty(value: unknown): string {
  return value === undefined ? '' : JSON.stringify(value, null, 2)
}

function linesOf(text: string): string[] {
  return text === '' ? [] : text.split('\n')
}

/** The fewest lines taken out and put in, removals before additions. */
export function diffLines(a: readonly string[], b: readonly string[]): DiffLine[] {
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let end = 0
  const most = Math.min(a.length, b.length) - start
  while (end < most && a[a.length - 1 - end] === b[b.length - 1 - end]) end++
  const same = (text: string): DiffLine => ({ kind: 'same', text })
  return [
    ...a.slice(0, start).map(same),
    ...diffMiddle(a.slice(start, a.length - end), b.slice(start, b.length - end)),
    ...a.slice(a.length - end).map(same),
  ]
}

// The longest common subsequence by its table, from the end, so that it can be read from the start.
function diffMiddle(a: readonly string[], b: readonly string[]): DiffLine[] {
  const removed = (text: string): DiffLine => ({ kind: 'removed', text })
  const added = (text: string): DiffLine => ({ kind: 'added', text })
  const width = b.length + 1
  if ((a.length + 1) * width > cellsMax) return [...a.map(removed), ...b.map(added)]
  const lengths = new Uint32Array((a.length + 1) * width)
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      lengths[i * width + j] =
        a[i] === b[j]
          ? lengths[(i + 1) * width + j + 1]! + 1
          : Math.max(lengths[(i + 1) * width + j]!, lengths[i * width + j + 1]!)
  const found: DiffLine[] = []
  let [i, j] = [0, 0]
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      found.push({ kind: 'same', text: a[i]! })
      i++
      j++
    } else if (lengths[(i + 1) * width + j]! >= lengths[i * width + j + 1]!)
      found.push(removed(a[i++]!))
    else found.push(added(b[j++]!))
  }
  return [...found, ...a.slice(i).map(removed), ...b.slice(j).map(added)]
}
