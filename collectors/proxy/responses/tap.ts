// What is kept of a Responses stream, after its events have gone to the client: the closing event says all of it; of a
// stream that does not get that far, what its deltas said. Everything held is bounded.

import { type Completion, emptyCompletion, readError, takeIds } from '../completion.ts'
import type { StreamTap } from '../operation.ts'
import { asText } from '../plain.ts'
import { readData } from '../streams/sse-blocks.ts'
import { isObject } from '../usage.ts'
import { toCompletion } from './answer.ts'

type Fields = Record<string, unknown>

// The same bound as for the text of a chat stream; items come whole as well, when they are added and when they are done.
const textCharsMax = 8 * 1024 * 1024
const itemCharsMax = 32 * 1024 * 1024
const itemsMax = 256

/** The events that hold the whole response, one of which is the last of every stream. */
export const closingTypes: ReadonlySet<string> = new Set([
  'response.completed',
  'response.failed',
  'response.incomplete',
])

/** Members of an item that its deltas fill, by the kind of the event. */
const textMembers: Record<string, 'text' | 'refusal' | 'arguments'> = {
  'response.output_text.delta': 'text',
  'response.reasoning_text.delta': 'text',
  'response.refusal.delta': 'refusal',
  'response.function_call_arguments.delta': 'arguments',
}

export class ResponsesTap implements StreamTap {
  readonly #head = emptyCompletion()
  readonly #items = new Map<number, Fields>()
  #closing: Completion | undefined
  #error: Completion['error']
  #textCharsLeft = textCharsMax
  #itemCharsLeft = itemCharsMax
  malformed = 0
  started = false

  take(block: Buffer): void {
    const data = readData(block)
    if (data === undefined || data === '' || data === '[DONE]') return
    let event: unknown
    try {
      event = JSON.parse(data)
    } catch {
      this.malformed += 1
      return
    }
    if (isObject(event)) this.#takeEvent(event, data.length)
  }

  completion(): Completion {
    const error = this.#error ? { error: this.#error } : {}
    if (this.#closing) return { ...this.#closing, ...error }
    const items = [...this.#items].sort(([a], [b]) => a - b).map(([, item]) => item)
    const output = items.length > 0 ? { output: items } : undefined
    return { ...this.#head, ...error, output, hasContent: this.started }
  }

  #takeEvent(event: Fields, chars: number): void {
    const type = asText(event.type)
    if (isObject(event.error)) this.#error ??= readError(event.error)
    else if (type === 'error') this.#error ??= readError(event)
    if (isObject(event.response)) this.#takeResponse(type, event.response)
    else if (isObject(event.item)) this.#takeItem(event, event.item, chars)
    else if (isObject(event.part)) this.#takePart(event, event.part, chars)
    else if (type.endsWith('.delta')) this.#takeDelta(type, event)
  }

  #takeResponse(type: string, response: Fields): void {
    takeIds(this.#head, response)
    if (!closingTypes.has(type)) return
    this.#closing = toCompletion(response)
    this.started ||= this.#closing.hasContent
    this.#items.clear()
  }

  /** What is done replaces what its deltas made of it. */
  #takeItem(event: Fields, item: Fields, chars: number): void {
    const index = toIndex(event.output_index)
    const isNew = !this.#items.has(index)
    if (this.#hasRoom(chars) && !(isNew && this.#items.size >= itemsMax)) {
      this.#items.set(index, item)
    } else this.#head.cut = true
  }

  #takePart(event: Fields, part: Fields, chars: number): void {
    const item = this.#items.get(toIndex(event.output_index))
    if (!item) return
    const content: unknown[] = Array.isArray(item.content) ? item.content : []
    item.content = content
    const index = toIndex(event.content_index)
    if (index > content.length) return
    if (this.#hasRoom(chars) && index < itemsMax) content[index] = part
    else this.#head.cut = true
  }

  #hasRoom(chars: number): boolean {
    this.#itemCharsLeft -= chars
    return this.#itemCharsLeft >= 0
  }

  #takeDelta(type: string, event: Fields): void {
    this.started ||= typeof event.delta === 'string' && event.delta !== ''
    const member = textMembers[type]
    const item = this.#items.get(toIndex(event.output_index))
    if (!member || !item || typeof event.delta !== 'string') return
    const parts: unknown[] = Array.isArray(item.content) ? item.content : []
    const target = member === 'arguments' ? item : parts[toIndex(event.content_index)]
    if (!isObject(target)) return
    this.#textCharsLeft -= event.delta.length
    if (this.#textCharsLeft < 0) this.#head.cut = true
    else target[member] = asText(target[member]) + event.delta
  }
}

function toIndex(index: unknown): number {
  return typeof index === 'number' && index >= 0 ? index : 0
}
