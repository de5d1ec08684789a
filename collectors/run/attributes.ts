// A run as the attributes of its span, by the names OpenTelemetry has for them; `batchin.` where it has none.

import { toPrefixed } from '../../schemas/ids.ts'
import type { Run } from '../../schemas/run.ts'
import type { AnyValueInput } from '../otlp/protobuf-writer.ts'
import { toInputMessages, toOutputMessages } from './messages.ts'

export type Attribute = readonly [string, AnyValueInput]

export type RunAttributes = {
  /** Small ones: in the span, and in the columns that are searched. */
  searched: Attribute[]
  /** Texts: in the span only. */
  texts: Attribute[]
  input: ReturnType<typeof toInputMessages>
  output: ReturnType<typeof toOutputMessages>
}

// Attributes of a run that hold a text of any size.
const textNames = new Set(['gen_ai.tool.definitions', 'batchin.request.parameters'])

export function attributesOf(run: Run): RunAttributes {
  const searched: Attribute[] = [
    ['gen_ai.operation.name', run.operation],
    ['gen_ai.provider.name', run.provider],
    ['gen_ai.request.model', run.modelRequested],
    ['batchin.run.id', toPrefixed('run', run.runId)],
    ['batchin.record.id', toPrefixed('vaas', run.recordId)],
    ['batchin.run.status', run.status],
    ['batchin.route.id', run.routeId],
    ['deployment.environment.name', run.environment],
  ]
  addAnswer(searched, run)
  addUsage(searched, run)
  addContext(searched, run)
  const texts: Attribute[] = []
  for (const [name, value] of Object.entries(run.promptVariables ?? {})) {
    texts.push([`gen_ai.prompt.variable.${name}`, value])
  }
  // Plain objects: nothing is inherited.
  for (const name in run.attributes) {
    const value = run.attributes[name]!
    if (textNames.has(name)) texts.push([name, value])
    else searched.push([name, value])
  }
  const input = run.input === undefined ? [] : toInputMessages(run.input)
  const output = run.output === undefined ? [] : toOutputMessages(run.output)
  if (run.input !== undefined) texts.push(['gen_ai.input.messages', JSON.stringify(input)])
  if (run.output !== undefined) texts.push(['gen_ai.output.messages', JSON.stringify(output)])
  return { searched, texts, input, output }
}

function addAnswer(attributes: Attribute[], run: Run): void {
  const { modelServed, upstream, finishReasons, error, ttftNs } = run
  if (modelServed) attributes.push(['gen_ai.response.model', modelServed])
  if (upstream.responseId) attributes.push(['gen_ai.response.id', upstream.responseId])
  if (upstream.systemFingerprint) {
    attributes.push(['openai.response.system_fingerprint', upstream.systemFingerprint])
  }
  if (upstream.requestId) attributes.push(['batchin.upstream.request.id', upstream.requestId])
  if (finishReasons.length > 0) attributes.push(['gen_ai.response.finish_reasons', finishReasons])
  if (error) attributes.push(['error.type', error.code])
  if (ttftNs !== undefined) {
    attributes.push(['gen_ai.response.time_to_first_chunk', { double: ttftNs / 1e9 }])
  }
}

function addUsage(attributes: Attribute[], run: Run): void {
  const { usage, costNanoUsd } = run
  if (usage) {
    attributes.push(
      ['gen_ai.usage.input_tokens', usage.inputTokens],
      ['gen_ai.usage.output_tokens', usage.outputTokens],
    )
    if (usage.cachedTokens > 0) {
      attributes.push(['gen_ai.usage.cache_read.input_tokens', usage.cachedTokens])
    }
    if (usage.reasoningTokens > 0) {
      attributes.push(['gen_ai.usage.reasoning.output_tokens', usage.reasoningTokens])
    }
    if (usage.estimated) attributes.push(['batchin.usage.estimated', true])
  }
  if (costNanoUsd !== undefined) {
    attributes.push(['gen_ai.usage.cost', { double: Number(costNanoUsd) / 1e9 }])
  }
}

function addContext(attributes: Attribute[], run: Run): void {
  if (run.prompt) {
    const { registryId, versionId } = run.prompt
    attributes.push(
      ['gen_ai.prompt.name', registryId],
      ['gen_ai.prompt.version', versionId.slice(versionId.indexOf('@') + 1)],
    )
  }
  if (run.sessionId !== '') attributes.push(['session.id', run.sessionId])
  if (run.userId !== '') attributes.push(['user.id', run.userId])
  if (run.origin !== '') attributes.push(['batchin.origin', run.origin])
}
