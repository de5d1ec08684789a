// The events of a Responses stream, in the order and with the members that the SDKs demand: every item is added before its
// parts, every part before its deltas, and what was opened is closed with the whole of what it became.

import {
  toCallItem,
  toMessageItem,
  toReasoningItem,
  toReasoningPart,
  toRefusalPart,
  toTextPart,
} from './response-object.ts'

type Fields = Record<string, unknown>
type TextKind = 'output_text' | 'refusal' | 'reasoning_text'
type ItemStatus = 'completed' | 'incomplete'

type OpenPart = { kind: TextKind; index: number; text: string; logprobs: unknown[] }
type OpenText = {
  type: 'message' | 'reasoning'
  id: string
  index: number
  done: Fields[]
  part: OpenPart | undefined
}
type OpenCall = { id: string; index: number; callId: string; name: string; arguments: string }

const makePart: Record<TextKind, (text: string, logprobs: unknown[]) => Fields> = {
  output_text: toTextPart,
  refusal: toRefusalPart,
  reasoning_text: toReasoningPart,
}

export class EventWriter {
  /** Bytes ready to leave; whoever takes them empties the list. */
  readonly ready: Buffer[] = []
  /** Items that are finished, at their place. */
  readonly output: Fields[] = []
  readonly #idBase: string
  #sequence = 0
  #items = 0
  #text: OpenText | undefined
  readonly #calls = new Map<number, OpenCall>()

  constructor(idBase: string) {
    this.#idBase = idBase
  }

  emit(type: string, members: Fields): void {
    const event = { type, sequence_number: this.#sequence++, ...members }
    this.ready.push(Buffer.from(`event: ${type}\ndata: ${JSON.stringify(event)}\n\n`))
  }

  /** A piece of a text. Opens the item and the part it belongs to, and closes whatever else was open. */
  addText(kind: TextKind, delta: string, logprobs: unknown[] = []): void {
    const item = this.#itemFor(kind === 'reasoning_text' ? 'reasoning' : 'message')
    const part = this.#partFor(item, kind)
    part.text += delta
    for (const logprob of logprobs) part.logprobs.push(logprob)
    this.emit(`response.${kind}.delta`, {
      ...at(item, part),
      delta,
      ...(kind === 'output_text' ? { logprobs } : {}),
    })
  }

  /** A call begins; `key` is the upstream's own index of it. */
  openCall(key: number, call: { callId: string; name: string }): void {
    this.#closeText('completed')
    const index = this.#items++
    const opened: OpenCall = { id: this.#idOf('fc', index), index, ...call, arguments: '' }
    opened.callId ||= this.#idOf('call', index)
    this.#calls.set(key, opened)
    const item = toCallItem(opened.id, 'in_progress', opened)
    this.emit('response.output_item.added', { output_index: index, item })
  }

  hasCall(key: number): boolean {
    return this.#calls.has(key)
  }

  get callCount(): number {
    return this.#calls.size
  }

  addArguments(key: number, delta: string): void {
    const call = this.#calls.get(key)
    if (!call || delta === '') return
    call.arguments += delta
    const where = { item_id: call.id, output_index: call.index }
    this.emit('response.function_call_arguments.delta', { ...where, delta })
  }

  /** Closes what is open. Calls stay open until here, because upstreams may send them interleaved. */
  closeAll(status: ItemStatus): void {
    this.#closeText(status)
    for (const call of this.#calls.values()) {
      const where = { item_id: call.id, output_index: call.index }
      this.emit('response.function_call_arguments.done', {
        ...where,
        name: call.name,
        arguments: call.arguments,
      })
      this.#finish(call.index, toCallItem(call.id, status, call))
    }
    this.#calls.clear()
  }

  /** An answer of nothing still has a message, as one that was not streamed has. */
  ensureItem(): void {
    if (this.#items > 0) return
    this.#partFor(this.#itemFor('message'), 'output_text')
  }

  #itemFor(type: OpenText['type']): OpenText {
    if (this.#text?.type === type) return this.#text
    this.#closeText('completed')
    const index = this.#items++
    const id = this.#idOf(type === 'message' ? 'msg' : 'rs', index)
    this.#text = { type, id, index, done: [], part: undefined }
    const item = toItem(this.#text, 'in_progress')
    this.emit('response.output_item.added', { output_index: index, item })
    return this.#text
  }

  #partFor(item: OpenText, kind: TextKind): OpenPart {
    if (item.part?.kind === kind) return item.part
    this.#closePart(item)
    item.part = { kind, index: item.done.length, text: '', logprobs: [] }
    const part = makePart[kind]('', [])
    this.emit('response.content_part.added', { ...at(item, item.part), part })
    return item.part
  }

  #closePart(item: OpenText): void {
    const { part } = item
    if (!part) return
    const { kind, text, logprobs } = part
    const where = at(item, part)
    if (kind === 'refusal') this.emit('response.refusal.done', { ...where, refusal: text })
    else if (kind === 'reasoning_text')
      this.emit('response.reasoning_text.done', { ...where, text })
    else this.emit('response.output_text.done', { ...where, text, logprobs })
    const made = makePart[kind](text, logprobs)
    this.emit('response.content_part.done', { ...where, part: made })
    item.done.push(made)
    item.part = undefined
  }

  #closeText(status: ItemStatus): void {
    const item = this.#text
    if (!item) return
    this.#closePart(item)
    this.#text = undefined
    this.#finish(item.index, toItem(item, status))
  }

  #finish(index: number, item: Fields): void {
    this.output[index] = item
    this.emit('response.output_item.done', { output_index: index, item })
  }

  #idOf(prefix: string, index: number): string {
    return `${prefix}_${this.#idBase}_${index}`
  }
}

function toItem(item: OpenText, status: string): Fields {
  // A copy: what is pushed later must not appear in an event that has been thought of before.
  const content = [...item.done]
  return item.type === 'message'
    ? toMessageItem(item.id, status, content)
    : toReasoningItem(item.id, status, content)
}

function at(item: OpenText, part: OpenPart): Fields {
  return { item_id: item.id, output_index: item.index, content_index: part.index }
}
