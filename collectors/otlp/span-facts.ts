// What a scanned span says in our words: type, tokens, cost, time to first token, prompt. Every dialect, one meaning.

import { operationTypes, typeMarkers } from '../../schemas/dialects.ts'
import { type PromptLinks, toSlug, toVersion } from '../../schemas/prompt.ts'
import { unfilled } from './attribute-scan.ts'
import { fieldIndex as fields } from './key-table.ts'
import { valueTypes } from './scan-values.ts'
import type { SpanScan } from './span-scan.ts'
import { toBigInt } from './wire-reader.ts'

// JSON inside an attribute is parsed only when it is small; such details are a few numbers.
const detailsBytesMax = 4096
const textBytesMax = 1024
// Names at most 1 KiB long.
const slugsHeld = 1_000

export type SpanUsage = {
  input: number | undefined
  output: number | undefined
  cached: number
  reasoning: number
  costNanoUsd: number | undefined
}

/** Whether some attribute filled the field. */
export function hasField(scan: SpanScan, field: number): boolean {
  return scan.rank[field] !== unfilled
}

/** The field as text: strings as they are, numbers in decimal, anything else not at all. At most 1 KiB. */
export function fieldText(scan: SpanScan, field: number): string | undefined {
  if (scan.rank[field] === unfilled) return undefined
  const at = scan.fields.at[field]!
  const end = scan.fields.end[field]!
  const type = scan.fields.type[field]
  if (type === valueTypes.string)
    return scan.reader.bytes.toString('utf8', at, Math.min(end, at + textBytesMax))
  if (type === valueTypes.int) return String(intAt(scan, at, end))
  if (type === valueTypes.double) return String(scan.fields.number[field])
  return undefined
}

/** The field as a number; strings of digits count, because some exporters know only strings. */
export function fieldNumber(scan: SpanScan, field: number): number | undefined {
  if (scan.rank[field] === unfilled) return undefined
  const type = scan.fields.type[field]
  if (type === valueTypes.int || type === valueTypes.double) {
    const value = scan.fields.number[field]!
    return Number.isFinite(value) ? value : undefined
  }
  if (type !== valueTypes.string) return undefined
  const text = fieldText(scan, field)!.trim()
  return /^-?\d{1,15}(\.\d{1,15})?(e-?\d{1,2})?$/i.test(text) ? Number(text) : undefined
}

/** llm, tool, agent, …: by the operation that the span names, else by what attributes it has, else `span`. */
export function typeOf(scan: SpanScan): string {
  if (hasField(scan, fields.operation)) {
    const type = operationTypes.get(fieldText(scan, fields.operation)!.toLowerCase())
    if (type) return type
  }
  return scan.marker < typeMarkers.length ? typeMarkers[scan.marker]![0] : 'span'
}

/** Tokens and cost as reported. Totals include cached and reasoning tokens, as OpenTelemetry counts them. */
export function usageOf(scan: SpanScan): SpanUsage {
  const input = count(fieldNumber(scan, fields.inputTokens))
  const output = count(fieldNumber(scan, fields.outputTokens))
  const usage = {
    input,
    output,
    cached: count(fieldNumber(scan, fields.cachedTokens)) ?? 0,
    reasoning: count(fieldNumber(scan, fields.reasoningTokens)) ?? 0,
    costNanoUsd: costOf(scan),
  }
  if (input === undefined && output === undefined && hasField(scan, fields.usageDetails))
    return { ...usage, ...fromDetails(readDetails(scan, fields.usageDetails)) }
  return usage
}

function count(value: number | undefined): number | undefined {
  return value === undefined || value < 0 ? undefined : Math.round(value)
}

/** Langfuse's buckets exclude each other: a total is the sum of those on its side. */
function fromDetails(details: Map<string, number>): Partial<SpanUsage> {
  const sum = (pattern: RegExp): number | undefined => {
    const parts = [...details].filter(([key]) => pattern.test(key)).map(([, value]) => value)
    return parts.length === 0 ? undefined : count(parts.reduce((a, b) => a + b, 0))
  }
  return {
    input: sum(/^input|^prompt_tokens$|^cache_(read|creation)/),
    output: sum(/^output|^completion_tokens$/),
    cached: sum(/^cache_read|^input_cache[d_]/) ?? 0,
    reasoning: sum(/reasoning/) ?? 0,
  }
}

