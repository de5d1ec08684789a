// What judges do not take for a difference: Unicode form, white space, typographic quotes and dashes, the order of JSON keys.

import type { ReplayOutput } from '../../schemas/experiment.ts'
import { toLooseJcs } from '../../schemas/jcs.ts'

const fence = '```'

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
  const bare = withoutFence(text.trim())
  if (!/^[[{]/.test(bare)) return undefined
  try {
    const parsed: unknown = JSON.parse(bare)
    return typeof parsed === 'object' && parsed !== null ? parsed : undefined
  } catch {
    return undefined
  }
}

// By position: a pattern for it takes the square of the white space that a model wrote after the fence.
function withoutFence(text: string): string {
  const isFenced = text.startsWith(fence) && text.endsWith(fence) && text.length > 2 * fence.length
  const start = text.indexOf('\n')
  if (!isFenced || start === -1) return text
  const isLabelled = /^(?:json)?$/i.test(text.slice(fence.length, start).trim())
  return isLabelled ? text.slice(start, -fence.length).trim() : text
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
  return toJson(text) === undefined ? normalise(text) : toCanonical(withoutFence(text.trim()))
}
