// Any dialect's messages as one form: OpenAI chat and Responses, Anthropic, Gemini, OTel GenAI, LangChain, AI SDK, plain text.
// Reads only own properties of what callers sent, and gives up to plain JSON text on what it does not know.

export type Part =
  | { type: 'text'; text: string }
  | { type: 'reasoning'; text: string }
  | { type: 'media'; kind: string; mimeType: string; url: string }
  | { type: 'toolResult'; id: string; content: string }
  | { type: 'other'; json: string }

export type ToolCall = { id: string; name: string; arguments: string }

/** `content` is a string when there is only text, parts otherwise; empty when the message only calls tools. */
export type ChatMessage = {
  role: string
  content: string | Part[]
  name?: string
  toolCallId?: string
  toolCalls?: ToolCall[]
}

// Wrappers within wrappers; no dialect has more than three.
const depthMax = 6

/** The messages in a value: JSON or its text. `role` is that of a text without one. */
export function toMessages(value: unknown, role: string, depth = 0): ChatMessage[] {
  if (value === null || value === undefined || value === '' || depth > depthMax) return []
  if (typeof value === 'string') {
    const json = parseJson(value)
    return json === undefined ? [{ role, content: value }] : toMessages(json, role, depth + 1)
  }
  if (Array.isArray(value)) return fromList(value, role, depth)
  if (typeof value !== 'object') return [{ role, content: String(value) }]
  return fromObject(value, role, depth)
}

