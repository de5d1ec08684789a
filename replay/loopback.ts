// One call of our own /v1, as any client makes it: over loopback HTTP, captured, priced and signed like all traffic, and marked
// as a replay by a token that only this process knows.

import { randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'
import type { ArmRequest, CallAnswer } from '../schemas/replay.ts'
import type { Usage } from '../schemas/run.ts'

// Judging holds the process for a second a megabyte; no answer that a person reads is that long.
const answerBytesMax = 1024 * 1024
const tooLarge = 'The answer is too large to judge.'
const deadlineMs = 120_000
// A provider that is busy is asked again, a little later each time; then the pair is given up.
const attemptsMax = 4
const firstWaitMs = 400
const waitMaxMs = 10_000
const socketsMax = 32
const conflict = 409

export type LoopbackCall = {
  workspace: string
  request: ArmRequest
  /** The same for the same call: a gateway that has answered it before may give that answer again. */
  idempotencyKey: string
  sessionId: string
  routeId: string
  signal: AbortSignal
}

export type EmbedCall = { workspace: string; model: string; texts: string[]; signal: AbortSignal }

export type Loopback = {
  chat(call: LoopbackCall): Promise<CallAnswer>
  /** One vector a text, in order, and what they cost to make; rejects when the model cannot. */
  embed(call: EmbedCall): Promise<{ vectors: number[][]; usage: Usage | null }>
  close(): void
}

export function openLoopback(at: { url: () => string; token: string }): Loopback {
  const agent = new Agent({ keepAlive: true, maxSockets: socketsMax })

  async function post(path: string, body: unknown, options: PostOptions): Promise<Reply> {
    const payload = Buffer.from(JSON.stringify(body))
    return new Promise((resolve, reject) => {
      const sent = request(
        new URL(path, at.url()),
        {
          method: 'POST',
          agent,
          signal: AbortSignal.any([options.signal, AbortSignal.timeout(deadlineMs)]),
          headers: {
            'content-type': 'application/json',
            'content-length': payload.length,
            authorization: `Bearer ${at.token}`,
            'x-batchin-workspace': options.workspace,
            'x-batchin-origin': 'replay',
            ...options.headers,
          },
        },
        (response) => {
          const chunks: Buffer[] = []
          let size = 0
          response.on('data', (chunk: Buffer) => {
            size += chunk.length
            if (size > answerBytesMax) sent.destroy(new Error(tooLarge))
            else chunks.push(chunk)
          })
          response.on('error', reject)
          response.on('end', () => {
            const runId = response.headers['x-batchin-run-id']
            resolve({
              status: response.statusCode ?? 0,
              retryAfterS: Number(response.headers['retry-after'] ?? 0),
              runId: typeof runId === 'string' ? runId : null,
              text: Buffer.concat(chunks).toString(),
            })
          })
        },
      )
      sent.on('error', reject)
      sent.end(payload)
    })
  }

  async function once(call: LoopbackCall): Promise<{ answer: CallAnswer; retryAfterS?: number }> {
    const startedAt = performance.now()
    const { model, messages, parameters } = call.request
    const headers = {
      'idempotency-key': call.idempotencyKey,
      'x-batchin-session-id': call.sessionId,
      ...(call.routeId === '' ? {} : { 'x-batchin-route': call.routeId }),
    }
    const body = { ...parameters, model, messages, stream: false }
    try {
      const reply = await post('/v1/chat/completions', body, { ...call, headers })
      const latencyMs = performance.now() - startedAt
      if (reply.status !== 200) {
        const answer = { kind: 'failed' as const, status: reply.status, message: says(reply.text) }
        return { answer, retryAfterS: reply.retryAfterS }
      }
      return { answer: toAnswer(reply, latencyMs) }
    } catch (error) {
      // Whoever stopped us decides what becomes of the call; a broken one is another attempt's.
      if (call.signal.aborted) throw error
      const message = error instanceof Error ? error.message : String(error)
      // Too large an answer is one all the same: asked again it would be as large, and paid for again.
      return { answer: { kind: 'failed', status: message === tooLarge ? 200 : null, message } }
    }
  }

  return {
    async chat(call) {
      let { idempotencyKey } = call
      for (let attempt = 1; ; attempt++) {
        const { answer, retryAfterS = 0 } = await once({ ...call, idempotencyKey })
        // Our lease says that whoever began this call is dead; the gateway will believe it a minute from now. An answer that was
        // kept under the first key has been given by then; one that was not is asked for anew.
        if (answer.kind === 'failed' && answer.status === conflict) {
          idempotencyKey = `${call.idempotencyKey}-${randomUUID()}`
        }
        if (answer.kind === 'answered' || !mayRetry(answer.status) || attempt === attemptsMax) {
          return answer
        }
        const wait = Math.max(retryAfterS * 1000, firstWaitMs * 2 ** attempt)
        await pause(Math.min(wait, waitMaxMs), call.signal)
      }
    },
    async embed({ workspace, model, texts, signal }) {
      const body = { model, input: texts, encoding_format: 'float' }
      const reply = await post('/v1/embeddings', body, { workspace, signal, headers: {} })
      if (reply.status !== 200) throw new Error(`Embeddings: ${says(reply.text)}`)
      const answered = parse(reply.text)
      return {
        vectors: toVectors(answered, texts.length),
        usage: isObject(answered) ? toUsage(answered.usage) : null,
      }
    },
    close: () => agent.destroy(),
  }
}

type PostOptions = { workspace: string; signal: AbortSignal; headers: Record<string, string> }
type Reply = { status: number; retryAfterS: number; runId: string | null; text: string }

function mayRetry(status: number | null): boolean {
  return status === null || status === conflict || status === 429 || status >= 500
}

/** Resolves after the time; rejects when the signal aborts first. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop)
      resolve()
    }, ms)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}

function toAnswer({ text, runId }: Reply, latencyMs: number): CallAnswer {
  const body = parse(text)
  const choice = isObject(body) && Array.isArray(body.choices) ? body.choices[0] : undefined
  const message = isObject(choice) && isObject(choice.message) ? choice.message : undefined
  if (!isObject(body) || !isObject(choice) || message === undefined) {
    return { kind: 'failed', status: 200, message: 'The answer is no chat completion.' }
  }
  return {
    kind: 'answered',
    output: toOutput(message, choice.finish_reason),
    message: { ...message, role: 'assistant' },
    latencyMs,
    usage: toUsage(body.usage),
    modelServed: typeof body.model === 'string' ? body.model : null,
    runId,
  }
}

/** The text (a refusal is one too) and the calls of an assistant's message. */
export function toOutput(message: Record<string, unknown>, finishReason: unknown) {
  const { content, refusal, tool_calls: calls } = message
  const texts = Array.isArray(content)
    ? content.map((part) => (isObject(part) && typeof part.text === 'string' ? part.text : ''))
    : [typeof content === 'string' ? content : '']
  return {
    text: texts.join('\n') || (typeof refusal === 'string' ? refusal : ''),
    toolCalls: (Array.isArray(calls) ? calls : []).flatMap((call) => {
      const called = isObject(call) && isObject(call.function) ? call.function : undefined
      if (called === undefined) return []
      return [{ name: String(called.name ?? ''), arguments: String(called.arguments ?? '') }]
    }),
    finishReason: typeof finishReason === 'string' ? finishReason : null,
  }
}

function toUsage(given: unknown): Usage | null {
  if (!isObject(given)) return null
  const count = (value: unknown) => (typeof value === 'number' && value >= 0 ? value : 0)
  const input = isObject(given.prompt_tokens_details) ? given.prompt_tokens_details : {}
  const output = isObject(given.completion_tokens_details) ? given.completion_tokens_details : {}
  return {
    inputTokens: count(given.prompt_tokens),
    cachedTokens: count(input.cached_tokens),
    outputTokens: count(given.completion_tokens),
    reasoningTokens: count(output.reasoning_tokens),
    estimated: false,
  }
}

function toVectors(body: unknown, count: number): number[][] {
  const rows = isObject(body) && Array.isArray(body.data) ? body.data : []
  const vectors = rows.map((row) => (isObject(row) ? row.embedding : undefined))
  const isVector = (value: unknown): value is number[] =>
    Array.isArray(value) && value.every((one) => typeof one === 'number')
  if (vectors.length !== count || !vectors.every(isVector)) {
    throw new Error('Embeddings: the answer has another form than was asked for.')
  }
  return vectors
}

/** What an error body says, for people. */
function says(text: string): string {
  const body = parse(text)
  const error = isObject(body) && isObject(body.error) ? body.error.message : undefined
  return typeof error === 'string' ? error.slice(0, 500) : 'The call was refused.'
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
