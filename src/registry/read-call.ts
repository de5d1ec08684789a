// A stored span as a call to look at, whatever dialect it speaks: its messages as the console shows them, and what its caller
// said of the prompt.

import { readSpan } from '../../collectors/otlp/span-view.ts'
import { toPlain } from '../../schemas/attribute-set.ts'
import { describe } from '../../schemas/describe.ts'
import { namedAttribute, type SeenCall, toSlug, toVersion } from '../../schemas/prompt.ts'
import { parametersOf } from '../experiments/recorded-run.ts'
import { toRef } from './assignments.ts'
import type { CallAt } from './stored-calls.ts'

// Reading a span holds up calls that pass; a prompt is cut at a fraction of this anyway.
const spanBytesMax = 4 * 1024 * 1024

/** Undefined for a span without messages, of a replay, or too large to be read here. */
export function readCall(
  bytes: Uint8Array,
  at: CallAt,
  redact: SeenCall['redact'],
): SeenCall | undefined {
  if (bytes.length > spanBytesMax) return undefined
  const span = readSpan(bytes)
  const described = describe(span.attributes, span.events)
  const attributes = new Map(span.attributes)
  // Another installation's replay, pushed here.
  if (described.input.length === 0 || attributes.get('batchin.origin') === 'replay')
    return undefined
  const parameters = parametersOf(attributes, described)
  const isOurs = at.runId !== ''
  // A run of ours bears the version it was linked to; whether its caller chose it, or a prompt at all, is said beside it.
  const named = isOurs ? toPlain(attributes.get(namedAttribute)) : 'version'
  const { prompt } = described
  const slug = prompt && named !== undefined ? toSlug(prompt.name) : undefined
  const version = slug && named === 'version' && prompt ? toVersion(prompt.version) : undefined
  return {
    workspace: at.workspace,
    // Who names a version means it.
    ref: version === undefined ? toRef(at) : undefined,
    messages: described.input,
    tools: parameters.tools,
    responseFormat: parameters.response_format ?? parameters.text,
    temperature: parameters.temperature,
    slug,
    version,
    user: described.userId,
    // What is in a run of ours has been redacted.
    redact: isOurs ? undefined : redact,
    // Of its arrival: what is found depends on the order of calls, and clocks of strangers may say anything.
    atMs: Number(at.seq >> 20n),
  }
}
