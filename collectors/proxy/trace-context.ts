// W3C trace context (w3c/trace-context, level 2): the caller's trace is continued, a malformed one is replaced by a new trace.

import type { IncomingHttpHeaders } from 'node:http'
import { parseSpanId, parseTraceId, type SpanId, type TraceId } from '../../schemas/ids.ts'

// Level 2 asks for at least 512 characters of tracestate; four times that is room for every vendor of a real list.
const stateCharsMax = 2048
const stateMembersMax = 32
// Members longer than this are the first to go when a list is too long (section 3.3.1.5).
const memberCharsLong = 128
const randomBytesHeld = 4096

export type TraceContext = {
  traceId: TraceId
  /** The caller's span; undefined when the trace begins here. */
  parentSpanId: SpanId | undefined
  /** The members as they came, without empty ones; '' for none. */
  traceState: string
  /** Bit 1: sampled. Bit 2: the trace id's last seven bytes are random. Other bits are not passed on. */
  flags: number
}

const versionPattern = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/
const keyPattern = /^[a-z0-9][a-z0-9_\-*/@]{0,255}$/
const valuePattern = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/

/** The trace a request belongs to. Bad `traceparent`: a new trace, without the state. Bad `tracestate`: the trace, without it. */
export function continueTrace(headers: IncomingHttpHeaders): TraceContext {
  const given = headers.traceparent
  const parent = typeof given === 'string' ? parseTraceparent(given) : undefined
  if (!parent) {
    return { traceId: newTraceId(), parentSpanId: undefined, traceState: '', flags: 3 }
  }
  const state = headers.tracestate
  const text = Array.isArray(state) ? state.join(',') : state
  return { ...parent, traceState: text === undefined ? '' : readTraceState(text) }
}

/** The header of a span of ours, always as version 00. */
export function toTraceparent(traceId: string, spanId: string, flags: number): string {
  return `00-${traceId}-${spanId}-0${flags & 3}`
}

export function newTraceId(): TraceId {
  return randomHex(16) as TraceId // never all zero, by randomHex
}

export function newSpanId(): SpanId {
  return randomHex(8) as SpanId // never all zero, by randomHex
}

function parseTraceparent(text: string): Omit<TraceContext, 'traceState'> | undefined {
  const trimmed = text.trim()
  const head = trimmed.slice(0, 55)
  if (!versionPattern.test(head) || head.startsWith('ff')) return undefined
  // Version 00 ends here; a later one may go on after a dash (section 4.3).
  if (trimmed.length > 55 && (head.startsWith('00') || trimmed[55] !== '-')) return undefined
  const traceId = parseTraceId(head.slice(3, 35))
  const parentSpanId = parseSpanId(head.slice(36, 52))
  if (!traceId || !parentSpanId) return undefined
  return { traceId, parentSpanId, flags: Number.parseInt(head.slice(53), 16) & 3 }
}

/** The list in its order, each key once, at most 32 members; '' when one of them is malformed. */
function readTraceState(text: string): string {
  const members: string[] = []
  const seen = new Set<string>()
  for (const part of text.split(',')) {
    const member = part.replace(/^[ \t]+|[ \t]+$/g, '')
    if (member === '') continue
    const equals = member.indexOf('=')
    const key = member.slice(0, Math.max(equals, 0))
    if (!keyPattern.test(key) || !valuePattern.test(member.slice(equals + 1))) return ''
    if (seen.has(key)) continue
    seen.add(key)
    members.push(member)
  }
  if (members.length > stateMembersMax) return ''
  return shorten(members).join(',')
}

function shorten(members: string[]): string[] {
  const size = (list: string[]) => list.reduce((sum, member) => sum + member.length + 1, -1)
  if (size(members) <= stateCharsMax) return members
  const kept = members.filter((member) => member.length <= memberCharsLong)
  while (size(kept) > stateCharsMax) kept.pop()
  return kept
}

let pool = Buffer.alloc(0)
let poolAt = 0

// One call to the system's generator for many ids: a call each would cost more than the rest of the id.
function randomHex(bytes: number): string {
  if (poolAt + bytes > pool.length) {
    pool = Buffer.from(crypto.getRandomValues(new Uint8Array(randomBytesHeld)))
    poolAt = 0
  }
  const text = pool.toString('hex', poolAt, poolAt + bytes)
  poolAt += bytes
  return /^0+$/.test(text) ? randomHex(bytes) : text
}
