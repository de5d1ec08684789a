// The sandbox on /completions and /embeddings.

import { createHash } from 'node:crypto'
import { estimateTokens } from '../usage.ts'
import { clip, events, json, type Replier, readRequest } from './reply.ts'

const promptCharsMax = 400
const choicesMax = 8
const bytesPerToken = 4
const dimensionsElse = 256
const dimensionsMax = 4096
const inputsMax = 2048

/** Repeats the prompt and says what it is; `echo` puts the prompt before, `suffix` is quoted. */
export const completions: Replier = (request) => {
  const { asked, digest } = readRequest(request)
  const choices = asked.n ?? 1
  if (typeof choices !== 'number' || !(choices >= 1 && choices <= choicesMax)) {
    return { mistake: `[sandbox] n must be 1 to ${choicesMax}.` }
  }
  const prompt = textOf(asked.prompt)
  const suffix = typeof asked.suffix === 'string' ? ` Before: "${clip(asked.suffix, 80)}"` : ''
  const said = limit(
    ` [sandbox] No model was called. Prompt: "${clip(prompt, promptCharsMax)}"${suffix}`,
    asked.max_tokens,
  )
  const text = asked.echo === true ? prompt + said.text : said.text
  const head = {
    id: `cmpl-sandbox-${digest}`,
    object: 'text_completion',
    created: 0,
    model: String(asked.model),
    system_fingerprint: 'sandbox',
  }
  const inputTokens = estimateTokens(prompt)
  const outputTokens = choices * estimateTokens(text)
  const usage = {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
  }
  const all = (piece: string, finish: string | null) =>
    Array.from({ length: choices }, (_, index) => ({
      index,
      text: piece,
      logprobs: null,
      finish_reason: finish,
    }))
  if (asked.stream !== true) {
    return json({ ...head, choices: all(text, said.finish), usage }, digest)
  }
  const wantsUsage = JSON.stringify(asked.stream_options ?? {}).includes('"include_usage":true')
  const chunks: object[] = (text.match(/\S+\s*|\s+/g) ?? []).map((piece) => ({
    ...head,
    choices: all(piece, null),
  }))
  chunks.push({ ...head, choices: all('', said.finish) })
  if (wantsUsage) chunks.push({ ...head, choices: [], usage })
  return events(
    [...chunks.map((it) => `data: ${JSON.stringify(it)}\n\n`), 'data: [DONE]\n\n'],
    digest,
  )
}

/** Vectors of length one that follow from the text alone. */
export const embeddings: Replier = (request) => {
  const { asked, digest } = readRequest(request)
  const inputs =
    Array.isArray(asked.input) && typeof asked.input[0] !== 'number' ? asked.input : [asked.input]
  const size = asked.dimensions ?? dimensionsElse
  if (inputs.length === 0 || inputs.length > inputsMax) {
    return { mistake: `[sandbox] input must have 1 to ${inputsMax} texts.` }
  }
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 1 || size > dimensionsMax) {
    return { mistake: `[sandbox] dimensions must be 1 to ${dimensionsMax}.` }
  }
  const texts = inputs.map(textOf)
  const tokens = texts.reduce((sum, text) => sum + estimateTokens(text), 0)
  const data = texts.map((text, index) => {
    const vector = vectorOf(text, size)
    const embedding =
      asked.encoding_format === 'base64'
        ? Buffer.from(vector.buffer).toString('base64')
        : Array.from(vector)
    return { object: 'embedding', index, embedding }
  })
  const usage = { prompt_tokens: tokens, total_tokens: tokens }
  return json({ object: 'list', model: String(asked.model), data, usage }, digest)
}

function vectorOf(text: string, size: number): Float32Array<ArrayBuffer> {
  const vector = new Float32Array(size)
  const seed = createHash('sha256').update(text).digest()
  let block = seed
  for (let i = 0; i < size; i++) {
    if (i % 16 === 0 && i > 0) block = createHash('sha256').update(seed).update(String(i)).digest()
    vector[i] = block.readInt16LE((i % 16) * 2)
  }
  const length = Math.hypot(...vector) || 1
  return vector.map((value) => value / length)
}

function limit(text: string, tokensMax: unknown): { text: string; finish: 'stop' | 'length' } {
  if (typeof tokensMax !== 'number' || estimateTokens(text) <= tokensMax) {
    return { text, finish: 'stop' }
  }
  const cut = Buffer.from(text).subarray(0, Math.max(0, Math.floor(tokensMax)) * bytesPerToken)
  // A character cut in half at the end is left out.
  return { text: cut.toString().replace(/\uFFFD$/, ''), finish: 'length' }
}

function textOf(given: unknown): string {
  if (typeof given === 'string') return given
  if (Array.isArray(given) && typeof given[0] === 'string') return given.join('\n')
  return JSON.stringify(given) ?? ''
}
