// A prompt of which only the name is known, read off the runs that bear it: when all of them open with the same system messages,
// those are the prompt, and any other run of the registry can be asked again with them.

import { readSpan } from '../../collectors/otlp/span-view.ts'
import type { ReplayMessage } from '../../schemas/replay.ts'
import type { Rerendered } from '../registry/registry.ts'
import type { StoredSpans } from '../traces/stored-spans.ts'
import { and, inWorkspace } from '../traces/trace-query.ts'
import type { Rows } from '../traces/traces.ts'
import { readRecorded } from './recorded-run.ts'

// Runs looked at before a prompt is called fixed; a slot that never changed in all of them would be taken for a word.
const runsLookedAt = 50

export type SeenPrompt = { opening: ReplayMessage[] }

/** The fixed opening of a version's latest runs; undefined when it changes from run to run, or there is none. */
export async function readSeenPrompt(
  deps: { rows: Rows; storedSpans: Pick<StoredSpans, 'ofSpans'> },
  workspace: string,
  versionId: string,
): Promise<SeenPrompt | undefined> {
  const where = and(
    inWorkspace(workspace),
    `prompt_version_id = {version:String} AND origin != 'replay' AND type = 'llm'`,
    { version: versionId },
  )
  const found = await deps.rows.query<{ traceId: string; spanId: string }>({
    sql: `SELECT lower(hex(trace_id)) AS traceId, lower(hex(span_id)) AS spanId FROM spans WHERE ${where.sql}
      ORDER BY start_time DESC LIMIT 1 BY trace_id, span_id LIMIT ${runsLookedAt}`,
    params: where.params,
  })
  const stored = await deps.storedSpans.ofSpans(workspace, found)
  const openings = stored.flatMap(({ span }) => {
    const recorded = readRecorded(readSpan(span))
    return 'rejected' in recorded ? [] : [openingOf(recorded.request.messages)]
  })
  const [first] = openings
  if (first === undefined || first.length === 0) return undefined
  const text = JSON.stringify(first)
  return openings.every((one) => JSON.stringify(one) === text) ? { opening: first } : undefined
}

/** A run of one seen prompt under the other; only when it opens with the first, letter for letter. */
export function swapSeenPrompt(
  messages: readonly ReplayMessage[],
  from: SeenPrompt | undefined,
  to: SeenPrompt | undefined,
): Rerendered {
  if (from === undefined || to === undefined) {
    return { ok: false, reason: 'no_template', detail: 'The prompt changes from run to run.' }
  }
  const opening = openingOf(messages)
  if (JSON.stringify(opening) !== JSON.stringify(from.opening)) {
    return { ok: false, reason: 'not_rendered', detail: 'The run opens with another prompt.' }
  }
  const rest = messages.slice(opening.length)
  return {
    ok: true,
    messages: [...to.opening, ...rest].map((one) => ({ ...one, content: one.content })),
  }
}

function openingOf(messages: readonly ReplayMessage[]): ReplayMessage[] {
  const end = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer')
  return messages.slice(0, end === -1 ? messages.length : end)
}
