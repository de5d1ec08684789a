// A scanned span becomes a row of `spans` and a row of `payloads`: one value to every column but the two of the seal.

import type { PromptLinks } from '../../schemas/prompt.ts'
import { toProvider } from '../../schemas/provider.ts'
import { usageBits } from '../../schemas/tables.ts'
import { toUserId, userIdCharsMax } from '../../schemas/user-id.ts'
import type { Batch } from '../spool/intake.ts'
import type {
  F64Column,
  MapColumn,
  NativeBlock,
  StringColumn,
  TextColumn,
} from '../spool/native.ts'
import { mapEntriesMax } from './attribute-maps.ts'
import {
  columnTextBytesMax,
  cutAtRune,
  pushLabel,
  pushMessagesPreview,
  pushPreview,
} from './column-text.ts'
import { fieldIndex as fields } from './key-table.ts'
import { valueTypes } from './scan-values.ts'
import { fieldText, hasField, promptOf, ttftNsOf, typeOf, usageOf } from './span-facts.ts'
import type { SpanScan } from './span-scan.ts'
import { readComposite } from './span-view.ts'

// Structured messages are read whole for their preview; larger ones have none.
const compositeBytesMax = 64 * 1024
// As many characters as an id may have, each as long as UTF-8 makes it.
const idWindowBytes = 3 * userIdCharsMax

/** What all spans of a request or of a resource have in common. */
export type RowContext = {
  workspace: string
  workspaceView: DataView
  prompts: PromptLinks
  /** Of the resource: its service.name and its environment, empty when it has none. */
  service: DataView
  environment: DataView
}

/** Pushes the `spans` row. The span has been found acceptable; nothing here throws for its content. */
export function pushSpanRow(
  block: NativeBlock<'spans'>,
  scan: SpanScan,
  context: RowContext,
): void {
  const to = block.columns
  const { bytes, view } = scan.reader
  to.workspace.pushView(context.workspaceView, 0, context.workspaceView.byteLength)
  to.trace_id.pushView(view, scan.traceIdAt)
  to.span_id.pushView(view, scan.spanIdAt)
  if (scan.parentEnd - scan.parentAt === 8) to.parent_span_id.pushView(view, scan.parentAt)
  else to.parent_span_id.pushZeros()
  to.start_time.pushWords(scan.startLow, scan.startHigh)
  pushDuration(block, scan)
  pushLabel(to.name, scan.reader, [scan.nameAt, scan.nameEnd])
  to.service.pushView(context.service, 0, context.service.byteLength)
  to.type.pushText(typeOf(scan))
  to.kind.push(scan.kind > 255 ? 0 : scan.kind)
  to.status.pushText(scan.statusCode === 2 ? 'error' : 'ok')
  pushText(to.status_message, bytes, scan.statusAt, scan.statusEnd)
  to.source.pushText('otlp')
  to.origin.pushEmpty()
  if (hasField(scan, fields.environment)) pushField(to.environment, scan, fields.environment)
  else to.environment.pushView(context.environment, 0, context.environment.byteLength)
  if (scan.claims === 0) pushNoFields(block)
  else pushFields(block, scan, context)
  to.route_id.pushEmpty()
  to.route_label.pushEmpty()
  to.run_id.pushZeros()
  to.record_id.pushZeros()
  if (scan.maps) scan.maps.end()
  else pushAttributes(to.attr_str, to.attr_num, scan)
  block.endRow()
}

/** The columns that named attributes fill. */
function pushFields(block: NativeBlock<'spans'>, scan: SpanScan, context: RowContext): void {
  const to = block.columns
  pushProvider(to.provider, scan)
  pushField(
    to.model,
    scan,
    hasField(scan, fields.modelServed) ? fields.modelServed : fields.modelRequested,
  )
  pushPrompt(block, scan, context)
  pushField(to.session_id, scan, fields.sessionId)
  pushUser(to.user_id, scan)
  pushUsage(block, scan)
  pushPreviewOf(to.input_preview, scan, fields.inputMessages)
  pushPreviewOf(to.output_preview, scan, fields.outputMessages)
}

/** The same columns for a span without any such attribute: most spans that are no model call. */
function pushNoFields(block: NativeBlock<'spans'>): void {
  const to = block.columns
  to.provider.pushEmpty()
  to.model.pushEmpty()
  to.prompt_registry.pushEmpty()
  to.prompt_version_id.pushEmpty()
  to.session_id.pushEmpty()
  to.user_id.pushEmpty()
  to.usage.push(0)
  to.input_tokens.push(0)
  to.output_tokens.push(0)
  to.cached_tokens.push(0)
  to.reasoning_tokens.push(0)
  to.cost_nano_usd.pushWords(0, 0)
  to.ttft_ns.pushWords(0, 0)
  to.input_preview.pushEmpty()
  to.output_preview.pushEmpty()
}

/** Pushes the `payloads` row: the Span message as it came, and the hashes of its envelopes. */
export function pushPayloadRow(
  block: Batch['payloads'],
  scan: SpanScan,
  raw: {
    workspaceView: DataView
    start: number
    end: number
    resourceHash: Uint8Array
    scopeHash: Uint8Array
  },
): void {
  const to = block.columns
  const { bytes, view } = scan.reader
  to.workspace.pushView(raw.workspaceView, 0, raw.workspaceView.byteLength)
  to.trace_id.pushView(view, scan.traceIdAt)
  to.span_id.pushView(view, scan.spanIdAt)
  to.resource_hash.pushBytes(raw.resourceHash)
  to.scope_hash.pushBytes(raw.scopeHash)
  to.raw.pushBytes(bytes, raw.start, raw.end)
  block.endRow()
}

