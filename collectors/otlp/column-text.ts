// Text on its way into search columns: cut at a rune, without control characters in labels, previews out of messages.
// The raw span keeps everything; only what is searched and listed is shortened here.

import { toPlain } from '../../schemas/attribute-set.ts'
import { toMessages } from '../../schemas/conversation.ts'
import type { AnyValue } from '../../schemas/dialects.ts'
import type { StringColumn, TextColumn } from '../spool/native.ts'
import type { WireReader } from './wire-reader.ts'

/** Longest text of one search column or attribute value. */
export const columnTextBytesMax = 1024
const previewBytesMax = 256
// How far into a conversation we look for the text to preview; beyond it the preview shows the JSON itself.
const previewWindowBytes = 8192
// Contents that are lists of parts, passed over before giving up.
const contentTries = 4
/** The largest end within `max` bytes of `start` that does not split a rune. */
export function cutAtRune(bytes: Buffer, start: number, end: number, max: number): number {
  if (end - start <= max) return end
  let cut = start + max
  while (cut > start && (bytes[cut]! & 0xc0) === 0x80) cut--
  return cut
}

/** A name or id: at most 1 KiB, with spaces in place of control characters. */
export function pushLabel(
  column: TextColumn,
  { bytes, view }: WireReader,
  [start, end]: readonly [number, number],
): void {
  const cut = cutAtRune(bytes, start, end, columnTextBytesMax)
  if (hasControls(view, start, cut))
    column.pushText(bytes.toString('utf8', start, cut).replaceAll(/\p{Cc}/gu, ' '))
  else column.pushView(view, start, cut)
}

function hasControls(view: DataView, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const byte = view.getUint8(i)
    if (byte < 0x20 || byte === 0x7f) return true
  }
  return false
}

/** The first 256 bytes of a text; of a conversation in JSON, those of its last content. */
export function pushPreview(
  column: StringColumn,
  bytes: Buffer,
  [start, end]: readonly [number, number],
): void {
  const first = bytes[start]
  if (first === 0x5b || first === 0x7b) {
    const json = bytes.subarray(start, Math.min(end, start + previewWindowBytes))
    const content = findContent(json)
    if (content > 0 && pushJsonString(column, json, content)) return
  }
  column.pushBytes(bytes, start, cutAtRune(bytes, start, end, previewBytesMax))
}

/** The same of messages that came as structured values rather than as JSON. */
export function pushMessagesPreview(column: StringColumn, value: AnyValue, role: string): void {
  const content = toMessages(toPlain(value), role).at(-1)?.content ?? ''
  const text =
    typeof content === 'string'
      ? content
      : content.map((part) => (part.type === 'text' ? part.text : '')).join('')
  const bytes = Buffer.from(text.slice(0, previewBytesMax))
  column.pushBytes(bytes, 0, cutAtRune(bytes, 0, bytes.length, previewBytesMax))
}

const contentKeys = ['"content"', '"text"'].map((key) => Buffer.from(key))

/** Where the string after the last `"content":` or `"text":` starts; 0 when there is none. The JSON may be cut off. */
function findContent(json: Buffer): number {
  let best = 0
  for (const key of contentKeys) {
    let from = json.length
    // A content that is a list of parts has its text further on, under the other key.
    for (let tries = 0; tries < contentTries; tries++) {
      const at = json.lastIndexOf(key, from)
      if (at < 0) break
      let value = at + key.length
      while (json[value] === 0x3a || json[value] === 0x20 || json[value] === 0x0a) value++
      if (json[value] === 0x22) {
        best = Math.max(best, value + 1)
        break
      }
      if (at === 0) break
      from = at - 1
    }
  }
  return best
}

/** Pushes the string's first 256 bytes; false when it turns out not to be JSON. */
function pushJsonString(column: StringColumn, json: Buffer, start: number): boolean {
  let at = start
  let escaped = false
  for (let made = 0; made < previewBytesMax && at < json.length; made++) {
    const byte = json[at]!
    if (byte === 0x22) break
    if (byte === 0x5c) {
      const size = json[at + 1] === 0x75 ? 6 : 2
      if (at + size > json.length) break
      escaped = true
      at += size
    } else at += 1
  }
  const end = cutAtRune(json, start, json.length, at - start)
  if (!escaped) {
    column.pushBytes(json, start, end)
    return true
  }
  try {
    const text: unknown = JSON.parse(`"${json.toString('utf8', start, end)}"`)
    const bytes = Buffer.from(String(text))
    column.pushBytes(bytes, 0, cutAtRune(bytes, 0, bytes.length, previewBytesMax))
    return true
  } catch {
    // Not JSON after all: a text that merely looks like it is shown as it is.
    return false
  }
}
