// A chat completion as the Response that says the same.

import { isObject } from '../usage.ts'
import {
  type ChatIds,
  outcomeOf,
  readIds,
  reasoningOf,
  toCallItem,
  toMessageItem,
  toReasoningItem,
  toReasoningPart,
  toRefusalPart,
  toResponse,
  toResponseUsage,
  toTextPart,
} from './response-object.ts'

type Fields = Record<string, unknown>

/** Of the first choice: a Response has no others. Undefined when `chat` is no chat completion. */
export function toResponseOf(
  request: Fields,
  chat: unknown,
  fallbackId: string,
): Fields | undefined {
  if (!isObject(chat) || !Array.isArray(chat.choices)) return undefined
  const choice: unknown = chat.choices[0]
  if (!isObject(choice) || !isObject(choice.message)) return undefined
  const ids = readIds(chat, request, fallbackId)
  const outcome = outcomeOf(choice.finish_reason)
  const output = toItems(choice, choice.message, { ids, status: itemStatus(outcome.status) })
  return toResponse(request, ids, { outcome, output, usage: toResponseUsage(chat.usage) })
}

function toItems(choice: Fields, message: Fields, to: { ids: ChatIds; status: string }): Fields[] {
  const items: Fields[] = []
  const idOf = (prefix: string) => `${prefix}_${to.ids.id}_${items.length}`
  const reasoning = reasoningOf(message)
  if (reasoning !== '') {
    items.push(toReasoningItem(idOf('rs'), to.status, [toReasoningPart(reasoning)]))
  }
  const parts: Fields[] = []
  const { content, refusal } = message
  if (typeof content === 'string' && content !== '') {
    const logprobs = isObject(choice.logprobs) ? choice.logprobs.content : undefined
    parts.push(toTextPart(content, logprobs ?? []))
  }
  if (typeof refusal === 'string' && refusal !== '') parts.push(toRefusalPart(refusal))
  const calls: unknown[] = Array.isArray(message.tool_calls) ? message.tool_calls : []
  if (parts.length === 0 && calls.length === 0) parts.push(toTextPart(''))
  if (parts.length > 0) items.push(toMessageItem(idOf('msg'), to.status, parts))
  for (const call of calls) {
    if (!isObject(call) || !isObject(call.function)) continue
    const called = {
      callId: typeof call.id === 'string' && call.id !== '' ? call.id : idOf('call'),
      name: String(call.function.name ?? ''),
      arguments: String(call.function.arguments ?? ''),
    }
    items.push(toCallItem(idOf('fc'), to.status, called))
  }
  return items
}

/** An answer that was cut has cut items. */
export function itemStatus(status: string): 'completed' | 'incomplete' {
  return status === 'completed' ? 'completed' : 'incomplete'
}
