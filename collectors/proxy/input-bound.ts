// The most that a request can be read as, in tokens, so that what is reserved for a call is never less than it uses.

import type { JsonObject } from './operation.ts'
import { asText } from './plain.ts'
import { isObject } from './usage.ts'

// More than any model of today counts for one image at its highest resolution.
const imageTokensMax = 16_384
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
export function inputBound(body: Buffer, request: JsonObject, passesPrompt: boolean): InputBound {
  let tokens = body.length
  let isOpen =
    elsewhere.some((name) => request[name] !== undefined && request[name] !== null) ||
    (passesPrompt && isObject(request.prompt)) ||
    toolsOf(request).some((tool) => !isObject(tool) || !ownTools.has(asText(tool.type)))
  for (const part of partsOf(request)) {
    isOpen ||= isElsewhere(part)
    const url = imageOf(part)
    if (url === undefined) continue
    tokens += imageTokensMax - (imageUrl.test(url) ? Buffer.byteLength(url) : 0)
  }
  return { tokens, isOpen }
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
