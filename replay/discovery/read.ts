// An observation as an entry: the prompt's text found among the messages, cut into lines, the rest hashed.

import type { Observation } from '../../schemas/discovery.ts'
import { toLooseJcs } from '../../schemas/jcs.ts'
import { linesMax } from './limits.ts'
import { promptOf } from './prompt-text.ts'
import { type Entry, type Known, keepBelow, type Workspace } from './state.ts'
import { sha256 } from './template.ts'
import { hashText, type Line, type Span, segmentsOf, toLine } from './text.ts'

export type Seen = {
  entry: Entry
  text: string
  /** The beginning, for a name. */
  head: string
  exactKey: string
  known: Known | undefined
}

const headChars = 300

/** Undefined when the call has no text that could be a prompt. */
export function readObservation(workspace: Workspace, observation: Observation): Seen | undefined {
  const text = promptOf(observation.messages)
  if (text === '') return undefined
  const tools = canonical(observation.tools)
  const responseFormat = canonical(observation.responseFormat)
  const params = observation.paramsClass ?? ''
  const exactKey = sha256([tools, responseFormat, params, text].join('\n'))
  const known = workspace.exact.get(exactKey)
  const entry: Entry = {
    seq: workspace.seq++,
    ref: observation.ref,
    atMs: observation.atMs,
    lines: known?.lines ?? linesOf(workspace, text),
    groups: [],
    around: hashText(`${tools}\n${responseFormat}\n${params}`),
    hashes: {
      tools: hashed(tools),
      responseFormat: hashed(responseFormat),
      params: hashed(params),
    },
    user: observation.user === undefined ? 0 : hashText(observation.user),
    label: undefined,
    key: 0,
    version: -1,
    told: -1,
  }
  // A copy, because a slice would keep the whole prompt in memory.
  return { entry, text, head: Buffer.from(text.slice(0, headChars)).toString(), exactKey, known }
}

// The order of tools and of their members is not theirs to change a version by.
function canonical(value: unknown): string {
  if (value === undefined || value === null) return ''
  const list = Array.isArray(value) ? value.map((one) => toLooseJcs(one)).sort() : undefined
  return list ? list.join(',') : toLooseJcs(value)
}

/** The hash that a version's tools, or its response format, have among its hashes. */
export function hashAround(value: unknown): string {
  return hashed(canonical(value))
}

function hashed(text: string): string {
  return text === '' ? '' : sha256(text)
}

function linesOf(workspace: Workspace, text: string): Line[] {
  return segmentsOf(text).map((span) => lineOf(workspace, text, span))
}

function lineOf(workspace: Workspace, text: string, span: Span): Line {
  const raw = hashText(text, span.start, span.end)
  const known = workspace.lines.get(raw)
  if (known) return known
  const line = toLine(text, span)
  keepBelow(workspace.lines, linesMax)
  workspace.lines.set(raw, line)
  return line
}
