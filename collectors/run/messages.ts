// OpenAI's messages in the form OpenTelemetry gives them (gen_ai.input.messages, gen_ai.output.messages): a role and parts.
// Nothing is dropped: a part that has no name there keeps its own type and fields.

import type { JsonBytes } from '../../schemas/json-bytes.ts'

type Part = { type: string } & Record<string, unknown>
type Message = { role: string; parts: Part[]; name?: string; finish_reason?: string }

const openBracket = 0x5b
const closeBracket = 0x5d
const closeBrace = 0x7d
const comma = 0x2c

/**
 * Writes a list of messages, one message, `{messages}`, or a plain text, which is a user's. Returns what a list shows of them: the
 * text of the last that has one, or the last call of a tool.
 */
export function writeInputMessages(to: JsonBytes, input: unknown): string {
  const given = isObject(input) && Array.isArray(input.messages) ? input.messages : input
  return writeMessages(to, given, 'input')
}

/** The same of a list of choices or messages, one of them, `{choices}`, or a plain text, which is the assistant's: of the first. */
export function writeOutputMessages(to: JsonBytes, output: unknown): string {
  const given = isObject(output) && Array.isArray(output.choices) ? output.choices : output
  return writeMessages(to, given, 'output')
}

function writeMessages(to: JsonBytes, given: unknown, side: 'input' | 'output'): string {
  const list: unknown[] = Array.isArray(given) ? given : [given]
  let text = ''
  let call = ''
  to.byte(openBracket)
  for (let i = 0; i < list.length; i++) {
    if (i > 0) to.byte(comma)
    const shown = side === 'input' ? writeMessage(to, list[i], users) : writeChoice(to, list[i])
    const isText = typeof shown === 'string'
    if (isText && shown !== '' && (side === 'input' || text === '')) text = shown
    if (!isText && (side === 'input' || call === '')) call = `${shown.name}(${shown.arguments})`
  }
  to.byte(closeBracket)
  return text || call
}

/** What a list shows of one message: its first text that is not empty, else its first call. */
type Shown = string | Part

/** What is told from outside a message: whose it is when it does not say, and why it ended. */
type Of = { role: string; reason: string | undefined }

const users: Of = { role: 'user', reason: undefined }
const assistants: Of = { role: 'assistant', reason: undefined }

function writeChoice(to: JsonBytes, choice: unknown): Shown {
  if (!isObject(choice)) return writeMessage(to, choice, assistants)
  // A completion of text has no message around it.
  const { message: whole = textMessage(choice.text) } = choice
  if (!isObject(whole)) return writeMessage(to, choice, assistants)
  if (typeof choice.finish_reason !== 'string') return writeMessage(to, whole, assistants)
  return writeMessage(to, whole, { role: 'assistant', reason: choice.finish_reason })
}

function writeMessage(to: JsonBytes, message: unknown, of: Of): Shown {
  const { reason } = of
  if (isPlainText(message)) {
    // Nearly all are: no object is made of them.
    to.ascii('{"role":')
    to.text(message.role)
    to.ascii(',"parts":[{"type":"text","content":')
    to.text(message.content)
    to.ascii('}]')
    if (reason !== undefined) {
      to.ascii(',"finish_reason":')
      to.text(reason)
    }
    to.byte(closeBrace)
    return message.content
  }
  const made = toMessage(message, of.role)
  if (reason !== undefined) made.finish_reason = reason
  to.raw(JSON.stringify(made))
  return shownOf(made.parts)
}

function shownOf(parts: readonly Part[]): Shown {
  for (const part of parts)
    if (part.type === 'text' && typeof part.content === 'string' && part.content !== '')
      return part.content
  return parts.find((part) => part.type === 'tool_call') ?? ''
}

/** A role and a text, and nothing else that a message is told by. */
function isPlainText(message: unknown): message is { role: string; content: string } {
  return (
    isObject(message) &&
    typeof message.role === 'string' &&
    typeof message.content === 'string' &&
    message.role !== 'tool' &&
    typeof message.name !== 'string' &&
    typeof message.refusal !== 'string' &&
    !Array.isArray(message.parts) &&
    !Array.isArray(message.tool_calls)
  )
}

function textMessage(text: unknown): object | undefined {
  return typeof text === 'string' ? { role: 'assistant', content: text } : undefined
}

function toMessage(message: unknown, roleElse: string): Message {
  if (!isObject(message)) return { role: roleElse, parts: toParts(message) }
  const hasRole = typeof message.role === 'string'
  const role = hasRole ? String(message.role) : roleElse
  // Someone's own form: kept as it is rather than guessed at.
  if (!hasRole && message.content === undefined && message.parts === undefined) {
    return { role, parts: toParts(JSON.stringify(message)) }
  }
  const parts = Array.isArray(message.parts)
    ? message.parts.filter(isPart)
    : role === 'tool'
      ? [
          {
            type: 'tool_call_response',
            id: message.tool_call_id ?? null,
            response: message.content,
          },
        ]
      : toParts(message.content)
  if (typeof message.refusal === 'string') parts.push({ type: 'refusal', content: message.refusal })
  if (Array.isArray(message.tool_calls)) parts.push(...message.tool_calls.map(toToolCall))
  return { role, parts, ...(typeof message.name === 'string' ? { name: message.name } : {}) }
}

function toParts(content: unknown): Part[] {
  if (content === null || content === undefined) return []
  if (typeof content === 'string') return [{ type: 'text', content }]
  if (Array.isArray(content)) return content.map(toPart)
  return [{ type: 'text', content: JSON.stringify(content) }]
}

function toPart(part: unknown): Part {
  if (!isPart(part))
    return { type: 'text', content: typeof part === 'string' ? part : JSON.stringify(part) }
  if (part.type === 'text' && typeof part.text === 'string') {
    const { text: content, ...rest } = part
    return { ...rest, type: 'text', content }
  }
  if (part.type === 'image_url' && isObject(part.image_url)) {
    const { url, ...rest } = part.image_url
    // Its bytes are kept elsewhere; this is what they are called.
    if (isObject(url)) return { type: 'file', modality: 'image', ...url, ...rest }
    return { type: 'uri', modality: 'image', uri: url, ...rest }
  }
  return part
}

// Arguments stay the text the model wrote: parsed, a large integer in them would come back as another one.
function toToolCall(call: unknown): Part {
  if (!isObject(call))
    return { type: 'tool_call', id: null, name: '', arguments: JSON.stringify(call) }
  const called = isObject(call.function) ? call.function : isObject(call.custom) ? call.custom : {}
  return {
    type: 'tool_call',
    id: call.id ?? null,
    name: called.name ?? '',
    arguments: called.arguments ?? called.input ?? '',
  }
}

function isPart(value: unknown): value is Part {
  return isObject(value) && typeof value.type === 'string'
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
