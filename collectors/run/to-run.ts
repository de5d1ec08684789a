// A posted run as the run it tells of, and as the facts its record signs.

import { toInputObject, toOutputObject } from '../../schemas/commit.ts'
import { parseSpanId } from '../../schemas/ids.ts'
import { namedAttribute, type PromptLinks, toVersion } from '../../schemas/prompt.ts'
import type { RecordFacts, RecordStatus } from '../../schemas/record.ts'
import type { Run, RunStatus, Usage } from '../../schemas/run.ts'
import { toUserId } from '../../schemas/user-id.ts'
import { type PostedRun, toUnixNano } from './posted-run.ts'
import type { RunIds } from './run-ids.ts'

const messageCharsMax = 2048
const metadataMax = 64
// The route of runs that came here by themselves and name none.
const nativeRoute = 'native'

export function toRun(of: {
  posted: PostedRun
  ids: RunIds
  workspace: string
  prompts: PromptLinks
  environment: string
}): Run {
  const { posted, ids, workspace } = of
  const startUnixNano = toUnixNano(posted.started_at)
  const { prompt } = posted
  const error = readError(posted.error)
  const version = prompt?.version ? toVersion(prompt.version) : undefined
  return {
    ...ids,
    workspace,
    parentSpanId: posted.parent_span_id ? parseSpanId(posted.parent_span_id) : undefined,
    traceState: '',
    name: posted.name ?? `chat ${posted.model}`,
    operation: 'chat',
    service: posted.service ?? '',
    startUnixNano,
    durationNs: Number(toUnixNano(posted.ended_at) - startUnixNano),
    ttftNs: posted.ttft_ms == null ? undefined : Math.round(posted.ttft_ms * 1e6),
    status: posted.status ?? (error ? 'error' : 'ok'),
    error,
    environment: posted.environment ?? of.environment,
    provider: posted.provider ?? '',
    modelRequested: posted.model,
    modelServed: undefined,
    routeId: posted.route_id ?? nativeRoute,
    routeLabel: posted.route_id ?? nativeRoute,
    prompt: prompt
      ? { registryId: prompt.id, versionId: of.prompts.link(workspace, prompt.id, version) }
      : undefined,
    promptVariables: readVariables(prompt?.variables),
    sessionId: posted.session_id ?? '',
    userId: toUserId(posted.user_id ?? ''),
    origin: '',
    input: posted.input ?? undefined,
    output: posted.output ?? undefined,
    finishReasons: readFinishReasons(posted.output),
    usage: readUsage(posted.usage),
    costNanoUsd: undefined,
    upstream: { responseId: null, systemFingerprint: null, requestId: null },
    attributes: readAttributes(posted),
  }
}

/** What the record of a posted run says. Both texts are committed to as they were posted. */
export function toFacts(run: Run): RecordFacts {
  return {
    recordId: run.recordId,
    runId: run.runId,
    workspace: run.workspace,
    traceId: run.traceId,
    routeId: run.routeId,
    routeLabel: run.routeLabel,
    routePublic: true,
    provider: run.provider,
    environment: run.environment,
    promptVersionId: run.prompt?.versionId ?? 'default',
    modelId: run.modelRequested,
    status: recordStatuses[run.status],
    startedAt: new Date(Number(run.startUnixNano / 1_000_000n)),
    completedAt: new Date(Number((run.startUnixNano + BigInt(run.durationNs)) / 1_000_000n)),
    input: toInputObject(run.input),
    output: toOutputObject(run.output),
    usage: run.usage,
    upstream: run.upstream,
  }
}

const recordStatuses: Record<RunStatus, RecordStatus> = {
  ok: 'completed',
  error: 'upstream_error',
  client_closed: 'client_closed',
  truncated: 'truncated',
  interrupted: 'interrupted',
  cache_hit: 'cache_hit',
}

function readUsage(usage: PostedRun['usage']): Usage | undefined {
  if (!usage) return undefined
  const inputTokens = usage.input_tokens ?? usage.prompt_tokens ?? 0
  const outputTokens = usage.output_tokens ?? usage.completion_tokens ?? 0
  return {
    inputTokens,
    cachedTokens: Math.min(usage.cached_tokens ?? 0, inputTokens),
    outputTokens,
    reasoningTokens: Math.min(usage.reasoning_tokens ?? 0, outputTokens),
    estimated: false,
  }
}

function readError(error: PostedRun['error']): Run['error'] {
  if (error == null) return undefined
  if (typeof error === 'string') return { code: 'error', message: error.slice(0, messageCharsMax) }
  return {
    code: (error.code ?? 'error').slice(0, 128),
    message: (error.message ?? '').slice(0, messageCharsMax),
  }
}

function readVariables(
  variables: Record<string, unknown> | null | undefined,
): Record<string, string> | undefined {
  if (!variables) return undefined
  const texts: Record<string, string> = Object.create(null)
  for (const [name, value] of Object.entries(variables)) texts[name] = toText(value)
  return texts
}

/** Metadata under `batchin.metadata.`, so that a caller's names never pass for ours. */
function readAttributes(posted: PostedRun): Run['attributes'] {
  const attributes: Run['attributes'] = Object.create(null)
  if (posted.run_id) attributes['batchin.client.run_id'] = posted.run_id
  if (posted.prompt) attributes[namedAttribute] = posted.prompt.version ? 'version' : 'name'
  if (posted.tags?.length) attributes['batchin.tags'] = posted.tags.join(',')
  for (const [name, value] of Object.entries(posted.metadata ?? {}).slice(0, metadataMax)) {
    const isPlain = typeof value === 'number' || typeof value === 'boolean'
    attributes[`batchin.metadata.${name}`] = isPlain ? value : toText(value)
  }
  return attributes
}

function readFinishReasons(output: unknown): string[] {
  if (typeof output !== 'object' || output === null) return []
  const choices = 'choices' in output ? output.choices : output
  if (!Array.isArray(choices)) return []
  return choices.flatMap((choice) =>
    typeof choice?.finish_reason === 'string' ? [choice.finish_reason] : [],
  )
}

function toText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}