/** In billionths of a US dollar: a total, else the sum of its parts. */
function costOf(scan: SpanScan): number | undefined {
  if (hasField(scan, fields.costDetails)) {
    const details = readDetails(scan, fields.costDetails)
    const total = details.get('total') ?? [...details.values()].reduce((a, b) => a + b, 0)
    if (details.size > 0) return toNanoUsd(total)
  }
  const total = fieldNumber(scan, fields.costTotal)
  if (total !== undefined) return toNanoUsd(total)
  const input = fieldNumber(scan, fields.costInput)
  const output = fieldNumber(scan, fields.costOutput)
  return input === undefined && output === undefined
    ? undefined
    : toNanoUsd((input ?? 0) + (output ?? 0))
}

function toNanoUsd(dollars: number): number | undefined {
  const nano = Math.round(dollars * 1e9)
  return Number.isSafeInteger(nano) && nano >= 0 ? nano : undefined
}

/** The numbers at the top of a JSON object in a string attribute. A Map: its keys are the caller's. */
function readDetails(scan: SpanScan, field: number): Map<string, number> {
  const json = readJson(scan, field)
  return new Map(
    Object.entries(json).filter((pair): pair is [string, number] => {
      return typeof pair[1] === 'number' && Number.isFinite(pair[1])
    }),
  )
}

function readJson(scan: SpanScan, field: number): object {
  const at = scan.fields.at[field]!
  const end = scan.fields.end[field]!
  if (scan.fields.type[field] !== valueTypes.string || end - at > detailsBytesMax) return {}
  try {
    const json: unknown = JSON.parse(scan.reader.bytes.toString('utf8', at, end))
    return typeof json === 'object' && json !== null ? json : {}
  } catch {
    // A detail we cannot read is as good as none; the attribute itself stays in the span.
    return {}
  }
}

/** Nanoseconds from the span's start to its first token; 0 when the span does not say. */
export function ttftNsOf(scan: SpanScan): number {
  const seconds = fieldNumber(scan, fields.ttftSeconds)
  if (seconds !== undefined) return positive(seconds * 1e9)
  const ms = fieldNumber(scan, fields.ttftMs)
  if (ms !== undefined) return positive(ms * 1e6)
  const at = fieldText(scan, fields.ttftAt)
  if (at === undefined) return 0
  const atMs = Date.parse(at.replaceAll('"', ''))
  if (Number.isNaN(atMs)) return 0
  const startNs = toBigInt(scan.startLow, scan.startHigh)
  return positive(Number(BigInt(atMs) * 1_000_000n - startNs))
}

function positive(ns: number): number {
  return ns > 0 && ns < Number.MAX_SAFE_INTEGER ? Math.round(ns) : 0
}

/** The prompt that the span names, linked to its version; undefined when it names none, or is an MCP span. */
export function promptOf(
  scan: SpanScan,
  prompts: PromptLinks,
  workspace: string,
): { slug: string; versionId: string } | undefined {
  if (hasField(scan, fields.mcp)) return undefined
  let name = fieldText(scan, fields.promptName)
  let version = fieldText(scan, fields.promptVersion)
  if (name === undefined && hasField(scan, fields.promptReference)) {
    const reference = new Map<string, unknown>(
      Object.entries(readJson(scan, fields.promptReference)),
    )
    const given = reference.get('version')
    name = typeof reference.get('name') === 'string' ? String(reference.get('name')) : undefined
    version = typeof given === 'number' || typeof given === 'string' ? String(given) : undefined
  }
  const slug = name === undefined ? undefined : slugOf(name)
  if (slug === undefined) return undefined
  const versionId = prompts.link(
    workspace,
    slug,
    version === undefined ? undefined : toVersion(version),
  )
  return { slug, versionId }
}

const slugs = new Map<string, string | undefined>()

/** A caller's prompt names repeat on span after span. */
function slugOf(name: string): string | undefined {
  if (slugs.has(name)) return slugs.get(name)
  if (slugs.size >= slugsHeld) slugs.clear()
  const slug = toSlug(name)
  slugs.set(name, slug)
  return slug
}

function intAt(scan: SpanScan, at: number, end: number): bigint {
  const { reader } = scan
  const before = reader.at
  reader.at = at
  reader.varint64(end)
  reader.at = before
  return BigInt.asIntN(64, toBigInt(reader.low, reader.high))
}
