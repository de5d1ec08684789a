// What is kept of a Response: its items are committed to as they came; a run shows them as a message like any other.

import { type Completion, emptyCompletion, parseObject, readError, takeIds } from '../completion.ts'
import { asText } from '../plain.ts'
import { isObject, readUsage } from '../usage.ts'

type Fields = Record<string, unknown>

/** The body of a Response; undefined when it is none. */
export function readResponse(body: Buffer): Completion | undefined {
  const answer = parseObject(body)
  return answer && Array.isArray(answer.output) ? toCompletion(answer) : undefined
}

/** Of a whole Response, from a body or from the event that closes a stream. */
export function toCompletion(response: Fields): Completion {
  const completion = emptyCompletion()
  takeIds(completion, response)
  const items: unknown[] = Array.isArray(response.output) ? response.output : []
  completion.output = { output: items }
  completion.hasContent = items.length > 0
  completion.usage = readResponseUsage(response.usage)
  completion.finishReasons = finishReasonsOf(response, items)
  if (isObject(response.error)) completion.error = readError(response.error)
  return completion
}

export function readResponseUsage(usage: unknown): ReturnType<typeof readUsage> {
  if (!isObject(usage)) return undefined
  return readUsage({
    prompt_tokens: usage.input_tokens,
    prompt_tokens_details: usage.input_tokens_details,
    completion_tokens: usage.output_tokens,
    completion_tokens_details: usage.output_tokens_details,
  })
}

/** Items as one message of the assistant, in the form of a chat answer. */
export function toKeptOutput({ output }: Completion): unknown {
  const items: unknown[] = isObject(output) && Array.isArray(output.output) ? output.output : []
  if (items.length === 0) return undefined
  const content: Fields[] = []
  const calls: Fields[] = []
  for (const item of items) {
    if (!isObject(item)) continue
    if (item.type === 'message') content.push(...partsOf(item.content))
    else if (item.type === 'function_call') {
      const called = { name: item.name, arguments: item.arguments }
      calls.push({ id: item.call_id, type: 'function', function: called })
    } else if (item.type === 'reasoning') content.push(...thoughtsOf(item))
    // Tools of the upstream's own: shown as what they are.
    else content.push({ ...item, type: asText(item.type) })
  }
  const message = { role: 'assistant', content, ...(calls.length > 0 ? { tool_calls: calls } : {}) }
  return { choices: [{ index: 0, message }] }
}

/** By the words that a chat answer has for the same. */
function finishReasonsOf(response: Fields, items: unknown[]): string[] {
  if (response.status === 'incomplete') {
    const details = isObject(response.incomplete_details) ? response.incomplete_details : {}
    const reason = asText(details.reason ?? 'incomplete').slice(0, 64)
    return [reason === 'max_output_tokens' ? 'length' : reason]
  }
  if (response.status !== 'completed') return []
  const calls = items.some((item) => isObject(item) && item.type === 'function_call')
  return [calls ? 'tool_calls' : 'stop']
}

function partsOf(content: unknown): Fields[] {
  if (!Array.isArray(content)) return []
  return content.flatMap((part): Fields[] => {
    if (!isObject(part)) return []
    if (part.type === 'refusal') return [{ type: 'refusal', content: part.refusal }]
    return [{ type: 'text', text: part.text }]
  })
}

function thoughtsOf(item: Fields): Fields[] {
  const lists = [item.summary, item.content].filter((list) => Array.isArray(list))
  return lists
    .flat()
    .flatMap((part) => (isObject(part) ? [{ type: 'reasoning', content: part.text }] : []))
}
