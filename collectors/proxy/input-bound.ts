// The most that a request can be read as, in tokens, so that what is reserved for a call is never less than it uses.

import type { JsonObject, Operation } from './operation.ts'
import { asText } from './plain.ts'
import type { Upload } from './upload.ts'
import { isObject } from './usage.ts'

// More than any model of today counts for one image at its highest resolution.
const imageTokensMax = 16_384
// A second of sound is some ten tokens, and at least a thousand bytes of any coding: with a margin of two.
const soundBytesPerToken = 50
const imageUrl = /^data:image\/[\w.+-]+;base64,/
// Tools whose calls are the caller's own; with any other the upstream reads what it finds.
const ownTools = new Set(['function', 'custom'])
// Members that name what the upstream has, or fetches, besides the body.
const elsewhere = ['previous_response_id', 'conversation', 'web_search_options'] as const

export type InputBound = {
  tokens: number
  /** True when more is read than the body has: then only the model's context is a bound. */
  isOpen: boolean
}

/**
 * No tokenizer makes more tokens than there are bytes. An image is counted by the most it can be, in place of its bytes or its
 * address; only where an upstream takes it for one: the same words in a text are text.
 */
export function inputBound(body: Buffer, request: JsonObject, operation: Operation): InputBound {
  let tokens = body.length
  let isOpen =
    elsewhere.some((name) => request[name] !== undefined && request[name] !== null) ||
    (operation.passesPrompt && isObject(request.prompt)) ||
    toolsOf(request).some((tool) => !isObject(tool) || !ownTools.has(asText(tool.type)))
  for (const part of partsOf(request)) {
    isOpen ||= isElsewhere(part)
    const url = imageOf(part)
    if (url !== undefined) tokens += beyondBytes(url)
  }
  if (operation.readsPictures) for (const url of picturesOf(request)) tokens += beyondBytes(url)
  return { tokens, isOpen }
}

/** Of a form: its texts by their bytes, its files as what the operation reads them as. */
export function uploadBound({ bytes, fields, files }: Upload, operation: Operation): InputBound {
  let textBytes = 0
  for (const [, text] of fields) textBytes += Buffer.byteLength(text)
  const ofFiles = operation.readsPictures
    ? files.length * imageTokensMax
    : Math.ceil((bytes - textBytes) / soundBytesPerToken)
  return { tokens: textBytes + ofFiles, isOpen: false }
}

/** What an image is beyond its address, or in place of its bytes. */
function beyondBytes(url: string): number {
  return imageTokensMax - (imageUrl.test(url) ? Buffer.byteLength(url) : 0)
}

/** The addresses of the pictures that are to be changed; '' of one that has none. */
function picturesOf({ image, images, mask }: JsonObject): string[] {
  const given = [image, images, mask].flat().filter((it) => it !== undefined && it !== null)
  return given.map((it) => {
    const url = isObject(it) ? it.image_url : it
    return typeof url === 'string' ? url : ''
  })
}

function toolsOf({ tools }: JsonObject): unknown[] {
  return Array.isArray(tools) ? tools : []
}

/** Items, and the parts of their contents and outputs. */
function* partsOf(request: JsonObject): Generator<JsonObject> {
  for (const list of [request.messages, request.input]) {
    if (!Array.isArray(list)) continue
    for (const item of list) {
      if (!isObject(item)) continue
      yield item
      for (const inner of [item.content, item.output]) {
        if (isObject(inner)) yield inner
        else if (Array.isArray(inner)) yield* inner.filter(isObject)
      }
    }
  }
}

/** The address of an image that the part is; bytes stand in a data URL. */
function imageOf({ type, image_url: image }: JsonObject): string | undefined {
  if (type !== 'image_url' && type !== 'input_image' && type !== 'computer_screenshot')
    return undefined
  const url = isObject(image) ? image.url : image
  return typeof url === 'string' ? url : undefined
}

function isElsewhere({ type, file_id, file_url, file }: JsonObject): boolean {
  const inner = isObject(file) ? file.file_id : undefined
  return type === 'item_reference' || file_id != null || file_url != null || inner != null
}
