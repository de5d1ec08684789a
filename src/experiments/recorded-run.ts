// A stored model call as the request that made it, whatever dialect it was recorded in, in the form of OpenAI's chat API.

import type { SpanView } from '../../collectors/otlp/span-view.ts'
import { toPlain } from '../../schemas/attribute-set.ts'
import { type ChatMessage, own, type Part, parseJson, toText } from '../../schemas/conversation.ts'
import { type Description, describe } from '../../schemas/describe.ts'
import type { ReplayOutput } from '../../schemas/experiment.ts'
import type { ArmRequest, RecordedResult, ReplayMessage } from '../../schemas/replay.ts'

export type RecordedRun = {
  request: ArmRequest
  output: ReplayOutput | null
  /** The prompt's variables, where the caller sent them. */
  variables: Record<string, string> | undefined
  /** What the tools answered until the next word of the user, when `later` is a later call of the same conversation. */
  resultsIn(later: RecordedRun): RecordedResult[]
}

/** Sampling parameters as spans of other dialects have them, by the name that the API has for them. */
const parameterNames: readonly (readonly [string, string])[] = [
  ['gen_ai.request.temperature', 'temperature'],
  ['gen_ai.request.top_p', 'top_p'],
  ['gen_ai.request.max_tokens', 'max_tokens'],
  ['gen_ai.request.frequency_penalty', 'frequency_penalty'],
  ['gen_ai.request.presence_penalty', 'presence_penalty'],
  ['gen_ai.request.seed', 'seed'],
]

/** The run, or why nothing like it can be sent again. */
export function readRecorded(
  span: SpanView,
): RecordedRun | { rejected: 'no_text' | 'media' | 'live_tools' } {
  const described = describe(span.attributes, span.events)
  const model = described.modelRequested || described.modelServed
  if (described.input.length === 0 || model === '') return { rejected: 'no_text' }
  const attributes = new Map(span.attributes)
  const parameters = parametersOf(attributes, described)
  // Tools that the provider runs itself act on the world each time.
  const tools = Array.isArray(parameters.tools) ? parameters.tools : []
  if (tools.some((tool) => own(tool, 'type') !== 'function')) return { rejected: 'live_tools' }
  const messages = described.input.map(toReplayMessage)
  if (messages.includes(undefined)) return { rejected: 'media' }
  const sent = messages.filter((message) => message !== undefined)
  const answer = described.output[0]
  return {
    request: { model, messages: sent, parameters },
    output: answer === undefined ? null : toReplayOutput(answer, described.finishReasons[0]),
    variables: variablesOf(described),
    resultsIn: (later) => resultsBetween(sent.length, later.request.messages),
  }
}

/** As the API has them: sampling, response format, tools. */
export function parametersOf(
  attributes: ReadonlyMap<string, SpanView['attributes'][number][1]>,
  described: Description,
): Record<string, unknown> {
  const whole = parseJson(String(toPlain(attributes.get('batchin.request.parameters')) ?? ''))
  const given: Record<string, unknown> = isObject(whole) ? { ...whole } : {}
  if (!isObject(whole)) {
    for (const [attribute, name] of parameterNames) {
      const value = toPlain(attributes.get(attribute))
      if (value !== undefined && value !== null) given[name] = value
    }
  }
  const defined = parseJson(String(toPlain(attributes.get('gen_ai.tool.definitions')) ?? ''))
  const isOurs = Array.isArray(defined) && defined.every((tool) => own(tool, 'type') !== undefined)
  if (isOurs && defined.length > 0) given.tools = defined
  else if (described.tools.length > 0) {
    given.tools = described.tools.map((tool) => ({ type: 'function', function: tool }))
  }
  return given
}

function variablesOf({ prompt }: Description): Record<string, string> | undefined {
  if (prompt === undefined || prompt.variables.size === 0) return undefined
  return Object.fromEntries(prompt.variables)
}

/** Undefined for content that has no place in a chat request any more. */
function toReplayMessage(message: ChatMessage): ReplayMessage | undefined {
  const { role, name, toolCalls } = message
  const named = { role, ...(name === undefined ? {} : { name }) }
  if (typeof message.content !== 'string') {
    const result = message.content.find((part) => part.type === 'toolResult')
    if (role === 'tool' && result) {
      return { ...named, tool_call_id: result.id, content: result.content }
    }
    const parts = message.content.filter((part) => part.type !== 'reasoning').map(toPart)
    if (parts.includes(undefined)) return undefined
    return { ...named, content: parts, ...callsOf(toolCalls) }
  }
  if (role === 'tool') {
    return { ...named, tool_call_id: message.toolCallId ?? '', content: message.content }
  }
  const isCallOnly = toolCalls !== undefined && message.content === ''
  return { ...named, content: isCallOnly ? null : message.content, ...callsOf(toolCalls) }
}

function callsOf(calls: ChatMessage['toolCalls']) {
  if (calls === undefined || calls.length === 0) return {}
  return {
    tool_calls: calls.map(({ id, name, arguments: args }) => ({
      id,
      type: 'function',
      function: { name, arguments: args },
    })),
  }
}

function toPart(part: Part): object | undefined {
  if (part.type === 'text') return { type: 'text', text: part.text }
  if (part.type === 'media' && part.kind === 'image' && part.url !== '') {
    return { type: 'image_url', image_url: { url: part.url } }
  }
  return undefined
}

function toReplayOutput(answer: ChatMessage, finishReason: string | undefined): ReplayOutput {
  const { content } = answer
  const text =
    typeof content === 'string'
      ? content
      : content.map((part) => (part.type === 'text' ? part.text : '')).join('')
  return {
    text,
    toolCalls: (answer.toolCalls ?? []).map(({ name, arguments: args }) => ({
      name,
      arguments: args,
    })),
    finishReason: finishReason ?? null,
  }
}

function resultsBetween(from: number, messages: readonly ReplayMessage[]): RecordedResult[] {
  const asked = new Map<string, { name: string; arguments: string }>()
  const results: RecordedResult[] = []
  for (const message of messages.slice(from)) {
    if (message.role === 'user') break
    for (const call of Array.isArray(message.tool_calls) ? message.tool_calls : []) {
      const inner = own(call, 'function')
      const args = toText(own(inner, 'arguments'))
      asked.set(toText(own(call, 'id')), { name: toText(own(inner, 'name')), arguments: args })
    }
    const call = message.role === 'tool' ? asked.get(toText(message.tool_call_id)) : undefined
    if (call !== undefined) results.push({ ...call, content: message.content })
  }
  return results
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
