// The input of a Responses request as chat messages, for the run: what has no counterpart there keeps its own form, because
// a run shows what was asked, also when only the upstream understands it.

import { isObject } from '../usage.ts'

type Fields = Record<string, unknown>

export function toKeptInput(request: Fields): unknown {
  const messages: unknown[] = []
  if (typeof request.instructions === 'string' && request.instructions !== '') {
    messages.push({ role: 'system', content: request.instructions })
  } else if (Array.isArray(request.instructions)) messages.push(...request.instructions.map(toKept))
  if (typeof request.input === 'string') messages.push({ role: 'user', content: request.input })
  else if (Array.isArray(request.input)) messages.push(...request.input.map(toKept))
  return messages
}

function toKept(item: unknown): unknown {
  if (!isObject(item)) return item
  if (item.type === 'function_call') {
    const called = { name: item.name, arguments: item.arguments }
    const call = { id: item.call_id, type: 'function', function: called }
    return { role: 'assistant', content: null, tool_calls: [call] }
  }
  if (item.type === 'function_call_output') {
    return { role: 'tool', tool_call_id: item.call_id, content: item.output }
  }
  if (typeof item.role !== 'string') return item
  const { content } = item
  return { role: item.role, content: Array.isArray(content) ? content.map(toPart) : content }
}

function toPart(part: unknown): unknown {
  if (!isObject(part)) return part
  if (part.type === 'input_text' || part.type === 'output_text') {
    return { type: 'text', text: part.text }
  }
  if (part.type === 'input_image' && typeof part.image_url === 'string') {
    return { type: 'image_url', image_url: { url: part.image_url } }
  }
  return part
}
