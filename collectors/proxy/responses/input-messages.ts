// The items of a Responses request as chat messages. Neighbouring items of one turn of the assistant (its text, its calls)
// become one message, as the chat route wants them.

import { Fault } from '../../../schemas/faults.ts'
import { asText } from '../plain.ts'
import { isObject } from '../usage.ts'

type Fields = Record<string, unknown>
type Message = Fields & { role: string }

/** Throws `invalid_request` naming the item that has no counterpart. */
export function toChatMessages(request: Fields): Message[] {
  const messages: Message[] = []
  if (typeof request.instructions === 'string' && request.instructions !== '') {
    messages.push({ role: 'system', content: request.instructions })
  } else if (Array.isArray(request.instructions))
    addItems(messages, request.instructions, 'instructions')
  const { input } = request
  if (typeof input === 'string') messages.push({ role: 'user', content: input })
  else if (Array.isArray(input)) addItems(messages, input, 'input')
  else throw refusal('input', 'input must be a text or a list of items.')
  return messages
}

function addItems(messages: Message[], items: unknown[], where: string): void {
  items.forEach((item, i) => {
    addItem(messages, item, `${where}[${i}]`)
  })
}

function addItem(messages: Message[], item: unknown, where: string): void {
  if (!isObject(item)) throw refusal(where, `${where} must be an object.`)
  const type = item.type ?? 'message'
  if (type === 'message') messages.push(toMessage(item, where))
  else if (type === 'function_call') addCall(messages, item, where)
  else if (type === 'function_call_output') messages.push(toToolMessage(item, where))
  // A thought of an earlier turn: the chat route has no place for it, and models answer without it.
  else if (type !== 'reasoning') {
    const name = asText(type).slice(0, 64)
    throw refusal(`${where}.type`, `An item "${name}" needs an upstream with /responses.`)
  }
}

function toMessage(item: Fields, where: string): Message {
  const { role, content } = item
  if (typeof role !== 'string') throw refusal(`${where}.role`, `${where}.role is missing.`)
  if (role === 'assistant') return { role, content: plainText(content) }
  // The older name of the same role is the one that other upstreams know.
  const chatRole = role === 'developer' ? 'system' : role
  if (!Array.isArray(content)) return { role: chatRole, content }
  const parts = content.map((part, i) => toPart(part, `${where}.content[${i}]`))
  const [only] = parts
  const isOneText = parts.length === 1 && only?.type === 'text'
  return { role: chatRole, content: isOneText ? only.text : parts }
}

/** What the assistant said, its refusals too, as one text. */
function plainText(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content
    .map((part) => (isObject(part) ? asText(part.text ?? part.refusal ?? '') : ''))
    .join('')
}

function toPart(part: unknown, where: string): Fields {
  if (!isObject(part)) throw refusal(where, `${where} must be an object.`)
  if (part.type === 'input_text' || part.type === 'output_text' || part.type === 'text') {
    return { type: 'text', text: part.text }
  }
  if (part.type === 'input_image') return toImage(part, where)
  if (part.type === 'input_file') return toFile(part, where)
  if (part.type === 'input_audio') return part
  const name = asText(part.type).slice(0, 64)
  throw refusal(`${where}.type`, `A part "${name}" needs an upstream with /responses.`)
}

function toImage(part: Fields, where: string): Fields {
  if (typeof part.image_url !== 'string') {
    throw refusal(
      `${where}.file_id`,
      'An image needs its image_url here: the upstream has no files.',
    )
  }
  const detail = part.detail === 'low' || part.detail === 'high' ? { detail: part.detail } : {}
  return { type: 'image_url', image_url: { url: part.image_url, ...detail } }
}

function toFile(part: Fields, where: string): Fields {
  if (typeof part.file_data !== 'string') {
    const name = typeof part.file_url === 'string' ? 'file_url' : 'file_id'
    throw refusal(`${where}.${name}`, 'A file needs its file_data here: the upstream has no files.')
  }
  return { type: 'file', file: { filename: part.filename, file_data: part.file_data } }
}

function addCall(messages: Message[], item: Fields, where: string): void {
  const { call_id: id, name } = item
  if (typeof id !== 'string') throw refusal(`${where}.call_id`, `${where}.call_id is missing.`)
  const call = { id, type: 'function', function: { name, arguments: item.arguments } }
  const last = messages.at(-1)
  if (last?.role !== 'assistant') {
    messages.push({ role: 'assistant', content: null, tool_calls: [call] })
  } else if (Array.isArray(last.tool_calls)) last.tool_calls.push(call)
  else last.tool_calls = [call]
}

function toToolMessage(item: Fields, where: string): Message {
  const { call_id: id, output } = item
  if (typeof id !== 'string') throw refusal(`${where}.call_id`, `${where}.call_id is missing.`)
  if (typeof output === 'string') return { role: 'tool', tool_call_id: id, content: output }
  const parts: unknown[] = Array.isArray(output) ? output : [output]
  const texts = parts.map((part, i) => {
    if (isObject(part) && typeof part.text === 'string') return part.text
    throw refusal(`${where}.output[${i}]`, 'The result of a tool can only be text here.')
  })
  return { role: 'tool', tool_call_id: id, content: texts.join('') }
}

export function refusal(param: string, message: string): Fault {
  return new Fault('invalid_request', { message, param })
}
