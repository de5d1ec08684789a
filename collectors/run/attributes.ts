// A run as the attributes of its span, by the names OpenTelemetry has for them; `batchin.` where it has none.

import { toPrefixed } from '../../schemas/ids.ts'
import { JsonBytes } from '../../schemas/json-bytes.ts'
import type { Run } from '../../schemas/run.ts'
import { writeInputMessages, writeOutputMessages } from './messages.ts'
import type { SpanAttributes } from './span-attributes.ts'

// Attributes of a run that hold a text of any size.
const textNames = new Set(['gen_ai.tool.definitions', 'batchin.request.parameters'])

// One for all runs: it is copied into the message at once.
const messages = new JsonBytes()

/** First what is searched, then the texts. */
export function describeRun(to: SpanAttributes, run: Run): void {
  to.text('gen_ai.operation.name', run.operation)
  to.text('gen_ai.provider.name', run.provider)
  to.text('gen_ai.request.model', run.modelRequested)
  to.text('batchin.run.id', toPrefixed('run', run.runId))
  to.text('batchin.record.id', toPrefixed('vaas', run.recordId))
  to.text('batchin.run.status', run.status)
  to.text('batchin.route.id', run.routeId)
  to.text('deployment.environment.name', run.environment)
  describeAnswer(to, run)
  describeUsage(to, run)
  describeContext(to, run)
  let hasTexts = false
  // Plain objects: nothing is inherited.
  for (const name in run.attributes) {
    const value = run.attributes[name]!
    if (textNames.has(name)) hasTexts = true
    else if (typeof value === 'string') to.text(name, value)
    else if (typeof value === 'number') to.number(name, value)
    else to.flag(name, value)
  }
  const variables = run.promptVariables
  if (variables)
    for (const name of Object.keys(variables))
      to.long(`gen_ai.prompt.variable.${name}`, variables[name]!)
  if (hasTexts)
    for (const name in run.attributes)
      if (textNames.has(name)) to.long(name, String(run.attributes[name]))
  describeMessages(to, run)
}

function describeMessages(to: SpanAttributes, { input, output }: Run): void {
  if (input !== undefined) {
    messages.clear()
    to.input = writeInputMessages(messages, input)
    to.json('gen_ai.input.messages', messages)
  }
  if (output !== undefined) {
    messages.clear()
    to.output = writeOutputMessages(messages, output)
    to.json('gen_ai.output.messages', messages)
  }
}

function describeAnswer(to: SpanAttributes, run: Run): void {
  const { modelServed, upstream, finishReasons, error, ttftNs } = run
  if (modelServed) to.text('gen_ai.response.model', modelServed)
  if (upstream.responseId) to.text('gen_ai.response.id', upstream.responseId)
  if (upstream.systemFingerprint)
    to.text('openai.response.system_fingerprint', upstream.systemFingerprint)
  if (upstream.requestId) to.text('batchin.upstream.request.id', upstream.requestId)
  if (finishReasons.length > 0) to.list('gen_ai.response.finish_reasons', finishReasons)
  if (error) to.text('error.type', error.code)
  if (ttftNs !== undefined) to.double('gen_ai.response.time_to_first_chunk', ttftNs / 1e9)
}

function describeUsage(to: SpanAttributes, { usage, costNanoUsd }: Run): void {
  if (usage) {
    to.number('gen_ai.usage.input_tokens', usage.inputTokens)
    to.number('gen_ai.usage.output_tokens', usage.outputTokens)
    if (usage.cachedTokens > 0)
      to.number('gen_ai.usage.cache_read.input_tokens', usage.cachedTokens)
    if (usage.reasoningTokens > 0)
      to.number('gen_ai.usage.reasoning.output_tokens', usage.reasoningTokens)
    if (usage.estimated) to.flag('batchin.usage.estimated', true)
  }
  if (costNanoUsd !== undefined) to.double('gen_ai.usage.cost', Number(costNanoUsd) / 1e9)
}

function describeContext(to: SpanAttributes, run: Run): void {
  if (run.prompt) {
    const { registryId, versionId } = run.prompt
    to.text('gen_ai.prompt.name', registryId)
    to.text('gen_ai.prompt.version', versionId.slice(versionId.indexOf('@') + 1))
  }
  if (run.sessionId !== '') to.text('session.id', run.sessionId)
  if (run.userId !== '') to.text('user.id', run.userId)
  if (run.origin !== '') to.text('batchin.origin', run.origin)
}
