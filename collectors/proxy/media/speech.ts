// The row of speech: bytes that pass as they come, or events with pieces of the sound. Committed to by its hash.

import type { Call } from '../call.ts'
import { type Completion, emptyCompletion, readError } from '../completion.ts'
import { json, needs } from '../json-rows.ts'
import type { Operation, StreamTap } from '../operation.ts'
import { asText } from '../plain.ts'
import { readResponseUsage } from '../responses/answer.ts'
import { readData } from '../streams/sse-blocks.ts'
import { breakTyped, closedBy, parseEvent } from '../streams/typed-events.ts'
import { isObject } from '../usage.ts'
import type { MediaPiece, MediaRef } from './store.ts'

const terminal = closedBy(new Set(['speech.audio.done']))

const mediaTypes: Record<string, string> = {
  mp3: 'audio/mpeg',
  opus: 'audio/ogg',
  aac: 'audio/aac',
  flac: 'audio/flac',
  wav: 'audio/wav',
  pcm: 'audio/pcm',
}

export const speech: Operation = {
  ...json,
  name: 'generate_content',
  paths: ['/v1/audio/speech'],
  upstreamPath: '/audio/speech',
  accept: 'application/octet-stream',
  check: (request) => needs(request, 'input'),
  wantsStream: (request) => request.stream_format === 'sse',
  namesPrompt: false,
  usageOnDemand: false,
  keptInput: (request) => request.input,
  keepsOutput: true,
  keptOutput: toKeptSound,
  outputTokensMax: () => undefined,
  // By code points, as providers bill them.
  pieces: ({ request: { input } }) =>
    typeof input === 'string' ? { characters: Array.from(input).length } : undefined,
  answerName: 'a sound',
  // Sounds pass; what is held is an error, or JSON that is none.
  readWhole: () => undefined,
  passesBytes: true,
  events: (call) => ({ tap: () => new SpeechTap(call), terminal, breakWith: breakTyped }),
}

/** Of an output `{media}`; the store has the bytes already. */
function toKeptSound({ output }: Completion): unknown {
  if (!isObject(output) || !isObject(output.media)) return undefined
  const { sha256, bytes, media_type } = output.media
  const content = [{ type: 'file', modality: 'audio', sha256, bytes, media_type }]
  return { choices: [{ index: 0, message: { role: 'assistant', content } }] }
}

/** Puts the sound together again, in the media store; only its hash is held here. */
class SpeechTap implements StreamTap {
  readonly #call: Call
  #piece: MediaPiece | undefined
  #media: MediaRef | undefined
  #usage: unknown
  #error: Completion['error']
  malformed = 0
  started = false

  constructor(call: Call) {
    this.#call = call
  }

  take(block: Buffer): void {
    const data = readData(block)
    const event = parseEvent(data)
    if (!event) {
      if (data !== undefined && data !== '' && data !== '[DONE]') this.malformed += 1
      return
    }
    if (isObject(event.error)) this.#error ??= readError(event.error)
    if (event.type === 'speech.audio.done') this.#usage = event.usage
    else if (typeof event.audio === 'string') {
      const { deps, caller } = this.#call
      this.started = true
      this.#piece ??= deps.media.begin(caller.workspace)
      this.#piece.write(Buffer.from(event.audio, 'base64'))
    }
  }

  completion(): Completion {
    const completion = emptyCompletion()
    const media = this.#seal()
    if (media) completion.output = { media }
    completion.hasContent = this.started
    completion.usage = readResponseUsage(this.#usage)
    completion.error = this.#error
    return completion
  }

  /** Asked more than once at the end of a stream; named once. */
  #seal(): MediaRef | undefined {
    if (this.#media || !this.#piece) return this.#media
    const { request, capture } = this.#call
    this.#media = this.#piece.name(
      mediaTypes[asText(request.response_format ?? 'mp3')] ?? 'audio/mpeg',
    )
    if (capture === 'full') this.#piece.keep()
    else this.#piece.discard()
    return this.#media
  }
}
