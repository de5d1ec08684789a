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
import { EventMold, placeOfContent } from './event-mold.ts'
import { readData } from './sse-blocks.ts'
import { parseEvent } from './typed-events.ts'

// Text kept of one stream, over all its choices: far above any model's longest answer.
const textCharsMax = 8 * 1024 * 1024
const choicesMax = 128
const toolCallsMax = 256
const toolNameCharsMax = 256
// Molds of one stream that fitted no event after their own, in a row: then its events are not alike, and none is made any more.
const uselessMoldsMax = 8
// A larger event is rare, and its text is worth the parsing.
const moldBytesMax = 4096
const probe = 'probe'

type Part = {
  role: string
  /** Of a completion of text, which has no message. */
  text: string | undefined
  content: string | undefined
  refusal: string | undefined
  toolCalls: Map<number, ToolCall>
  finishReason: string | null
}

/** An event without its text, and where that goes. */
type Mold = { event: EventMold; part: Part }

export class SseTap implements StreamTap {
  readonly #completion = emptyCompletion()
  readonly #parts = new Map<number, Part>()
  #textCharsLeft = textCharsMax
  /** Events that were not JSON; they went to the client as they came. */
  malformed = 0
  /** True once anything a model makes has come: text, a refusal, a tool call. */
  started = false
  /** Of the event before, and the part its text went to; what fits it brings nothing but text. */
  #mold: Mold | undefined
  #uselessMolds = 0

  /** One whole block of the stream. */
  take(block: Buffer): void {
    const text = this.#mold?.event.textOf(block)
    if (this.#mold && text !== undefined) {
      const { part } = this.#mold
      part.content = this.#add(part.content ?? '', text)
      this.#uselessMolds = 0
      return
    }
    this.#mold = undefined
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
    if (!Array.isArray(chunk.choices)) return
    for (const choice of chunk.choices) this.#takeChoice(choice)
    this.#mold = this.#moldOf(block, chunk)
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

  /** Of an event that brings one text, and says nothing else that adds up when it is said again. */
  #moldOf(block: Buffer, chunk: unknown): Mold | undefined {
    if (block.length > moldBytesMax || this.#uselessMolds >= uselessMoldsMax) return undefined
    const choice = onlyChoice(chunk)
    if (!choice || choice.delta.refusal != null || choice.delta.tool_calls != null) return undefined
    const { content } = choice.delta
    if (typeof content !== 'string' || content === '' || content === probe) return undefined
    const part = this.#parts.get(choice.index)
    const place = placeOfContent(block)
    if (!part || !place) return undefined
    this.#uselessMolds += 1
    const event = new EventMold(block, place)
    // A member of that name may stand elsewhere: what another text changes shows whose it is.
    const probed = onlyChoice(parseEvent(readData(event.filledWith(probe))))
    return probed?.delta.content === probe ? { event, part } : undefined
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

/** An event's choice; undefined when it has several, or one that is not of a chat. */
function onlyChoice(chunk: unknown): { index: number; delta: Record<string, unknown> } | undefined {
  if (!isObject(chunk) || !Array.isArray(chunk.choices) || chunk.choices.length !== 1)
    return undefined
  const choice: unknown = chunk.choices[0]
  if (!isObject(choice) || !isObject(choice.delta) || choice.text !== undefined) return undefined
  return { index: typeof choice.index === 'number' ? choice.index : 0, delta: choice.delta }
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
