// Images, sounds and files inside messages, replaced by what they are called: a hash, a size, a type. Rows hold texts; the
// bytes go to the media store. What is committed to is the message as it was sent, not this copy.

import { asText } from '../plain.ts'
import { isObject } from '../usage.ts'
import type { MediaRef } from './store.ts'

/** Gives the reference of some bytes, and sees to it that they are kept. */
export type KeepMedia = (bytes: Buffer, mediaType: string) => MediaRef

type Fields = Record<string, unknown>

// Shorter than any picture; a test's tiny data URL is still replaced, because the rule is of the form and not of the size.
const dataUrl = /^data:([^;,]*)(?:;[^;,]*)*;base64,/
const headCharsMax = 256

/** Members that hold plain base64, by what they are a member of; the value is the type of what they hold. */
const base64Members: Record<string, (owner: Fields) => string | undefined> = {
  data: (owner) => {
    if (typeof owner.format === 'string') return `audio/${owner.format}`
    // As Anthropic's messages have it, which OpenAI-compatible upstreams of its models take too.
    return owner.type === 'base64' ? asText(owner.media_type) : undefined
  },
  file_data: () => 'application/octet-stream',
  b64_json: (owner) => `image/${asText(owner.output_format ?? 'png')}`,
  partial_image_b64: () => 'image/png',
  result: (owner) => (owner.type === 'image_generation_call' ? 'image/png' : undefined),
}

/** The same value when there is nothing to replace; else a copy of what had to change. */
export function withoutMedia(value: unknown, keep: KeepMedia): unknown {
  if (typeof value === 'string') return replaceDataUrl(value, keep) ?? value
  if (Array.isArray(value)) return mapList(value, keep)
  return isObject(value) ? mapObject(value, keep) : value
}

function mapList(list: unknown[], keep: KeepMedia): unknown[] {
  let copy: unknown[] | undefined
  for (let i = 0; i < list.length; i++) {
    const changed = withoutMedia(list[i], keep)
    if (changed === list[i]) continue
    copy ??= [...list]
    copy[i] = changed
  }
  return copy ?? list
}

function mapObject(owner: Fields, keep: KeepMedia): Fields {
  let copy: Fields | undefined
  for (const name of Object.keys(owner)) {
    const value = owner[name]
    const changed = replaceMember(owner, name, keep) ?? withoutMedia(value, keep)
    if (changed === value) continue
    copy ??= { ...owner }
    copy[name] = changed
  }
  return copy ?? owner
}

function replaceMember(owner: Fields, name: string, keep: KeepMedia): MediaRef | undefined {
  const value = owner[name]
  if (typeof value !== 'string' || !Object.hasOwn(base64Members, name)) return undefined
  const mediaType = base64Members[name]?.(owner)
  if (mediaType === undefined || value.startsWith('data:') || !isBase64(value)) return undefined
  return keep(Buffer.from(value, 'base64'), mediaType)
}

function replaceDataUrl(text: string, keep: KeepMedia): MediaRef | undefined {
  if (!text.startsWith('data:')) return undefined
  const head = dataUrl.exec(text.slice(0, headCharsMax))
  if (!head) return undefined
  const mediaType = head[1] || 'text/plain'
  return keep(Buffer.from(text.slice(head[0].length), 'base64'), mediaType)
}

/** By its beginning: to look at megabytes for one wrong character would cost more than it tells. */
function isBase64(text: string): boolean {
  return /^[A-Za-z0-9+/_-]+={0,2}$/.test(text.slice(0, headCharsMax))
}