/** Parsed, when the text is a JSON object, list or string; undefined for any other text. */
export function parseJson(text: string): unknown {
  if (!/^\s*[[{"]/.test(text)) return undefined
  try {
    return JSON.parse(text)
  } catch {
    // Text that starts like JSON and is none: prose in brackets, or a value that was cut.
    return undefined
  }
}

/** An own property, or undefined: what callers name never reaches a prototype. */
export function own(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? value[key as keyof typeof value]
    : undefined
}

export function toText(value: unknown): string {
  if (typeof value === 'string') return value
  return value === undefined || value === null ? '' : JSON.stringify(value)
}

function fromList(list: unknown[], role: string, depth: number): ChatMessage[] {
  const isParts =
    list.length > 0 && list.every((item) => isPart(item) && own(item, 'role') === undefined)
  return isParts
    ? [toMessage({ role, content: list }, role)]
    : list.flatMap((item) => toMessages(item, role, depth + 1))
}

function fromObject(value: object, role: string, depth: number): ChatMessage[] {
  const nested = (key: string, inner = role): ChatMessage[] =>
    toMessages(own(value, key), inner, depth + 1)
  const system = [
    ...nested('system', 'system'),
    ...nested('instructions', 'system'),
    ...toMessages(own(own(value, 'config'), 'system_instruction'), 'system', depth + 1),
  ]
  if (own(value, 'messages') !== undefined) return [...system, ...nested('messages')]
  if (own(value, 'contents') !== undefined) return [...system, ...nested('contents')]
  if (own(value, 'choices') !== undefined) return nested('choices', 'assistant')
  if (own(value, 'candidates') !== undefined) return nested('candidates', 'assistant')
  if (own(value, 'message') !== undefined) return nested('message')
  // LangChain's serialised form keeps the message under kwargs and its class at the end of id.
  const kwargs = own(value, 'kwargs')
  if (kwargs !== undefined) {
    const id = own(value, 'id')
    const type = Array.isArray(id)
      ? toText(id.at(-1))
          .replace(/Message(Chunk)?$/, '')
          .toLowerCase()
      : ''
    return [toMessage({ type, ...Object(kwargs) }, role)]
  }
  const content = own(value, 'content')
  if (own(value, 'role') === undefined && own(content, 'parts') !== undefined)
    return nested('content', 'assistant')
  if (isMessage(value)) return [toMessage(value, role)]
  if (own(value, 'input') !== undefined && own(value, 'model') !== undefined)
    return [...system, ...nested('input')]
  if (Array.isArray(own(value, 'output'))) return nested('output', 'assistant')
  if (typeof own(value, 'prompt') === 'string') return [...system, ...nested('prompt')]
  return [{ role, content: toText(value) }]
}

function isMessage(value: object): boolean {
  const hasContent = ['content', 'parts', 'text', 'tool_calls', 'toolCalls'].some(
    (key) => own(value, key) !== undefined,
  )
  return (own(value, 'role') !== undefined && hasContent) || hasContent || isPart(value)
}

const partTypes =
  /^(text|input_text|output_text|thinking|reasoning|refusal|image|image_url|input_image|input_audio|audio|file|input_file|blob|uri|tool_use|tool_call|tool-call|tool_result|tool-result|tool_call_response|function_call|function_call_output)$/

function isPart(value: unknown): boolean {
  return partTypes.test(toText(own(value, 'type')))
}

const roles = new Map([
  ['human', 'user'],
  ['ai', 'assistant'],
  ['model', 'assistant'],
  ['function', 'tool'],
  ['function_call', 'assistant'],
  ['reasoning', 'assistant'],
  ['function_call_output', 'tool'],
])

function toMessage(value: object, fallback: string): ChatMessage {
  const given = toText(own(value, 'role'))
  const type = toText(own(value, 'type'))
  const named =
    given || (roles.has(type) || /^(system|user|assistant|tool|developer)$/.test(type) ? type : '')
  const calls: ToolCall[] = []
  const body = own(value, 'content') ?? own(value, 'parts') ?? own(value, 'text')
  const source =
    isPart(value) && given === ''
      ? [value]
      : Array.isArray(body)
        ? body
        : body === undefined || body === null
          ? []
          : [body]
  const parts = source.flatMap((part) => toPart(part, calls))
  for (const key of ['tool_calls', 'toolCalls', 'function_call']) {
    const list = own(value, key)
    for (const call of Array.isArray(list) ? list : list ? [list] : []) calls.push(toToolCall(call))
  }
  const isText = parts.every((part) => part.type === 'text')
  const name = toText(own(value, 'name'))
  const toolCallId = toText(own(value, 'tool_call_id') ?? own(value, 'toolCallId'))
  return {
    role: roles.get(named) ?? (named || fallback),
    content: isText
      ? parts.map((part) => (part.type === 'text' ? part.text : '')).join('\n')
      : parts,
    ...(name && !isPart(value) ? { name } : {}),
    ...(toolCallId ? { toolCallId } : {}),
    ...(calls.length > 0 ? { toolCalls: calls } : {}),
  }
}

/** A part of a message, or nothing when it is a call of a tool, which joins the calls. */
function toPart(part: unknown, calls: ToolCall[]): Part[] {
  if (typeof part !== 'object' || part === null) return [{ type: 'text', text: toText(part) }]
  const type = toText(own(part, 'type'))
  const call = own(part, 'functionCall') ?? own(part, 'function_call')
  if (call !== undefined || /^(tool_use|tool_call|tool-call|function_call)$/.test(type)) {
    calls.push(toToolCall(call ?? part))
    return []
  }
  const response = own(part, 'functionResponse') ?? own(part, 'function_response')
  if (
    response !== undefined ||
    /^(tool_result|tool-result|tool_call_response|function_call_output)$/.test(type)
  )
    return [toToolResult(response ?? part)]
  if (/^(thinking|reasoning)$/.test(type)) {
    const text =
      own(part, 'thinking') ?? own(part, 'text') ?? own(part, 'content') ?? own(part, 'summary')
    return [{ type: 'reasoning', text: flatText(text) }]
  }
  const media = toMedia(part, type)
  if (media) return [media]
  const text = own(part, 'text') ?? own(part, 'refusal') ?? own(part, 'content')
  if (typeof text === 'string') return [{ type: 'text', text }]
  return [{ type: 'other', json: toText(part) }]
}

function flatText(value: unknown): string {
  if (!Array.isArray(value)) return toText(value)
  return value.map((item) => toText(own(item, 'text') ?? item)).join('\n')
}

function toToolCall(call: unknown): ToolCall {
  const inner = own(call, 'function') ?? call
  const args =
    own(inner, 'arguments') ?? own(inner, 'args') ?? own(inner, 'input') ?? own(inner, 'parameters')
  return {
    id: toText(own(call, 'id') ?? own(call, 'call_id') ?? own(call, 'toolCallId')),
    name: toText(own(inner, 'name') ?? own(inner, 'toolName')),
    arguments: toText(args),
  }
}

function toToolResult(part: unknown): Part {
  const id = ['id', 'tool_use_id', 'call_id', 'toolCallId', 'name'].map((key) => own(part, key))
  const content = ['response', 'result', 'output', 'content'].map((key) => own(part, key))
  return {
    type: 'toolResult',
    id: toText(id.find((value) => value !== undefined)),
    content: flatText(content.find((value) => value !== undefined)),
  }
}

function toMedia(part: object, type: string): Part | undefined {
  const inline = own(part, 'inlineData') ?? own(part, 'inline_data')
  const source =
    own(part, 'source') ?? inline ?? own(part, 'image_url') ?? own(part, 'input_audio') ?? part
  const isMedia =
    /^(image|audio|video|file|blob|uri|input_image|input_audio|input_file|image_url)$/.test(type)
  if (!isMedia && inline === undefined) return undefined
  const first = (keys: string[]): string =>
    keys.map((key) => toText(own(source, key) ?? own(part, key))).find((text) => text !== '') ?? ''
  const mimeType = first(['mime_type', 'mimeType', 'media_type', 'mediaType'])
  const link =
    typeof source === 'string'
      ? source
      : first(['url', 'uri', 'file_id', 'file_uri', 'image', 'sha256'])
  const data = first(['data', 'content'])
  const modality =
    first(['modality']) || mimeType.split('/')[0] || type.replace(/^input_|_url$/g, '')
  return {
    type: 'media',
    kind: /^(image|audio|video)$/.test(modality) ? modality : 'file',
    mimeType,
    url: link || (data ? `data:${mimeType};base64,${data}` : ''),
  }
}
