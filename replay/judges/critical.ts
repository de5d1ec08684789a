// What changed that matters, whatever the similarity says: values in text, values in JSON, and sentences that turned round.

import type { ReplayOutput } from '../../schemas/experiment.ts'
import { type Leaf, leavesOf } from './similarity.ts'
import { spansOf, textMax } from './spans.ts'
import { normalise, toJson } from './text.ts'

// Each sentence without an equal in the other text is compared with every such one of the other; this bounds the square.
const sentencesMax = 120
// Two sentences are about the same when they share this much of their words.
const sameTopic = 0.6
const detailsMax = 5
// Above this length a JSON string is prose and compared as text; below, without a space in it, it is a label.
const labelLengthMax = 64

/** A sentence per change, at most five; empty: nothing critical changed. */
export function findCritical(reference: ReplayOutput, output: ReplayOutput): string[] {
  const [left, right] = [toJson(reference.text), toJson(output.text)]
  const changes =
    left !== undefined && right !== undefined
      ? changedLeaves(left, right)
      : changedText(reference.text, output.text)
  return changes.slice(0, detailsMax)
}

function changedText(left: string, right: string): string[] {
  if (normalise(left) === normalise(right)) return []
  const [a, b] = [left.slice(0, textMax), right.slice(0, textMax)]
  return [...changedLabel(a, b), ...changedSpans(a, b), ...turnedSentences(a, b)]
}

/** A classification's answer is one label: any other word is another answer. */
function changedLabel(a: string, b: string): string[] {
  const [left, right] = [toLabel(a), toLabel(b)]
  if (left === undefined || right === undefined || left === right) return []
  return [`label: "${left}" became "${right}"`]
}

