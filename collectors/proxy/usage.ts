// Token counts: what the upstream reported if it can be true, else an estimate that says so.

import type { Usage } from '../../schemas/run.ts'

// Bytes of UTF-8 to a token: right for English prose with the tokenizers of 2024 to 2026, low for code and other scripts.
const bytesPerToken = 4
const messageTokens = 4
// The columns are 32 bits wide, and no call of today is within a factor of a thousand of it.
const tokensMax = 4_294_967_295

/** The `usage` of a chat completion; undefined when it is absent or cannot be true (negative, fractional, a string, absurd). */
export function readUsage(usage: unknown): Usage | undefined {
  if (!isObject(usage)) return undefined
  const inputTokens = toCount(usage.prompt_tokens)
  const outputTokens = toCount(usage.completion_tokens)
  if (inputTokens === undefined || outputTokens === undefined) return undefined
  const input = isObject(usage.prompt_tokens_details) ? usage.prompt_tokens_details : {}
  const output = isObject(usage.completion_tokens_details) ? usage.completion_tokens_details : {}
  return {
    inputTokens,
    // Parts of the totals, as OpenAI reports them; a part above its total would be counted as negative later.
    cachedTokens: Math.min(toCount(input.cached_tokens) ?? 0, inputTokens),
    outputTokens,
    reasoningTokens: Math.min(toCount(output.reasoning_tokens) ?? 0, outputTokens),
    estimated: false,
  }
}

/** Of an operation that makes no tokens: what it read. */
export function readInputUsage(usage: unknown): Usage | undefined {
  return isObject(usage) ? readUsage({ ...usage, completion_tokens: 0 }) : undefined
}

/** Both counts by the size of the text: messages, choices and texts in OpenAI's forms; anything else counts as nothing. */
export function estimateUsage(input: unknown, output: unknown): Usage {
  const messages = Array.isArray(input) ? input.length : 0
  return {
    inputTokens: Math.min(countTokens(textBytes(input)) + messages * messageTokens, tokensMax),
    cachedTokens: 0,
    outputTokens: Math.min(countTokens(textBytes(output)), tokensMax),
    reasoningTokens: 0,
    estimated: true,
  }
}

export function estimateTokens(text: string): number {
  return countTokens(Buffer.byteLength(text))
}

/** Of a text of which only the size is known. */
export function estimateTokensOf(bytes: number): number {
  return Math.min(countTokens(bytes), tokensMax)
}

function countTokens(bytes: number): number {
  return Math.ceil(bytes / bytesPerToken)
}

/** Bytes of every text in a message, an answer, or a list of them; images and sounds (data URLs) are no text. */
function textBytes(value: unknown): number {
  if (typeof value === 'string') return value.startsWith('data:') ? 0 : Buffer.byteLength(value)
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + textBytes(item), 0)
  if (!isObject(value)) return 0
  let bytes = 0
  for (const key of textKeys) if (value[key] !== undefined) bytes += textBytes(value[key])
  return bytes
}

const textKeys = [
  'choices',
  'message',
  'content',
  'refusal',
  'text',
  'tool_calls',
  'function',
  'name',
  'arguments',
]

function toCount(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= tokensMax
    ? value
    : undefined
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
