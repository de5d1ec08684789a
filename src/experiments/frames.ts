// Past runs as experiments need them: which there are, by their figures, and each as a request under both prompts.

import { createHash } from 'node:crypto'
import { readSpan } from '../../collectors/otlp/span-view.ts'
import type { Frames } from '../../replay/experiment.ts'
import { normalise } from '../../replay/judges/text.ts'
import type { FrameRun, LoadedRun, RejectReason } from '../../replay/sampler.ts'
import type { ReplayMessage } from '../../schemas/replay.ts'
import type { Rerendered, RerenderFailure, Rerendering } from '../registry/registry.ts'
import type { StoredSpans } from '../traces/stored-spans.ts'
import { and, between, inWorkspace } from '../traces/trace-query.ts'
import type { Rows } from '../traces/traces.ts'
import { type RecordedRun, readRecorded } from './recorded-run.ts'
import { readSeenPrompt, swapSeenPrompt } from './seen-prompt.ts'

// Figures of more runs than these are not looked at: the newest stand for the rest.
const runsMax = 50_000
// A request beyond this says more of its attachments than of its prompt.
const requestCharsMax = 256 * 1024
// Clocks of clients run ahead; their runs count too.
const aheadMs = 86_400_000

export type FrameDeps = {
  rows: Rows
  storedSpans: Pick<StoredSpans, 'ofSpans'>
  flush: () => Promise<void>
  nowMs: () => number
  /** Whether replays of this model have somewhere to go. */
  hasRoute: (model: string) => boolean
  rerender: (given: Rerendering) => Promise<Rerendered>
}

/** Further members of a drawn run: the last call of its conversation, which knows what the tools answered. */
type Run = FrameRun & { last: { traceId: string; spanId: string } | undefined }

export function openFrames(deps: FrameDeps): Frames {
  return {
    async runs(workspace, versionId, sinceMs) {
      await deps.flush()
      const spans = between(
        and(inWorkspace(workspace), ofVersion, { version: versionId }),
        sinceMs,
        deps.nowMs() + aheadMs,
      )
      const found = await deps.rows.query<RunRow>({
        sql: `${runColumns} FROM spans WHERE ${spans.sql} ORDER BY ingest_seq DESC LIMIT 1 BY trace_id, span_id LIMIT ${runsMax}`,
        params: spans.params,
      })
      return withLast(found.map(toRun))
    },

    async open({ workspace, registryId, baseline, candidate }) {
      const to = { workspace, registry: registryId, from: baseline, to: candidate }
      const seen = await seenPrompts(deps, to)
      const rerender: FrameDeps['rerender'] = async (given) => {
        const rendered = await deps.rerender(given)
        if (rendered.ok || rendered.reason !== 'no_template') return rendered
        return swapSeenPrompt(given.messages, seen.from, seen.to)
      }
      return async (page) => {
        const runs = page as readonly Run[] // they were made by `runs` above
        const wanted = runs.flatMap((run) => [run, ...(run.last ? [run.last] : [])])
        const stored = await deps.storedSpans.ofSpans(workspace, wanted)
        const spans = new Map(stored.map((one) => [nameOf(one), one.span]))
        const recorded = (at: { traceId: string; spanId: string } | undefined) => {
          const bytes = at && spans.get(nameOf(at))
          return bytes && readRecorded(readSpan(bytes))
        }
        const loaded: LoadedRun[] = []
        for (const run of runs) {
          const own = recorded(run)
          if (own === undefined) loaded.push({ rejected: 'deleted' })
          else if ('rejected' in own) loaded.push(own)
          else if (!deps.hasRoute(own.request.model)) loaded.push({ rejected: 'no_route' })
          else loaded.push(await toLoaded(rerender, to, { run, own, last: recorded(run.last) }))
        }
        return loaded
      }
    },
  }
}

// Model calls only, and of a call that its client and the proxy both reported the one that knows more: the inner one.
const ofVersion = `prompt_version_id = {version:String} AND origin != 'replay' AND type = 'llm'
  AND (trace_id, span_id) NOT IN (SELECT trace_id, parent_span_id FROM spans
    WHERE workspace = {workspace:String} AND prompt_version_id = {version:String} AND type = 'llm')`

