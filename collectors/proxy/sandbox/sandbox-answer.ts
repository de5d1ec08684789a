// What the sandbox says: a text that repeats what it was given and names itself, or one tool call. Rules in README.md.

import { createHash } from 'node:crypto'
import { asText } from '../plain.ts'
import { estimateTokens, estimateUsage, isObject } from '../usage.ts'

const instructionsCharsMax = 80
const messageCharsMax = 400
const choicesMax = 8
// A piece of a streamed text: a word with the space after it.
const piecePattern = /\S+\s*|\s+/g
const bytesPerToken = 4

type Said = {
  content: string | null
  toolCalls: { id: string; type: 'function'; function: { name: string; arguments: string } }[]
  finishReason: 'stop' | 'length' | 'tool_calls'
}

export type SandboxRequest = {
  requestId: string
  /** Of the request's bytes: the same request, the same ids. */
  digest: string
  model: string
  stream: boolean
  includeUsage: boolean
  choices: number
  said: Said
  inputTokens: number
}

/** The request as the sandbox reads it, or a sentence that says what is wrong. */
export function readSandboxRequest(body: Buffer): SandboxRequest | { mistake: string } {
  const request: unknown = JSON.parse(body.toString()) // the proxy has parsed the same bytes before
  if (!isObject(request) || !Array.isArray(request.messages) || request.messages.length === 0) {
    return { mistake: '[sandbox] messages must be a list with at least one message.' }
  }
  const choices = request.n ?? 1
  if (
    typeof choices !== 'number' ||
    !Number.isInteger(choices) ||
    choices < 1 ||
    choices > choicesMax
  ) {
    return { mistake: `[sandbox] n must be 1 to ${choicesMax}.` }
  }
  const digest = createHash('sha256').update(body).digest('hex').slice(0, 24)
  const options = isObject(request.stream_options) ? request.stream_options : {}
  return {
    requestId: `sandbox-${digest}`,
    digest,
    model: String(request.model),
    stream: request.stream === true,
    includeUsage: options.include_usage === true,
    choices,
    said: say(request, digest),
    inputTokens: estimateUsage(request.messages, undefined).inputTokens,
  }
}

export function answerJson(asked: SandboxRequest): Buffer {
  const { said } = asked
  const message = {
    role: 'assistant',
    content: said.content,
    refusal: null,
    ...(said.toolCalls.length > 0 ? { tool_calls: said.toolCalls } : {}),
  }
  const choices = indexes(asked).map((index) => ({
    index,
    message,
    logprobs: null,
    finish_reason: said.finishReason,
  }))
  return Buffer.from(
    JSON.stringify({ ...head(asked, 'chat.completion'), choices, usage: usageOf(asked) }),
  )
}

/** The events of the stream, one a piece, `[DONE]` last. */
export function answerStream(asked: SandboxRequest): Buffer[] {
  const { said } = asked
  const shared = head(asked, 'chat.completion.chunk')
  const events: Buffer[] = []
  const emit = (choices: object[], usage: object | null = null) => {
    const chunk = { ...shared, choices, ...(asked.includeUsage ? { usage } : {}) }
    events.push(Buffer.from(`data: ${JSON.stringify(chunk)}\n\n`))
  }
  const emitDelta = (delta: object, finishReason: string | null = null) => {
    emit(
      indexes(asked).map((index) => ({
        index,
        delta,
        logprobs: null,
        finish_reason: finishReason,
      })),
    )
  }
  emitDelta({ role: 'assistant', content: said.content === null ? null : '', refusal: null })
  for (const content of said.content?.match(piecePattern) ?? []) emitDelta({ content })
  said.toolCalls.forEach((call, index) => {
    emitDelta({ tool_calls: [{ index, ...call, function: { ...call.function, arguments: '' } }] })
    emitDelta({ tool_calls: [{ index, function: { arguments: call.function.arguments } }] })
  })
  emitDelta({}, said.finishReason)
  if (asked.includeUsage) emit([], usageOf(asked))
  events.push(Buffer.from('data: [DONE]\n\n'))
  return events
}

function say(request: Record<string, unknown>, digest: string): Said {
  const messages: unknown[] = Array.isArray(request.messages) ? request.messages : []
  const last = messages.at(-1)
  const question = textOf(messages.findLast((message) => roleOf(message) === 'user'))
  const tool = toolToCall(request, roleOf(last) === 'user' ? question : '')
  if (tool) {
    const called = {
      name: String(tool.name),
      arguments: JSON.stringify(sampleOf(tool.parameters, 0)),
    }
    const id = `call_sandbox_${digest.slice(0, 16)}`
    return {
      content: null,
      toolCalls: [{ id, type: 'function', function: called }],
      finishReason: 'tool_calls',
    }
  }
  const instructions = textOf(messages.find((message) => isInstruction(message)))
  const told =
    roleOf(last) === 'tool' ? `Tool result: "${clip(textOf(last), messageCharsMax)}"` : ''
  const parts = ['[sandbox] No model was called.']
  if (instructions) parts.push(`Instructions: "${clip(instructions, instructionsCharsMax)}"`)
  parts.push(told || `Message: "${clip(question, messageCharsMax)}"`)
  return limit(
    inFormat(request, parts.join(' ')),
    request.max_completion_tokens ?? request.max_tokens,
  )
}

