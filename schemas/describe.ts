// What a span says about a model call, whatever dialect it speaks: for the span page. Pure; runs in a browser.

import { type Attribute, AttributeSet, type SpanEvent, toPlain } from './attribute-set.ts'
import {
  type ChatMessage,
  own,
  parseJson,
  type ToolCall,
  toMessages,
  toText,
} from './conversation.ts'
import { type DialectField, dialects, operationTypes, typeMarkers } from './dialects.ts'

export type ToolDefinition = { name: string; description: string; parameters: unknown }

/** Absent texts are empty, absent numbers undefined. Token totals include cached and reasoning tokens. */
export type Description = {
  type: string
  modelRequested: string
  modelServed: string
  provider: string
  input: ChatMessage[]
  output: ChatMessage[]
  tools: ToolDefinition[]
  /** On the span of a tool: its call and what it returned. */
  toolCall: (ToolCall & { result: string }) | undefined
  usage: {
    inputTokens: number | undefined
    cachedTokens: number | undefined
    cacheWriteTokens: number | undefined
    outputTokens: number | undefined
    reasoningTokens: number | undefined
  }
  costUsd: number | undefined
  finishReasons: string[]
  sessionId: string
  userId: string
  environment: string
  release: string
  tags: string[]
  prompt: { name: string; version: string; variables: Map<string, string> } | undefined
}

/** Attributes in the order they came, ints as bigint: what `readSpan` gives. */
export function describe(
  attributes: Iterable<Attribute>,
  events: Iterable<SpanEvent> = [],
): Description {
  const set = new AttributeSet(attributes, events)
  return {
    type: typeOf(set),
    modelRequested: set.text('modelRequested'),
    modelServed: set.text('modelServed'),
    provider: set.text('provider'),
    input: withSystem(set, conversation(set, 'inputMessages', 'user')),
    output: conversation(set, 'outputMessages', 'assistant'),
    tools: toolsOf(set),
    toolCall: toolCallOf(set),
    usage: {
      inputTokens: set.number('inputTokens'),
      cachedTokens: set.number('cachedTokens'),
      cacheWriteTokens: set.number('cacheWriteTokens'),
      outputTokens: set.number('outputTokens'),
      reasoningTokens: set.number('reasoningTokens'),
    },
    costUsd: costOf(set),
    finishReasons: set.list('finishReason'),
    sessionId: set.text('sessionId'),
    userId: set.text('userId'),
    environment: set.text('environment'),
    release: set.text('release'),
    tags: set.list('tags'),
    prompt: promptOf(set),
  }
}

function typeOf(set: AttributeSet): string {
  const type = operationTypes.get(set.text('operation').toLowerCase())
  if (type) return type
  return typeMarkers.find(([, keys]) => keys.some((key) => set.all.has(key)))?.[0] ?? 'span'
}

/** The first way of the field's list that gives messages. */
function conversation(
  set: AttributeSet,
  field: 'inputMessages' | 'outputMessages',
  role: string,
): ChatMessage[] {
  for (const key of dialects[field]) {
    const messages = key.startsWith('@')
      ? fromEvents(set, key, field)
      : key.includes('{n}')
        ? set
            .indexed(key.slice(0, key.indexOf('.{n}')))
            .map((entries) => fromIndexed(entries, role))
        : toMessages(toPlain(set.all.get(key)), role)
    const calls = key === 'ai.response.text' || key === 'ai.result.text' ? aiSdkCalls(set, key) : []
    if (messages.length === 0 && calls.length === 0) continue
    if (calls.length === 0) return messages
    const [first = { role, content: '' }, ...rest] = messages
    return [{ ...first, toolCalls: calls }, ...rest]
  }
  return []
}

/** The AI SDK keeps the text and the calls of one answer apart. */
function aiSdkCalls(set: AttributeSet, key: string): ToolCall[] {
  const calls = set.all.get(key.replace('.text', '.toolCalls'))
  return toMessages(toPlain(calls), 'assistant').flatMap(({ toolCalls }) => toolCalls ?? [])
}

const eventRoles = new Map([
  ['gen_ai.system.message', 'system'],
  ['gen_ai.user.message', 'user'],
  ['gen_ai.assistant.message', 'assistant'],
  ['gen_ai.tool.message', 'tool'],
  ['gen_ai.choice', 'assistant'],
])

/** All events of the key's family in the order they happened: one message each. */
function fromEvents(
  set: AttributeSet,
  key: string,
  field: 'inputMessages' | 'outputMessages',
): ChatMessage[] {
  const [event = '', attribute = ''] = key.slice(1).split('/')
  const isTurn = eventRoles.has(event) && event !== 'gen_ai.choice'
  const role = field === 'inputMessages' ? 'user' : 'assistant'
  return set.events.flatMap(({ name, attributes }) => {
    const isFamily = isTurn ? eventRoles.has(name) && name !== 'gen_ai.choice' : name === event
    if (!isFamily) return []
    if (!eventRoles.has(name)) return toMessages(toPlain(attributes.get(attribute)), role)
    const plain = Object.fromEntries(
      [...attributes].map(([key, value]) => [key, parsed(toPlain(value))]),
    )
    return toMessages({ role: eventRoles.get(name), ...plain }, role)
  })
}