const runColumns = `SELECT lower(hex(trace_id)) AS trace, lower(hex(span_id)) AS span, session_id AS session, user_id AS user,
  attr_str['batchin.key.id'] AS key, model, environment, route_id AS route, status,
  toUnixTimestamp64Milli(start_time) AS start, toString(duration_ns) AS duration, output_tokens AS output, usage,
  toString(cost_nano_usd) AS cost, attr_num['batchin.no_replay'] AS optout`

type RunRow = Record<
  | 'trace'
  | 'span'
  | 'session'
  | 'user'
  | 'key'
  | 'model'
  | 'environment'
  | 'route'
  | 'status'
  | 'start'
  | 'duration'
  | 'cost',
  string
> &
  Record<'output' | 'usage' | 'optout', number>

function toRun(row: RunRow): FrameRun {
  return {
    traceId: row.trace,
    spanId: row.span,
    conversation: row.session === '' ? `trace ${row.trace}` : `session ${row.session}`,
    hasSession: row.session !== '',
    userId: row.user,
    keyId: row.key,
    model: row.model,
    environment: row.environment,
    routeId: row.route,
    status: row.status,
    startMs: Number(row.start),
    latencyMs: Number(row.duration) / 1e6,
    outputTokens: Number(row.output),
    costNanoUsd: (Number(row.usage) & 2) === 0 ? null : Number(row.cost),
    hasOptedOut: Number(row.optout) === 1,
  }
}

function withLast(runs: FrameRun[]): Run[] {
  const latest = new Map<string, FrameRun>()
  for (const run of runs) {
    const known = latest.get(run.conversation)
    if (known === undefined || run.startMs > known.startMs) latest.set(run.conversation, run)
  }
  return runs.map((run) => {
    const last = latest.get(run.conversation)
    return { ...run, last: last === run ? undefined : last }
  })
}

async function seenPrompts(deps: FrameDeps, to: Omit<Rerendering, 'messages'>) {
  const [from, other] = await Promise.all(
    [to.from, to.to].map((version) =>
      readSeenPrompt(deps, to.workspace, `${to.registry}@${version}`),
    ),
  )
  return { from, to: other }
}

function nameOf({ traceId, spanId }: { traceId: string; spanId: string }): string {
  return `${traceId} ${spanId}`
}

async function toLoaded(
  rerender: FrameDeps['rerender'],
  to: Omit<Rerendering, 'messages'>,
  given: { run: Run; own: RecordedRun; last: ReturnType<typeof readRecorded> | undefined },
): Promise<LoadedRun> {
  const { own, last } = given
  if (JSON.stringify(own.request).length > requestCharsMax) return { rejected: 'too_large' }
  const rendered = await rerender({
    ...to,
    messages: own.request.messages.map((message) => ({ ...message, content: message.content })),
    ...(own.variables === undefined ? {} : { variables: own.variables }),
  })
  if (!rendered.ok) return { rejected: rejections[rendered.reason] }
  const { tools, response_format, model, params, messages } = rendered
  const results = last && !('rejected' in last) ? own.resultsIn(last) : []
  const userTexts = own.request.messages.filter(({ role }) => role === 'user')
  return {
    request: {
      baseline: own.request,
      candidate: {
        model: model ?? own.request.model,
        messages: messages as ReplayMessage[], // messages in, messages out: only texts were replaced
        parameters: {
          ...own.request.parameters,
          ...params,
          ...(tools === undefined ? {} : { tools }),
          ...(response_format === undefined ? {} : { response_format }),
        },
      },
      results,
    },
    inputHash: digest(own.request.messages),
    openingHash: digest(userTexts.slice(0, 1)),
    tier: results.length > 0 ? 'R3' : userTexts.length > 1 ? 'R2' : 'R1',
    recordedOutput: own.output,
    hasTools: own.request.parameters.tools !== undefined,
  }
}

const rejections: Record<RerenderFailure, RejectReason> = {
  no_template: 'no_template',
  not_rendered: 'not_rendered',
  ambiguous: 'not_rendered',
  missing_variable: 'missing_variable',
}

function digest(value: unknown): string {
  return createHash('sha256')
    .update(normalise(JSON.stringify(value)))
    .digest('hex')
}
