// The rows of pictures: made from a text, or from a text and other pictures. Those that come out are committed to by their hashes, and kept in the media store, never in rows.

import { createHash } from 'node:crypto'
import { Fault } from '../../../schemas/faults.ts'
import type { Call } from '../call.ts'
import { type Completion, emptyCompletion, parseObject, readError, takeIds } from '../completion.ts'
import { receiveFormOrJson } from '../form-rows.ts'
import { json, needs } from '../json-rows.ts'
import type { EventStream, JsonObject, Operation, StreamTap } from '../operation.ts'
import { asNumber, asText } from '../plain.ts'
import { readResponseUsage } from '../responses/answer.ts'
import { doneTerminal, readData } from '../streams/sse-blocks.ts'
import { breakTyped, closedBy, parseEvent } from '../streams/typed-events.ts'
import { isObject } from '../usage.ts'
import type { KeepMedia } from './refs.ts'

const completedTypes = new Set(['image_generation.completed', 'image_edit.completed'])
// Of one call; no API makes more.
const imagesMax = 64

export const images: Operation = {
  ...json,
  name: 'generate_content',
  paths: ['/v1/images', '/v1/images/generations'],
  upstreamPath: '/images/generations',
  check: (request) => needs(request, 'prompt'),
  namesPrompt: false,
  usageOnDemand: false,
  keptInput: (request) => request.prompt,
  keepsOutput: true,
  keptOutput: toKeptImages,
  outputTokensMax: () => undefined,
  pieces: ({ request }, completion) => ({ images: countOf(completion) ?? countAsked(request) }),
  answerName: 'a list of images',
  readWhole: readImages,
  events: toEvents,
}

/** From a form with its pictures, or JSON that says where they are. */
export const imageEdits: Operation = {
  ...images,
  paths: ['/v1/images/edits'],
  upstreamPath: '/images/edits',
  receive: receiveFormOrJson,
  readsPictures: true,
  check: checkEdit,
  wantsStream: ({ stream }) => stream === true || stream === 'true',
  keptInput: toKeptEdit,
}

function checkEdit(request: JsonObject): void {
  needs(request, 'prompt')
  const { image, images: several, stream } = request
  if (image == null && several == null)
    throw new Fault('invalid_request', { message: 'image is missing.', param: 'image' })
  if (stream == null || typeof stream === 'boolean' || stream === 'true' || stream === 'false')
    return
  const message = 'stream must be true or false.'
  throw new Fault('invalid_request', { message, param: 'stream' })
}

/** The prompt, and the pictures of a form by their hashes. */
function toKeptEdit({ prompt, image, mask }: JsonObject): unknown {
  const files = [image, mask].flat().filter(isObject)
  const pictures = files
    .filter(({ sha256 }) => sha256 !== undefined)
    .map((file) => ({ type: 'file', modality: 'image', ...file }))
  return [{ role: 'user', content: [{ type: 'text', text: prompt }, ...pictures] }]
}

/** undefined when the body is no list of images. */
export function readImages(body: Buffer): Completion | undefined {
  const answer = parseObject(body)
  if (!answer || !Array.isArray(answer.data)) return undefined
  const completion = toCompletion(answer.data)
  takeIds(completion, answer)
  completion.usage = readResponseUsage(answer.usage)
  if (isObject(answer.error)) completion.error = readError(answer.error)
  return completion
}

function toCompletion(list: unknown[]): Completion {
  const completion = emptyCompletion()
  completion.whole = list
  completion.output = { data: list.map(toCommitted) }
  completion.hasContent = list.length > 0
  return completion
}

/** An image as it is committed to: where the answer has bytes, their hash and their number. */
function toCommitted(image: unknown): unknown {
  if (!isObject(image) || typeof image.b64_json !== 'string') return image
  const bytes = Buffer.from(image.b64_json, 'base64')
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  return { ...image, b64_json: { sha256, bytes: bytes.length } }
}

function toKeptImages(completion: Completion, keep: KeepMedia): unknown {
  const content = imagesOf(completion).map((image) => {
    const { b64_json: text, url, output_format: format } = image
    if (typeof text !== 'string') return { type: 'image_url', image_url: { url } }
    const ref = keep(Buffer.from(text, 'base64'), `image/${asText(format ?? 'png')}`)
    return { type: 'image_url', image_url: { url: ref } }
  })
  return { choices: [{ index: 0, message: { role: 'assistant', content } }] }
}

function imagesOf({ whole }: Completion): JsonObject[] {
  return Array.isArray(whole) ? whole.filter(isObject) : []
}

/** Undefined of an answer whose end nobody waited for: all that was asked for may be billed then. */
function countOf(completion: Completion | undefined): number | undefined {
  if (!completion || (completion.whole === undefined && !completion.error)) return undefined
  return imagesOf(completion).length
}

function countAsked({ n }: JsonObject): number {
  const count = asNumber(n)
  return count >= 1 ? Math.ceil(count) : 1
}

/** One picture ends with its own event; of several nobody says which is the last but `[DONE]`, or the end. */
function toEvents(call: Call): EventStream {
  const isOne = countAsked(call.request) === 1
  return {
    tap: () => new ImagesTap(),
    terminal: isOne ? closedBy(completedTypes) : doneTerminal,
    breakWith: breakTyped,
  }
}

class ImagesTap implements StreamTap {
  readonly #images: JsonObject[] = []
  #usage: unknown
  #error: Completion['error']
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
    this.started ||= typeof event.b64_json === 'string'
    if (!completedTypes.has(asText(event.type)) || this.#images.length >= imagesMax) return
    this.#images.push({ b64_json: event.b64_json, output_format: event.output_format })
    this.#usage = event.usage
  }

  completion(): Completion {
    const completion = toCompletion(this.#images)
    if (this.#images.length === 0) delete completion.whole
    completion.usage = readResponseUsage(this.#usage)
    completion.error = this.#error
    completion.hasContent ||= this.started
    return completion
  }
}
