// How alike two answers look. For triage and display: a flipped negation scores 0.99, a faithful paraphrase 0.57.

import type { ReplayOutput } from '../../schemas/experiment.ts'
import { normalise, toCanonicalCalls, toJson } from './text.ts'

// Both bound the work on one pair: longer texts are compared by their beginning, larger JSON by its first leaves.
const textMax = 20_000
const leavesMax = 5_000

export type TextSimilarity = (a: string, b: string) => number

/**
 * Dice's coefficient of adjacent character pairs, white space left out: twice the shared over the sum, 1 for equal texts. The
 * measure that `string-similarity` computes, without the package.
 */
export function dice(a: string, b: string): number {
  const [left, right] = [a.replaceAll(/\s+/g, ''), b.replaceAll(/\s+/g, '')]
  if (left === right) return 1
  if (left.length < 2 || right.length < 2) return 0
  const pairs = new Map<string, number>()
  for (let i = 0; i < left.length - 1; i++) {
    const pair = left.slice(i, i + 2)
    pairs.set(pair, (pairs.get(pair) ?? 0) + 1)
  }
  let shared = 0
  for (let i = 0; i < right.length - 1; i++) {
    const pair = right.slice(i, i + 2)
    const left = pairs.get(pair) ?? 0
    if (left === 0) continue
    pairs.set(pair, left - 1)
    shared++
  }
  return (2 * shared) / (left.length + right.length - 2)
}

/** JSON against JSON by its leaves, text against text by Dice; tool calls count as much as the text. */
export function similarityOf(
  a: ReplayOutput,
  b: ReplayOutput,
  textSimilarity: TextSimilarity = dice,
): number {
  const parts: number[] = []
  if (a.text !== '' || b.text !== '') {
    const [left, right] = [toJson(a.text), toJson(b.text)]
    parts.push(
      left !== undefined && right !== undefined
        ? leafSimilarity(left, right)
        : textSimilarity(normalise(a.text.slice(0, textMax)), normalise(b.text.slice(0, textMax))),
    )
  }
  if (a.toolCalls.length > 0 || b.toolCalls.length > 0) {
    parts.push(shareInCommon(toCanonicalCalls(a), toCanonicalCalls(b)))
  }
  return parts.length === 0 ? 1 : parts.reduce((sum, part) => sum + part, 0) / parts.length
}

/** Dice's coefficient of the leaves: a path and its value must agree. */
export function leafSimilarity(a: object, b: object): number {
  const spelled = (value: object) =>
    leavesOf(value).map(({ path, value }) => `${path}=${JSON.stringify(value)}`)
  return shareInCommon(spelled(a), spelled(b))
}

export type Leaf = { path: string; value: unknown }

/** Scalars, and empty objects and lists, under their paths. Iterative: depth is the model's choice. */
export function leavesOf(root: unknown): Leaf[] {
  const leaves: Leaf[] = []
  const open: Leaf[] = [{ path: '', value: root }]
  while (open.length > 0 && leaves.length < leavesMax) {
    const { path, value } = open.pop()!
    const members = typeof value === 'object' && value !== null ? Object.entries(value) : []
    if (members.length === 0) leaves.push({ path: path || '/', value })
    for (const [key, member] of members.reverse())
      open.push({ path: `${path}/${key}`, value: member })
  }
  return leaves
}

function shareInCommon(a: readonly string[], b: readonly string[]): number {
  if (a.length + b.length === 0) return 1
  const counts = new Map<string, number>()
  for (const value of a) counts.set(value, (counts.get(value) ?? 0) + 1)
  let shared = 0
  for (const value of b) {
    const count = counts.get(value) ?? 0
    if (count === 0) continue
    counts.set(value, count - 1)
    shared++
  }
  return (2 * shared) / (a.length + b.length)
}
