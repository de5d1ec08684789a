// What a Responses stream must be (C28 to C32 of the gateway notes), judged event by event, and upstream streams to play.

type Event = { type: string; sequence_number: number } & Record<string, unknown>
// biome-ignore lint/suspicious/noExplicitAny: a strict reader of loose JSON
type Loose = any

/** The events of an SSE text. Throws when a block's `event:` is not its data's `type`. */
export function eventsOf(text: string): Event[] {
  const events: Event[] = []
  for (const block of text.split('\n\n')) {
    const lines = block.split('\n')
    const data = lines.find((line) => line.startsWith('data: '))?.slice(6)
    if (data === undefined || data === '[DONE]') continue
    const event = JSON.parse(data)
    const name = lines.find((line) => line.startsWith('event: '))?.slice(7)
    if (name !== event.type) throw new Error(`event: ${name} carries ${event.type}`)
    events.push(event)
  }
  return events
}

/** Every rule that the SDKs hold a stream to; returns the first that is broken, or undefined. */
export function brokenRule(events: Event[]): string | undefined {
  const items: Loose[] = []
  const open = new Set<number>()
  const parts = new Map<string, { text: string; done: boolean }>()
  for (const [i, event] of events.entries()) {
    const it: Loose = event
    if (it.sequence_number !== i) return `sequence_number ${it.sequence_number} at ${i}`
    if (i === 0 && it.type !== 'response.created') return `begins with ${it.type}`
    if (i === 1 && it.type !== 'response.in_progress') return `goes on with ${it.type}`
    const key = `${it.item_id} ${it.content_index}`
    if (it.type === 'response.output_item.added') {
      if (it.output_index !== items.length) return `item ${it.output_index} of ${items.length}`
      if (!it.item.id || it.item.status !== 'in_progress') return 'an item without id or status'
      if (it.item.type === 'function_call' && !(it.item.call_id && it.item.name))
        return 'no call_id'
      items.push(it.item)
      open.add(it.output_index)
    } else if (it.type === 'response.output_item.done') {
      const added = items[it.output_index]
      if (added?.id !== it.item.id || added?.type !== it.item.type) return 'another item is done'
      if (!open.delete(it.output_index)) return 'an item is done twice'
    } else if (it.item_id !== undefined) {
      if (items[it.output_index]?.id !== it.item_id) return `${it.type} of an unknown item`
      if (!open.has(it.output_index)) return `${it.type} of an item that is done`
      if (it.type === 'response.content_part.added') parts.set(key, { text: '', done: false })
      else if (/text\.delta|refusal\.delta/.test(it.type)) {
        const part = parts.get(key)
        if (!part) return `${it.type} without its part`
        part.text += it.delta
      } else if (/text\.done|refusal\.done/.test(it.type)) {
        if (parts.get(key)?.text !== (it.text ?? it.refusal)) return `${it.type} with another text`
      }
    }
  }
  const last: Loose = events.at(-1)
  if (!/^response\.(completed|incomplete|failed)$/.test(last?.type))
    return `ends with ${last?.type}`
  if (open.size > 0) return 'an item is never done'
  const ids = last.response.output.map((item: Loose) => item.id)
  if (ids.join() !== items.map((item) => item.id).join()) return 'the closing event has other items'
  return undefined
}

/** The members that the SDKs call required. */
export const requiredOfResponse = [
  'id',
  'object',
  'created_at',
  'error',
  'incomplete_details',
  'instructions',
  'model',
  'tools',
  'output',
  'parallel_tool_calls',
  'metadata',
  'tool_choice',
  'temperature',
  'top_p',
]

export function event(type: string, members: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...members })}\n\n`
}

export const message = (text: string, status = 'completed') => ({
  id: 'msg_1',
  type: 'message',
  status,
  role: 'assistant',
  content: text === '' ? [] : [{ type: 'output_text', text, annotations: [], logprobs: [] }],
})

export function response(output: object[], more: object = {}): Record<string, unknown> {
  return {
    id: 'resp_1',
    object: 'response',
    created_at: 1_760_000_000,
    status: 'completed',
    error: null,
    incomplete_details: null,
    instructions: null,
    model: 'gpt-4o-mini-2024-07-18',
    output,
    parallel_tool_calls: true,
    temperature: 1,
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
    metadata: {},
    usage: {
      input_tokens: 9,
      input_tokens_details: { cached_tokens: 2 },
      output_tokens: 4,
      output_tokens_details: { reasoning_tokens: 1 },
      total_tokens: 13,
    },
    ...more,
  }
}

/** A stream as OpenAI sends it, in its pieces; the last one closes it. */
export function streamOf(text: string, closing = response([message(text)])): string[] {
  const at = { item_id: 'msg_1', output_index: 0, content_index: 0 }
  const part = { type: 'output_text', text: '', annotations: [], logprobs: [] }
  const started = response([], { status: 'in_progress', usage: null })
  const bodies: [string, object][] = [
    ['response.created', { response: started }],
    ['response.in_progress', { response: started }],
    ['response.output_item.added', { output_index: 0, item: message('', 'in_progress') }],
    ['response.content_part.added', { ...at, part }],
    ...[...text].map((delta): [string, object] => [
      'response.output_text.delta',
      { ...at, delta, logprobs: [] },
    ]),
    ['response.output_text.done', { ...at, text, logprobs: [] }],
    ['response.content_part.done', { ...at, part: { ...part, text } }],
    ['response.output_item.done', { output_index: 0, item: message(text) }],
    [`response.${closing.status}`, { response: closing }],
  ]
  return bodies.map(([type, members], i) => event(type, { sequence_number: i, ...members }))
}
