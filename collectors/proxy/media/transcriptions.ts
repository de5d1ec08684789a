// The row of transcription: a form with a sound goes in, text comes out, as JSON, plain, with times, or as events.

import { Fault } from '../../../schemas/faults.ts'
import { type Completion, emptyCompletion, parseObject, readError, takeIds } from '../completion.ts'
import { receiveForm } from '../form-rows.ts'
import { isObjectText } from '../json-rows.ts'
import type { Asked, JsonObject, Operation, StreamTap } from '../operation.ts'
import { asSeconds } from '../plain.ts'
import { readResponseUsage } from '../responses/answer.ts'
import { readData } from '../streams/sse-blocks.ts'
import { breakTyped, closedBy, parseEvent } from '../streams/typed-events.ts'
import { isObject } from '../usage.ts'
import type { KeepMedia } from './refs.ts'
import { secondsAtMost, secondsOfCues, secondsOfWav } from './sound.ts'

const terminal = closedBy(new Set(['transcript.text.done']))
const textCharsMax = 8 * 1024 * 1024
const isJson = /^application\/([a-z0-9.-]+\+)?json\b/i

export const transcriptions: Operation = {
  name: 'generate_content',
  paths: ['/v1/audio/transcriptions'],
  upstreamPath: '/audio/transcriptions',
  accept: '*/*',
  receive: receiveForm,
  check,
  wantsStream: (request) => request.stream === 'true',
  namesPrompt: false,
  usageOnDemand: false,
  committedInput: ({ stream: _, ...kept }) => kept,
  keptInput: toKeptInput,
  keepsOutput: true,
  keptOutput: toKeptText,
  outputTokensMax: () => undefined,
  pieces: (asked, completion) => ({ audioSeconds: secondsOf(asked, completion) }),
  answerName: 'a transcription',
  readWhole: readTranscription,
  mayBeWhole: (body, contentType) =>
    isJson.test(contentType) ? isObjectText(body) : !/^text\/html/i.test(contentType),
  events: () => ({ tap: () => new TranscriptTap(), terminal, breakWith: breakTyped }),
}

function check(request: JsonObject): void {
  const { file, stream } = request
  if (!isObject(file)) {
    const message = file === undefined ? 'file is missing.' : 'file must be one file.'
    throw new Fault('invalid_request', { message, param: 'file' })
  }
  if (file.bytes === 0) {
    throw new Fault('invalid_request', { message: 'file is empty.', param: 'file' })
  }
  if (stream !== undefined && stream !== 'true' && stream !== 'false') {
    throw new Fault('invalid_request', {
      message: 'stream must be true or false.',
      param: 'stream',
    })
  }
}

/** The sound by what it is called, and the prompt that guided it. */
function toKeptInput({ file, prompt }: JsonObject): unknown {
  const content: JsonObject[] = []
  if (typeof prompt === 'string' && prompt !== '') content.push({ type: 'text', text: prompt })
  if (isObject(file)) content.push({ type: 'file', modality: 'audio', ...file })
  return [{ role: 'user', content }]
}

/** JSON, or the text itself in whatever form was asked for. */
function readTranscription(body: Buffer, contentType: string): Completion | undefined {
  const completion = emptyCompletion()
  if (!isJson.test(contentType)) {
    const text = body.toString()
    completion.output = { text }
    completion.hasContent = text !== ''
    return withSeconds(completion, asSeconds(secondsOfCues(text)))
  }
  const answer = parseObject(body)
  if (!answer || typeof answer.text !== 'string') return undefined
  takeIds(completion, answer)
  completion.output = answer
  completion.hasContent = answer.text !== ''
  const { usage } = answer
  completion.usage = readResponseUsage(usage)
  if (isObject(answer.error)) completion.error = readError(answer.error)
  const seconds = answer.duration ?? (isObject(usage) ? usage.seconds : undefined)
  return withSeconds(completion, asSeconds(seconds))
}

function withSeconds(completion: Completion, seconds: number | undefined): Completion {
  if (seconds !== undefined) completion.audioSeconds = seconds
  return completion
}

function toKeptText({ output }: Completion, _keep: KeepMedia): unknown {
  if (!isObject(output) || typeof output.text !== 'string') return undefined
  return { choices: [{ index: 0, message: { role: 'assistant', content: output.text } }] }
}

/** What the answer says; else what the file says; else the most that so many bytes can be, which is what was reserved. */
function secondsOf({ upload }: Asked, completion: Completion | undefined): number {
  const file = upload?.files.find(({ field }) => field === 'file')
  const said = completion?.audioSeconds ?? (file && secondsOfWav(file.head, file.ref.bytes))
  if (said !== undefined) return said
  return secondsAtMost(file?.ref.bytes ?? 0)
}

class TranscriptTap implements StreamTap {
  #text = ''
  #usage: unknown
  #error: Completion['error']
  #isCut = false
  malformed = 0
  started = false

  take(block: Buffer): void {
    const data = readData(block)
    const event = parseEvent(data)
    if (!event) {
      if (data !== undefined && data !== '' && data !== '[DONE]') this.malformed += 1
      return
    }
    if (isObject(event.error)) this.#error ??= readError(event.error)
    if (event.type === 'transcript.text.done') {
      if (typeof event.text === 'string') this.#text = event.text
      this.#usage = event.usage
    } else if (typeof event.delta === 'string') {
      this.started = true
      if (this.#text.length + event.delta.length <= textCharsMax) this.#text += event.delta
      else this.#isCut = true
    }
  }

  completion(): Completion {
    const completion = emptyCompletion()
    completion.output = { text: this.#text }
    completion.hasContent = this.#text !== ''
    completion.usage = readResponseUsage(this.#usage)
    completion.error = this.#error
    completion.cut = this.#isCut
    const seconds = isObject(this.#usage) ? asSeconds(this.#usage.seconds) : undefined
    return withSeconds(completion, seconds)
  }
}