function toLabel(text: string): string | undefined {
  const bare = normalise(text)
    .toLowerCase()
    .replaceAll(/^[*_"'`]+|[*_"'`.!]+$/g, '')
  // A value is a span, with a spelling of its own.
  if (/\d/.test(bare)) return undefined
  return bare.length <= 40 && bare.split(' ').length <= 2 ? bare : undefined
}

/**
 * A value that one text has and the other lacks, or that became rarer while another of its kind became more frequent.
 * Saying the same value once more, or once less, is no change.
 */
function changedSpans(a: string, b: string): string[] {
  const [before, after] = [countSpans(a), countSpans(b)]
  const changes: string[] = []
  const rarer = new Map<string, string>()
  const oftener = new Set<string>()
  for (const [key, { kind, value, count }] of before) {
    const now = after.get(key)?.count ?? 0
    if (now === 0 && !isSpelledOut(kind, value, b)) changes.push(`${kind}: ${value} is gone`)
    else if (now > 0 && now < count) rarer.set(kind, value)
    else if (now > count) oftener.add(kind)
  }
  for (const [key, { kind, value }] of after) {
    if (!before.has(key) && !isSpelledOut(kind, value, a)) changes.push(`${kind}: ${value} is new`)
  }
  for (const [kind, value] of rarer) {
    if (oftener.has(kind)) changes.push(`${kind}: ${value} was replaced by another of its kind`)
  }
  return changes
}

function countSpans(text: string) {
  const counts = new Map<string, { kind: string; value: string; count: number }>()
  for (const { kind, value } of spansOf(text)) {
    const key = `${kind} ${value}`
    const known = counts.get(key)
    if (known === undefined) counts.set(key, { kind, value, count: 1 })
    else known.count++
  }
  return counts
}

/** Backticks are typography: what stands in them may stand in the other text without. */
function isSpelledOut(kind: string, value: string, text: string): boolean {
  return kind === 'code' && normalise(text).includes(value)
}

// Words that turn a sentence round. `unable`, `denied` and their like are in it, so that "cannot" and "unable to" agree and
// "approved" and "denied" do not.
const negation =
  /\b(?:not|no|never|none|nothing|nobody|cannot|without|nor|neither|hardly|unable|impossible|invalid|ineligible|unavailable|unsafe|incorrect|false|denied|deny|denies|rejected|declined|refused|forbidden|prohibited|disallowed|disabled|exclud(?:es?|ed)|kein\w{0,2}|nicht|nie|ohne|pas|jamais|sans|nunca|sin)\b|n't\b/gi
const noTopic = /^(?:yes|do|does|did|ca|wo|is|are|was|can|will|the|a|an|to|of|it|be|been)$/

/** Sentences about the same whose number of negations differs by one (two cancel out). An added sentence has no partner. */
function turnedSentences(a: string, b: string): string[] {
  const [left, right] = [sentencesOf(a), sentencesOf(b)]
  const known = new Set(left.map(({ text }) => text))
  const others = right.filter(({ text }) => !known.has(text)).slice(0, sentencesMax)
  const equal = new Set(right.map(({ text }) => text))
  const turned: string[] = []
  for (const sentence of left.filter(({ text }) => !equal.has(text)).slice(0, sentencesMax)) {
    let best: { score: number; other: Sentence } | undefined
    for (const other of others) {
      const score = overlap(sentence.words, other.words)
      if (score >= sameTopic && score > (best?.score ?? 0)) best = { score, other }
    }
    if (best !== undefined && best.other.isNegated !== sentence.isNegated) {
      turned.push(
        `negation: "${sentence.text.slice(0, 80)}" became "${best.other.text.slice(0, 80)}"`,
      )
    }
  }
  return turned
}

// A line break ends a sentence only before a blank line or a list's next item; elsewhere it is layout.
const sentenceEnd = /(?<=[.!?;:])\s+|\n\s*\n|\n(?=\s*(?:[-*•#]|\d{1,2}[.)]))/

type Sentence = { text: string; words: Set<string>; isNegated: boolean }

function sentencesOf(text: string): Sentence[] {
  return text
    .split(sentenceEnd)
    .map(normalise)
    .filter((sentence) => sentence !== '')
    .map((sentence) => {
      const rest = sentence.replaceAll(negation, ' ').toLowerCase()
      const words = (rest.match(/[\p{L}\d]+/gu) ?? []).filter((word) => !noTopic.test(word))
      const negations = sentence.match(negation)?.length ?? 0
      return { text: sentence, words: new Set(words), isNegated: negations % 2 === 1 }
    })
}

/** Dice's coefficient of the words; two sentences of nothing but "Yes." and "No." are about the same. */
function overlap(a: Set<string>, b: Set<string>): number {
  if (a.size + b.size === 0) return 1
  let shared = 0
  for (const word of a) if (b.has(word)) shared++
  return (2 * shared) / (a.size + b.size)
}

/** Field by field: values, types, fields missing and new. Prose inside JSON is compared as prose. */
function changedLeaves(a: object, b: object): string[] {
  const [before, after] = [toPaths(leavesOf(a)), toPaths(leavesOf(b))]
  const changes: string[] = []
  for (const [path, value] of before) {
    if (!after.has(path)) changes.push(`field: ${path} is gone`)
    else changes.push(...changedLeaf(path, value, after.get(path)))
  }
  for (const path of after.keys()) if (!before.has(path)) changes.push(`field: ${path} is new`)
  return changes
}

function changedLeaf(path: string, a: unknown, b: unknown): string[] {
  if (JSON.stringify(a) === JSON.stringify(b)) return []
  if (typeof a === 'string' && typeof b === 'string' && (isProse(a) || isProse(b))) {
    return changedText(a, b).map((change) => `${path}: ${change}`)
  }
  return [`field: ${path} was ${spell(a)}, is ${spell(b)}`]
}

function isProse(text: string): boolean {
  return text.length > labelLengthMax || text.includes(' ')
}

function spell(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 60)
}

function toPaths(leaves: readonly Leaf[]): Map<string, unknown> {
  return new Map(leaves.map(({ path, value }) => [path, value]))
}
