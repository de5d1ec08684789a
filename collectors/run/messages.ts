// OpenAI's messages in the form OpenTelemetry gives them (gen_ai.input.messages, gen_ai.output.messages): a role and parts.
// Nothing is dropped: a part that has no name there keeps its own type and fields.

type Part = { type: string } & Record<string, unknown>
type Message = { role: string; parts: Part[]; name?: string; finish_reason?: string }

/** A list of messages, one message, `{messages}`, or a plain text, which is a user's. */
export function toInputMessages(input: unknown): Message[] {
  if (isObject(input) && Array.isArray(input.messages)) return toInputMessages(input.messages)
  const list = Array.isArray(input) ? input : [input]
  return list.map((message) => toMessage(message, 'user'))
}

/** A list of choices or messages, one of them, `{choices}`, or a plain text, which is the assistant's. */
export function toOutputMessages(output: unknown): Message[] {
  if (isObject(output) && Array.isArray(output.choices)) return toOutputMessages(output.choices)
  const list = Array.isArray(output) ? output : [output]
  return list.map((choice) => {
    if (!isObject(choice)) return toMessage(choice, 'assistant')
    // A completion of text has no message around it.
    const { message: whole = textMessage(choice.text) } = choice
    if (!isObject(whole)) return toMessage(choice, 'assistant')
    const message = toMessage(whole, 'assistant')
    if (typeof choice.finish_reason === 'string') message.finish_reason = choice.finish_reason
    return message
  })
}

/** The text a list shows: of the last message that has one for `input`, of the first for `output`. */
export function previewOf(messages: Message[], side: 'input' | 'output'): string {
  const ordered = side === 'input' ? messages.toReversed() : messages
  for (const { parts } of ordered) {
    for (const part of parts) {
      if (part.type === 'text' && typeof part.content === 'string' && part.content !== '') {
        return part.content
      }
    }
  }
  for (const { parts } of ordered) {
    const call = parts.find((part) => part.type === 'tool_call')
    if (call) return `${call.name}(${call.arguments})`
  }
  return ''
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
