// A Responses request as the chat request that says the same, for upstreams that have no /responses. What the chat route
// cannot do is refused by the name of its parameter, never left out in silence when the answer would be another one.

import { asNumber, asText } from '../plain.ts'
import { isObject } from '../usage.ts'
import { refusal, toChatMessages } from './input-messages.ts'

type Fields = Record<string, unknown>

/** These need a store, tools or a scheduler on the upstream's side; any value but null is refused. */
const untranslatable = [
  'previous_response_id',
  'conversation',
  'prompt',
  'context_management',
  'moderation',
] as const

/**
 * Has no meaning for the chat route: hints an upstream may ignore, or what this translation answers by itself. Names that
 * stand in neither list (`seed`, `top_k`) are somebody's extension, and pass as they are.
 */
const consumed = new Set<string>([
  ...untranslatable,
  'background',
  'include',
  'input',
  'instructions',
  'max_output_tokens',
  'max_tool_calls',
  'metadata',
  'parallel_tool_calls',
  'prompt_cache_key',
  'prompt_cache_options',
  'prompt_cache_retention',
  'reasoning',
  'safety_identifier',
  'store',
  'stream',
  'stream_options',
  'text',
  'tool_choice',
  'tools',
  'top_logprobs',
  'truncation',
])

/** Throws `invalid_request` with the parameter that has no counterpart. */
export function toChatRequest(request: Fields): Fields {
  refuseUntranslatable(request)
  const chat: Fields = Object.create(null)
  for (const [name, value] of Object.entries(request)) {
    if (!consumed.has(name)) chat[name] = value
  }
  chat.messages = toChatMessages(request)
  // Of the two spellings the one that every upstream without /responses knows.
  if (isGiven(request.max_output_tokens)) chat.max_tokens = request.max_output_tokens
  addTools(chat, request)
  addFormat(chat, request.text)
  addReasoning(chat, request.reasoning)
  addLogprobs(chat, request)
  if (request.stream === true) {
    chat.stream = true
    // The closing event carries the usage, whoever asked for it.
    chat.stream_options = { include_usage: true }
  }
  return chat
}

function refuseUntranslatable(request: Fields): void {
  for (const name of untranslatable) {
    if (isGiven(request[name])) throw refusal(name, `${name} needs an upstream with /responses.`)
  }
  if (request.background === true) {
    throw refusal('background', 'background needs an upstream with /responses.')
  }
}

function addTools(chat: Fields, request: Fields): void {
  if (!isGiven(request.tools)) return
  if (!Array.isArray(request.tools)) throw refusal('tools', 'tools must be a list.')
  const tools = request.tools.map(toChatTool)
  const choice = request.tool_choice
  const allowed = isObject(choice) && choice.type === 'allowed_tools' ? choice : undefined
  chat.tools = allowed ? onlyAllowed(tools, allowed) : tools
  if (isGiven(choice)) chat.tool_choice = allowed ? (allowed.mode ?? 'auto') : toChatChoice(choice)
  if (tools.length === 0) {
    // Some upstreams refuse an empty list, and a choice without one.
    delete chat.tools
    delete chat.tool_choice
  } else if (isGiven(request.parallel_tool_calls)) {
    chat.parallel_tool_calls = request.parallel_tool_calls
  }
}

function toChatTool(tool: unknown, i: number): Fields {
  if (!isObject(tool)) throw refusal(`tools[${i}]`, 'A tool must be an object.')
  const { type, ...declared } = tool
  if (type === 'function') return { type, function: declared }
  const name = asText(type).slice(0, 64)
  throw refusal(`tools[${i}].type`, `The tool "${name}" needs an upstream with /responses.`)
}

function toChatChoice(choice: unknown): unknown {
  if (!isObject(choice)) return choice
  if (choice.type === 'function') return { type: 'function', function: { name: choice.name } }
  const name = asText(choice.type).slice(0, 64)
  throw refusal('tool_choice', `tool_choice "${name}" needs an upstream with /responses.`)
}

/** A choice among some tools is the same as having those only. */
function onlyAllowed(tools: Fields[], choice: Fields): Fields[] {
  const named: unknown[] = Array.isArray(choice.tools) ? choice.tools : []
  const names = new Set(named.map((tool) => (isObject(tool) ? tool.name : undefined)))
  return tools.filter((tool) => isObject(tool.function) && names.has(tool.function.name))
}

function addFormat(chat: Fields, text: unknown): void {
  if (!isGiven(text)) return
  if (!isObject(text)) throw refusal('text', 'text must be an object.')
  if (isGiven(text.verbosity)) chat.verbosity = text.verbosity
  const { format } = text
  if (!isObject(format) || format.type === 'text') return
  const { type, ...schema } = format
  if (type === 'json_schema') chat.response_format = { type, json_schema: schema }
  else if (type === 'json_object') chat.response_format = { type }
  else
    throw refusal('text.format.type', 'text.format.type must be text, json_object or json_schema.')
}

function addReasoning(chat: Fields, reasoning: unknown): void {
  if (isObject(reasoning) && isGiven(reasoning.effort)) chat.reasoning_effort = reasoning.effort
}

function addLogprobs(chat: Fields, request: Fields): void {
  const include: unknown[] = Array.isArray(request.include) ? request.include : []
  const isWanted =
    include.includes('message.output_text.logprobs') || asNumber(request.top_logprobs) > 0
  if (!isWanted) return
  chat.logprobs = true
  if (isGiven(request.top_logprobs)) chat.top_logprobs = request.top_logprobs
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null
}