/** End minus start in words; 0 when the end comes first, which is a skewed clock and no error. */
function pushDuration(block: NativeBlock<'spans'>, scan: SpanScan): void {
  const borrow = scan.endLow < scan.startLow ? 1 : 0
  const high = scan.endHigh - scan.startHigh - borrow
  if (high < 0) block.columns.duration_ns.pushWords(0, 0)
  else block.columns.duration_ns.pushWords((scan.endLow - scan.startLow) >>> 0, high)
}

function pushText(column: StringColumn, bytes: Buffer, start: number, end: number): void {
  column.pushBytes(bytes, start, cutAtRune(bytes, start, end, columnTextBytesMax))
}

/** A field as a label. */
export function pushField(column: TextColumn, scan: SpanScan, field: number): void {
  if (!hasField(scan, field)) {
    column.pushEmpty()
    return
  }
  if (scan.fields.type[field] !== valueTypes.string) {
    column.pushText(fieldText(scan, field) ?? '')
    return
  }
  const start = scan.fields.at[field]!
  pushLabel(column, scan.reader, [start, scan.fields.end[field]!])
}

/** Whole, control characters too: a deletion asks for exactly this text, and two that look alike are two. */
function pushUser(column: TextColumn, scan: SpanScan): void {
  const { bytes, view } = scan.reader
  const [start, end] = [scan.fields.at[fields.userId]!, scan.fields.end[fields.userId]!]
  if (!hasField(scan, fields.userId)) column.pushEmpty()
  else if (scan.fields.type[fields.userId] !== valueTypes.string)
    column.pushText(fieldText(scan, fields.userId) ?? '')
  else if (isPlainId(view, start, end)) column.pushView(view, start, end)
  else
    column.pushText(toUserId(bytes.toString('utf8', start, Math.min(end, start + idWindowBytes))))
}

function isPlainId(view: DataView, start: number, end: number): boolean {
  if (end - start > userIdCharsMax) return false
  for (let at = start; at < end; at++) if (view.getUint8(at) === 0) return false
  return true
}

/** By one name however it is spelled; anything else is a label like others. */
function pushProvider(column: TextColumn, scan: SpanScan): void {
  const given = hasField(scan, fields.provider) ? (fieldText(scan, fields.provider) ?? '') : ''
  const name = /^[\w.-]{1,128}$/.test(given) ? toProvider(given) : given
  if (name === given) pushField(column, scan, fields.provider)
  else column.pushText(name)
}

function pushPrompt(block: NativeBlock<'spans'>, scan: SpanScan, context: RowContext): void {
  const named = hasField(scan, fields.promptName) || hasField(scan, fields.promptReference)
  const prompt = named ? promptOf(scan, context.prompts, context.workspace) : undefined
  block.columns.prompt_registry.pushText(prompt?.slug ?? '')
  block.columns.prompt_version_id.pushText(prompt?.versionId ?? '')
}

function pushUsage(block: NativeBlock<'spans'>, scan: SpanScan): void {
  const to = block.columns
  const usage = usageOf(scan)
  const hasTokens = usage.input !== undefined || usage.output !== undefined
  const hasCost = usage.costNanoUsd !== undefined
  to.usage.push((hasTokens ? usageBits.tokens : 0) | (hasCost ? usageBits.cost : 0))
  to.input_tokens.push(usage.input ?? 0)
  to.output_tokens.push(usage.output ?? 0)
  to.cached_tokens.push(usage.cached)
  to.reasoning_tokens.push(usage.reasoning)
  to.cost_nano_usd.push(usage.costNanoUsd ?? 0)
  to.ttft_ns.push(ttftNsOf(scan))
}

/** For a span whose maps could not be filled while it was read. */
function pushAttributes(
  strings: MapColumn<StringColumn>,
  numbers: MapColumn<F64Column>,
  scan: SpanScan,
): void {
  const { bytes, view } = scan.reader
  const { attributes } = scan
  const { type, at, end, number } = attributes.values
  let left = mapEntriesMax
  for (let i = 0; i < attributes.count && left > 0; i++) {
    if (attributes.entries[i]!.bulk) continue
    const valueType = type[i]!
    const isString = valueType === valueTypes.string
    const isNumber = valueType >= valueTypes.bool && valueType <= valueTypes.double
    if (!isString && !isNumber) continue
    const keyAt = attributes.keyAt[i]!
    const keyEnd = cutAtRune(bytes, keyAt, attributes.keyEnd[i]!, columnTextBytesMax)
    if (isString) {
      strings.key.pushView(view, keyAt, keyEnd)
      strings.value.pushView(view, at[i]!, cutAtRune(bytes, at[i]!, end[i]!, columnTextBytesMax))
      strings.count()
    } else {
      numbers.key.pushView(view, keyAt, keyEnd)
      numbers.value.push(number[i]!)
      numbers.count()
    }
    left--
  }
  strings.endRow()
  numbers.endRow()
}

function pushPreviewOf(column: StringColumn, scan: SpanScan, field: number): void {
  const type = hasField(scan, field) ? scan.fields.type[field] : valueTypes.none
  const start = scan.fields.at[field]!
  const end = scan.fields.end[field]!
  const isComposite = type === valueTypes.array || type === valueTypes.kvlist
  if (type === valueTypes.string) pushPreview(column, scan.reader.bytes, [start, end])
  else if (isComposite && end - start <= compositeBytesMax) {
    const name = type === valueTypes.array ? 'arrayValue' : 'keyValueList'
    const role = field === fields.inputMessages ? 'user' : 'assistant'
    const value = readComposite(name, scan.reader.bytes.subarray(start, end))
    pushMessagesPreview(column, value, role)
  } else column.pushEmpty()
}
