// Puts a streamed completion, of chat or of text, together from its events, after they have gone to the client. Everything it holds is
// bounded; what does not fit is left out and said so.

import {
  type Completion,
  emptyCompletion,
  readError,
  type ToolCall,
  takeIds,
} from '../completion.ts'
import type { StreamTap } from '../operation.ts'
import { isObject, readUsage } from '../usage.ts'
import { readData } from './sse-blocks.ts'

// Text kept of one stream, over all its choices: far above any model's longest answer.
const textCharsMax = 8 * 1024 * 1024
const choicesMax = 128
const toolCallsMax = 256
const toolNameCharsMax = 256

type Part = {
  role: string
  /** Of a completion of text, which has no message. */
  text: string | undefined
  content: string | undefined
  refusal: string | undefined
  toolCalls: Map<number, ToolCall>
  finishReason: string | null
}

export class SseTap implements StreamTap {
  readonly #completion = emptyCompletion()
  readonly #parts = new Map<number, Part>()
  #textCharsLeft = textCharsMax
  /** Events that were not JSON; they went to the client as they came. */
  malformed = 0
  /** True once anything a model makes has come: text, a refusal, a tool call. */
  started = false

  /** One whole block of the stream. */
  take(block: Buffer): void {
    const data = readData(block)
    if (data === undefined || data === '') return
    let chunk: unknown
    try {
      chunk = JSON.parse(data)
    } catch {
      this.malformed += 1
      return
    }
    if (!isObject(chunk)) return
    if (isObject(chunk.error)) this.#completion.error ??= readError(chunk.error)
    takeIds(this.#completion, chunk)
    if (chunk.usage != null) this.#completion.usage = readUsage(chunk.usage)
    if (Array.isArray(chunk.choices)) for (const choice of chunk.choices) this.#takeChoice(choice)
  }

  /** What has come so far, in the form of an answer that was not streamed. */
  completion(): Completion {
    const parts = [...this.#parts].sort(([a], [b]) => a - b)
    return {
      ...this.#completion,
      output: { choices: parts.map(toChoice) },
      finishReasons: parts.flatMap(([, part]) => part.finishReason ?? []),
      hasContent: this.started,
    }
  }

  #takeChoice(choice: unknown): void {
    if (!isObject(choice)) return
    const part = this.#partAt(typeof choice.index === 'number' ? choice.index : 0)
    if (!part) return
    if (typeof choice.finish_reason === 'string') {
      part.finishReason = choice.finish_reason.slice(0, toolNameCharsMax)
    }
    if (typeof choice.text === 'string') {
      part.text = this.#add(part.text ?? '', choice.text)
      this.started ||= choice.text !== ''
    }
    if (!isObject(choice.delta)) return
    const { role, content, refusal, tool_calls: calls, reasoning_content: reasoning } = choice.delta
    if (typeof role === 'string' && role !== '') part.role = role.slice(0, toolNameCharsMax)
    if (typeof content === 'string') part.content = this.#add(part.content ?? '', content)
    if (typeof refusal === 'string') part.refusal = this.#add(part.refusal ?? '', refusal)
    if (Array.isArray(calls)) for (const call of calls) this.#takeToolCall(part, call)
    this.started ||= Boolean(
      content || refusal || reasoning || (Array.isArray(calls) && calls.length),
    )
  }

  #takeToolCall(part: Part, delta: unknown): void {
    if (!isObject(delta)) return
    const index = typeof delta.index === 'number' ? delta.index : part.toolCalls.size
    let call = part.toolCalls.get(index)
    if (!call) {
      if (part.toolCalls.size >= toolCallsMax) {
        this.#completion.cut = true
        return
      }
      call = { id: '', type: 'function', function: { name: '', arguments: '' } }
      part.toolCalls.set(index, call)
    }
    if (typeof delta.id === 'string' && call.id === '')
      call.id = delta.id.slice(0, toolNameCharsMax)
    if (typeof delta.type === 'string') call.type = delta.type.slice(0, toolNameCharsMax)
    if (!isObject(delta.function)) return
    const { name, arguments: more } = delta.function
    if (typeof name === 'string') call.function.name = this.#add(call.function.name, name)
    if (typeof more === 'string') call.function.arguments = this.#add(call.function.arguments, more)
  }

  #partAt(index: number): Part | undefined {
    const known = this.#parts.get(index)
    if (known) return known
    if (this.#parts.size >= choicesMax) {
      this.#completion.cut = true
      return undefined
    }
    const part = {
      role: 'assistant',
      text: undefined,
      content: undefined,
      refusal: undefined,
      toolCalls: new Map(),
      finishReason: null,
    }
    this.#parts.set(index, part)
    return part
  }

  #add(text: string, more: string): string {
    if (more.length > this.#textCharsLeft) {
      this.#completion.cut = true
      return text
    }
    this.#textCharsLeft -= more.length
    return text + more
  }
}

function toChoice([index, part]: [number, Part]) {
  if (part.text !== undefined) return { index, text: part.text, finish_reason: part.finishReason }
  const calls = [...part.toolCalls].sort(([a], [b]) => a - b).map(([, call]) => call)
  return {
    index,
    message: {
      role: part.role,
      content: part.content ?? null,
      ...(part.refusal === undefined ? {} : { refusal: part.refusal }),
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
    },
    finish_reason: part.finishReason,
  }
}
