// What judges do not take for a difference: Unicode form, white space, typographic quotes and dashes, the order of JSON keys.

import type { ReplayOutput } from '../../schemas/experiment.ts'
import { toLooseJcs } from '../../schemas/jcs.ts'

export function normalise(text: string): string {
  return text
    .normalize('NFC')
    .replaceAll(/[‘’‛ʼ]/g, "'")
    .replaceAll(/[“”„]/g, '"')
    .replaceAll(/[‐‑‒–—−]/g, '-')
    .replaceAll(/\s+/g, ' ')
    .trim()
}

/** The JSON object or list that a text is, a code fence around it allowed; undefined for any other text. */
export function toJson(text: string): object | undefined {
  const bare = text.trim().replace(/^```(?:json)?\s*\n([\s\S]*?)\n?```$/i, '$1')
  if (!/^[[{]/.test(bare)) return undefined
  try {
    const parsed: unknown = JSON.parse(bare)
    return typeof parsed === 'object' && parsed !== null ? parsed : undefined
  } catch {
    return undefined
  }
}

/** One spelling for equal JSON, the text itself for anything else. */
export function toCanonical(text: string): string {
  try {
    return toLooseJcs(JSON.parse(text))
  } catch {
    return normalise(text)
  }
}

export function toCanonicalCalls(output: ReplayOutput): string[] {
  return output.toolCalls.map((call) => `${call.name}(${toCanonical(call.arguments)})`)
}

/** The same answer for every reader: text or JSON, and the calls in order. */
export function isEqualOutput(a: ReplayOutput, b: ReplayOutput): boolean {
  return (
    toCanonicalText(a.text) === toCanonicalText(b.text) &&
    JSON.stringify(toCanonicalCalls(a)) === JSON.stringify(toCanonicalCalls(b))
  )
}

function toCanonicalText(text: string): string {
  const json = toJson(text)
  return json === undefined ? normalise(text) : toLooseJcs(json)
}
