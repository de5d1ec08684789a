// Text on its way into search columns: cut at a rune, without control characters in labels, previews out of messages.
// The raw span keeps everything; only what is searched and listed is shortened here.

import type { StringColumn } from '../spool/native.ts'

/** Longest text of one search column or attribute value. */
export const columnTextBytesMax = 1024
const previewBytesMax = 256
// How far into a conversation we look for the text to preview; beyond it the preview shows the JSON itself.
const previewWindowBytes = 8192
// A JSON escape is at most six bytes for one of text, but mostly there are few.
const previewSourceBytesMax = 3 * previewBytesMax

/** The largest end within `max` bytes of `start` that does not split a rune. */
export function cutAtRune(bytes: Buffer, start: number, end: number, max: number): number {
  if (end - start <= max) return end
  let cut = start + max
  while (cut > start && (bytes[cut]! & 0xc0) === 0x80) cut--
  return cut
}

/** A name or id: at most 1 KiB, with spaces in place of control characters. */
export function pushLabel(column: StringColumn, bytes: Buffer, start: number, end: number): void {
  const cut = cutAtRune(bytes, start, end, columnTextBytesMax)
  for (let i = start; i < cut; i++) {
    const byte = bytes[i]!
    if (byte >= 0x20 && byte !== 0x7f) continue
    column.pushText(bytes.toString('utf8', start, cut).replaceAll(/\p{Cc}/gu, ' '))
    return
  }
  column.pushBytes(bytes, start, cut)
}

/** The first 256 bytes of a text; of a conversation in JSON, those of its last content. */
export function pushPreview(column: StringColumn, bytes: Buffer, start: number, end: number): void {
  const first = bytes[start]
  const content =
    first === 0x5b || first === 0x7b
      ? findContent(bytes.subarray(start, Math.min(end, start + previewWindowBytes)))
      : undefined
  if (content === undefined) {
    column.pushBytes(bytes, start, cutAtRune(bytes, start, end, previewBytesMax))
    return
  }
  const text = Buffer.from(content)
  column.pushBytes(text, 0, cutAtRune(text, 0, text.length, previewBytesMax))
}

const contentKeys = ['"content"', '"text"'].map((key) => Buffer.from(key))

/** The string after the last `"content":` or `"text":` of some JSON, which may be cut off anywhere. */
function findContent(json: Buffer): string | undefined {
  let best = -1
  for (const key of contentKeys) {
    let from = json.length
    // A content that is a list of parts has its text further on, under the other key.
    for (let tries = 0; tries < 4; tries++) {
      const at = json.lastIndexOf(key, from)
      if (at < 0) break
      const value = skipToValue(json, at + key.length)
      if (json[value] === 0x22 && value > best) best = value
      if (json[value] === 0x22 || at === 0) break
      from = at - 1
    }
  }
  return best < 0 ? undefined : readJsonString(json, best + 1)
}

function skipToValue(json: Buffer, start: number): number {
  let at = start
  while (at < json.length && (json[at] === 0x3a || json[at] === 0x20 || json[at] === 0x0a)) at++
  return at
}

function readJsonString(json: Buffer, start: number): string | undefined {
  const last = Math.min(json.length, start + previewSourceBytesMax)
  let at = start
  while (at < last && json[at] !== 0x22) {
    const size = json[at] === 0x5c ? (json[at + 1] === 0x75 ? 6 : 2) : 1
    if (at + size > last) break
    at += size
  }
  try {
    const text: unknown = JSON.parse(
      `"${json.toString('utf8', start, cutAtRune(json, start, json.length, at - start))}"`,
    )
    return typeof text === 'string' ? text : undefined
  } catch {
    // Not JSON after all: a text that merely looks like it is shown as it is.
    return undefined
  }
}
