// Small changes to a JSON body without encoding it again: big integers, key order and spelling stay as the client sent them.
// Works on bytes that JSON.parse has already accepted as an object; it trusts their form.

import { closingQuote } from '../json-body.ts'

export type Member = {
  name: string
  /** Of the name's opening quote. */
  start: number
  valueStart: number
  /** One past the last byte of the value. */
  valueEnd: number
}

type Edit = { start: number; end: number; insert: string }

const quote = 0x22
const comma = 0x2c
const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d

/** The members of the object that starts at `from`, duplicates included, in their order. */
export function membersOf(json: Buffer, from = 0): Member[] {
  const members: Member[] = []
  let at = skipSpace(json, skipSpace(json, from) + 1)
  while (at < json.length && json[at] !== closeBrace) {
    if (json[at] === comma) at = skipSpace(json, at + 1)
    const nameEnd = endOfString(json, at)
    const valueStart = skipSpace(json, skipSpace(json, nameEnd) + 1)
    const valueEnd = endOfValue(json, valueStart)
    const name: unknown = JSON.parse(json.toString('utf8', at, nameEnd))
    members.push({ name: String(name), start: at, valueStart, valueEnd })
    at = skipSpace(json, valueEnd)
  }
  return members
}

/**
 * The body as the upstream gets it: with `stream_options.include_usage` true when `addUsage`, without any `prompt`
 * when `dropPrompt`. The same buffer when there is nothing to change.
 */
export function spliceBody(
  json: Buffer,
  change: { addUsage: boolean; dropPrompt: boolean },
): Buffer {
  if (!change.addUsage && !change.dropPrompt) return json
  const members = membersOf(json)
  const edits = change.dropPrompt ? removals(members, 'prompt') : []
  if (change.addUsage) edits.push(usageEdit(json, members))
  return applyEdits(json, edits)
}

/** The body with another `model`; of several members of that name, all of them. */
export function spliceModel(json: Buffer, model: string): Buffer {
  const insert = JSON.stringify(model)
  const edits = membersOf(json)
    .filter((member) => member.name === 'model')
    .map((member) => ({ start: member.valueStart, end: member.valueEnd, insert }))
  return applyEdits(json, edits)
}

function usageEdit(json: Buffer, members: Member[]): Edit {
  // Of duplicates the last one counts, as in JSON.parse and in every common parser.
  const options = members.findLast((member) => member.name === 'stream_options')
  if (!options) {
    const at = skipSpace(json, 0) + 1
    const insert = '"stream_options":{"include_usage":true},'
    return { start: at, end: at, insert }
  }
  if (json[options.valueStart] !== openBrace) {
    return {
      start: options.valueStart,
      end: options.valueEnd,
      insert: '{"include_usage":true}',
    }
  }
  const inner = membersOf(json, options.valueStart)
  const usage = inner.findLast((member) => member.name === 'include_usage')
  if (usage) return { start: usage.valueStart, end: usage.valueEnd, insert: 'true' }
  const at = options.valueStart + 1
  return { start: at, end: at, insert: `"include_usage":true${inner.length > 0 ? ',' : ''}` }
}

/** Each removed member takes the comma after it along; the last of the object, the comma before it. */
function removals(members: Member[], name: string): Edit[] {
  const edits: Edit[] = []
  const lastKept = members.findLastIndex((member) => member.name !== name)
  members.forEach((member, i) => {
    if (member.name !== name || i > lastKept) return
    edits.push({ start: member.start, end: members[i + 1]!.start, insert: '' })
  })
  const last = members.at(-1)
  if (last && lastKept < members.length - 1) {
    const start = lastKept < 0 ? members[0]!.start : members[lastKept]!.valueEnd
    edits.push({ start, end: last.valueEnd, insert: '' })
  }
  return edits
}

function applyEdits(json: Buffer, edits: Edit[]): Buffer {
  const pieces: Buffer[] = []
  let at = 0
  for (const edit of edits.toSorted((a, b) => a.start - b.start || a.end - b.end)) {
    pieces.push(json.subarray(at, edit.start), Buffer.from(edit.insert))
    at = edit.end
  }
  pieces.push(json.subarray(at))
  return Buffer.concat(pieces)
}

function skipSpace(json: Buffer, from: number): number {
  let at = from
  while (json[at] === 0x20 || json[at] === 0x0a || json[at] === 0x0d || json[at] === 0x09) at += 1
  return at
}

/** One past the closing quote of the string whose opening quote is at `from`. */
function endOfString(json: Buffer, from: number): number {
  return closingQuote(json, from + 1) + 1
}

function endOfValue(json: Buffer, from: number): number {
  if (json[from] === quote) return endOfString(json, from)
  let depth = 0
  let at = from
  while (at < json.length) {
    const byte = json[at]
    if (byte === quote) {
      at = endOfString(json, at)
      continue
    }
    if (byte === openBrace || byte === openBracket) depth += 1
    else if (byte === closeBrace || byte === closeBracket) {
      if (depth === 0) return at
      depth -= 1
      if (depth === 0) return at + 1
    } else if (depth === 0 && (byte === comma || byte! <= 0x20)) return at
    at += 1
  }
  return at
}