function parsed(value: unknown): unknown {
  return typeof value === 'string' ? (parseJson(value) ?? value) : value
}

/** One message of `llm.input_messages.N.message.*` (OpenInference) or `gen_ai.prompt.N.*` (OpenLLMetry). */
function fromIndexed(entries: Map<string, unknown>, fallback: string): ChatMessage {
  const fields = new Map<string, string>()
  for (const [key, value] of entries)
    fields.set(key.replace(/^message\./, ''), toText(toPlain(value as string)))
  const calls = new AttributeSet(fields)
  const toolCalls = calls.indexed('tool_calls').map((call) => {
    const get = (name: string): string =>
      [`tool_call.function.${name}`, `tool_call.${name}`, `function.${name}`, name]
        .map((key) => toText(call.get(key)))
        .find((text) => text !== '') ?? ''
    return { id: get('id'), name: get('name'), arguments: get('arguments') }
  })
  const parts = calls.indexed('contents').map((part) => ({
    type: part.get('message_content.type') ?? 'text',
    text: part.get('message_content.text'),
    image_url: { url: part.get('message_content.image.image.url') },
  }))
  const content = fields.get('content')
  const json = parsed(content ?? '')
  const body = parts.length > 0 ? parts : Array.isArray(json) ? json : (content ?? '')
  const [message = { role: fallback, content: '' }] = toMessages(
    { role: fields.get('role') || fallback, content: body },
    fallback,
  )
  const toolCallId = fields.get('tool_call_id')
  return {
    ...message,
    ...(toolCallId ? { toolCallId } : {}),
    ...(toolCalls.length > 0 ? { toolCalls } : {}),
  }
}

function withSystem(set: AttributeSet, messages: ChatMessage[]): ChatMessage[] {
  const given = parsed(toPlain(set.first('systemInstructions')))
  return [...toMessages(given, 'system'), ...messages]
}

function toolsOf(set: AttributeSet): ToolDefinition[] {
  const list = parsed(toPlain(set.first('toolDefinitions')))
  const items: unknown[] = Array.isArray(list) ? list : list === undefined ? [] : [list]
  const schemas = set
    .indexed('llm.tools')
    .map((entries) => toPlain(entries.get('tool.json_schema')))
  const functions = set
    .indexed('llm.request.functions')
    .map((entries) => Object.fromEntries(entries))
  const found = items.length > 0 ? items : schemas.length > 0 ? schemas : functions
  return found.map((item) => toTool(parsed(item)))
}

function toTool(tool: unknown): ToolDefinition {
  const inner = own(tool, 'function') ?? tool
  const parameters = ['parameters', 'inputSchema', 'input_schema'].map((key) => own(inner, key))
  return {
    name: toText(own(inner, 'name')),
    description: toText(own(inner, 'description')),
    parameters: parsed(parameters.find((value) => value !== undefined)),
  }
}

function toolCallOf(set: AttributeSet): Description['toolCall'] {
  const name = set.text('toolName')
  const text = (field: DialectField): string => toText(toPlain(set.first(field)))
  if (name === '') return undefined
  return {
    id: set.text('toolCallId'),
    name,
    arguments: text('toolArguments'),
    result: text('toolResult'),
  }
}

function costOf(set: AttributeSet): number | undefined {
  const details = parsed(toPlain(set.first('costDetails')))
  const total = own(details, 'total')
  if (typeof total === 'number') return total
  const whole = set.number('costTotal')
  if (whole !== undefined) return whole
  const parts = [set.number('costInput'), set.number('costOutput')]
  return parts.every((part) => part === undefined)
    ? undefined
    : parts.reduce<number>((sum, part) => sum + (part ?? 0), 0)
}

function promptOf(set: AttributeSet): Description['prompt'] {
  if (set.first('mcp') !== undefined) return undefined
  const reference = parsed(toPlain(set.first('promptReference')))
  const name = set.text('promptName') || toText(own(reference, 'name'))
  if (name === '') return undefined
  const version = set.text('promptVersion') || toText(own(reference, 'version'))
  const variables = new Map<string, string>()
  const all = parsed(toPlain(set.first('promptVariables')))
  for (const [key, value] of Object.entries(Object(all))) variables.set(key, toText(value))
  for (const key of dialects.promptVariables)
    if (key.endsWith('*'))
      for (const [rest, value] of set.under(key.slice(0, -1))) variables.set(rest, value)
  return { name, version, variables }
}
