// A rendered prompt version put into a request: its messages first, then the caller's; what the caller chose stays chosen.

import type { ServedPrompt } from '../../schemas/prompt.ts'
import type { JsonObject } from './operation.ts'
import { isObject } from './usage.ts'

/** For chat completions. */
export function intoChat(request: JsonObject, served: ServedPrompt): JsonObject {
  const { prompt: _, ...own } = request
  const messages = Array.isArray(request.messages) ? request.messages : []
  return {
    ...around(served, { tools: served.tools, response_format: served.responseFormat }),
    ...own,
    messages: [...served.messages, ...messages],
  }
}

/** For responses: the same prompt in the words of that API. */
export function intoResponses(request: JsonObject, served: ServedPrompt): JsonObject {
  const { prompt: _, ...own } = request
  const { input } = request
  const items = typeof input === 'string' ? [{ role: 'user', content: input }] : (input ?? [])
  const { max_tokens, max_completion_tokens, reasoning_effort, ...params } = served.params
  const most = max_completion_tokens ?? max_tokens
  const format = toTextFormat(served.responseFormat)
  const said = around(
    { ...served, params },
    {
      tools: served.tools?.map(toFlatTool),
      ...(most === undefined ? {} : { max_output_tokens: most }),
      ...(reasoning_effort === undefined ? {} : { reasoning: { effort: reasoning_effort } }),
      ...(format === undefined ? {} : { text: { format } }),
    },
  )
  return {
    ...said,
    ...own,
    input: [...served.messages, ...(Array.isArray(items) ? items : [items])],
  }
}

function around(served: ServedPrompt, more: JsonObject): JsonObject {
  const said: JsonObject = { model: served.model, ...served.params, ...more }
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined))
}

function toFlatTool(tool: unknown): unknown {
  if (!isObject(tool) || tool.type !== 'function' || !isObject(tool.function)) return tool
  return { type: 'function', ...tool.function }
}

function toTextFormat(format: unknown): unknown {
  if (!isObject(format) || !isObject(format.json_schema)) return format
  return { type: 'json_schema', ...format.json_schema }
}
