// A Response object, put together from the request and from what a chat completion said. The same parts serve the answer
// that leaves whole and the events of a stream, so that both show the same object.

import { isObject } from '../usage.ts'

type Fields = Record<string, unknown>

export type Outcome = {
  status: 'in_progress' | 'completed' | 'incomplete' | 'failed'
  error: { code: string; message: string } | null
  incomplete: { reason: string } | null
}

export type ChatIds = { id: string; created: number; model: string }

export const inProgress: Outcome = { status: 'in_progress', error: null, incomplete: null }

/** All members that the SDKs call required, with what the request said of them. */
export function toResponse(
  request: Fields,
  ids: ChatIds,
  said: { outcome: Outcome; output: Fields[]; usage: Fields | null },
): Fields {
  const { outcome, output, usage } = said
  const { reasoning, text } = request
  return {
    id: `resp_${ids.id}`,
    object: 'response',
    created_at: ids.created,
    status: outcome.status,
    background: false,
    error: outcome.error,
    incomplete_details: outcome.incomplete,
    instructions: request.instructions ?? null,
    max_output_tokens: request.max_output_tokens ?? null,
    model: ids.model,
    output,
    parallel_tool_calls: request.parallel_tool_calls ?? true,
    previous_response_id: null,
    reasoning: isObject(reasoning) ? reasoning : { effort: null, summary: null },
    // Nothing is kept under this id, whatever was asked: it cannot be continued from.
    store: false,
    temperature: request.temperature ?? null,
    text: isObject(text) ? text : { format: { type: 'text' } },
    tool_choice: request.tool_choice ?? 'auto',
    tools: request.tools ?? [],
    top_p: request.top_p ?? null,
    truncation: 'disabled',
    usage,
    user: request.user ?? null,
    metadata: request.metadata ?? {},
  }
}

/** What a chat completion, or the first chunk of one, is called. */
export function readIds(chat: Fields, request: Fields, fallbackId: string): ChatIds {
  return {
    id: typeof chat.id === 'string' && chat.id !== '' ? chat.id.slice(0, 256) : fallbackId,
    created: typeof chat.created === 'number' ? chat.created : 0,
    model: typeof chat.model === 'string' ? chat.model : String(request.model),
  }
}

export function outcomeOf(finishReason: unknown): Outcome {
  if (finishReason === 'length') return incomplete('max_output_tokens')
  if (finishReason === 'content_filter') return incomplete('content_filter')
  return { status: 'completed', error: null, incomplete: null }
}

function incomplete(reason: string): Outcome {
  return { status: 'incomplete', error: null, incomplete: { reason } }
}

/** Chat's counts by their names here; what the upstream did not report stays null rather than zero. */
export function toResponseUsage(usage: unknown): Fields | null {
  if (!isObject(usage)) return null
  const input = isObject(usage.prompt_tokens_details) ? usage.prompt_tokens_details : {}
  const output = isObject(usage.completion_tokens_details) ? usage.completion_tokens_details : {}
  return {
    input_tokens: usage.prompt_tokens,
    input_tokens_details: { cached_tokens: input.cached_tokens ?? 0 },
    output_tokens: usage.completion_tokens,
    output_tokens_details: { reasoning_tokens: output.reasoning_tokens ?? 0 },
    total_tokens: usage.total_tokens,
  }
}

export const toTextPart = (text: string, logprobs: unknown = []): Fields => ({
  type: 'output_text',
  text,
  annotations: [],
  logprobs,
})

export const toRefusalPart = (refusal: string): Fields => ({ type: 'refusal', refusal })
export const toReasoningPart = (text: string): Fields => ({ type: 'reasoning_text', text })

export function toMessageItem(id: string, status: string, content: Fields[]): Fields {
  return { id, type: 'message', status, role: 'assistant', content }
}

export function toReasoningItem(id: string, status: string, content: Fields[]): Fields {
  return { id, type: 'reasoning', status, summary: [], content }
}

export function toCallItem(
  id: string,
  status: string,
  call: { callId: string; name: string; arguments: string },
): Fields {
  return {
    id,
    type: 'function_call',
    status,
    call_id: call.callId,
    name: call.name,
    arguments: call.arguments,
  }
}

/** Of upstreams that show a model's thoughts in the chat route, under either of the names in use. */
export function reasoningOf(message: Fields): string {
  const text = message.reasoning_content ?? message.reasoning
  return typeof text === 'string' ? text : ''
}
