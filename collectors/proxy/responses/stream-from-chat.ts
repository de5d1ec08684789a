// A chat completion's stream as a Responses stream. Takes the upstream's bytes however they are cut; gives whole events.
// The closing event waits for the upstream's [DONE]: an upstream that ends without it closes nothing here either.

import { readError } from '../completion.ts'
import { doneTerminal, readData, SseBlocks } from '../streams/sse-blocks.ts'
import { isObject } from '../usage.ts'
import { EventWriter } from './event-writer.ts'
import { itemStatus } from './from-chat.ts'
import {
  type ChatIds,
  inProgress,
  type Outcome,
  outcomeOf,
  readIds,
  reasoningOf,
  toResponse,
  toResponseUsage,
} from './response-object.ts'

type Fields = Record<string, unknown>

// The closing events repeat the whole text, so it is held: above any model's longest answer the stream is given up.
const textCharsMax = 8 * 1024 * 1024
const callsMax = 256

/** A call whose name has not come yet. */
type Unnamed = { callId: string; arguments: string }

export class ChatStream {
  readonly #request: Fields
  readonly #fallbackId: string
  readonly #blocks = new SseBlocks(doneTerminal, false)
  readonly #unnamed = new Map<number, Unnamed>()
  #ids: ChatIds | undefined
  #writer: EventWriter | undefined
  #finishReason: unknown = null
  #usage: Fields | null = null
  #textCharsLeft = textCharsMax
  /** True once the closing event has been made; what the upstream still says is dropped. */
  closed = false
  /** True when the stream held more than any model says. */
  overflow = false

  constructor(request: Fields, fallbackId: string) {
    this.#request = request
    this.#fallbackId = fallbackId
  }

  /** The bytes of the events that became whole; empty when none did. */
  push(chunk: Buffer): Buffer {
    this.#blocks.push(chunk)
    for (const block of this.#blocks.blocks) this.#take(block)
    if (this.#blocks.done) this.#complete()
    this.overflow ||= this.#blocks.overflow
    return this.#flush()
  }

  /** The upstream has ended: a last [DONE] without its blank line still counts. */
  end(): Buffer {
    this.#blocks.end()
    if (this.#blocks.done) this.#complete()
    return this.#flush()
  }

  #take(block: Buffer): void {
    if (this.closed) return
    const data = readData(block)
    if (data === undefined) {
      // Comments keep a connection alive; they do so here as well.
      if (this.#writer && block[0] === 0x3a) this.#writer.ready.push(Buffer.from(block))
      return
    }
    const chunk = parse(data)
    if (!chunk) return
    const writer = this.#open(chunk)
    if (isObject(chunk.error)) {
      this.#fail(writer, readError(chunk.error))
      return
    }
    if (isObject(chunk.usage)) this.#usage = toResponseUsage(chunk.usage)
    const choice: unknown = Array.isArray(chunk.choices) ? chunk.choices[0] : undefined
    // Of several choices only the first has a place in a Response.
    if (!isObject(choice) || (choice.index ?? 0) !== 0) return
    if (isObject(choice.delta)) this.#takeDelta(writer, choice, choice.delta)
    if (choice.finish_reason != null) this.#finishReason = choice.finish_reason
  }

  /** The first chunk names the answer, and opens the stream. */
  #open(chunk: Fields): EventWriter {
    if (this.#writer) return this.#writer
    this.#ids = readIds(chunk, this.#request, this.#fallbackId)
    this.#writer = new EventWriter(this.#ids.id)
    const response = this.#toResponse(inProgress, [])
    this.#writer.emit('response.created', { response })
    this.#writer.emit('response.in_progress', { response })
    return this.#writer
  }

  #takeDelta(writer: EventWriter, choice: Fields, delta: Fields): void {
    const reasoning = this.#bounded(reasoningOf(delta))
    if (reasoning !== '') writer.addText('reasoning_text', reasoning)
    const content = this.#bounded(delta.content)
    if (content !== '') {
      const logprobs = isObject(choice.logprobs) ? choice.logprobs.content : undefined
      writer.addText('output_text', content, Array.isArray(logprobs) ? logprobs : [])
    }
    const refusal = this.#bounded(delta.refusal)
    if (refusal !== '') writer.addText('refusal', refusal)
    const calls: unknown[] = Array.isArray(delta.tool_calls) ? delta.tool_calls : []
    for (const call of calls) if (isObject(call)) this.#takeCall(writer, call)
  }

  #takeCall(writer: EventWriter, call: Fields): void {
    const count = writer.callCount + this.#unnamed.size
    const key = typeof call.index === 'number' ? call.index : count
    const called = isObject(call.function) ? call.function : {}
    const name = typeof called.name === 'string' ? called.name : ''
    const more = this.#bounded(called.arguments)
    if (writer.hasCall(key)) {
      writer.addArguments(key, more)
      return
    }
    const waiting = this.#unnamed.get(key) ?? { callId: '', arguments: '' }
    if (typeof call.id === 'string') waiting.callId ||= call.id
    waiting.arguments += more
    if (name !== '') {
      this.#unnamed.delete(key)
      writer.openCall(key, { callId: waiting.callId, name })
      writer.addArguments(key, waiting.arguments)
    } else if (count < callsMax) this.#unnamed.set(key, waiting)
    if (writer.callCount > callsMax) this.overflow = true
  }

  #complete(): void {
    if (this.closed || !this.#writer) return
    const writer = this.#writer
    const outcome = outcomeOf(this.#finishReason)
    writer.ensureItem()
    writer.closeAll(itemStatus(outcome.status))
    const response = this.#toResponse(outcome, writer.output)
    writer.emit(`response.${outcome.status}`, { response })
    this.closed = true
  }

  /** The event that one SDK throws on, and the one that tells the other. */
  #fail(writer: EventWriter, error: { code: string; message: string }): void {
    writer.closeAll('incomplete')
    writer.emit('error', { ...error, param: null })
    const outcome: Outcome = { status: 'failed', error, incomplete: null }
    writer.emit('response.failed', { response: this.#toResponse(outcome, writer.output) })
    this.closed = true
  }

  #toResponse(outcome: Outcome, output: Fields[]): Fields {
    const ids = this.#ids ?? readIds({}, this.#request, this.#fallbackId)
    const usage = outcome.status === 'in_progress' ? null : this.#usage
    return toResponse(this.#request, ids, { outcome, output, usage })
  }

  #bounded(text: unknown): string {
    if (typeof text !== 'string') return ''
    this.#textCharsLeft -= text.length
    if (this.#textCharsLeft >= 0) return text
    this.overflow = true
    return ''
  }

  #flush(): Buffer {
    const ready = this.#writer?.ready
    if (!ready || ready.length === 0) return empty
    const bytes = ready.length === 1 ? ready[0]! : Buffer.concat(ready)
    ready.length = 0
    return bytes
  }
}

const empty = Buffer.alloc(0)

function parse(data: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(data)
    return isObject(value) ? value : undefined
  } catch {
    return undefined // an event that is no JSON says nothing that could be translated
  }
}
