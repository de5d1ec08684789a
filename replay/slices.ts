// Kinds of input that an average hides: a language, a route, a tool, a model. Which of them are tested is fixed before the first call,
// each by itself, and a loss proven in one fails the candidate though the pool passes.

import type { DrawnUnit, UnitSource } from '../schemas/replay.ts'
import { languageOf } from './judges/language.ts'

// Fewer could not prove a loss even if they lost every one; one that is nearly everything is the pool under another name.
const sliceUnitsMin = 10
const sliceShareMax = 0.9
// They share a part of α alike: each more makes the proof in all of them longer.
const slicesMax = 12
const nameCharsMax = 80
const toolsMax = 8

/** What an input is told apart by. */
export function slicesOf(
  given: Pick<UnitSource, 'routeId' | 'recordedOutput'> & {
    model: string
    messages: DrawnUnit['request']['baseline']['messages']
  },
): string[] {
  const asked = given.messages.findLast(({ role }) => role === 'user')?.content
  const language = typeof asked === 'string' ? languageOf(asked) : undefined
  const tools = new Set(given.recordedOutput?.toolCalls.map(({ name }) => name))
  return [
    ...(language === undefined ? [] : [`language ${language}`]),
    ...(given.routeId === '' ? [] : [`route ${given.routeId}`]),
    `model ${given.model}`,
    ...[...tools].slice(0, toolsMax).map((name) => `tool ${name}`),
  ].map((name) => name.slice(0, nameCharsMax))
}

/** The slices of a frame that are tested: the largest, of those that are neither too small nor nearly all of it. */
export function testedSlices(units: readonly DrawnUnit[]): string[] {
  const counts = new Map<string, number>()
  for (const { source } of units)
    for (const name of source.slices ?? []) counts.set(name, (counts.get(name) ?? 0) + 1)
  return [...counts]
    .filter(([, count]) => count >= sliceUnitsMin && count <= units.length * sliceShareMax)
    .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
    .slice(0, slicesMax)
    .map(([name]) => name)
}