/** A JSON answer was asked for: the same text inside an object. */
function inFormat(request: Record<string, unknown>, text: string): string {
  const format = isObject(request.response_format) ? request.response_format.type : undefined
  return format === 'json_object' || format === 'json_schema'
    ? JSON.stringify({ sandbox: text })
    : text
}

function limit(text: string, tokensMax: unknown): Said {
  if (typeof tokensMax !== 'number' || estimateTokens(text) <= tokensMax) {
    return { content: text, toolCalls: [], finishReason: 'stop' }
  }
  const cut = Buffer.from(text).subarray(0, Math.max(0, Math.floor(tokensMax)) * bytesPerToken)
  // A character cut in half at the end is left out.
  return { content: cut.toString().replace(/\uFFFD$/, ''), toolCalls: [], finishReason: 'length' }
}

/** The function that `tool_choice` demands, else the first whose name stands in the question. */
function toolToCall(
  request: Record<string, unknown>,
  question: string,
): Record<string, unknown> | undefined {
  const tools: unknown[] = Array.isArray(request.tools) ? request.tools : []
  const functions = tools.flatMap((tool) =>
    isObject(tool) && isObject(tool.function) && typeof tool.function.name === 'string'
      ? [tool.function]
      : [],
  )
  const choice = request.tool_choice
  if (choice === 'none') return undefined
  if (choice === 'required' && question !== '') return functions[0]
  if (isObject(choice) && isObject(choice.function) && question !== '') {
    const { name } = choice.function
    return functions.find((it) => it.name === name)
  }
  const asked = plain(question)
  return functions.find((it) => asked.includes(plain(String(it.name))))
}

function plain(text: string): string {
  return text.toLowerCase().replaceAll(/[^a-z0-9]+/g, ' ')
}

/** The smallest value a JSON schema of the common kind accepts. */
function sampleOf(schema: unknown, depth: number): unknown {
  if (!isObject(schema) || depth > 8) return {}
  if (Array.isArray(schema.enum) && schema.enum.length > 0) return schema.enum[0]
  if (schema.const !== undefined) return schema.const
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type
  if (type === 'string') return 'sandbox'
  if (type === 'number' || type === 'integer') {
    return typeof schema.minimum === 'number' ? schema.minimum : 1
  }
  if (type === 'boolean') return true
  if (type === 'null') return null
  if (type === 'array') return []
  const properties = isObject(schema.properties) ? schema.properties : {}
  const required: unknown[] = Array.isArray(schema.required) ? schema.required : []
  return Object.fromEntries(
    required.map((name) => [asText(name), sampleOf(properties[asText(name)], depth + 1)]),
  )
}

function head(asked: SandboxRequest, object: string) {
  return {
    id: `chatcmpl-sandbox-${asked.digest}`,
    object,
    created: 0,
    model: asked.model,
    system_fingerprint: 'sandbox',
  }
}

function usageOf(asked: SandboxRequest) {
  const { said } = asked
  const texts = [
    said.content ?? '',
    ...said.toolCalls.map((call) => call.function.name + call.function.arguments),
  ]
  const output = asked.choices * texts.reduce((sum, text) => sum + estimateTokens(text), 0)
  return {
    prompt_tokens: asked.inputTokens,
    completion_tokens: output,
    total_tokens: asked.inputTokens + output,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0 },
  }
}

function indexes(asked: SandboxRequest): number[] {
  return Array.from({ length: asked.choices }, (_, index) => index)
}

function isInstruction(message: unknown): boolean {
  return roleOf(message) === 'system' || roleOf(message) === 'developer'
}

function roleOf(message: unknown): unknown {
  return isObject(message) ? message.role : undefined
}

function textOf(message: unknown): string {
  if (!isObject(message)) return ''
  const { content } = message
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content
    .map((part) => (isObject(part) && typeof part.text === 'string' ? part.text : ''))
    .join('')
}

function clip(text: string, charsMax: number): string {
  return text.length <= charsMax
    ? text
    : `${text.slice(0, charsMax).replace(/[\uD800-\uDBFF]$/, '')}…`
}
